"""``fusion-store copy``, ``verify``, ``dump`` and ``restore``: moving a whole store."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusion_store import ConfigError
from fusion_store.cli._errors import CommandError, ExitCode, PlaceError
from fusion_store.cli._input import refuse_stdout
from fusion_store.cli._output import Cell, Output
from fusion_store.cli._session import Session

if TYPE_CHECKING:
    from fusion_store.backend import Backend, RecordRepository, StoreURL
    from fusion_store.transfer import Conflict, CopyReport, Difference, Progress, Spot

app: Final = typer.Typer()

_ENVIRONMENT: Final = "env:"

From = Annotated[str, typer.Argument(metavar="SRC", help="The URL of the store to read, or env:NAME.")]
To = Annotated[str, typer.Argument(metavar="DST", help="The URL of the other store, or env:NAME.")]
Merge = Annotated[bool, typer.Option("--merge", help="The destination may hold records already.")]


@app.command("copy")
def copy_store(ctx: typer.Context, source: From, destination: To, merge: Merge = False) -> None:
    """Copy a whole store into another one.

    Needs no keys: what is sealed is copied sealed. The destination is made when there is none, and must be empty, or
    given --merge: equal records are skipped then; of those that differ the higher version wins, API tokens keep the
    earlier expiry, and each is listed. When it is cut short, run it again: it goes on where it stopped. SRC and DST
    are URLs, or env:NAME for the URL in that environment variable; use that for URLs with a password. Exit 0, 3 when
    there is no SRC, 7 when a record in it is corrupt, 10 when DST isn't empty.
    """
    from fusion_store.transfer import copy

    session: Session = ctx.obj
    ends = [_find(session, text) for text in (source, destination)]
    if _name(ends[0][1]) == _name(ends[1][1]):
        raise CommandError("source and destination are the same store", "name two")
    with (
        session.open_storage(ends[0]) as here,
        session.open_storage(ends[1], create=True, start_audit=True) as there,
    ):
        began = time.monotonic()
        with _bar(session, "Copying", here) as bar, _resumable(session.output, bar) as progress:
            report = copy(here, there, name=_name(ends[0][1]), merge=merge, progress=progress)
    _show_copy(session.output, report, time.monotonic() - began)


@app.command("verify")
def verify_stores(ctx: typer.Context, source: From, destination: To) -> None:
    """Compare two stores, record by record.

    Everything that a copy carries is compared, when tokens were last used included; names what differs. Changes
    nothing and needs no keys. What hosts change meanwhile differs too: stop them. SRC and DST are as for copy.
    Exit 0 when both hold the same, 1 when they differ, 3 when there is no such store.
    """
    from fusion_store.transfer import verify

    session: Session = ctx.obj
    output = session.output
    ends = [_find(session, text) for text in (source, destination)]
    with session.open_storage(ends[0]) as here, session.open_storage(ends[1]) as there:
        began = time.monotonic()
        with _bar(session, "Comparing", here) as progress:
            report = verify(here, there, progress=progress)
    seconds = time.monotonic() - began
    document = {
        "equal": report.equal,
        "tenants": report.tenants,
        "records": report.records,
        "differing_tenants": report.differing_tenants,
        "differences": report.differences,
        "same_encryption": report.same_encryption,
        "source_digest": report.source_digest,
        "destination_digest": report.destination_digest,
        "seconds": seconds,
        "listed": [_difference_document(difference) for difference in report.listed],
    }
    if output.json:
        output.document(document)
    elif report.equal:
        output.line(f"Equal: {_amount(report.tenants, report.records)}{_rate(report.tenants, seconds)}.")
        output.line(f"Digest: {report.source_digest}")
    else:
        if report.listed:
            columns = ("DIFFERENCE", "KIND", "TENANT", "SERVICE", "TYPE", "HASH…", "SRC", "DST")
            output.records(report.listed, _difference_document, columns, _difference_row, empty="")
        counts = ", ".join(f"{count} {what}" for what, count in sorted(report.differences.items()))
        if counts:
            output.note(f"{_counted(report.differing_tenants, 'tenant')} of {report.tenants} differ: {counts}.")
        if not report.same_encryption:
            output.note("One store is sealed and the other isn't, or their marks are of different keys.")
    if not report.equal:
        raise typer.Exit(ExitCode.NO)


@app.command("dump")
def dump_store(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where the dump goes; nothing may stand there yet.")],
) -> None:
    """Write the whole store to one portable file.

    Every backend can restore it. Needs no keys: what is sealed stays sealed; the dump of a plain store holds its
    secrets in plain text. Exit 0, 3 when there is no store or no such folder, 7 when a record is corrupt, 10 when
    something stands at FILE.
    """
    from fusion_store.transfer import dump

    session: Session = ctx.obj
    refuse_stdout(path)
    with session.open_storage() as here:
        began = time.monotonic()
        with _bar(session, "Dumping", here) as progress:
            report = dump(here, path, progress=progress)
    seconds = time.monotonic() - began
    session.output.result(
        {"path": str(path), "tenants": report.tenants, "records": report.records, "seconds": seconds},
        f"Dump written to {path}: {_amount(report.tenants, report.records)}{_rate(report.tenants, seconds)}.",
    )


@app.command("restore")
def restore_store(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A dump.")],
    merge: Merge = False,
) -> None:
    """Read a dump into the store.

    The file is verified from end to end before anything is written. The store is made when there is none, and must be
    empty, or given --merge, as for copy. When it is cut short, run it again. Exit 0, 3 when there is no FILE, 6 when
    a newer release wrote it, 7 when it was cut or altered, 9 when it is no dump, 10 when the store isn't empty.
    """
    from fusion_store.backend import Dump
    from fusion_store.transfer import restore

    session: Session = ctx.obj
    output = session.output
    began = time.monotonic()
    with output.working("Verifying the dump"):
        # Before a store is made for a file that can't be used.
        found = Dump(path)
    with (
        found,
        session.open_storage(create=True, start_audit=True) as there,
        output.progress("Restoring", found.trailer.tenants) as bar,
        _resumable(output, bar) as progress,
    ):
        report = restore(found, there, merge=merge, progress=progress)
    _show_copy(output, report, time.monotonic() - began)


def _find(session: Session, text: str) -> tuple[Backend, StoreURL]:
    """The backend and the URL that an argument names."""
    from fusion_store._registry import find_backend

    if session.url is not None:
        raise CommandError("--url and --data-dir don't go with two stores", "name both behind the command")
    url = text
    if text.startswith(_ENVIRONMENT):
        name = text.removeprefix(_ENVIRONMENT)
        url = os.environ.get(name, "") if name and "\0" not in name and "=" not in name else ""
        if not url:
            raise ConfigError("the environment variable that env: names isn't set, or is empty")
    try:
        backend, parsed = find_backend(url)
    except ConfigError as error:
        raise PlaceError(error, "'fusion-store backends' lists the schemes") from error
    if parsed.password is not None and url is text:
        session.output.note("Others can read the password on the command line: put the URL into a variable, env:NAME.")
    return backend, parsed


def _name(url: StoreURL) -> str:
    """The store's name, without password and options: the same each time."""
    path = url.path
    if not url.host and len(path) > 1:
        path = str(Path(path[1:]).resolve())
    return f"{url.scheme}://{url.username or ''}@{url.host or ''}:{url.port or ''}{path}"


