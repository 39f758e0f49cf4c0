"""What ``check`` and ``audit_log`` say of damage: where it is and what it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from fusion_store import AuditRecord, CorruptPlace, CorruptRecord, CorruptStore, OAuthTokenData
from fusion_store.backend import AUDIT_MARK, AuditSettings, RecordPage, encode_settings
from fusion_store.layers import EncryptedTokenRepository, Key
from fusion_store_memory import MemoryTokenRepository

PLACE = CorruptPlace("oauth", "a" * 64, "github", "wrong checksum")
TOKEN = OAuthTokenData("access")


def test_every_record_of_a_sound_vault_is_read() -> None:
    with MemoryTokenRepository() as vault:
        vault.store_oauth_token(vault.add_api_token().hash, "github", TOKEN)
        report = vault.check()

    assert report.ok
    # The system's tenant, another one, its API token, its OAuth token and the counters of that.
    assert report.records == 5


def test_payloads_under_another_key_are_named() -> None:
    with MemoryTokenRepository() as vault:
        sealed = EncryptedTokenRepository(vault, [Key.generate()])
        tenant = sealed.add_api_token().hash
        sealed.store_oauth_token(tenant, "github", TOKEN)

        report = vault.check()

    assert report.corrupt == (CorruptPlace("oauth", tenant, "github", "sealed with a key that isn't at hand"),)


def test_what_the_storage_finds_damaged_is_counted_and_named() -> None:
    index = CorruptPlace("index", "", "", "an entry without its record")

    class Damaged(MemoryTokenRepository):
        def find_damage(self) -> Iterator[CorruptPlace]:
            return iter([index])

        def scan_records(self, _: str | None, __: int) -> RecordPage:
            return RecordPage((), (PLACE, PLACE), None)

    with Damaged() as vault:
        report = vault.check()

    assert report.records == 2
    assert report.corrupt == (index, PLACE, PLACE)


def test_a_record_that_stops_the_reading_is_named() -> None:
    class Damaged(MemoryTokenRepository):
        def scan_records(self, _: str | None, __: int) -> RecordPage:
            raise CorruptRecord("oauth", tenant_hash="a" * 64, service="github", reason="wrong checksum")

    with Damaged() as vault:
        assert vault.check().corrupt == (PLACE,)


def test_a_store_that_can_not_be_read_on_is_said() -> None:
    class Damaged(MemoryTokenRepository):
        def scan_records(self, _: str | None, __: int) -> RecordPage:
            raise CorruptStore("the file is malformed")

    with Damaged() as vault:
        assert vault.check().corrupt == (CorruptPlace("store", "", "", "reading stopped: the file is malformed"),)


def test_an_altered_audit_record_is_named_by_check_and_not_listed() -> None:
    class Damaged(MemoryTokenRepository):
        def scan_audit_records(
            self, tenant_hash: str | None, after: tuple[int, int, str] | None, limit: int
        ) -> list[AuditRecord]:
            found = super().scan_audit_records(tenant_hash, after, limit)
            return [replace(r, actor="somebody else") if r.tenant_hash else r for r in found]

    with Damaged() as vault:
        vault.write_mark(AUDIT_MARK, encode_settings(AuditSettings()))
        tenant = vault.add_api_token().hash

        with pytest.raises(CorruptRecord, match="record 1 was altered") as caught:
            vault.audit_log()
        assert (caught.value.kind, caught.value.tenant_hash) == ("audit", tenant)
        found = vault.check().corrupt
        assert {(place.kind, place.tenant_hash, place.service) for place in found} == {("audit", tenant, "")}
        assert any("record 1 was altered" in place.reason for place in found)
