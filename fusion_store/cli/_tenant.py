"""``fusion-store tenant``: the private namespaces that API tokens open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import typer

from fusion_store import TenantInfo, TenantNotFound, TokenRepository
from fusion_store.cli._input import TenantID, Yes, confirm, resolve_tenant
from fusion_store.cli._output import Cell, iso
from fusion_store.cli._session import Session
from fusion_store.cli._token import holdings

app: Final = typer.Typer(help="List, show and delete tenants.", no_args_is_help=True)

_COLUMNS: Final = ("TENANT", "CREATED", "API TOKENS", "OAUTH TOKENS", "CREDENTIALS")
_PAGE: Final = 500
_TOKENS_SHOWN: Final = 10


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the tenants and how much each holds.

    Ordered by their hashes. Times are UTC. Exit 0, also when there are none; 3 when there is no store.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        session.output.records(_tenants(repository), _document, _COLUMNS, _row, empty="No tenants found.")


@app.command()
def show(ctx: typer.Context, id: TenantID) -> None:
    """Show a tenant and how much it holds.

    Exit 0, 3 when there is no such tenant, 4 when the ID fits several.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        tenant = _tenant(repository, id)
        session.output.fields(
            _document(tenant),
            [
                ("Tenant", tenant.tenant_hash),
                ("Created", tenant.created_at),
                ("API tokens", tenant.api_tokens),
                ("OAuth tokens", tenant.oauth_tokens),
                ("Credentials", tenant.credentials),
            ],
        )


@app.command()
def delete(ctx: typer.Context, id: TenantID, yes: Yes = False) -> None:
    """Delete a tenant and all it holds.

    Its API tokens, OAuth tokens and credentials go at once and for good. Shows what goes and asks. Exit
    0, 1 when you decline, 2 without a terminal and --yes, 3 when there is no such tenant, 4 when the ID
    fits several.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        tenant = _tenant(repository, id)
        tokens = repository.list_api_tokens(tenant_hash=tenant.tenant_hash, limit=_TOKENS_SHOWN)
        lines = [
            f"This deletes {holdings(tenant)}:",
            *(f"  API token {t.token_id}, prefix {t.prefix}, {t.description or 'no description'}" for t in tokens),
        ]
        if tenant.api_tokens > len(tokens):
            lines.append(f"  and {tenant.api_tokens - len(tokens)} more API tokens")
        confirm(session.output, lines, yes=yes)
        if not repository.delete_tenant(tenant.tenant_hash):
            raise TenantNotFound
        document = {"deleted": True, **_document(tenant)}
        session.output.result(document, f"Deleted {holdings(tenant)}.")


def _tenant(repository: TokenRepository, identifier: str) -> TenantInfo:
    tenant = repository.get_tenant(resolve_tenant(repository, identifier))
    if tenant is None:
        raise TenantNotFound
    return tenant


def _tenants(repository: TokenRepository) -> Iterator[TenantInfo]:
    after: str | None = None
    while page := repository.list_tenants(after=after, limit=_PAGE):
        yield from page
        after = page[-1].cursor


def _document(tenant: TenantInfo) -> dict[str, Any]:
    return {
        "tenant_hash": tenant.tenant_hash,
        "tenant_id": tenant.tenant_id,
        "created_at": iso(tenant.created_at),
        "api_tokens": tenant.api_tokens,
        "oauth_tokens": tenant.oauth_tokens,
        "credentials": tenant.credentials,
    }


def _row(tenant: TenantInfo) -> tuple[Cell, ...]:
    return tenant.tenant_id, tenant.created_at, tenant.api_tokens, tenant.oauth_tokens, tenant.credentials
