"""The dump as a file: what it holds, and that no other file passes for one."""

from __future__ import annotations

import gzip
import json
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fusion_store import (
    AlreadyExists,
    ConfigError,
    CorruptRecord,
    CorruptStore,
    FusionStoreError,
    InvalidInput,
    NotEncrypted,
    SchemaTooNew,
    StoreNotFound,
    get_repository,
)
from fusion_store.backend import (
    CounterRecord,
    ExportedRecord,
    MarkRecord,
    SecretRecord,
    TenantRecord,
    read_dump,
    write_dump,
)
from fusion_store.layers import Key
from tests.transfer.vaults import SECRET, contents, furnish


@pytest.fixture(scope="module")
def records() -> list[ExportedRecord]:
    with get_repository("memory://") as vault:
        furnish(vault)
        return list(vault.export_records())


@pytest.fixture(scope="module")
def dumped(records: list[ExportedRecord], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("dump") / "vault.dump"
    write_dump(path, records)
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def forged(path: Path, lines: list[bytes], behind: bytes = b"", **trailer: Any) -> Path:
    """A dump whose checksum fits what it holds."""
    body = gzip.compress(b"".join(lines), mtime=0) + behind
    said = {"tenants": 1, "records": len(lines) - 1, "sha256": sha256(body).hexdigest()} | trailer
    line = f'{{"tenants": {said["tenants"]:20}, "records": {said["records"]:20}, "sha256": "{said["sha256"]}"}}\n'
    compressor = zlib.compressobj(0, wbits=-15)
    stored = compressor.compress(line.encode()) + compressor.flush()
    check = zlib.crc32(line.encode()).to_bytes(4, "little") + len(line).to_bytes(4, "little")
    path.write_bytes(body + b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + stored + check)
    return path


def text_of(dumped: bytes) -> list[bytes]:
    """Its lines but the last."""
    return gzip.decompress(dumped).splitlines(keepends=True)[:-1]


def test_what_was_written_is_read_and_nothing_else(tmp_path: Path, records: list[ExportedRecord]) -> None:
    path = tmp_path / "vault.dump"

    assert write_dump(path, iter(records)) == len(records)

    assert list(read_dump(path)) == records
    assert names(tmp_path) == ["vault.dump"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dump_is_json_lines_in_gzip(dumped: bytes, records: list[ExportedRecord], tmp_path: Path) -> None:
    path = tmp_path / "vault.dump"
    path.write_bytes(dumped)
    unpacked = subprocess.run(["gzip", "-dc", str(path)], check=True, capture_output=True).stdout

    header, *lines, trailer = [json.loads(line) for line in unpacked.splitlines()]

    assert header == {"format": "fusion-store dump", "version": 1}
    assert [line["record"] for line in lines] == [record.__struct_config__.tag for record in records]
    assert trailer["records"] == len(records)
    assert trailer["tenants"] == 4


def test_a_sealed_vaults_dump_begins_with_its_mark_and_holds_no_secret(tmp_path: Path) -> None:
    path, key = tmp_path / "vault.dump", Key.generate().reveal()
    with get_repository("memory://", encryption_keys=[key]) as vault:
        furnish(vault)
        write_dump(path, vault.export_records())

        assert isinstance(next(read_dump(path)), MarkRecord)
        with get_repository("memory://", encryption_keys=[key]) as other:
            other.import_records(read_dump(path))
            assert [*other.export_records()][1:] == [*vault.export_records()][1:]
    assert SECRET.encode() not in gzip.decompress(path.read_bytes())


def test_claims_are_left_out(tmp_path: Path, records: list[ExportedRecord]) -> None:
    path = tmp_path / "vault.dump"
    counter = next(record for record in records if isinstance(record, CounterRecord))
    tenant = next(r for r in records if isinstance(r, TenantRecord) and r.tenant_hash == counter.place.tenant_hash)

    write_dump(path, [tenant, replace(counter, claim_fence=1, claim_owner="me", claim_deadline=5)])

    assert list(read_dump(path)) == [tenant, counter]


def test_an_empty_dump_is_one(tmp_path: Path) -> None:
    path = tmp_path / "vault.dump"

    assert write_dump(path, []) == 0
    assert list(read_dump(path)) == []


@pytest.mark.parametrize("standing", ["file", "folder", "dangling link"])
def test_nothing_is_written_over(tmp_path: Path, records: list[ExportedRecord], standing: str) -> None:
    path = tmp_path / "vault.dump"
    match standing:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "nowhere")

    with pytest.raises(AlreadyExists):
        write_dump(path, records)

    assert names(tmp_path) == ["vault.dump"]
    assert standing != "file" or path.read_text() == "precious"


def test_what_comes_to_stand_there_meanwhile_is_not_written_over(tmp_path: Path, records: list[ExportedRecord]) -> None:
    path = tmp_path / "vault.dump"

    def interrupted() -> Iterator[ExportedRecord]:
        yield from records
        path.write_text("precious")

    with pytest.raises(AlreadyExists):
        write_dump(path, interrupted())

    assert path.read_text() == "precious"
    assert names(tmp_path) == ["vault.dump"]


def test_a_dump_that_fails_leaves_nothing(tmp_path: Path, records: list[ExportedRecord]) -> None:
    def broken_off() -> Iterator[ExportedRecord]:
        yield from islice(records, 5)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        write_dump(tmp_path / "vault.dump", broken_off())

    assert names(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, sys
from fusion_store import StorageFull
from fusion_store.backend import TenantRecord, write_dump
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_dump(sys.argv[1], (TenantRecord(f"{n:064x}", n) for n in range(100_000)))
except StorageFull as error:
    print("full")
"""

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "vault.dump")], check=True, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == ("full\n", "")
    assert names(tmp_path) == []


def test_records_that_could_not_be_read_again_are_not_written(tmp_path: Path, records: list[ExportedRecord]) -> None:
    tenant = next(record for record in records if isinstance(record, TenantRecord))
    secret = next(record for record in records if isinstance(record, SecretRecord))

    mark = MarkRecord("encryption", b"sealed:x")
    cases: list[tuple[list[ExportedRecord], type[FusionStoreError], str]] = [
        ([secret], InvalidInput, "records: a record must come behind its tenant"),
        ([tenant, tenant], InvalidInput, "records: tenants must come in the order of their hashes"),
        ([tenant, mark], InvalidInput, "records: a mark must come first"),
        ([tenant, replace(secret, version=-1)], InvalidInput, "version"),
        ([tenant, replace(secret, payload=secret.payload[:-1])], CorruptRecord, "corrupt"),
        ([mark, tenant, secret], NotEncrypted, "a plain payload stands in a sealed vault"),
    ]
    for refused, error, told in cases:
        with pytest.raises(error, match=told):
            write_dump(tmp_path / "vault.dump", refused)
        assert names(tmp_path) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound):
        write_dump(tmp_path / "no" / "vault.dump", [])
    with pytest.raises(StoreNotFound):
        next(read_dump(tmp_path / "vault.dump"))
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(ConfigError, match="leads to no file"):
            next(read_dump(path))


@st.composite
def mutations(draw: st.DrawFn, size: int) -> tuple[str, int, int]:
    kind = draw(st.sampled_from(["flip", "cut the end", "cut out", "insert", "append"]))
    at = draw(st.integers(0, size - 1) | st.integers(0, 40) | st.integers(size - 220, size - 1))
    return kind, at, draw(st.integers(1, 255))


def mutated(data: bytes, mutation: tuple[str, int, int]) -> bytes:
    kind, at, value = mutation
    match kind:
        case "flip":
            return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]
        case "cut the end":
            return data[:at]
        case "cut out":
            return data[:at] + data[at + value :]
        case "insert":
            return data[:at] + bytes([value]) + data[at:]
    return data + bytes(value)


@given(data=st.data())
@settings(max_examples=300, deadline=None, database=None)
def test_an_altered_dump_is_refused_before_a_record_is_given_out(
    dumped: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "altered.dump"
    path.write_bytes(mutated(dumped, data.draw(mutations(len(dumped)))))

    with get_repository("memory://") as vault:
        before = contents(vault)
        with pytest.raises(FusionStoreError) as caught:
            vault.import_records(read_dump(path))
        assert contents(vault) == before
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__context__}"


def test_every_single_bit_counts(dumped: bytes, tmp_path: Path) -> None:
    path = tmp_path / "altered.dump"

    for at in (*range(64), *range(len(dumped) - 256, len(dumped))):
        for bit in range(8):
            path.write_bytes(mutated(dumped, ("flip", at, 1 << bit)))
            with pytest.raises(FusionStoreError):
                next(read_dump(path))


def test_more_behind_the_end_is_refused(dumped: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vault.dump"
    member, extra = gzip.compress(b"".join(text_of(dumped)), mtime=0), gzip.compress(b"{}\n", mtime=0)

    for data in (dumped + extra, dumped + dumped, extra + dumped, member + extra, dumped + b"\0" * 512):
        path.write_bytes(data)
        with pytest.raises(FusionStoreError):
            next(read_dump(path))


def test_the_forgery_of_these_tests_would_pass(dumped: bytes, tmp_path: Path, records: list[ExportedRecord]) -> None:
    assert list(read_dump(forged(tmp_path / "f", text_of(dumped), tenants=4))) == records


def test_what_does_not_read_is_refused_even_with_a_fitting_checksum(dumped: bytes, tmp_path: Path) -> None:
    header, system, *lines = text_of(dumped)
    secret = next(line for line in lines if b'"record":"secret"' in line and b'"0000' not in line)
    of_system = next(line for line in lines if b'"0000' in line and b'"record":"secret"' in line)
    for number, (name, forgery) in enumerate(
        {
            "a record twice as its tenant": [header, system, system],
            "no tenant": [header, of_system],
            "another's tenant": [header, system, secret],
            "no JSON": [header, system, b"rubbish\n"],
            "an unknown record": [header, system, b'{"record":"other"}\n'],
            "an empty line": [header, system, b"\n"],
            "a bad service": [header, system, of_system.replace(b"github", b" github")],
            "a moved payload": [header, system, of_system.replace(b"github", b"gitlab")],
            "a changed payload": [header, system, of_system.replace(b'"payload":"A', b'"payload":"B')],
            "a version below 0": [header, system, of_system.replace(b'"version":', b'"version":-')],
            "a mark late": [header, system, b'{"record":"mark","name":"encryption","value":"c2VhbGVkOng="}\n'],
            "a plain payload in a sealed vault": [
                header,
                b'{"record":"mark","name":"encryption","value":"c2VhbGVkOng="}\n',
                system,
                of_system,
            ],
            "a last line without its end": [header, system[:-1]],
        }.items()
    ):
        path = forged(tmp_path / f"{number}", forgery)
        try:
            next(read_dump(path))
        except CorruptStore as error:
            assert SECRET not in str(error)  # noqa: PT017
        else:
            pytest.fail(name)


@pytest.mark.parametrize("behind", [b"rubbish", gzip.compress(b"{}\n", mtime=0), b"\0" * 999])
def test_nothing_hides_between_records_and_end(dumped: bytes, tmp_path: Path, behind: bytes) -> None:
    with pytest.raises(CorruptStore, match="cut short or altered"):
        next(read_dump(forged(tmp_path / "f", text_of(dumped), behind, tenants=4)))


@pytest.mark.parametrize("wrong", [{"records": 0}, {"tenants": 0}, {"sha256": "0" * 64}])
def test_a_count_that_is_wrong_is_refused(dumped: bytes, tmp_path: Path, wrong: dict[str, Any]) -> None:
    header, system, *_ = text_of(dumped)

    with pytest.raises(CorruptStore):
        next(read_dump(forged(tmp_path / "f", [header, system], **wrong)))
    assert len(list(read_dump(forged(tmp_path / "f", [header, system])))) == 1


def test_a_newer_format_is_told_from_damage(dumped: bytes, tmp_path: Path) -> None:
    _, *lines = text_of(dumped)
    newer = b'{"format":"fusion-store dump","version":2,"new":[1]}\n'
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(newer + b"".join(lines), mtime=0) + b"another ending" * 40)

    for newer_file in (path, forged(tmp_path / "g", [newer, *lines])):
        with pytest.raises(SchemaTooNew, match=r"version 2.*up to 1"):
            next(read_dump(newer_file))


@pytest.mark.parametrize("data", [b"", b"rubbish", b"PK\3\4" * 1000, gzip.compress(b"{}\n" * 999, mtime=0)])
def test_another_file_is_no_dump(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "f"
    path.write_bytes(data)

    with pytest.raises(ConfigError, match="no fusion-store dump"):
        next(read_dump(path))


def test_a_bomb_is_refused_in_little_memory(dumped: bytes, tmp_path: Path) -> None:
    import tracemalloc

    header, *_ = text_of(dumped)
    path = forged(tmp_path / "f", [header, b"x" * (400 * 1024 * 1024)])

    tracemalloc.start()
    with pytest.raises(CorruptStore):
        next(read_dump(path))
    assert tracemalloc.get_traced_memory()[1] < 32 * 1024 * 1024
    tracemalloc.stop()
