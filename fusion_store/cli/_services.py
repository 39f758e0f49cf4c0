"""``fusion-store connect``, ``services`` and ``auth-code``: a tenant's connections to upstream services."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusion_store import ConfigError, OAuthTokenData, TokenRepository
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._input import Service, TenantOption, duration, from_now, resolve_tenant
from fusion_store.cli._output import Cell, Output, iso
from fusion_store.cli._session import Session

if TYPE_CHECKING:
    from fusion_store.auth import Prompt, ServiceConfig, Strategy

app: Final = typer.Typer()
codes: Final = typer.Typer(help="Make codes that let another program push a token.", no_args_is_help=True)

SERVICES_VARIABLE: Final = "FUSION_STORE_SERVICES"
_SOON: Final = timedelta(minutes=5)

ServicesFile = Annotated[
    Path | None,
    typer.Option(
        "--services",
        metavar="FILE",
        help=f"Configuration of the services, JSON or TOML; else {SERVICES_VARIABLE}.",
    ),
]


@app.command()
def connect(
    ctx: typer.Context,
    service: Service,
    tenant: TenantOption,
    services: ServicesFile = None,
) -> None:
    """Sign in at a service for a tenant and store its token.

    Shows the address to open and the code to type, with a QR code on a terminal, and waits until the user has
    consented. Exit 0, 2 when the service has no sign-in here, 3 when there is no such tenant, 9 when it isn't
    configured, 12 when the sign-in failed.
    """
    session: Session = ctx.obj
    config = _configured(_load(services), service)
    with session.open() as repository:
        tenant_hash = resolve_tenant(repository, tenant)
        _refuse_without_sign_in(service, config)
        stored = asyncio.run(_sign_in(repository, tenant_hash, service, config, session.output))
        document = {"service": service, "tenant_hash": tenant_hash, "version": stored.version}
        session.output.result(
            {**document, "expires_at": iso(stored.expires_at), "scope": list(stored.scope)},
            f"Connected {service}, version {stored.version}.",
        )


def _refuse_without_sign_in(service: str, config: ServiceConfig) -> None:
    from fusion_store.auth import find_strategies

    strategy = find_strategies().get(config.type)
    if strategy is not None and (kind := strategy.credential_type) is not None:
        raise CommandError(
            f"{service} takes the tenant's {kind} credentials: there is nothing to sign in to",
            f"'fusion-store credentials store {service} --tenant ID --type {kind}' stores them",
        )
    if config.type == "oauth2_external":
        raise CommandError(
            f"another program signs in at {service} and pushes the token",
            f"'fusion-store auth-code create {service} --tenant ID' makes a code for it",
        )


async def _sign_in(
    repository: TokenRepository, tenant_hash: str, service: str, config: ServiceConfig, output: Output
) -> OAuthTokenData:
    from fusion_store.auth import AuthManager

    with ExitStack() as waiting:

        async def show(prompt: Prompt) -> None:
            # Not under a spinner, which breaks long lines: a broken address can't be opened.
            waiting.close()
            _show(output, prompt)
            waiting.enter_context(output.working("Waiting for consent"))

        async with AuthManager(repository) as manager:
            return await manager.tenant_of(tenant_hash).authenticate(service, config, show=show)


def _show(output: Output, prompt: Prompt) -> None:
    from fusion_store.auth import DevicePrompt

    if isinstance(prompt, DevicePrompt):
        output.prompt(
            {
                "user_code": prompt.user_code,
                "verification_uri": prompt.verification_uri,
                "verification_uri_complete": prompt.verification_uri_complete,
                "expires_at": iso(prompt.expires_at),
            },
            [f"Open    {prompt.verification_uri}", f"Code    {prompt.user_code}"],
        )
        if output.shows_progress:
            output.drawing(_qr_code(prompt.verification_uri_complete or prompt.verification_uri))
    else:
        # Without a QR code: the browser has to come back to this machine.
        output.prompt({"authorization_url": prompt.authorization_url}, [f"Open    {prompt.authorization_url}"])


def _qr_code(address: str) -> str:
    import segno

    drawn = io.StringIO()
    segno.make(address, error="l").terminal(drawn, compact=True)
    return drawn.getvalue()


@app.command("services")
def list_(
    ctx: typer.Context,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="ID", help="Only this tenant; else all of them.")
    ] = None,
    services: ServicesFile = None,
) -> None:
    """List which services are configured, and what each tenant has connected.

    STATE is ok, expiring (in the next 5 minutes, or expired and refreshable), needs reauth, not connected, or
    not configured (a token stands, but no configuration). Exit 0, also when there are none; 3 when there is no store.
    """
    session: Session = ctx.obj
    configured = _load(services, optional=True)
    with session.open() as repository:
        session.output.records(
            _connections(repository, tenant, configured),
            dict,
            ("SERVICE", "TYPE", "TENANT", "STATE", "EXPIRES"),
            lambda c: (c["service"], c["type"], c["tenant_hash"][:16], c["state"], _moment(c["expires_at"])),
            empty="No services found.",
        )


def _connections(
    repository: TokenRepository, tenant: str | None, configured: Mapping[str, ServiceConfig]
) -> Iterator[dict[str, Any]]:
    from fusion_store.auth import find_strategies

    now, strategies = datetime.now(UTC), find_strategies()
    for tenant_hash in [resolve_tenant(repository, tenant)] if tenant else _tenants(repository):
        tokens = repository.list_oauth_tokens(tenant_hash)
        credentials = set(repository.list_credentials(tenant_hash))
        for service in sorted({*configured, *tokens}):
            config, token = configured.get(service), tokens.get(service)
            strategy = strategies.get(config.type) if config else None
            if strategy is not None and strategy.credential_type is not None:
                state = "ok" if (service, strategy.credential_type) in credentials else "not connected"
            else:
                state = _state(strategy, token, now)
            yield {
                "service": service,
                "type": config.type if config else "",
                "tenant_hash": tenant_hash,
                "state": state,
                "expires_at": iso(token.expires_at) if token else None,
            }


def _state(strategy: Strategy | None, token: OAuthTokenData | None, now: datetime) -> str:
    from fusion_store.auth import REJECTED

    if token is None:
        return "not connected"
    if strategy is None:
        return "not configured"
    if REJECTED in token.metadata and not strategy.unattended:
        return "needs reauth"
    renews = strategy.unattended or (strategy.supports_refresh and token.has_refresh_token)
    if token.is_expired(now=now):
        return "expiring" if renews else "needs reauth"
    return "expiring" if token.is_expired(_SOON, now) else "ok"


def _tenants(repository: TokenRepository) -> Iterator[str]:
    after: str | None = None
    while page := repository.list_tenants(after=after):
        yield from (info.tenant_hash for info in page)
        after = page[-1].tenant_hash


def _moment(text: str | None) -> Cell:
    return datetime.fromisoformat(text) if text else None


@codes.command()
def create(
    ctx: typer.Context,
    service: Service,
    tenant: TenantOption,
    expires_in: Annotated[
        str, typer.Option("--expires-in", metavar="DURATION", help="How long it is good, such as 90s or 10m.")
    ] = "10m",
) -> None:
    """Print a code with which another program may push one token for a service.

    It is shown once and is good for one use. Exit 0, 3 when there is no such tenant.
    """
    session: Session = ctx.obj
    ttl = duration("--expires-in", expires_in)
    expires_at = from_now("--expires-in", ttl)
    with session.open() as repository:
        tenant_hash = resolve_tenant(repository, tenant)
        code = repository.create_auth_code(tenant_hash, service, ttl=ttl)
        session.output.note(f"For {service} of tenant {tenant_hash[:16]}, once, within {expires_in}.")
        session.output.result(
            {"code": code, "service": service, "tenant_hash": tenant_hash, "expires_at": iso(expires_at)}, code
        )


def _load(path: Path | None, *, optional: bool = False) -> Mapping[str, ServiceConfig]:
    named = path or os.environ.get(SERVICES_VARIABLE)
    if not named:
        if optional:
            return {}
        raise CommandError(
            "no configuration of the services", f"give --services FILE or set {SERVICES_VARIABLE}", ExitCode.CONFIG
        )
    from fusion_store.auth import load_services

    try:
        return load_services(Path(named))
    except ConfigError as error:
        hint = f"correct the file that --services or {SERVICES_VARIABLE} names"
        raise CommandError(str(error), hint, ExitCode.CONFIG, name="ConfigError") from error


def _configured(services: Mapping[str, ServiceConfig], service: str) -> ServiceConfig:
    if service not in services:
        raise CommandError(
            f"service {service!r} isn't configured; known: {', '.join(sorted(services)) or 'none'}",
            f"add it to the file that --services or {SERVICES_VARIABLE} names",
            ExitCode.CONFIG,
            name="ConfigError",
        )
    return services[service]
