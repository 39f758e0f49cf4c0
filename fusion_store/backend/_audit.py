"""The audit trail's rules: what is recorded about each change, how records are chained, and what breaks a chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

import msgspec
from msgspec.structs import replace

from fusion_store._audit import AuditChain, AuditEntry, AuditFault, AuditRecord
from fusion_store._records import APITokenRecord, AuthCodeRecord, Place, Record, TenantRecord
from fusion_store._values import Value
from fusion_store.backend._limits import is_hash
from fusion_store.backend._payloads import key_id_of
from fusion_store.backend._rules import SecretState

AUDIT_MARK: Final = "audit"
"""The name of the mark that stands where changes are recorded."""

TOKEN_ID_CHARS: Final = 16


class AuditSettings(Value, frozen=True):
    """What the mark says."""

    keep_micros: int | None = None
    """How long records are kept; None: for ever."""

    @property
    def keep(self) -> timedelta | None:
        """``keep_micros`` as a duration."""
        return None if self.keep_micros is None else timedelta(microseconds=self.keep_micros)


_decode_settings: Final = msgspec.json.Decoder(AuditSettings).decode
encode_settings: Final = msgspec.json.Encoder().encode


def settings_of(mark: bytes | None) -> AuditSettings | None:
    """What a mark says; None where none stands. One that can't be read asks for everything, for ever."""
    if mark is None:
        return None
    try:
        return _decode_settings(mark)
    except msgspec.MsgspecError:
        return AuditSettings()


def extend_chains(chains: dict[str, AuditChain], entries: Iterable[AuditEntry]) -> list[AuditRecord]:
    """The records of these entries, behind what their chains hold; moves ``chains``, by tenant hash, on."""
    records = []
    for entry in entries:
        chain = chains.get(entry.tenant_hash) or AuditChain(entry.tenant_hash)
        fields = msgspec.structs.asdict(entry)
        unhashed = AuditRecord(**fields, sequence=chain.last + 1, previous=chain.hash, hash="")
        hash = unhashed.computed_hash()
        assert hash is not None
        records.append(replace(unhashed, hash=hash))
        chains[entry.tenant_hash] = replace(chain, last=chain.last + 1, hash=hash, recorded_at=entry.recorded_at)
    return records


def find_faults(chain: AuditChain, records: Iterable[AuditRecord]) -> Iterator[AuditFault]:
    """What is wrong with a chain, given all its records by their sequence."""
    if chain.tenant_hash and not is_hash(chain.tenant_hash):
        yield AuditFault(chain.tenant_hash, 1, "a chain whose name is no tenant's hash")
    expected, previous = chain.first, "" if chain.first == 1 else None
    for record in records:
        sequence = record.sequence
        if record.tenant_hash != chain.tenant_hash or not chain.first <= sequence <= chain.last:
            yield AuditFault(chain.tenant_hash, sequence, f"record {sequence} lies outside the chain")
            continue
        if expected < sequence:
            yield _missing(chain, expected, sequence - 1)
            previous = None
        if record.computed_hash() != record.hash:
            yield AuditFault(chain.tenant_hash, sequence, f"record {sequence} was altered, or moved from its place")
        elif previous not in (None, record.previous):
            reason = f"record {sequence} isn't the one that followed record {sequence - 1}"
            yield AuditFault(chain.tenant_hash, sequence, reason)
        elif sequence == chain.last and record.hash != chain.hash:
            reason = f"record {sequence} isn't the one that the chain ended with"
            yield AuditFault(chain.tenant_hash, sequence, reason)
        elif sequence == chain.last and record.recorded_at != chain.recorded_at:
            reason = f"record {sequence} wasn't recorded when the chain says it was"
            yield AuditFault(chain.tenant_hash, sequence, reason)
        expected, previous = max(expected, sequence + 1), record.hash
    if expected <= chain.last:
        yield _missing(chain, expected, chain.last)


def _missing(chain: AuditChain, first: int, last: int) -> AuditFault:
    which = f"record {first} is" if first == last else f"records {first} to {last} are"
    return AuditFault(chain.tenant_hash, first, f"{which} missing")


