"""Whether a store's payloads are plain or sealed: a mark in the store itself, fixed by its first record."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from fusion_store._errors import CorruptRecord, EncryptionError, NotEncrypted, WrongKey
from fusion_store.backend._storage import Storage

ENCRYPTION_MARK: Final = "encryption"
"""The name of the mark."""


class Mode(StrEnum):
    """What the mark says; a seal that vouches for it may follow behind a colon."""

    PLAIN = "plain"
    SEALED = "sealed"
    CONVERTING = "converting"


PLAIN_MARK: Final = Mode.PLAIN.encode()


def mode_of(mark: bytes | None) -> Mode | None:
    """The mode in a mark; None where none stands. An unreadable mark is taken for a sealed store's."""
    if mark is None:
        return None
    try:
        return Mode(mark.partition(b":")[0].decode(errors="replace"))
    except ValueError:
        return Mode.SEALED


def settle_mode(standing: bytes | None, wanted: bytes, is_empty: Callable[[], bool]) -> bytes | None:
    """The mark to write before a record of mode ``wanted`` may be, None when it stands already.

    Raises ``WrongKey`` or ``NotEncrypted`` when the store holds records of the other mode.
    """
    if standing == wanted:
        return None
    if standing is None or is_empty():
        return wanted
    if mode_of(standing) is mode_of(wanted):
        return None
    raise refusal(standing)


def refusal(standing: bytes | None) -> EncryptionError:
    """Why a store of that mark can't be used in another mode."""
    match mode_of(standing):
        case Mode.SEALED:
            return WrongKey("the vault is sealed, and no key is at hand")
        case Mode.CONVERTING:
            return NotEncrypted("the vault is half converted: run fusion-store key convert again")
    return NotEncrypted("the vault holds plain records: run fusion-store key convert --to encrypted")


def holds_records(storage: Storage) -> bool:
    """Whether a store isn't empty: a tenant stands besides the system's, or something under that."""
    try:
        if storage.scan_tenants(None, 1, 0):
            return True
    except CorruptRecord:
        return True
    page = storage.scan_records(None, 1)
    return len(page.records) + len(page.corrupt) > 1
