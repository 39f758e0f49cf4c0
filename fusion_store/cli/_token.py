"""``fusion-store token``: API tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from fusion_store import APITokenMetadata, InvalidInput, IssuedToken, TenantInfo, TokenNotFound
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._input import (
    TokenID,
    Yes,
    api_tokens,
    confirm,
    duration,
    expiry,
    read_secret,
    resolve_tenant,
    resolve_token,
)
from fusion_store.cli._output import Cell, OutputLost, iso, shown_time
from fusion_store.cli._session import Session

app: Final = typer.Typer(help="Issue, list, check, rotate and delete API tokens.", no_args_is_help=True)

_COLUMNS: Final = ("PREFIX", "HASH…", "CREATED", "LAST USED", "EXPIRES", "DESCRIPTION")
_ONLY_ONCE: Final = "Keep this token now: it is stored as a hash only and can't be shown again."


@app.command()
def add(
    ctx: typer.Context,
    description: Annotated[
        str, typer.Argument(metavar="DESCRIPTION", help="What the token is for; up to 256 characters.")
    ] = "",
    scope: Annotated[list[str] | None, typer.Option(metavar="S", help="A scope to grant; may be repeated.")] = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="90d", help="Lifetime, such as 90d, 12h, 30m or 1d12h; by default endless.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option(metavar="ID", help="Add the token to this tenant instead of making a new one.")
    ] = None,
) -> None:
    """Issue an API token.

    It opens a new tenant, or with --tenant a standing one. The token is printed once, alone on stdout
    when that is no terminal: T=$(fusion-store token add laptop). Exit 0, or 3 when the tenant isn't
    there. Makes the store when there is none yet.
    """
    session: Session = ctx.obj
    expires_at = expiry("--expires-in", expires_in)
    with session.open(create=tenant is None) as repository:
        issued = repository.add_api_token(
            description,
            tenant_hash=None if tenant is None else resolve_tenant(repository, tenant),
            scopes=scope or (),
            expires_at=expires_at,
        )
        _hand_over(session, issued)


@app.command("list")
def list_(
    ctx: typer.Context,
    tenant: Annotated[str | None, typer.Option(metavar="ID", help="Only the tokens of this tenant.")] = None,
) -> None:
    """List the API tokens, oldest first.

    Expired ones are included. Times are UTC. Exit 0, also when there are no tokens; 3 when there is no
    store.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        tenant_hash = None if tenant is None else resolve_tenant(repository, tenant)
        session.output.records(
            api_tokens(repository, tenant_hash), token_document, _COLUMNS, _row, empty="No API tokens found."
        )


