"""What a file would bring, before the store is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from msgspec.structs import replace

from fusion_store._errors import InvalidInput
from fusion_store._records import APITokenRecord, Place, SecretRecord, TenantRecord
from fusion_store._values import Value

API_TOKEN: Final = "api_token"


class Finding(Value, frozen=True):
    """Something in a file that doesn't come along, and why; never what it says."""

    kind: str
    """``api_token``, ``oauth`` or ``credential``."""
    tenant_hash: str
    """The hash of the API token that it stands under in the file."""
    service: str
    """The service, empty for an API token."""
    reason: str


class FoundSecret(NamedTuple):
    """A secret, and the hash that it stands under in the file."""

    record: SecretRecord
    under: str


class Group:
    """A tenant's records. ``tenant`` is None where the tenant stands in the store already."""

    def __init__(self, tenant: TenantRecord | None) -> None:
        self.tenant = tenant
        self.api_tokens: list[APITokenRecord] = []
        self.secrets: dict[Place, FoundSecret] = {}


class Draft:
    """What a file would bring; ``source`` says what the file is, ``left_out`` counts what has no place in a vault."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.groups: dict[str, Group] = {}
        self.invalid: list[Finding] = []
        self.orphans: list[Finding] = []
        self.superseded: list[Finding] = []
        self.left_out: Counter[str] = Counter()

    @contextmanager
    def listing(self, kind: str, tenant_hash: str, service: str = "") -> Iterator[None]:
        """Lists among the invalid records what raises ``InvalidInput`` meanwhile."""
        try:
            yield
        except InvalidInput as error:
            self.invalid.append(Finding(kind, tenant_hash, service, str(error)))

    def leave_out(self, what: str, count: int = 1) -> None:
        """Count something that the vault has no place for."""
        self.left_out[what] += count

    def add_api_token(self, token: APITokenRecord, tenant_hash: str) -> None:
        """Put an API token into a tenant; the first one of a tenant has made it."""
        made = TenantRecord(tenant_hash, token.created_at)
        self.groups.setdefault(tenant_hash, Group(made)).api_tokens.append(replace(token, tenant_hash=tenant_hash))

    def add_secret(self, secret: SecretRecord, under: str) -> None:
        """Put a secret into its tenant. Of several for one place the one updated last comes along.

        ``under`` is the hash that it stands under in the file.
        """
        secrets = self.groups.setdefault(secret.place.tenant_hash, Group(None)).secrets
        found = FoundSecret(secret, under)
        rival = secrets.setdefault(secret.place, found)
        older, newer = sorted((rival, found), key=lambda each: each.record.updated_at)
        secrets[secret.place] = newer
        if older.record.payload != newer.record.payload:
            reason = "the file has a newer one for the same place"
            self.superseded.append(Finding(secret.place.kind, older.under, secret.place.service, reason))


def readable(name: bytes) -> str:
    """A name from the file, to be shown; what isn't UTF-8 is escaped."""
    return name.decode(errors="backslashreplace")
