"""Dumping a store and restoring it elsewhere."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fusion_store import AlreadyExists, CorruptRecord, CorruptStore, FusionStoreError
from fusion_store.backend import RecordRepository
from fusion_store.layers import EncryptedTokenRepository, Key, Keyring
from fusion_store.transfer import dump, restore, verify
from tests.transfer.conftest import Places
from tests.transfer.test_copy import Stopped, many, stop_after
from tests.transfer.vaults import SECRET, contents, furnish, secret


def test_a_restored_dump_is_equal(source: RecordRepository, destination: RecordRepository, tmp_path: Path) -> None:
    furnish(source)
    told: list[int] = []

    made = dump(source, tmp_path / "dump", progress=told.append)
    report = restore(tmp_path / "dump", destination)

    assert contents(destination) == contents(source)
    assert verify(source, destination).equal
    assert made.tenants == report.tenants == sum(told) == 4
    assert made.records == report.records == len(contents(source))
    assert destination.check().ok


def test_a_sealed_vault_is_dumped_and_restored_without_keys(
    source: RecordRepository, destination: RecordRepository, tmp_path: Path
) -> None:
    keyring = Keyring([Key.generate()])
    furnish(EncryptedTokenRepository(source, keyring))

    dump(source, tmp_path / "dump")
    restore(tmp_path / "dump", destination)

    assert SECRET.encode() not in gzip.decompress((tmp_path / "dump").read_bytes())
    assert verify(source, destination).equal
    assert EncryptedTokenRepository(destination, keyring).check().ok


def test_dumps_of_equal_stores_are_the_same_file(places: Places, tmp_path: Path) -> None:
    source, other = places.store("memory"), places.store("sqlite")
    furnish(source)
    dump(source, tmp_path / "one")
    restore(tmp_path / "one", other)

    dump(other, tmp_path / "other")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_an_altered_dump_changes_nothing(places: Places, destination: RecordRepository, tmp_path: Path) -> None:
    source, path = places.store("memory"), tmp_path / "dump"
    source.import_records(many(300))
    dump(source, path)
    whole = path.read_bytes()

    for at in (0, 5, 100, len(whole) // 2, len(whole) - 300, len(whole) - 1):
        for altered in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            path.write_bytes(altered)
            with pytest.raises(FusionStoreError):
                restore(path, destination)
            assert destination.list_tenants(limit=1) == []
            assert destination.read_mark("transfer") is None


def test_a_store_with_records_takes_a_dump_only_to_merge(
    source: RecordRepository, destination: RecordRepository, tmp_path: Path
) -> None:
    furnish(source)
    mine = destination.add_api_token().hash
    dump(source, tmp_path / "dump")

    with pytest.raises(AlreadyExists):
        restore(tmp_path / "dump", destination)
    assert [tenant.tenant_hash for tenant in destination.list_tenants()] == [mine]
    restore(tmp_path / "dump", destination, merge=True)

    assert set(contents(source)) <= set(contents(destination))
    assert destination.get_api_token(mine) is not None


def test_a_restore_that_was_cut_short_goes_on(places: Places, destination: RecordRepository, tmp_path: Path) -> None:
    source = places.store("memory")
    source.import_records(many(400))
    dump(source, tmp_path / "dump")

    with pytest.raises(Stopped):
        restore(tmp_path / "dump", destination, progress=stop_after(150))
    (tmp_path / "dump").rename(tmp_path / "moved")
    report = restore(tmp_path / "moved", destination)

    assert report.resumed
    assert report.tenants < 300
    assert contents(destination) == contents(source)


def test_another_dump_does_not_go_on_where_the_first_one_stopped(
    places: Places, destination: RecordRepository, tmp_path: Path
) -> None:
    source = places.store("memory")
    source.import_records(many(200))
    dump(source, tmp_path / "one")
    furnish(source)
    dump(source, tmp_path / "other")
    with pytest.raises(Stopped):
        restore(tmp_path / "one", destination, progress=stop_after(50))

    with pytest.raises(AlreadyExists, match="unfinished"):
        restore(tmp_path / "other", destination)


def test_a_record_that_does_not_read_leaves_no_dump(source: RecordRepository, tmp_path: Path) -> None:
    tenant = furnish(source)[0]
    damaged = secret(source, tenant)
    folder = tmp_path / "dumps"
    folder.mkdir()
    source.replace_payloads([(damaged, damaged.payload[:-1] + b"?")])

    with pytest.raises(CorruptRecord):
        dump(source, folder / "dump")

    assert list(folder.iterdir()) == []


def test_a_dump_that_changes_while_it_is_read_is_noticed(places: Places, tmp_path: Path) -> None:
    source, destination, path = places.store("memory"), places.store("memory"), tmp_path / "dump"
    source.import_records(many(300))
    dump(source, path)
    size = path.stat().st_size

    def spoil(_: int) -> None:
        with path.open("r+b") as file:
            file.seek(size - size // 4)
            file.write(bytes(200))

    with pytest.raises(CorruptStore):
        restore(path, destination, progress=spoil)
