"""``fusion-store credentials``: a tenant's service credentials."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from fusion_store import AuthError, CredentialType, InvalidInput, ServiceCredentials
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._input import (
    ExpectedVersion,
    FromFile,
    Reveal,
    Service,
    TenantOption,
    expiry,
    object_or_secret,
    read_secret,
    resolve_tenant,
)
from fusion_store.cli._output import REDACTED, Cell, iso
from fusion_store.cli._session import Session

app: Final = typer.Typer(help="List, show, store and delete a tenant's service credentials.", no_args_is_help=True)

Type = Annotated[CredentialType, typer.Option("--type", help="Which of the service's credentials.")]

_COLUMNS: Final = ("SERVICE", "TYPE", "VERSION", "UPDATED", "EXPIRES")
_BARE: Final = {CredentialType.API_KEY: "api_key", CredentialType.BEARER: "token"}
_SHAPES: Final = {
    CredentialType.API_KEY: """a key is given alone, or as {"api_key": …}""",
    CredentialType.BEARER: """a token is given alone, or as {"token": …}""",
    CredentialType.BASIC_AUTH: """a login is {"username": …, "password": …}""",
    CredentialType.CUSTOM: """give {"headers": {…}, "query": {…}, "cookies": {…}}, or the fields of a login""",
}


@app.command("list")
def list_(ctx: typer.Context, tenant: TenantOption) -> None:
    """List a tenant's credentials.

    Without their secrets, ordered by service and type. Times are UTC. Exit 0, also when there are none; 3
    when there is no such tenant.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        found = repository.list_credentials(resolve_tenant(repository, tenant))
        session.output.records(
            [(service, credentials) for (service, _), credentials in found.items()],
            lambda item: _document(*item, reveal=False),
            _COLUMNS,
            lambda item: _row(*item),
            empty="No credentials found.",
        )


@app.command()
def show(ctx: typer.Context, service: Service, tenant: TenantOption, type: Type, reveal: Reveal = False) -> None:
    """Show a tenant's credential for a service.

    Its secrets only with --reveal. Exit 0, 3 when there is no such tenant or credential.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        credentials = repository.get_credentials(resolve_tenant(repository, tenant), service, type)
        if credentials is None:
            raise _no_credential()
        document = _document(service, credentials, reveal=reveal)
        session.output.fields(
            document,
            [
                ("Service", service),
                ("Type", credentials.type),
                *(
                    (f"Data {name}", value if isinstance(value, str) else json.dumps(value))
                    for name, value in document["data"].items()
                ),
                ("Expires", credentials.expires_at),
                ("Created", credentials.created_at),
                ("Updated", credentials.updated_at),
                ("Version", credentials.version),
            ],
        )


@app.command()
def store(
    ctx: typer.Context,
    service: Service,
    *,
    tenant: TenantOption,
    type: Type,
    from_file: FromFile = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="90d", help="Lifetime, such as 90d, 12h, 30m or 1d12h; by default endless.")
    ] = None,
    expected_version: ExpectedVersion = None,
) -> None:
    """Store a credential for a service.

    It takes the place of one of the same type. Reads a JSON object from stdin, --from-file or a hidden
    prompt; for api_key and bearer also the bare key or token. Exit 0, 2 when no service could use it, 3 when
    there is no such tenant, 10 when --expected-version doesn't fit.
    """
    session: Session = ctx.obj
    expires_at = expiry("--expires-in", expires_in)
    prompt = "Secret, or JSON object" if type in _BARE else "JSON object"
    data = object_or_secret(read_secret(prompt, from_file))
    if isinstance(data, str):
        if type not in _BARE:
            raise InvalidInput("input", f"must be a JSON object for {type}")
        data = {_BARE[type]: data}
    credentials = ServiceCredentials(type, data, expires_at)
    _check(credentials)
    with session.open() as repository:
        stored = repository.store_credentials(
            resolve_tenant(repository, tenant),
            service,
            credentials,
            expected_version=expected_version,
        )
        session.output.result(
            _document(service, stored, reveal=False),
            f"Stored the {type} credential of {service}, version {stored.version}.",
        )


@app.command()
def delete(ctx: typer.Context, service: Service, tenant: TenantOption, type: Type) -> None:
    """Delete a tenant's credential for a service.

    Without a question. Exit 0, 3 when there is no such tenant or credential.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        tenant_hash = resolve_tenant(repository, tenant)
        if not repository.delete_credentials(tenant_hash, service, type):
            raise _no_credential()
        document = {"deleted": True, "service": service, "type": type, "tenant_hash": tenant_hash}
        session.output.result(document, f"Deleted the {type} credential of {service}.")


def _check(credentials: ServiceCredentials) -> None:
    from fusion_store.auth._strategies._credentials import check_credentials

    try:
        check_credentials(credentials)
    except AuthError as error:
        raise CommandError(str(error), _SHAPES[credentials.type]) from None


def _no_credential() -> CommandError:
    return CommandError(
        "no live credential of that service and type",
        "'fusion-store credentials list --tenant ID' shows those of a tenant; case matters",
        ExitCode.NOT_FOUND,
        name="NotFound",
    )


def _document(service: str, credentials: ServiceCredentials, *, reveal: bool) -> dict[str, Any]:
    return {
        "service": service,
        "type": credentials.type,
        "data": {name: value if reveal else REDACTED for name, value in credentials.data.items()},
        "expires_at": iso(credentials.expires_at),
        "created_at": iso(credentials.created_at),
        "updated_at": iso(credentials.updated_at),
        "version": credentials.version,
    }


def _row(service: str, credentials: ServiceCredentials) -> tuple[Cell, ...]:
    return service, credentials.type, credentials.version, credentials.updated_at, credentials.expires_at