def of_new_token(entry: AuditEntry | None, token: APITokenRecord, tenant: TenantRecord | None) -> list[AuditEntry]:
    """A token was added, and with it perhaps its tenant."""
    if entry is None:
        return []
    added = replace(entry, tenant_hash=token.tenant_hash, token_id=token.hash[:TOKEN_ID_CHARS])
    return [added] if tenant is None else [replace(added, action="tenant.create", token_id=""), added]


def of_rotation(entry: AuditEntry | None, old: APITokenRecord, new: APITokenRecord) -> list[AuditEntry]:
    """A token made way for a new one."""
    if entry is None:
        return []
    rotated = replace(entry, tenant_hash=old.tenant_hash, token_id=old.hash[:TOKEN_ID_CHARS])
    return [rotated, replace(rotated, action="api_token.add", token_id=new.hash[:TOKEN_ID_CHARS])]


def of_removed_token(entry: AuditEntry | None, tenant_hash: str, hash: str, *, last: bool) -> list[AuditEntry]:
    """A token was deleted, and its tenant with the last one."""
    if entry is None:
        return []
    removed = replace(entry, tenant_hash=tenant_hash, token_id=hash[:TOKEN_ID_CHARS])
    return [removed, replace(removed, action="tenant.delete", token_id="")] if last else [removed]


def of_change(entry: AuditEntry | None, before: SecretState, after: SecretState) -> list[AuditEntry]:
    """A place was changed from one state to another."""
    if entry is None:
        return []
    place, detail = after.counter.place, dict(entry.detail)
    outcome, key_id = entry.outcome, ""
    if after.secret is None:
        if before.secret is not None and before.secret.is_absent(entry.recorded_at):
            outcome = "expired"
    elif after.secret is not before.secret:
        detail["version"] = after.secret.version
        key_id = key_id_of(after.secret.payload)
    if after.counter.fence != before.counter.fence:
        detail["fence"] = after.counter.fence
    return [replace(_at(entry, place), outcome=outcome, key_id=key_id, detail=detail)]


def of_code(entry: AuditEntry | None, code: AuthCodeRecord) -> list[AuditEntry]:
    """An auth code was added or taken."""
    if entry is None:
        return []
    outcome = "expired" if code.expires_at <= entry.recorded_at else entry.outcome
    return [replace(_at(entry, code.place), outcome=outcome, key_id=key_id_of(code.payload))]


def of_written(entry: AuditEntry | None, records: Iterable[Record]) -> list[AuditEntry]:
    """Records were imported: one entry for each tenant, with how many are its own."""
    if entry is None:
        return []
    written = Counter(tenant_of(record) for record in records)
    return [replace(entry, tenant_hash=tenant, detail={"records": count}) for tenant, count in sorted(written.items())]


def of_store(entry: AuditEntry | None, **detail: int) -> list[AuditEntry]:
    """Something of the store's own was changed."""
    return [] if entry is None else [replace(entry, detail={**entry.detail, **detail})]


def of_purged_token(entry: AuditEntry | None, tenant_hash: str, hash: str) -> list[AuditEntry]:
    """An API token was purged."""
    if entry is None:
        return []
    token_id = hash[:TOKEN_ID_CHARS]
    return [replace(entry, action="api_token.purge", outcome="expired", tenant_hash=tenant_hash, token_id=token_id)]


def of_purged_place(entry: AuditEntry | None, action: str, place: Place) -> list[AuditEntry]:
    """An auth code, a credential or a claim was purged."""
    return [] if entry is None else [replace(_at(entry, place), action=action, outcome="expired")]


def _at(entry: AuditEntry, place: Place) -> AuditEntry:
    return replace(
        entry,
        tenant_hash=place.tenant_hash,
        service=place.service,
        credential_type=str(place.credential_type),
    )


def tenant_of(record: Record) -> str:
    """The hash of the tenant that a record belongs to."""
    return record.tenant_hash if isinstance(record, TenantRecord | APITokenRecord) else record.place.tenant_hash
