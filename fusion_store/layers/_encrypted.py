"""Encryption at rest, as a layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec.structs import replace

from fusion_store._audit import AuditEntry
from fusion_store._errors import EncryptionError, WrongKey
from fusion_store._records import AuthCodeRecord, Binding, Kind, Place, Record, SecretRecord
from fusion_store.backend import (
    ENCRYPTION_MARK,
    Change,
    Mode,
    RecordRepository,
    Resolve,
    SecretState,
    VouchedPayload,
    holds_records,
    mode_of,
    refusal,
    refuse_conflict,
)
from fusion_store.layers._keyring import Key, Keyring
from fusion_store.layers._layer import Layer
from fusion_store.layers._mark import new_mark, verify_mark
from fusion_store.layers._provider import KeyProvider
from fusion_store.layers._seal import Seal, is_sealed, split

R = TypeVar("R", bound=SecretRecord | AuthCodeRecord)


class EncryptedTokenRepository(Layer):
    """Seals every payload on its way down and opens it on its way up.

    Sealed are access and refresh tokens, token types, OAuth scopes and metadata, credential data and what auth codes
    carry. Tenant and service names, descriptions, times, expiry and API tokens (hashes anyway) lie open.

    ``keyring`` holds the keys (or is a provider or a sequence of them): the first seals, all open. With an empty one
    everything works that opens or seals no payload; the rest raises ``WrongKey``.

    Opening raises ``NotEncrypted`` for a plain store that holds records, ``WrongKey`` when no key at hand opens
    the store's mark, ``Tampered`` when the mark was altered. Reading raises ``NotEncrypted`` for a payload that
    isn't sealed, ``WrongKey`` (with its ``key_id``) for one sealed with a key that isn't at hand, and ``Tampered``
    for one that was altered, or moved from where it was sealed. Not noticed: a record rolled back to an older
    state of its own, and changes to the rows of API tokens.
    """

    def __init__(self, inner: RecordRepository, keyring: Keyring | KeyProvider | Iterable[Key | str]) -> None:
        super().__init__(inner)
        self.keyring = keyring if isinstance(keyring, Keyring) else Keyring(keyring)
        self.seal = Seal(self.keyring)
        self.encryption = "encrypted"
        with self.guard:
            self.mode = self._settled_mark()

    def _settled_mark(self) -> bytes:
        if holds_records(self.inner):
            # Read after that look: others may have the empty store open, and the first record brings the mark.
            standing = self.inner.read_mark(ENCRYPTION_MARK)
            if standing is None or mode_of(standing) is not Mode.SEALED:
                raise refusal(standing)
            if self.keyring:
                verify_mark(self.seal, standing)
            return standing
        if not self.keyring:
            raise WrongKey("sealing a vault needs a key")
        return new_mark(self.seal)

    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        def sealed_change(state: SecretState) -> SecretState | None:
            answer = change(state)
            if answer is None or answer.secret is None or answer.secret is state.secret:
                return answer
            return replace(answer, secret=self.sealed(answer.secret))

        return self.inner.change_secret(place, sealed_change, mode, audit=audit)

    def read_secret(self, place: Place) -> SecretRecord | None:
        # Bound to what was asked for, not to what the record says of itself: an altered index leads to another one.
        record = self.inner.read_secret(place)
        return None if record is None else self._opened_as(place.binding(record.expires_at), record)

    def scan_secrets(self, tenant_hash: str, kind: Kind) -> list[SecretRecord]:
        return [
            self._opened_as(replace(record.binding(), tenant_hash=tenant_hash, kind=kind), record)
            for record in self.inner.scan_secrets(tenant_hash, kind)
        ]

    def insert_auth_code(self, code: AuthCodeRecord, mode: bytes, *, audit: AuditEntry | None = None) -> None:
        self.inner.insert_auth_code(self.sealed(code), mode, audit=audit)

    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        if not self.keyring:
            raise WrongKey("the vault is sealed, and no key is at hand")
        code = self.inner.take_auth_code(hash, audit=audit)
        if code is None:
            return None
        try:
            return self._opened_as(replace(code.binding(), hash=hash), code)
        except EncryptionError:
            # Nobody has seen what it carries: it may still be redeemed where the key is at hand.
            restored = None if audit is None else replace(audit, action="auth_code.restore")
            self.inner.insert_auth_code(code, self.mode, audit=restored)
            raise

    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        def sealed_answer(standing: Record, incoming: Record) -> Record | None:
            answer = resolve(standing, incoming)
            return None if answer is None else self._sealed_if_plain(answer)

        sealed = [self._sealed_if_plain(record) for record in records]
        return self.inner.insert_records(sealed, mode, sealed_answer, audit=audit)

    def _sealed_if_plain(self, record: Record) -> Record:
        if isinstance(record, SecretRecord | AuthCodeRecord) and not is_sealed(record.payload):
            return self.sealed(record)
        return record

    def check_payload(self, record: Record) -> None:
        if isinstance(record, SecretRecord | AuthCodeRecord):
            if self.keyring:
                super().check_payload(self.opened(record))
            else:
                split(record.payload, record.binding())

    def check_outgoing(self, record: Record) -> None:
        if isinstance(record, SecretRecord | AuthCodeRecord):
            split(record.payload, record.binding())

    def check_incoming(self, record: Record) -> None:
        if not isinstance(record, SecretRecord | AuthCodeRecord) or not is_sealed(record.payload):
            super().check_payload(record)
            return
        # Only a key can tell more than the form; one that isn't at hand keeps nobody from moving a store.
        with suppress(WrongKey):
            self.opened(record)

    def sealed(self, record: R) -> R:
        """The record with its payload sealed; ``WrongKey`` without keys."""
        return replace(record, payload=self.seal.seal(record.payload, record.binding()))

    def opened(self, record: R) -> R:
        """The record with its payload opened; ``NotEncrypted``, ``WrongKey`` or ``Tampered``."""
        return self._opened_as(record.binding(), record)

    def _opened_as(self, binding: Binding, record: R) -> R:
        return replace(record, payload=VouchedPayload(self.seal.open(record.payload, binding)))
