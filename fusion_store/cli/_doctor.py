"""``fusion-store doctor``: what an operator should know of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusion_store.cli._errors import ExitCode
from fusion_store.cli._input import duration
from fusion_store.cli._session import Session

if TYPE_CHECKING:
    from fusion_store.doctor import Diagnosis, Finding, Growth

app: Final = typer.Typer()

_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


@app.command()
def doctor(
    ctx: typer.Context,
    unused_for: Annotated[
        str, typer.Option("--unused-for", metavar="DURATION", help="An API token not used for so long is worth a look.")
    ] = "90d",
) -> None:
    """Examine the store, and say what to do about each thing found.

    Looks for corrupt records, OAuth tokens that were rejected or have ended, secrets in plain text or under old
    keys, API tokens that are unused, endless or expired, files that others may open, an old schema, and a disk that
    is filling up. Reads every record; changes nothing but a test record. Exit 0 when nothing is wrong, even if there
    is advice; 1 when something is; 3 when there is no store.
    """
    from fusion_store._registry import find_keyring
    from fusion_store.doctor import diagnose

    session: Session = ctx.obj
    span = duration("--unused-for", unused_for)
    backend, url = session.backend()
    keyring = None if session.without_keys else find_keyring()
    with session.output.progress("Examining") as progress:
        found = diagnose(backend, url, keyring=keyring, unused_for=span, progress=progress)
    if session.output.json:
        session.output.document(_document(found))
    else:
        _print(session, found)
    if not found.ok:
        raise typer.Exit(ExitCode.NO)


def _document(found: Diagnosis) -> dict[str, Any]:
    growth = found.growth
    return {
        "ok": found.ok,
        "findings": [{**finding._asdict(), "examples": list(finding.examples)} for finding in found.findings],
        "not_examined": found.not_examined,
        "records": found.records,
        "growth": None if growth is None else {**growth._asdict(), "full_in_days": growth.full_in_days},
    }


def _print(session: Session, found: Diagnosis) -> None:
    output = session.output
    for finding in found.findings:
        output.line(f"{'PROBLEM' if finding.problem else 'Advice'}: {_sentence(finding)}")
        output.line(f"  {finding.advice}")
    if not found.findings:
        output.line("Nothing found.")
    for gap in found.not_examined:
        output.line(f"Not examined: {gap}")
    output.line(f"{found.records} records{_growth(found.growth)}.")


def _sentence(finding: Finding) -> str:
    if not finding.examples:
        return finding.text
    more = ", …" if finding.number > len(finding.examples) else ""
    return f"{finding.text} ({', '.join(finding.examples)}{more})"


def _growth(growth: Growth | None) -> str:
    if growth is None:
        return ""
    text = f", {_size(growth.bytes_on_disk)}"
    if growth.bytes_per_day:
        text += f", growing by {_size(growth.bytes_per_day)} a day"
    if growth.free_bytes is not None:
        text += f", {_size(growth.free_bytes)} free"
    if growth.full_in_days is not None:
        text += f": the disk is full in {growth.full_in_days:,.0f} days"
    return text


def _size(number: float) -> str:
    for unit in _UNITS[:-1]:
        if number < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.0f} {_UNITS[-1]}"
