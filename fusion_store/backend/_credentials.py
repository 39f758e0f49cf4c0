"""The typed operations on service credentials."""

from __future__ import annotations

from msgspec.structs import replace

from fusion_store._errors import InvalidInput
from fusion_store._records import Kind
from fusion_store._values import CredentialType, ServiceCredentials
from fusion_store.backend import _limits as limits
from fusion_store.backend import _payloads as payloads
from fusion_store.backend import _rules as rules
from fusion_store.backend._operations import operation
from fusion_store.backend._secrets import SecretOperations, place_of, writable_place


class CredentialOperations(SecretOperations):
    """Service credentials."""

    @operation
    def store_credentials(
        self,
        tenant_hash: str,
        service: str,
        credentials: ServiceCredentials,
        *,
        expected_version: int | None = None,
    ) -> ServiceCredentials:
        if not isinstance(credentials, ServiceCredentials):
            raise InvalidInput("credentials", "must be a ServiceCredentials")
        kind = limits.credential_type(credentials.type, "type")
        place = writable_place(tenant_hash, Kind.CREDENTIAL, service, kind)
        expected = limits.version(expected_version)
        body = limits.json_object(credentials.data, "data", limits.MAX_CREDENTIAL_BYTES)
        expires_at = limits.optional_micros(credentials.expires_at, "expires_at")
        payload = payloads.pack_json(place.binding(expires_at), body)
        now = self._now()
        change = rules.store(place, payload, expires_at, now, expected)
        stored = self._put_secret(place, change, self.audit_entry("credentials.store", now=now))
        return payloads.read_credentials(replace(stored, payload=payload))

    @operation
    def get_credentials(
        self, tenant_hash: str, service: str, credential_type: CredentialType
    ) -> ServiceCredentials | None:
        kind = limits.credential_type(credential_type)
        place = place_of(tenant_hash, Kind.CREDENTIAL, service, kind)
        record = None if place is None else self.read_secret(place)
        if record is None or record.is_absent(self._now()):
            return None
        return payloads.read_credentials(record)

    @operation
    def delete_credentials(self, tenant_hash: str, service: str, credential_type: CredentialType) -> bool:
        kind = limits.credential_type(credential_type)
        place = place_of(tenant_hash, Kind.CREDENTIAL, service, kind)
        if place is None:
            return False
        now = self._now()
        remove = rules.delete(now, None)
        found = False

        def change(state: rules.SecretState) -> rules.SecretState | None:
            nonlocal found
            found = state.secret is not None and not state.secret.is_absent(now)
            return remove(state)

        self.change_secret(place, change, self.mode, audit=self.audit_entry("credentials.delete", now=now))
        return found

    @operation
    def list_credentials(
        self, tenant_hash: str, *, credential_type: CredentialType | None = None
    ) -> dict[tuple[str, CredentialType], ServiceCredentials]:
        wanted = None if credential_type is None else limits.credential_type(credential_type)
        now = self._now()
        read = (
            (record.place.service, payloads.read_credentials(record))
            for record in self._list_secrets(tenant_hash, Kind.CREDENTIAL, wanted)
            if not record.is_absent(now)
        )
        return {(service, credentials.type): credentials for service, credentials in read}
