"""The commands on the store as a whole."""

from __future__ import annotations

import threading
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from fusion_store import CorruptPlace, TokenRepository
from fusion_store.cli._errors import ExitCode
from fusion_store.cli._input import duration, refuse_stdout
from fusion_store.cli._output import Cell
from fusion_store.cli._session import Session

app: Final = typer.Typer()


@app.command()
def stats(ctx: typer.Context) -> None:
    """Show how much the store holds.

    The size on disk is in bytes; expired credentials aren't counted. Exit 0, 3 when there is no store.
    """
    session: Session = ctx.obj
    with session.open() as repository:
        found = repository.stats()
    session.output.fields(
        {
            "tenants": found.tenants,
            "api_tokens": found.api_tokens,
            "oauth_tokens": found.oauth_tokens,
            "credentials": found.credentials,
            "bytes_on_disk": found.bytes_on_disk,
            "schema_version": found.schema_version,
        },
        [
            ("Tenants", found.tenants),
            ("API tokens", found.api_tokens),
            ("OAuth tokens", sum(found.oauth_tokens.values())),
            *((f"  {service}", number) for service, number in found.oauth_tokens.items()),
            ("Credentials", sum(found.credentials.values())),
            *((f"  {kind}", number) for kind, number in found.credentials.items()),
            ("Bytes on disk", found.bytes_on_disk),
            ("Schema", found.schema_version),
        ],
    )


@app.command()
def check(ctx: typer.Context) -> None:
    """Read every record and list the corrupt ones.

    Changes nothing. Without keys, of sealed payloads only the form is checked. Exit 0 when all is sound, 7 when
    anything is corrupt, 3 when there is no store.
    """
    session: Session = ctx.obj
    output = session.output
    with session.open() as repository, output.working("Reading every record"):
        report = repository.check()
        opened = not _lacks_keys(repository)
    if output.json:
        output.document(
            {
                "ok": report.ok,
                "payloads_opened": opened,
                "records": report.records,
                "corrupt": [_place_document(place) for place in report.corrupt],
            }
        )
    elif report.ok:
        output.line(f"{report.records} records, all sound{'' if opened else ' in form'}.")
    else:
        output.records(report.corrupt, _place_document, ("KIND", "TENANT", "SERVICE", "REASON"), _place_row, empty="")
        output.note(f"{len(report.corrupt)} of {report.records} records are corrupt.")
    if not opened:
        output.note("Without keys the sealed payloads weren't opened: give the keys to have them checked too.")
    if not report.ok:
        raise typer.Exit(ExitCode.CORRUPT)


@app.command()
def health(
    ctx: typer.Context,
    timeout: Annotated[
        str,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            help="How long the store may take to open, and then to answer, such as 5s or 1m.",
        ),
    ] = "5s",
) -> None:
    """Write, read and delete a test record.

    Says whether that worked and how long it took. Exit 0 when it worked, 5 when not, 3 when there is
    no store.
    """
    from fusion_store.backend import Probe

    session: Session = ctx.obj
    limit = duration("--timeout", timeout)
    # Loading a driver takes its time too, and says nothing of the store.
    session.backend()
    repository = Probe[TokenRepository]().run(partial(copy_context().run, session.open), limit.total_seconds())
    found = repository.health(timeout=limit)
    session.output.fields(
        {
            "ok": found.ok,
            "backend": found.backend,
            "latency_seconds": found.latency,
            "schema": found.schema,
            "encryption": found.encryption,
            "error": found.error,
        },
        [
            ("OK", "yes" if found.ok else "no"),
            ("Backend", found.backend),
            ("Latency", f"{found.latency * 1000:.1f} ms"),
            ("Schema", found.schema),
            ("Encryption", found.encryption),
            *([("Error", found.error)] if found.error else []),
        ],
    )
    if not found.ok:
        # Closing waits for a check that hangs; nobody waits for this.
        threading.Thread(target=repository.close, daemon=True).start()
        raise typer.Exit(ExitCode.STORE)
    repository.close()


@app.command()
def backup(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Where the copy goes; nothing may stand there yet.")],
) -> None:
    """Copy the store to PATH while it is in use.

    The copy is complete and consistent. Of SQLite and LevelDB it opens as a store of the same scheme; of a database
    server it is a dump, for 'fusion-store restore'. Exit 0, 3 when there is no store, 10 when PATH exists.
    """
    session: Session = ctx.obj
    refuse_stdout(path)
    with session.open() as repository, session.output.working("Writing the backup"):
        repository.backup(path)
    session.output.result({"path": str(path)}, f"Backup written to {path}")


@app.command()
def purge(ctx: typer.Context) -> None:
    """Delete what has expired.

    That is auth codes, refresh claims, credentials and API tokens, and says how many of each. A tenant's
    last API token stays, so no tenant goes. Exit 0, also when nothing had expired; 3 when there is no store.
    """
    session: Session = ctx.obj
    with session.open() as repository, session.output.working("Purging"):
        purged = repository.purge_expired()
    names = {
        "codes": "Auth codes",
        "claims": "Refresh claims",
        "credentials": "Credentials",
        "api_tokens": "API tokens",
        "audit_records": "Audit records",
    }
    session.output.fields(purged, [(names.get(name, name), number) for name, number in purged.items()])


@app.command()
def backends(ctx: typer.Context) -> None:
    """List the URL schemes that can be used.

    Also the driver that each needs, whether it is installed, and what installs it. Exit 0.
    """
    from fusion_store._registry import BackendStatus, list_backends

    session: Session = ctx.obj

    def row(status: BackendStatus) -> tuple[Cell, ...]:
        extra = f"pip install 'fusion-store[{status.extra}]'" if status.extra else ""
        return status.scheme, status.driver or "none", "yes" if status.installed else "no", extra

    session.output.records(
        list_backends(),
        BackendStatus._asdict,
        ("SCHEME", "DRIVER", "INSTALLED", "EXTRA"),
        row,
        empty="No backends found.",
    )


def _lacks_keys(repository: TokenRepository) -> bool:
    from fusion_store.layers import EncryptedTokenRepository

    return isinstance(repository, EncryptedTokenRepository) and not repository.keyring


def _place_document(place: CorruptPlace) -> dict[str, str]:
    return {
        "kind": place.kind,
        "tenant_hash": place.tenant_hash,
        "service": place.service,
        "reason": place.reason,
    }


def _place_row(place: CorruptPlace) -> tuple[Cell, ...]:
    return place.kind, place.tenant_hash[:16], place.service, place.reason