@app.command()
def show(ctx: typer.Context, id: TokenID) -> None:
    """Show what is known of an API token.

    The token itself is kept nowhere. Exit 0, 3 when there is no such token, 4 when the ID fits several.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        token = resolve_token(repository, id)
        session.output.fields(token_document(token), _fields(token))


@app.command()
def validate(ctx: typer.Context) -> None:
    """Check whether a token is live.

    The token is read from stdin, or typed unseen at a terminal; it never goes on the command line. Counts
    as a use. Exit 0 when it is live, 1 when not, 3 when there is no store.
    """
    session: Session = ctx.obj
    try:
        text = read_secret("API token")
    except InvalidInput:
        text = ""
    with session.open() as repository:
        token = repository.validate_api_token(text)
        if token is None:
            session.output.result({"valid": False}, "not valid")
            raise typer.Exit(ExitCode.NO)
        session.output.fields({"valid": True, **token_document(token)}, [("Valid", "yes"), *_fields(token)])


@app.command()
def rotate(
    ctx: typer.Context,
    id: TokenID,
    grace: Annotated[
        str,
        typer.Option(metavar="1h", help="How long the old token stays live, such as 1h or 30m; by default not at all."),
    ] = "0s",
) -> None:
    """Replace an API token by a new one.

    The new one has the same tenant, description and scopes, its lifetime begun anew. It is printed as by
    'token add'. Exit 0, 3 when there is no live token of that ID, 4 when the ID fits several.
    """
    session: Session = ctx.obj
    overlap = duration("--grace", grace, least=timedelta(0))
    with session.open() as repository:
        old = resolve_token(repository, id)
        if old.expires_at is not None and old.expires_at <= datetime.now(UTC):
            raise CommandError(
                f"API token {old.token_id} has expired, and only a live one can be rotated",
                f"'fusion-store token add --tenant {old.tenant_id}' adds one in its place",
                ExitCode.NOT_FOUND,
                name="TokenNotFound",
            )
        issued = repository.rotate_api_token(old.hash, grace=overlap)
        _hand_over(session, issued)
        standing = repository.get_api_token(old.hash)
        fate = "is dead now" if standing is None else f"stays live until {shown_time(standing.expires_at)}"
        session.output.note(f"The old token {old.token_id} {fate}.")


@app.command()
def delete(ctx: typer.Context, id: TokenID, yes: Yes = False) -> None:
    """Delete an API token.

    It is dead at once; with a tenant's last token goes the tenant and all it holds. Shows what goes and
    asks. Exit 0, 1 when you decline, 2 without a terminal and --yes, 3 when there is no such token, 4
    when the ID fits several.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        token = resolve_token(repository, id)
        tenant = repository.get_tenant(token.tenant_hash)
        last = tenant is not None and tenant.api_tokens == 1
        lines = [
            f"This deletes API token {token.token_id}, prefix {token.prefix}, {token.description or 'no description'}"
        ]
        if tenant and last:
            lines.append(f"It is the tenant's last token: with it goes {holdings(tenant)}.")
        confirm(session.output, lines, yes=yes)
        if not repository.delete_api_token(token.hash):
            raise TokenNotFound
        gone = repository.get_tenant(token.tenant_hash) is None
        text = f"Deleted API token {token.token_id}."
        if gone and tenant:
            text = f"Deleted API token {token.token_id} and, as it was the last one, {holdings(tenant)}."
        document = {"deleted": True, "hash": token.hash, "tenant_hash": token.tenant_hash, "tenant_deleted": gone}
        session.output.result(document, text)


def token_document(token: APITokenMetadata) -> dict[str, Any]:
    """An API token for JSON."""
    return {
        "hash": token.hash,
        "prefix": token.prefix,
        "token_id": token.token_id,
        "tenant_hash": token.tenant_hash,
        "tenant_id": token.tenant_id,
        "description": token.description,
        "scopes": list(token.scopes),
        "created_at": iso(token.created_at),
        "last_used": iso(token.last_used),
        "expires_at": iso(token.expires_at),
    }


def holdings(tenant: TenantInfo) -> str:
    """A tenant and how much it holds, in words."""
    counts = [
        _count(tenant.api_tokens, "API token"),
        _count(tenant.oauth_tokens, "OAuth token"),
        _count(tenant.credentials, "credential"),
    ]
    return f"tenant {tenant.tenant_id} with {counts[0]}, {counts[1]} and {counts[2]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _row(token: APITokenMetadata) -> tuple[Cell, ...]:
    return token.prefix, token.token_id, token.created_at, token.last_used, token.expires_at, token.description


def _fields(token: APITokenMetadata) -> list[tuple[str, Cell]]:
    expired = token.expires_at is not None and token.expires_at <= datetime.now(UTC)
    return [
        ("Hash", token.hash),
        ("Prefix", token.prefix),
        ("Tenant", token.tenant_hash),
        ("Description", token.description),
        ("Scopes", " ".join(token.scopes)),
        ("Created", token.created_at),
        ("Last used", token.last_used),
        ("Expired" if expired else "Expires", token.expires_at),
    ]


def _hand_over(session: Session, issued: IssuedToken) -> None:
    output = session.output
    token = issued.metadata
    try:
        if output.json:
            output.document({"token": issued.token, **token_document(token)})
        elif output.terminal:
            output.fields({}, [("Token", issued.token), *_fields(token)])
        else:
            output.line(issued.token)
        output.flush()
    except (OSError, OutputLost):
        raise CommandError(
            f"the new token {token.token_id} stands, but it could not be printed",
            f"get another in its place with 'fusion-store token rotate {token.token_id}'",
            ExitCode.INPUT_OUTPUT,
            name="OutputError",
        ) from None
    if not output.terminal:
        output.note(f"API token {token.token_id} of tenant {token.tenant_id}")
    output.note(_ONLY_ONCE)
