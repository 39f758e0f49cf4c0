"""``fusion-store key``: making keys, and moving a store from one to another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fusion_store import WrongKey
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._input import Yes, confirm
from fusion_store.cli._output import Cell
from fusion_store.cli._session import Session

if TYPE_CHECKING:
    from fusion_store.backend import RecordRepository
    from fusion_store.layers import Keyring
    from fusion_store.layers.rekey import Resealing, SealCounts

app: Final = typer.Typer(help="Make encryption keys, and seal the store with them.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


class Target(StrEnum):
    """What a store can be converted to."""

    ENCRYPTED = "encrypted"
    PLAIN = "plain"


@app.command()
def generate(
    ctx: typer.Context,
    kms: Annotated[
        str | None, typer.Option("--kms", metavar="KEY_ID", help="Wrap it under this AWS KMS key (id, ARN or alias).")
    ] = None,
) -> None:
    """Print a new encryption key.

    32 random bytes in url-safe base64; with --kms wrapped, so that only AWS KMS can open it. Put it into
    FUSION_STORE_KEYS, or as a line into the file that FUSION_STORE_KEY_FILE names (mode 0600); the first key there
    seals, all of them open. It isn't kept anywhere else: without it what it sealed is lost. Exit 0, 5 when KMS
    can't be reached, 9 when it refuses.
    """
    session: Session = ctx.obj
    if kms is not None:
        from fusion_store.layers import generate_wrapped_key

        wrapped = generate_wrapped_key(kms)
        session.output.result({"key": wrapped}, wrapped)
        return
    from fusion_store.layers import Key

    key = Key.generate()
    session.output.note(f"Key {key.key_id}. Keep it apart from the store and its backups.")
    session.output.result({"key": key.reveal(), "key_id": key.key_id}, key.reveal())


@app.command()
def status(ctx: typer.Context) -> None:
    """Count what each key seals.

    Reads every record, needs no keys. Plain payloads are counted too; the store's own mark counts as one.
    Exit 0, also when some are damaged; 3 when there is no store.
    """
    from fusion_store.layers.rekey import count_seals

    session: Session = ctx.obj
    keyring = _keyring(session)
    with session.open_storage() as storage, session.output.progress("Reading") as progress:
        counts = count_seals(storage, progress)
    session.output.records(
        list(_seal_documents(counts, keyring)),
        lambda seal: seal,
        ("KEY", "CIPHER", "PAYLOADS", "AT HAND"),
        _seal_row,
        empty="No payloads found.",
    )
    if counts.damaged:
        session.output.note(f"{counts.damaged} more are damaged: run fusion-store check.")


@app.command()
def rotate(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Seal everything under the first key.

    In batches, while hosts go on reading and writing: give them the new key first, as a further one, then make it
    the first everywhere, then run this. Can be run again after it was cut short. Then says which keys at hand are
    no longer needed. Exit 0, 8 when something couldn't be opened.
    """
    from fusion_store.layers.rekey import rotate_keys

    session: Session = ctx.obj
    keyring = _needed_keyring(session)
    with (
        session.open_storage(start_audit=not dry_run) as storage,
        _counted(session, storage, "Sealing") as progress,
    ):
        outcome = rotate_keys(storage, keyring, dry_run=dry_run, progress=progress)
    _report(session, outcome, keyring, dry_run=dry_run)


@app.command()
def convert(
    ctx: typer.Context,
    to: Annotated[Target, typer.Option("--to", help="What the store is to be.")],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Seal a plain store, or open a sealed one for good.

    Stop the hosts that use the store first: they can't store anything meanwhile, and have to be given the keys, or
    relieved of them, afterwards. When it is cut short, run it again. Asks. Exit 0, 1 when you decline,
    8 when something couldn't be opened, 10 when the store is so already.
    """
    from fusion_store.backend import Mode
    from fusion_store.layers.rekey import convert as convert_store

    session: Session = ctx.obj
    keyring = _needed_keyring(session)
    mode = Mode.SEALED if to is Target.ENCRYPTED else Mode.PLAIN
    if not dry_run:
        warning = (
            "Every payload is sealed: hosts need the key from then on."
            if to is Target.ENCRYPTED
            else "Every secret will lie in the store in plain text."
        )
        confirm(session.output, [warning], yes=yes)
    with (
        session.open_storage(start_audit=not dry_run) as storage,
        _counted(session, storage, "Converting") as progress,
    ):
        outcome = convert_store(storage, keyring, to=mode, dry_run=dry_run, progress=progress)
    _report(session, outcome, keyring, dry_run=dry_run)


def _keyring(session: Session) -> Keyring | None:
    from fusion_store._registry import find_keyring

    return None if session.without_keys else find_keyring()


def _needed_keyring(session: Session) -> Keyring:
    keyring = _keyring(session)
    if session.without_keys:
        raise CommandError("this needs the store's keys", "leave out --no-keys")
    if keyring is None:
        raise WrongKey("this needs the store's keys: set FUSION_STORE_KEYS or FUSION_STORE_KEY_FILE")
    return keyring


@contextmanager
def _counted(session: Session, storage: RecordRepository, text: str) -> Iterator[Any]:
    from fusion_store.layers.rekey import count_payloads

    total = count_payloads(storage) if session.output.shows_progress else None
    with session.output.progress(text, total) as progress:
        yield progress


def _seal_documents(counts: SealCounts, keyring: Keyring | None) -> Iterator[dict[str, Any]]:
    at_hand = {key.key_id for key in keyring or ()}
    ordered = sorted(counts.seals.items(), key=lambda item: "" if item[0] is None else item[0].key_id)
    for seal, payloads in ordered:
        key_id, cipher = (None, None) if seal is None else (seal.key_id, str(seal.cipher))
        yield {"key_id": key_id, "cipher": cipher, "payloads": payloads, "at_hand": key_id in at_hand}


def _seal_row(seal: dict[str, Any]) -> list[Cell]:
    if seal["key_id"] is None:
        return ["none: plain", "", seal["payloads"], ""]
    return [seal["key_id"], seal["cipher"], seal["payloads"], "yes" if seal["at_hand"] else "no"]


def _report(session: Session, outcome: Resealing, keyring: Keyring, *, dry_run: bool) -> None:
    output = session.output
    document = {
        "dry_run": dry_run,
        "changed": outcome.changed,
        "failed": [str(error) for error in outcome.failed],
        "seals": list(_seal_documents(outcome.remaining, keyring)),
        "unneeded": outcome.unneeded,
    }
    payloads = "1 payload" if outcome.changed == 1 else f"{outcome.changed} payloads"
    text = f"Would seal or open {payloads}." if dry_run else f"Sealed or opened {payloads}."
    if outcome.unneeded:
        text += f" No longer needed: {', '.join(outcome.unneeded)}."
    output.result(document, text)
    for error in outcome.failed:
        output.note(f"not changed: {error}")
    if outcome.failed:
        raise typer.Exit(ExitCode.ENCRYPTION)
