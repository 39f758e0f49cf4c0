"""``fusion-store oauth``: a tenant's upstream OAuth tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import typer

from fusion_store import InvalidInput, OAuthTokenData
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._input import (
    ExpectedVersion,
    FromFile,
    Reveal,
    Service,
    TenantOption,
    from_now,
    object_or_secret,
    read_secret,
    resolve_tenant,
    without_repeats,
)
from fusion_store.cli._output import REDACTED, Cell, iso
from fusion_store.cli._session import Session

app: Final = typer.Typer(help="List, show, store and delete a tenant's OAuth tokens.", no_args_is_help=True)

_COLUMNS: Final = ("SERVICE", "TYPE", "VERSION", "REFRESHABLE", "UPDATED", "EXPIRES", "SCOPE")
_KNOWN: Final = frozenset(
    {"access_token", "refresh_token", "token_type", "expires_in", "expires_at", "scope", "metadata"}
)
# Of a bare token nothing looks like this: base64 ends with what is "=" here.
_FORM: Final = re.compile(r"(?:access_token|error)=|\w+=[^&]*&\w+=")
_ERROR_CODE: Final = re.compile(r"[a-z_]{1,40}")


@app.command("list")
def list_(ctx: typer.Context, tenant: TenantOption) -> None:
    """List a tenant's OAuth tokens.

    Without their secrets, ordered by service. Times are UTC. Exit 0, also when there are none; 3 when
    there is no such tenant.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        found = repository.list_oauth_tokens(resolve_tenant(repository, tenant))
        session.output.records(
            found.items(),
            lambda item: _document(*item, reveal=False),
            _COLUMNS,
            lambda item: _row(*item),
            empty="No OAuth tokens found.",
        )


@app.command()
def show(ctx: typer.Context, service: Service, tenant: TenantOption, reveal: Reveal = False) -> None:
    """Show a tenant's OAuth token for a service.

    Its secrets only with --reveal. Exit 0, 3 when there is no such tenant or token.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        token = repository.get_oauth_token(resolve_tenant(repository, tenant), service)
        if token is None:
            raise _no_token()
        session.output.fields(_document(service, token, reveal=reveal), _fields(service, token, reveal=reveal))


@app.command()
def store(
    ctx: typer.Context,
    service: Service,
    tenant: TenantOption,
    from_file: FromFile = None,
    expected_version: ExpectedVersion = None,
) -> None:
    """Store an OAuth token for a service.

    It takes the place of one that stands. Reads stdin, --from-file or a hidden prompt: the token
    endpoint's answer, JSON or form-encoded (access_token, refresh_token, token_type, expires_in in seconds
    or expires_at, scope, metadata), or the bare access token. Exit 0, 2 when it can't be used, 3 when there is no such
    tenant, 10 when --expected-version doesn't fit.
    """
    session: Session = ctx.obj
    text = read_secret("Access token, or the token endpoint's answer", from_file)
    given = _form(text) or object_or_secret(text)
    token = OAuthTokenData(given) if isinstance(given, str) else _read_answer(given)
    with session.open() as repository:
        stored = repository.store_oauth_token(
            resolve_tenant(repository, tenant), service, token, expected_version=expected_version
        )
        unknown = sorted(set(given) - _KNOWN) if isinstance(given, dict) else []
        if unknown:
            session.output.note(f"Left out, as it has no place here but in metadata: {', '.join(unknown)}")
        session.output.result(
            _document(service, stored, reveal=False), f"Stored the OAuth token of {service}, version {stored.version}."
        )


@app.command()
def delete(
    ctx: typer.Context, service: Service, tenant: TenantOption, expected_version: ExpectedVersion = None
) -> None:
    """Delete a tenant's OAuth token for a service.

    Without a question. Exit 0, 3 when there is no such tenant or token, 10 when --expected-version
    doesn't fit.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        tenant_hash = resolve_tenant(repository, tenant)
        if not repository.delete_oauth_token(tenant_hash, service, expected_version=expected_version):
            raise _no_token()
        document = {"deleted": True, "service": service, "tenant_hash": tenant_hash}
        session.output.result(document, f"Deleted the OAuth token of {service}.")


