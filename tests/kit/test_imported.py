"""Records that come from outside: what is refused, by which name, and what is just taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import astuple, replace

from fusion_store import (
    SYSTEM_TENANT,
    CorruptPlace,
    CorruptRecord,
    CredentialType,
    InvalidInput,
    OAuthTokenData,
    ServiceCredentials,
)
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    ExportedRecord,
    Kind,
    MarkRecord,
    RecordPage,
    SecretRecord,
    TenantRecord,
)
from fusion_store_memory import MemoryTokenRepository

EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
LAST = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
HEX = "must be 64 hex characters"
YEARS = "is outside the years 1 to 9999 UTC"
SEALED_MARK = b"sealed:" + bytes(1017)


def exported() -> list[ExportedRecord]:
    """What a vault with one record of each kind exports."""
    with MemoryTokenRepository() as vault:
        tenant = vault.add_api_token("laptop", scopes=["read"]).hash
        vault.store_oauth_token(tenant, "github", OAuthTokenData("access"))
        vault.store_credentials(tenant, "mail", ServiceCredentials(CredentialType.API_KEY, {"key": "x"}))
        vault.create_auth_code(tenant, "login", ttl=timedelta(days=1))
        return [record for record in vault.export_records() if tenant in repr(record)]


RECORDS = exported()


def a(kind: type[Any], **fields: Any) -> Any:
    """A record of that kind, otherwise sound; fields of its place begin with ``place_``."""
    place = {name.removeprefix("place_"): value for name, value in fields.items() if name.startswith("place_")}
    fields = {name: value for name, value in fields.items() if not name.startswith("place_")}
    found = next(record for record in RECORDS if isinstance(record, kind))
    return replace(found, **fields, **({"place": replace(found.place, **place)} if place else {}))


def secret(kind: Kind, **place: Any) -> SecretRecord:
    """A sound OAuth token or credential in another place."""
    found = next(r for r in RECORDS if isinstance(r, SecretRecord) and r.place.kind is kind)
    return replace(found, place=replace(found.place, **place))


REFUSALS: list[tuple[str, str, object]] = [
    ("records", "must be records as exported", 5),
    ("records", "a malformed api_token record", a(APITokenRecord, created_at="x")),
    ("records", "a malformed secret record", a(SecretRecord, payload="x")),
    ("records", "a mark that isn't a sealed store's", MarkRecord("encryption", b"plain")),
    ("records", "a mark that isn't a sealed store's", MarkRecord("other", SEALED_MARK)),
    ("records", "a mark that isn't a sealed store's", MarkRecord("encryption", SEALED_MARK + b"\0")),
    ("tenant_hash", HEX, a(TenantRecord, tenant_hash="x")),
    ("tenant_hash", HEX, a(APITokenRecord, tenant_hash="x")),
    ("tenant_hash", HEX, a(SecretRecord, place_tenant_hash="x")),
    ("tenant_hash", HEX, a(AuthCodeRecord, place_tenant_hash="x")),
    ("tenant_hash", "the system tenant has no API tokens", a(APITokenRecord, tenant_hash=SYSTEM_TENANT)),
    ("hash", HEX, a(APITokenRecord, hash="x")),
    ("hash", HEX, a(AuthCodeRecord, hash="x")),
    *[("prefix", "must be 1 to 8 ASCII letters", a(APITokenRecord, prefix=prefix)) for prefix in ("", "a" * 9, "a-b")],
    ("description", "must have 0 to 256 characters", a(APITokenRecord, description="x" * 257)),
    ("scopes", "must not contain white space", a(APITokenRecord, scopes=("a b",))),
    ("kind", "doesn't fit the record", a(SecretRecord, place_kind=Kind.AUTH_CODE)),
    ("kind", "doesn't fit the record", a(AuthCodeRecord, place_kind=Kind.OAUTH)),
    ("credential_type", "must be empty here", secret(Kind.OAUTH, credential_type="api_key")),
    ("credential_type", "must be one of", secret(Kind.CREDENTIAL, credential_type="x")),
    ("service", "must have 1 to 255 bytes", a(SecretRecord, place_service="")),
    ("version", "must be a whole number", a(SecretRecord, version=-1)),
    ("version", "must be a whole number", a(CounterRecord, version=-1)),
    ("fence", "must be a whole number", a(CounterRecord, fence=-1)),
    *[
        (field, YEARS, a(kind, **{field: moment}))
        for kind, fields in (
            (TenantRecord, ("created_at",)),
            (APITokenRecord, ("created_at", "last_used", "expires_at")),
            (SecretRecord, ("created_at", "updated_at", "expires_at")),
            (AuthCodeRecord, ("expires_at",)),
        )
        for field in fields
        for moment in (FIRST - 1, LAST + 1)
    ],
]


@pytest.mark.parametrize(("field", "reason", "record"), REFUSALS)
def test_an_imported_record_is_refused_by_name(field: str, reason: str, record: Any) -> None:
    with MemoryTokenRepository() as vault:
        with pytest.raises(InvalidInput, match=reason) as caught:
            vault.import_records([*RECORDS, record])

        assert caught.value.field == field
        assert vault.list_tenants() == []


@pytest.mark.parametrize("moment", [FIRST, LAST])
def test_the_first_and_the_last_moment_are_taken(moment: int) -> None:
    records: list[ExportedRecord] = []
    for record in RECORDS:
        times = {name: moment for name in record.__struct_fields__ if name in ("created_at", "last_used")}
        records.append(replace(record, **times))
    with MemoryTokenRepository() as vault:
        assert vault.import_records(records) == len(records)
        (token,) = vault.list_api_tokens()
        assert token.created_at == token.last_used == EPOCH + moment * MICROSECOND


def test_all_batches_of_an_import_are_counted() -> None:
    with MemoryTokenRepository() as source, MemoryTokenRepository() as vault:
        for _ in range(1100):
            source.add_api_token()
        records = [record for record in source.export_records() if SYSTEM_TENANT not in repr(record)]

        assert vault.import_records(records) == len(records) == 2200


def test_the_mark_of_a_sealed_store_may_have_a_kilobyte() -> None:
    with MemoryTokenRepository() as vault:
        vault.import_records([MarkRecord("encryption", SEALED_MARK)])


def test_an_export_names_the_record_that_does_not_read() -> None:
    place = CorruptPlace("oauth", "a" * 64, "github", "wrong checksum")

    class Damaged(MemoryTokenRepository):
        def scan_records(self, _: str | None, __: int) -> RecordPage:
            return RecordPage((), (place,), None)

    with Damaged() as vault, pytest.raises(CorruptRecord) as caught:
        list(vault.export_records())

    error = caught.value
    assert (error.kind, error.tenant_hash, error.service, error.reason) == astuple(place)
