"""Work on a whole store's seals: counting them, moving them under the first key, sealing and unsealing a store.

All of it goes in batches beside readers and writers, and can be run again after it was cut short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from fusion_store._errors import Conflict, CorruptRecord, EncryptionError, Tampered, WrongKey
from fusion_store._records import AuthCodeRecord, SecretRecord
from fusion_store.backend import (
    ENCRYPTION_MARK,
    PLAIN_MARK,
    Mode,
    RecordRepository,
    holds_records,
    mode_of,
    refusal,
)
from fusion_store.layers._keyring import Keyring
from fusion_store.layers._mark import new_mark, seal_of_mark, verify_mark
from fusion_store.layers._seal import Seal, SealName, is_sealed, seal_of

Progress = Callable[[int], None]
"""Called with how many payloads were looked at since the last call."""

_PAGE: Final = 100

_Payload = SecretRecord | AuthCodeRecord


@dataclass
class SealCounts:
    """How many payloads each key and cipher seals, the store's mark among them; None stands for plain ones.

    ``damaged`` counts records that don't read, and envelopes that name no known cipher.
    """

    seals: Counter[SealName | None] = field(default_factory=Counter)
    damaged: int = 0

    def key_ids(self) -> set[str]:
        """The keys that something still needs."""
        return {seal.key_id for seal in self.seals if seal is not None}


@dataclass
class Resealing:
    """The outcome of a rotation or conversion.

    ``changed`` payloads were sealed anew (would be, in a dry run), ``failed`` ones could not be opened and stand as
    they were. ``remaining`` says what seals the store now; ``unneeded`` are keys at hand that seal nothing any more.
    """

    changed: int
    failed: list[EncryptionError | CorruptRecord]
    remaining: SealCounts
    unneeded: list[str]


def count_payloads(storage: RecordRepository) -> int:
    """How many payloads the store holds."""
    return sum(1 for page in _pages(storage) for _ in page)


def count_seals(storage: RecordRepository, progress: Progress | None = None) -> SealCounts:
    """What seals the payloads of a store. Needs no keys."""
    counts = SealCounts()
    mark = storage.read_mark(ENCRYPTION_MARK)
    if mode_of(mark) is Mode.SEALED and mark is not None:
        counts.seals[seal_of_mark(mark)] += 1
    for page in _pages(storage, counts):
        for record in page:
            seal = seal_of(record.payload)
            if seal is None and is_sealed(record.payload):
                counts.damaged += 1
            else:
                counts.seals[seal] += 1
        _report(progress, page)
    return counts


def rotate_keys(
    storage: RecordRepository, keyring: Keyring, *, dry_run: bool = False, progress: Progress | None = None
) -> Resealing:
    """Seal every payload of a sealed store with the first key and the keyring's cipher, where it isn't yet.

    ``storage`` is the repository below the encryption layer. Raises ``NotEncrypted`` for a plain store,
    and ``WrongKey`` when no key at hand opens its mark.
    """
    mark = storage.read_mark(ENCRYPTION_MARK)
    if mark is None or mode_of(mark) is not Mode.SEALED:
        raise refusal(mark)
    seal = _sealing(keyring)
    verify_mark(seal, mark)

    def under_first_key(record: _Payload) -> bytes | None:
        if seal_of(record.payload) == seal.primary:
            return None
        return seal.seal(seal.open(record.payload, record.binding()), record.binding())

    changed, failed = _rewrite(storage, under_first_key, dry_run=dry_run, progress=progress)
    if not dry_run and seal_of_mark(mark) != seal.primary:
        _write_mark(storage, new_mark(seal), "key.rotate")
    return _outcome(storage, keyring, changed, failed)


def convert(
    storage: RecordRepository, keyring: Keyring, *, to: Mode, dry_run: bool = False, progress: Progress | None = None
) -> Resealing:
    """Seal a plain store's payloads (``Mode.SEALED``), or open a sealed one's (``Mode.PLAIN``).

    While it lasts, and until it is run again after it was cut short, others can't store payloads. With payloads that
    can't be opened, or plain ones that don't read, the store stays half converted. Raises ``Conflict`` for a store
    that is so already, or half converted the other way.
    """
    standing = storage.read_mark(ENCRYPTION_MARK)
    underway = f"{Mode.CONVERTING}:{to}".encode()
    seal = _sealing(keyring)
    if mode_of(standing) is Mode.CONVERTING and standing != underway:
        raise Conflict("the vault is half converted the other way: finish that first")
    if mode_of(standing) is to and holds_records(storage):
        raise Conflict(f"the vault is {to} already")
    if standing is not None and mode_of(standing) is Mode.SEALED:
        verify_mark(seal, standing)
    elif mode_of(standing) is not Mode.CONVERTING and count_seals(storage).key_ids():
        raise Tampered("sealed payloads stand in a vault whose mark says that it is plain")
    if not dry_run:
        _write_mark(storage, underway, "key.convert")

    def converted(record: _Payload) -> bytes | None:
        if is_sealed(record.payload) is (to is Mode.SEALED):
            return None
        if to is Mode.SEALED:
            # A seal would vouch for what its checksum refuses.
            storage.check_payload(record)
            return seal.seal(record.payload, record.binding())
        return seal.open(record.payload, record.binding())

    changed, failed = _rewrite(storage, converted, dry_run=dry_run, progress=progress)
    if not dry_run and not failed:
        _write_mark(storage, new_mark(seal) if to is Mode.SEALED else PLAIN_MARK, "key.converted")
    return _outcome(storage, keyring, changed, failed)


def _write_mark(storage: RecordRepository, mark: bytes, action: str) -> None:
    with storage.guard:
        storage.write_mark(ENCRYPTION_MARK, mark, audit=storage.audit_entry(action))


def _sealing(keyring: Keyring) -> Seal:
    if not keyring:
        raise WrongKey("this needs the vault's keys")
    return Seal(keyring)


def _rewrite(
    storage: RecordRepository,
    rewritten: Callable[[_Payload], bytes | None],
    *,
    dry_run: bool,
    progress: Progress | None,
) -> tuple[int, list[EncryptionError | CorruptRecord]]:
    """Put ``rewritten`` payloads in place until a pass over the store finds nothing more to do."""
    changed = 0
    while True:
        stale, failed = 0, list[EncryptionError | CorruptRecord]()
        for page in _pages(storage):
            replacements: list[tuple[_Payload, bytes]] = []
            for record in page:
                try:
                    payload = rewritten(record)
                except (EncryptionError, CorruptRecord) as error:
                    failed.append(error)
                    continue
                if payload is not None:
                    replacements.append((record, payload))
            stale += len(replacements)
            if replacements and not dry_run:
                with storage.guard:
                    changed += storage.replace_payloads(replacements, audit=storage.audit_entry("key.reseal"))
            _report(progress, page)
        if dry_run or not stale:
            return stale if dry_run else changed, failed
        progress = None


def _outcome(
    storage: RecordRepository, keyring: Keyring, changed: int, failed: list[EncryptionError | CorruptRecord]
) -> Resealing:
    remaining = count_seals(storage)
    needed = remaining.key_ids()
    trustworthy = not remaining.damaged
    unneeded = [key.key_id for key in keyring if key.key_id not in needed] if trustworthy else []
    return Resealing(changed, failed, remaining, [key_id for key_id in unneeded if key_id != keyring.keys[0].key_id])


def _pages(storage: RecordRepository, counts: SealCounts | None = None) -> Iterator[list[_Payload]]:
    after: str | None = None
    while True:
        with storage.guard:
            page = storage.scan_records(after, _PAGE)
        if counts is not None:
            counts.damaged += len(page.corrupt)
        yield [record for record in page.records if isinstance(record, SecretRecord | AuthCodeRecord)]
        after = page.after
        if after is None:
            return


def _report(progress: Progress | None, page: list[_Payload]) -> None:
    if progress is not None:
        progress(len(page))