def _form(text: str) -> dict[str, str] | None:
    """The fields of a form-encoded answer, which GitHub gives by default; None for anything else."""
    if not _FORM.match(text):
        return None
    try:
        return without_repeats(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))
    except ValueError:
        raise InvalidInput("input", "begins like a form-encoded answer but isn't one") from None


def _read_answer(answer: Mapping[str, Any]) -> OAuthTokenData:
    if error := answer.get("error"):
        known = isinstance(error, str) and _ERROR_CODE.fullmatch(error)
        raise CommandError(
            f"the answer is an error{f', {error}' if known else ''}, not a token", "nothing was stored; ask for another"
        )
    access_token = answer.get("access_token")
    if not isinstance(access_token, str):
        raise InvalidInput("access_token", "must be a string in the answer")
    if any(character.isspace() for character in access_token):
        raise InvalidInput("access_token", "must hold no white space")
    scope = answer.get("scope")
    if isinstance(scope, str):
        scope = scope.split()
    elif scope is not None and not isinstance(scope, list):
        raise InvalidInput("scope", "must be a string or a list of strings")
    token_type = answer.get("token_type")
    metadata = answer.get("metadata")
    return OAuthTokenData(
        access_token=access_token,
        refresh_token=answer.get("refresh_token"),
        token_type="Bearer" if token_type is None else token_type,
        expires_at=_expiry(answer),
        scope=tuple(scope or ()),
        metadata={} if metadata is None else metadata,
    )


def _expiry(answer: Mapping[str, Any]) -> datetime | None:
    moment, span = answer.get("expires_at"), answer.get("expires_in")
    if isinstance(moment, str) and _number(moment) is None:
        try:
            parsed = datetime.fromisoformat(moment)
        except ValueError:
            raise InvalidInput("expires_at", "must be ISO 8601 with a time zone, or seconds since 1970") from None
        if parsed.utcoffset() is None:
            raise InvalidInput("expires_at", "must have a time zone, for example a Z at the end")
        return parsed
    if moment is not None:
        seconds = _number(moment)
        if seconds is None:
            raise InvalidInput("expires_at", "must be ISO 8601 with a time zone, or seconds since 1970")
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            raise InvalidInput("expires_at", "is outside the years 1 to 9999 UTC") from None
    if span is None:
        return None
    seconds = _number(span)
    if seconds is None or seconds <= 0:
        raise InvalidInput("expires_in", "must be a positive number of seconds")
    try:
        return from_now("expires_in", timedelta(seconds=seconds))
    except OverflowError:
        raise InvalidInput("expires_in", "ends after the year 9999") from None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _no_token() -> CommandError:
    return CommandError(
        "no OAuth token for that service",
        "'fusion-store oauth list --tenant ID' shows those of a tenant; case matters",
        ExitCode.NOT_FOUND,
        name="NotFound",
    )


def _document(service: str, token: OAuthTokenData, *, reveal: bool) -> dict[str, Any]:
    return {
        "service": service,
        "access_token": token.access_token if reveal else REDACTED,
        "refresh_token": token.refresh_token if reveal or token.refresh_token is None else REDACTED,
        "token_type": token.token_type,
        "expires_at": iso(token.expires_at),
        "scope": list(token.scope),
        "metadata": {name: value if reveal else REDACTED for name, value in token.metadata.items()},
        "created_at": iso(token.created_at),
        "updated_at": iso(token.updated_at),
        "version": token.version,
    }


def _row(service: str, token: OAuthTokenData) -> tuple[Cell, ...]:
    return (
        service,
        token.token_type,
        token.version,
        "yes" if token.has_refresh_token else "no",
        token.updated_at,
        token.expires_at,
        " ".join(token.scope),
    )


def _fields(service: str, token: OAuthTokenData, *, reveal: bool) -> list[tuple[str, Cell]]:
    shown = _document(service, token, reveal=reveal)
    return [
        ("Service", service),
        ("Access token", shown["access_token"]),
        ("Refresh token", shown["refresh_token"] or "none"),
        ("Type", token.token_type),
        ("Scope", " ".join(token.scope)),
        ("Expired" if token.is_expired() else "Expires", token.expires_at),
        ("Created", token.created_at),
        ("Updated", token.updated_at),
        ("Version", token.version),
        *((f"Metadata {name}", value) for name, value in shown["metadata"].items()),
    ]
