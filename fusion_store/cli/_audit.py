"""``fusion-store audit``: who changed what, and proof of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusion_store import AlreadyExists, AuditRecord, TokenRepository
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._input import Yes, confirm, duration, resolve_tenant
from fusion_store.cli._output import Cell
from fusion_store.cli._session import Session

if TYPE_CHECKING:
    from fusion_store.audit import AuditFault, AuditSettings
    from fusion_store.backend import RecordRepository

app: Final = typer.Typer(help="Record the store's changes, show them, and verify the records.", no_args_is_help=True)

_COLUMNS: Final = ("TIME", "ACTOR", "ACTION", "OUTCOME", "TENANT", "SERVICE", "TOKEN", "NO.")
_PAGE: Final = 500

OfTenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="ID", help="Only of this tenant, also a deleted one."),
]


@app.command()
def status(ctx: typer.Context) -> None:
    """Say whether the store records its changes.

    Also for how long purge leaves the records. Exit 0, 3 when there is no store.
    """
    from fusion_store import audit

    session: Session = ctx.obj
    with session.open_storage() as storage:
        _report(session, audit.settings(storage))


@app.command()
def enable(
    ctx: typer.Context,
    keep: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long purge leaves records, such as 365d; else for ever.")
    ] = None,
) -> None:
    """Record each change of the store from now on.

    Whoever makes it: processes that have the store open already record too. Where that is so already, only the
    duration is set. Exit 0, 3 when there is no store.
    """
    from fusion_store import audit

    session: Session = ctx.obj
    span: timedelta | None = None if keep is None else duration("--keep", keep)
    with session.open_storage() as storage:
        _report(session, audit.enable(storage, keep=span))


@app.command()
def disable(ctx: typer.Context, yes: Yes = False) -> None:
    """Record no more changes.

    What was recorded stays. The end is recorded too. Asks. Exit 0, 1 when you decline, 3 when there is no store.
    """
    from fusion_store import audit

    session: Session = ctx.obj
    with session.open_storage() as storage:
        if audit.settings(storage) is not None:
            confirm(session.output, ["From now on nobody can tell who changed what."], yes=yes)
            audit.disable(storage)
        _report(session, None)


@app.command("list")
def list_(
    ctx: typer.Context,
    tenant: OfTenant = None,
    store: Annotated[bool, typer.Option("--store", help="Only what belongs to no tenant.")] = False,
) -> None:
    """List the audit records, the oldest first.

    Times are UTC; ACTOR is what the host said. Exit 0, also when there are none; 3 when there neither is nor was such
    a tenant, as far as records tell, 4 when the ID fits several, 7 when a record was altered.
    """
    session: Session = ctx.obj
    if store and tenant is not None:
        raise CommandError("--store and --tenant exclude each other", "give one of them")
    from fusion_store.audit import document

    with session.open_storage() as storage:
        chain = "" if store else None if tenant is None else resolve_tenant(storage, tenant, partial(_chains, storage))
        records = _records(storage, chain)
        session.output.records(records, document, _COLUMNS, _row, empty="No audit records found.")


@app.command()
def export(
    ctx: typer.Context,
    path: Annotated[
        str, typer.Argument(metavar="[PATH]", help="A new file, for the owner alone; by default stdout.")
    ] = "-",
) -> None:
    """Write all audit records as JSON lines.

    Chain by chain, the store's own first, so that each can be verified without the store. Exit 0, 3 when there is no
    store, 10 when PATH exists.
    """
    from fusion_store.audit import line

    session: Session = ctx.obj
    with session.open_storage() as storage, _target(path) as write:
        number = 0
        with storage.guard:
            for chain in storage.audit_chains():
                for record in storage.audit_records(chain.tenant_hash):
                    write(line(record))
                    number += 1
    if path != "-":
        session.output.result({"path": path, "records": number}, f"{number} audit records written to {path}")


@app.command()
def verify(
    ctx: typer.Context,
    anchor: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Compare with how the chains ended then: see audit anchor.")
    ] = None,
) -> None:
    """Find audit records that were altered, removed or moved.

    Reads all of them. Without an anchor, it can't be noticed when somebody who can write to the storage made up a whole
    chain anew. Exit 0 when all is sound, 7 when not, 3 when there is no store.
    """
    from fusion_store import audit

    session: Session = ctx.obj
    output = session.output
    with session.open_storage() as storage, output.working("Verifying"):
        report = audit.verify(storage, anchor)
    if output.json:
        faults = [_fault_document(fault) for fault in report.faults]
        output.document({"ok": report.ok, "chains": report.chains, "records": report.records, "faults": faults})
    elif report.ok:
        output.line(f"{report.records} audit records in {report.chains} chains, all sound.")
    else:
        output.records(report.faults, _fault_document, ("TENANT", "NO.", "REASON"), _fault_row, empty="")
        output.note(f"{len(report.faults)} faults in {report.records} audit records.")
    if not report.ok:
        raise typer.Exit(ExitCode.CORRUPT)


@app.command()
def anchor(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new file, for the owner alone.")],
) -> None:
    """Write down how all chains end now.

    Keep the file where whoever can write to the store can't: 'audit verify --anchor' then finds records that were
    removed from the end of a chain, and chains that were made up anew. Exit 0, 3 when there is no store, 10 when PATH
    exists.
    """
    from fusion_store import audit

    session: Session = ctx.obj
    with session.open_storage() as storage, session.output.working("Writing the anchor"):
        chains = audit.write_anchor(storage, path)
    session.output.result({"path": str(path), "chains": chains}, f"The ends of {chains} chains written to {path}")


def _report(session: Session, settings: AuditSettings | None) -> None:
    keep = None if settings is None or settings.keep is None else int(settings.keep.total_seconds())
    kept = "for ever" if keep is None else f"{keep} seconds"
    fields: list[tuple[str, Cell]] = [("Changes recorded", "no" if settings is None else "yes")]
    if settings is not None:
        fields.append(("Kept", kept))
    session.output.fields({"enabled": settings is not None, "keep_seconds": keep}, fields)


def _chains(storage: RecordRepository, prefix: str) -> Iterator[str]:
    with storage.guard:
        for chain in storage.audit_chains():
            if chain.tenant_hash.startswith(prefix):
                yield chain.tenant_hash


def _records(repository: TokenRepository, tenant_hash: str | None) -> Iterator[AuditRecord]:
    after: str | None = None
    while page := repository.audit_log(tenant_hash=tenant_hash, after=after, limit=_PAGE):
        yield from page
        after = page[-1].cursor


@contextmanager
def _target(path: str) -> Iterator[Any]:
    """What writes to stdout, or to a new file that is gone again after a failure."""
    if path == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer.write
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExists("something stands at that path already") from None
    except OSError as error:
        raise CommandError(f"the file can't be written: {error.strerror}", "", ExitCode.INPUT_OUTPUT) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file.write
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


def _row(record: AuditRecord) -> tuple[Cell, ...]:
    what = record.service if not record.credential_type else f"{record.service} ({record.credential_type})"
    return (
        record.at,
        record.actor,
        record.action,
        record.outcome,
        record.tenant_id,
        what,
        record.token_id,
        record.sequence,
    )


def _fault_document(fault: AuditFault) -> dict[str, Any]:
    return {"tenant_hash": fault.tenant_hash, "sequence": fault.sequence, "reason": fault.reason}


def _fault_row(fault: AuditFault) -> tuple[Cell, ...]:
    return fault.tenant_hash[:16] or "the store", fault.sequence, fault.reason
