"""What the operations on OAuth tokens and on credentials share."""

from __future__ import annotations

from fusion_store._audit import AuditEntry
from fusion_store._errors import TenantNotFound
from fusion_store._records import Kind, Place, SecretRecord
from fusion_store.backend import _limits as limits
from fusion_store.backend._operations import Operations
from fusion_store.backend._rules import Change


class SecretOperations(Operations):
    """Storing at a place and listing a tenant's places."""

    def _put_secret(self, place: Place, change: Change, audit: AuditEntry) -> SecretRecord:
        state = self.change_secret(place, change, self.mode, audit=audit)
        assert state is not None
        assert state.secret is not None
        return state.secret

    def _list_secrets(self, tenant_hash: str, kind: Kind, credential_type: str | None = None) -> list[SecretRecord]:
        known = limits.record_hash(tenant_hash, "tenant_hash")
        found = [] if known is None else self.scan_secrets(known, kind)
        return sorted(
            (r for r in found if credential_type in (None, r.place.credential_type)),
            key=lambda r: (r.place.service.encode(), r.place.credential_type),
        )


def place_of(tenant_hash: str, kind: Kind, service: str, credential_type: str = "") -> Place | None:
    name = limits.service_name(service)
    known = limits.record_hash(tenant_hash, "tenant_hash")
    return None if known is None else Place(known, kind, name, credential_type)


def writable_place(tenant_hash: str, kind: Kind, service: str, credential_type: str = "") -> Place:
    place = place_of(tenant_hash, kind, service, credential_type)
    if place is None:
        raise TenantNotFound
    return place
