"""Copying from store to store, in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from fusion_store import (
    SYSTEM_TENANT,
    AlreadyExists,
    ConfigError,
    CorruptRecord,
    CredentialType,
    EncryptionError,
    NotEncrypted,
    OAuthTokenData,
    ServiceCredentials,
    get_repository,
)
from fusion_store.backend import (
    ENCRYPTION_MARK,
    Record,
    RecordRepository,
)
from fusion_store.layers import EncryptedTokenRepository, Key, Keyring
from fusion_store.transfer import CopyReport, copy, dump, verify
from tests.transfer.conftest import Places
from tests.transfer.vaults import HOUR, contents, furnish, secret, storage


class Stopped(BaseException):
    """As Ctrl-C or worse."""


def stop_after(tenants: int) -> Callable[[int], None]:
    """Progress that breaks off once so many tenants are done."""
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if done >= tenants:
            raise Stopped

    return progress


def many(tenants: int) -> list[Record]:
    """Tenants with a credential of 40 KB each, so that they take many batches."""
    records: list[Record] = []
    with get_repository("memory://") as vault:
        for _ in range(tenants):
            key = ServiceCredentials(CredentialType.CUSTOM, {"key": token_hex(20_000)})
            vault.store_credentials(vault.add_api_token().hash, "service", key)
        records += [record for record in vault.export_records() if isinstance(record, Record)]
    return records


def test_everything_arrives_as_it_was(source: RecordRepository, destination: RecordRepository) -> None:
    furnish(source)
    token = source.add_api_token()
    code = source.create_auth_code(token.hash, "login", ttl=HOUR)
    source.store_oauth_token(token.hash, "slack", OAuthTokenData("x"))
    source.claim_refresh(token.hash, "slack", ttl=HOUR)
    source.delete_oauth_token(token.hash, "slack")
    records = len(contents(source))

    report = copy(source, destination, name="here")

    assert contents(destination) == contents(source)
    assert report == CopyReport(5, records, records - 1, 0, 1, 0, (), resumed=False)
    assert destination.validate_api_token(token.token) is not None
    assert destination.redeem_auth_code(code) is not None
    assert destination.store_oauth_token(token.hash, "slack", OAuthTokenData("y")).version == 2
    claim = destination.claim_refresh(token.hash, "slack", ttl=HOUR)
    assert claim is not None, "claims don't travel"
    assert claim.fence == 2, "fences do"
    assert destination.read_mark("transfer") is None
    assert destination.check().ok


def test_uses_that_were_only_noted_so_far_arrive(source: RecordRepository, destination: RecordRepository) -> None:
    token = source.add_api_token()
    source.validate_api_token(token.token)

    copy(source, destination, name="here")

    arrived = destination.get_api_token(token.hash)
    assert arrived is not None
    assert arrived.last_used is not None


def test_a_sealed_vault_is_copied_without_keys(source: RecordRepository, destination: RecordRepository) -> None:
    keyring = Keyring([Key.generate()])
    furnish(EncryptedTokenRepository(source, keyring))

    copy(source, destination, name="here")

    assert destination.read_mark(ENCRYPTION_MARK) == source.read_mark(ENCRYPTION_MARK)
    assert verify(source, destination).equal
    opened = EncryptedTokenRepository(destination, keyring)
    tenant = opened.list_tenants()[0].tenant_hash
    assert opened.get_oauth_token(tenant, "github") is not None
    assert opened.check().ok


def test_an_empty_vault_is_copied(source: RecordRepository, destination: RecordRepository) -> None:
    report = copy(source, destination, name="here")

    assert (report.tenants, report.added, report.skipped) == (1, 0, 1)
    assert contents(destination) == contents(source)


@pytest.mark.parametrize("standing", ["tenant", "system secret"])
def test_a_destination_with_records_is_refused(
    source: RecordRepository, destination: RecordRepository, standing: str
) -> None:
    furnish(source)
    if standing == "tenant":
        destination.add_api_token()
    else:
        destination.store_oauth_token(SYSTEM_TENANT, "github", OAuthTokenData("x"))
    before = contents(destination)

    with pytest.raises(AlreadyExists):
        copy(source, destination, name="here")

    assert contents(destination) == before
    assert destination.read_mark("transfer") is None


def test_a_store_is_not_copied_into_itself(places: Places, tmp_path: Path) -> None:
    for first, second in (
        ("memory://itself", "memory://itself"),
        (f"sqlite:///{tmp_path}/v.db", f"sqlite:///{tmp_path}/other/../v.db?lock_timeout=1"),
    ):
        (tmp_path / "other").mkdir(exist_ok=True)
        with storage(first) as one, storage(second) as other:
            furnish(one)
            for merge in (False, True):
                with pytest.raises(ConfigError, match="same store"):
                    copy(one, other, name=second, merge=merge)
                assert one.read_mark("transfer") is None


def test_a_copy_that_was_cut_short_goes_on(places: Places, destination: RecordRepository) -> None:
    source = places.store("memory")
    records = many(400)
    source.import_records(records)

    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(150))
    there = destination.stats().tenants
    assert 150 <= there < 400
    report = copy(source, destination, name="here")

    assert report.resumed
    assert report.tenants == 401 - (there + 1), "what was done isn't done again"
    assert report.added == report.records == 4 * report.tenants
    assert contents(destination) == contents(source)
    assert destination.read_mark("transfer") is None


def test_progress_counts_every_tenant_once_also_after_a_stop(places: Places) -> None:
    source, destination = places.store("memory"), places.store("memory")
    source.import_records(many(400))
    told: list[int] = []

    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(150))
    copy(source, destination, name="here", progress=told.append)

    assert sum(told) == 401
    assert told[0] >= 150


def test_a_last_batch_that_was_written_but_not_noted_does_no_harm(
    places: Places, destination: RecordRepository
) -> None:
    """As after SIGKILL: the mark says less than what stands."""
    source = places.store("memory")
    source.import_records(many(400))
    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(0))
    mark = destination.read_mark("transfer")
    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(200))
    destination.write_mark("transfer", mark)

    report = copy(source, destination, name="here")

    assert report.resumed
    assert report.skipped >= 190
    assert report.conflicts == 0
    assert contents(destination) == contents(source)


def test_a_tenant_that_takes_many_batches_arrives_whole(places: Places, destination: RecordRepository) -> None:
    source = places.store("memory")
    key = ServiceCredentials(CredentialType.CUSTOM, {"key": "k" * 60_000})
    for tenant in (SYSTEM_TENANT, source.add_api_token().hash):
        for number in range(150):
            source.store_credentials(tenant, f"{number}", key)
        for number in range(600):
            source.claim_refresh(tenant, f"{number}", ttl=HOUR)

    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(1))
    copy(source, destination, name="here")

    assert contents(destination) == contents(source)


def test_an_unfinished_copy_of_another_source_is_in_the_way(places: Places, destination: RecordRepository) -> None:
    source, other = places.store("memory"), places.store("memory")
    source.import_records(many(200))
    furnish(other)
    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(50))
    before = contents(destination)

    with pytest.raises(AlreadyExists, match="unfinished copy of another source"):
        copy(other, destination, name="elsewhere")
    assert contents(destination) == before
    copy(source, destination, name="here")
    assert contents(destination) == contents(source)


@pytest.mark.parametrize("mark", [b"", b"rubbish", b"\xff", b'{"origin": 1}', b"[]"])
def test_a_mark_that_does_not_read_is_in_the_way_too(places: Places, mark: bytes) -> None:
    source, destination = places.store("memory"), places.store("memory")
    destination.write_mark("transfer", mark)

    with pytest.raises(AlreadyExists):
        copy(source, destination, name="here")


def test_merging_takes_over_from_an_unfinished_copy(places: Places, destination: RecordRepository) -> None:
    source, other = places.store("memory"), places.store("memory")
    source.import_records(many(200))
    furnish(other)
    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(50))

    copy(other, destination, name="elsewhere", merge=True)

    assert set(contents(other)) <= set(contents(destination))
    assert destination.read_mark("transfer") is None


def test_an_unfinished_copy_is_no_source(places: Places, tmp_path: Path) -> None:
    source, destination = places.store("memory"), places.store("memory")
    source.import_records(many(200))
    with pytest.raises(Stopped):
        copy(source, destination, name="here", progress=stop_after(50))

    with pytest.raises(ConfigError, match="unfinished"):
        copy(destination, places.store("memory"), name="there")
    with pytest.raises(ConfigError, match="unfinished"):
        dump(destination, tmp_path / "dump")
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_does_not_read_stops_the_copy_before_it_is_written(
    source: RecordRepository, destination: RecordRepository
) -> None:
    tenants = sorted(furnish(source, 3))
    damaged = secret(source, tenants[1])
    source.replace_payloads([(damaged, damaged.payload[:-1] + b"?")])

    with pytest.raises(CorruptRecord) as caught:
        copy(source, destination, name="here")

    assert (caught.value.tenant_hash, caught.value.service) == (tenants[1], "github")
    assert destination.read_secret(damaged.place) is None
    source.replace_payloads([(secret(source, tenants[1]), damaged.payload)])
    copy(source, destination, name="here")
    assert contents(destination) == contents(source)


def test_a_sealed_payload_that_was_moved_stops_the_copy(places: Places, destination: RecordRepository) -> None:
    source = places.store("memory")
    tenants = furnish(EncryptedTokenRepository(source, [Key.generate().reveal()]))
    source.replace_payloads([(secret(source, tenants[0]), b"plain")])

    with pytest.raises(NotEncrypted):
        copy(source, destination, name="here")


def test_a_half_converted_vault_is_not_copied(source: RecordRepository, destination: RecordRepository) -> None:
    furnish(source)
    source.write_mark(ENCRYPTION_MARK, b"converting:sealed")

    with pytest.raises(NotEncrypted, match="half converted"):
        copy(source, destination, name="here")

    assert destination.list_tenants() == []


@pytest.mark.parametrize("sealed", ["source", "destination"])
def test_plain_and_sealed_are_not_mixed(source: RecordRepository, destination: RecordRepository, sealed: str) -> None:
    stores = {"source": source, "destination": destination}
    for name, store in stores.items():
        furnish(EncryptedTokenRepository(store, [Key.generate().reveal()]) if name == sealed else store)
    before = [*destination.scan_records(None, 100).records]

    with pytest.raises(EncryptionError):
        copy(source, destination, name="here", merge=True)

    assert [*destination.scan_records(None, 100).records] == before


def test_large_tenants_do_not_gather_in_memory(places: Places) -> None:
    """Of 100 MB that a hundred tenants hold, a page must not take more than a few."""
    import tracemalloc

    source, destination = places.store("sqlite"), places.store("sqlite")
    for _ in range(60):
        tenant = source.add_api_token().hash
        for service in range(10):
            source.store_oauth_token(tenant, f"{service}", OAuthTokenData("a" * 60_000, "r" * 60_000))

    tracemalloc.start()
    copy(source, destination, name="here")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 32 * 1024 * 1024
    assert verify(source, destination).equal