@contextmanager
def _bar(session: Session, text: str, source: RecordRepository) -> Iterator[Any]:
    total = source.stats().tenants + 1 if session.output.shows_progress else None
    with session.output.progress(text, total) as progress:
        yield progress


@contextmanager
def _resumable(output: Output, bar: Progress | None) -> Iterator[Progress]:
    """Progress that stops between two steps after Ctrl-C, so that it is known what was done; at once after another."""
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    def progress(tenants: int) -> None:
        if bar is not None:
            bar(tenants)
        if pressed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield progress
    except KeyboardInterrupt:
        output.note("Interrupted. Run it again: it goes on where it stopped.")
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _show_copy(output: Output, report: CopyReport, seconds: float) -> None:
    document = {
        "tenants": report.tenants,
        "records": report.records,
        "added": report.added,
        "replaced": report.replaced,
        "skipped": report.skipped,
        "conflicts": report.conflicts,
        "resumed": report.resumed,
        "seconds": seconds,
        "listed": [_conflict_document(conflict) for conflict in report.listed],
    }
    if output.json:
        output.document(document)
        return
    if report.listed:
        columns = ("KEPT", "KIND", "TENANT", "SERVICE", "TYPE", "HASH…", "STOOD", "CAME")
        output.records(report.listed, _conflict_document, columns, _conflict_row, empty="")
    if report.resumed:
        output.note("Went on where an earlier run had stopped.")
    output.line(
        f"{_amount(report.tenants, report.records)}: {report.added} added, {report.replaced} replaced, "
        f"{report.skipped} skipped, {_counted(report.conflicts, 'conflict')}{_rate(report.tenants, seconds)}."
    )


def _amount(tenants: int, records: int) -> str:
    return f"{_counted(tenants, 'tenant')} with {_counted(records, 'record')}"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _rate(tenants: int, seconds: float) -> str:
    return f", in {seconds:.1f} s ({tenants / max(seconds, 0.001):.0f} tenants/s)"


def _spot_document(spot: Spot) -> dict[str, str]:
    return {
        "kind": spot.kind,
        "tenant_hash": spot.tenant_hash,
        "service": spot.service,
        "credential_type": spot.credential_type,
        "hash": spot.hash,
    }


def _spot_row(spot: Spot) -> tuple[Cell, ...]:
    return spot.kind, spot.tenant_hash[:16], spot.service, spot.credential_type, spot.hash[:16]


def _conflict_document(conflict: Conflict) -> dict[str, Any]:
    return {
        **_spot_document(conflict.spot),
        "standing_version": conflict.standing_version,
        "incoming_version": conflict.incoming_version,
        "kept": conflict.kept,
    }


def _conflict_row(conflict: Conflict) -> tuple[Cell, ...]:
    return conflict.kept, *_spot_row(conflict.spot), conflict.standing_version, conflict.incoming_version


def _difference_document(difference: Difference) -> dict[str, Any]:
    return {
        **_spot_document(difference.spot),
        "difference": difference.what,
        "source_version": difference.source_version,
        "destination_version": difference.destination_version,
    }


def _difference_row(difference: Difference) -> tuple[Cell, ...]:
    versions = difference.source_version, difference.destination_version
    return difference.what, *_spot_row(difference.spot), *versions
