"""``fusion-store import``: bringing data along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusion_store import StoreNotFound, TenantNotFound, TokenRepository
from fusion_store.cli._input import resolve_tenant
from fusion_store.cli._session import Session

if TYPE_CHECKING:
    from fusion_store.importing import Finding, ImportPlan

app: Final = typer.Typer()

_NAMES: Final = {"api_token": "API token", "oauth": "OAuth token", "credential": "credential"}
_COUNTS: Final = {
    "tenants": ("tenant", "tenants"),
    "api_tokens": ("API token", "API tokens"),
    "oauth_tokens": ("OAuth token", "OAuth tokens"),
    "credentials": ("credential", "credentials"),
}


@app.command("import")
def import_file(
    ctx: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A BoltDB file of MCPFusion, or a file cache (JSON).")],
    tenant: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Where the tokens of a file cache go that name no tenant: hash or prefix."),
    ] = None,
    merge_users: Annotated[
        bool, typer.Option("--merge-users", help="Make one tenant of each user of MCPFusion, with all its API tokens.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Go on without the records that are over a limit or malformed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come.")] = False,
) -> None:
    """Bring tenants, tokens and credentials along from MCPFusion.

    Stop MCPFusion first. The file is read whole and compared with the store before anything is written, and never
    changed. What stands already is passed over, so an import can be run again. Exit 0, 2 when the file or a record
    in it is invalid, 3 when there is no such tenant, 5 when the file is in use, 10 when the store has other
    content; nothing was imported then.
    """
    from fusion_store.importing import carry_out, plan_import

    session: Session = ctx.obj
    output = session.output
    with ExitStack() as stack:
        repository = _standing(session, stack)
        tenant_hash = None if tenant is None else _tenant(repository, tenant)
        with output.working("Reading"):
            plan = plan_import(repository, file, tenant_hash=tenant_hash, merge_users=merge_users)
        refusal = plan.refusal(skip_invalid=skip_invalid)
        write = refusal is None and not dry_run
        if write:
            target = stack.enter_context(session.open(create=True)) if repository is None else repository
            with output.progress("Importing", len(plan.records)) as progress:
                carry_out(target, plan, skip_invalid=skip_invalid, progress=progress)
    _show(session, plan, dry_run=dry_run, written=write)
    if refusal is not None:
        raise refusal


def _standing(session: Session, stack: ExitStack) -> TokenRepository | None:
    """The store, None while there is none: one is made only for a file that is sound."""
    try:
        return stack.enter_context(session.open())
    except StoreNotFound:
        return None


def _tenant(repository: TokenRepository | None, identifier: str) -> str:
    if repository is None:
        raise TenantNotFound
    return resolve_tenant(repository, identifier)


def _show(session: Session, plan: ImportPlan, *, dry_run: bool, written: bool) -> None:
    findings = {
        "invalid": plan.invalid,
        "conflicts": plan.conflicts,
        "orphans": plan.orphans,
        "superseded": plan.superseded,
        "revoked": plan.revoked,
    }
    document: dict[str, Any] = {
        "source": plan.source,
        "dry_run": dry_run,
        "written": written,
        "new": {name: plan.coming[name] for name in _COUNTS},
        "standing": {name: plan.standing[name] for name in _COUNTS},
        **{name: [_document(finding) for finding in found] for name, found in findings.items()},
        "left_out": dict(plan.left_out),
    }
    session.output.fields(
        document,
        [
            ("File", plan.source),
            ("Imported" if written else "Would be new", _counts(plan.coming)),
            ("There already", _counts(plan.standing)),
            ("Has no place here", ", ".join(f"{what}: {count}" for what, count in plan.left_out.items()) or "nothing"),
        ],
    )
    for finding in (each for found in findings.values() for each in found):
        session.output.note(_sentence(finding))


def _counts(counts: Counter[str]) -> str:
    shown = (f"{counts[name]} {_COUNTS[name][counts[name] != 1]}" for name in _COUNTS if counts[name])
    return ", ".join(shown) or "nothing"


def _document(finding: Finding) -> Mapping[str, str]:
    return {
        "kind": finding.kind,
        "tenant_hash": finding.tenant_hash,
        "service": finding.service,
        "reason": finding.reason,
    }


def _sentence(finding: Finding) -> str:
    service = f", service {finding.service}" if finding.service else ""
    return f"Not imported: {_NAMES[finding.kind]} under {finding.tenant_hash[:16]}{service}: {finding.reason}"
