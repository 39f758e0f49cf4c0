"""Anchors: where all chains began and ended at a moment, kept where whoever can write to the storage can't.

An anchor is a file of JSON lines: a header, a line for each chain in the order of their tenant hashes, and an end that
counts them, so that a file cut short doesn't pass for a whole one. Version 1 says nothing of beginnings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from fusion_store._audit import AuditChain, AuditRecord
from fusion_store._errors import AlreadyExists, InvalidInput, PermissionDenied, StorageIO
from fusion_store.backend import RecordRepository

_VERSION: Final = 2
_LONGEST_LINE: Final = 4096


class AnchoredChain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a chain ended, with the record ``sequence``, and where it began."""

    tenant_hash: str
    sequence: int
    hash: str
    recorded_at: int
    first: int | None = None
    """The oldest record that stood; None where none did, and in anchors of before."""
    first_recorded_at: int | None = None


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    audit_anchor: int
    at: str


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chains: int


_encode: Final = msgspec.json.Encoder().encode
_read_header: Final = msgspec.json.Decoder(_Header).decode
_read_line: Final = msgspec.json.Decoder(AnchoredChain).decode
_read_end: Final = msgspec.json.Decoder(_End).decode


def write_anchor(repository: RecordRepository, path: str | os.PathLike[str]) -> int:
    """Write how all chains begin and end now to a new file, with mode 0600; answers how many there are.

    It vouches for what is there: ``verify`` first.
    ``AlreadyExists`` where something stands at that path; after a failure nothing is left there.
    """
    target = Path(path)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExists("something stands at the anchor's path already") from None
    except PermissionError:
        raise PermissionDenied("the anchor's folder can't be written") from None
    except OSError as error:
        raise StorageIO(f"the anchor can't be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            file.write(_encode(_Header(_VERSION, at)) + b"\n")
            chains = 0
            with repository.guard:
                for chain in filter(_has_records, repository.audit_chains()):
                    file.write(_encode(_anchored(repository, chain)) + b"\n")
                    chains += 1
            file.write(_encode(_End(chains)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        target.unlink(missing_ok=True)
        raise StorageIO(f"the anchor can't be written: {error.strerror}") from None
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return chains


def read_anchor(path: str | os.PathLike[str]) -> Iterator[AnchoredChain]:
    """The chains of an anchor, in order; ``InvalidInput`` for a file that isn't a whole one."""
    try:
        with Path(path).open("rb") as file:
            yield from _read(iter(lambda: file.readline(_LONGEST_LINE), b""))
    except OSError as error:
        raise InvalidInput("anchor", f"can't be read: {error.strerror}") from None


def _read(lines: Iterator[bytes]) -> Iterator[AnchoredChain]:
    try:
        header = _read_header(next(lines, b""))
    except msgspec.MsgspecError:
        _refuse("is no anchor")
    if not 1 <= header.audit_anchor <= _VERSION:
        _refuse("comes from a newer release")
    last, chains = None, 0
    for line in lines:
        try:
            chain = _read_line(line)
        except msgspec.MsgspecError:
            _check_end(line, chains)
            if next(lines, None) is not None:
                _refuse("goes on behind its end")
            return
        if last is not None and chain.tenant_hash <= last:
            _refuse("isn't in order")
        last, chains = chain.tenant_hash, chains + 1
        yield chain
    _refuse("is cut short")


def _check_end(line: bytes, chains: int) -> None:
    try:
        end = _read_end(line)
    except msgspec.MsgspecError:
        _refuse("is damaged or cut short")
    if end.chains != chains:
        _refuse("has lost some of its lines")


def _refuse(reason: str) -> NoReturn:
    raise InvalidInput("anchor", reason)


def _has_records(chain: AuditChain) -> bool:
    return chain.last > 0


def _anchored(repository: RecordRepository, chain: AuditChain) -> AnchoredChain:
    """Times as the records have them, which vouch for these themselves; of purged ones, as the chain has them."""
    first = _next_record(repository, chain, chain.first - 1)
    last = _next_record(repository, chain, chain.last - 1)
    return AnchoredChain(
        chain.tenant_hash,
        chain.last,
        chain.hash,
        chain.recorded_at if last is None else last.recorded_at,
        None if first is None else first.sequence,
        None if first is None else first.recorded_at,
    )


def _next_record(repository: RecordRepository, chain: AuditChain, behind: int) -> AuditRecord | None:
    found = repository.scan_audit_records(chain.tenant_hash, (0, behind, chain.tenant_hash), 1)
    return found[0] if found and found[0].sequence <= chain.last else None
