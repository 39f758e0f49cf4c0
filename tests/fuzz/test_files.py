"""Files that hold anything at all, where dumps and keys are expected; and URLs."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

import pytest
from hypothesis import example
from hypothesis import strategies as st

from fusion_store import FusionStoreError, OAuthTokenData, Unavailable, get_repository
from fusion_store.backend import read_dump, write_dump
from tests.fuzz.inputs import Stopwatch, fuzzed

MEGABYTE = 1 << 20
HEADER = {"format": "fusion-store dump", "version": 1}
TRAILER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01"

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["f" * 64, "0" * 64, "AA=="])
)
places = st.fixed_dictionaries(
    {},
    optional={
        "tenant_hash": scalars,
        "kind": st.sampled_from(["oauth", "credential", "auth_code", "?"]),
        "service": scalars,
    },
)
names = (
    "tenant_hash", "hash", "prefix", "description", "scopes", "created_at", "last_used", "expires_at", "payload",
    "updated_at", "version", "fence", "name", "value",
)  # fmt: skip
records = st.fixed_dictionaries(
    {"record": st.sampled_from(["tenant", "api_token", "secret", "counter", "auth_code", "mark", "?"])},
    optional={"place": places | scalars, **dict.fromkeys(names, scalars | st.lists(scalars, max_size=2))},
)


def signed(lines: list[Any], tenants: int) -> bytes:
    """A dump of these records that is whole, as its end says."""
    body = gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in [HEADER, *lines]))
    end = f'{{"tenants": {tenants:20}, "records": {len(lines):20}, "sha256": "{sha256(body).hexdigest()}"}}\n'.encode()
    size = len(end).to_bytes(2, "little") + (len(end) ^ 0xFFFF).to_bytes(2, "little")
    return body + TRAILER + size + end + crc32(end).to_bytes(4, "little") + len(end).to_bytes(4, "little")


def restore(path: Path, timed: Stopwatch) -> None:
    """Bring a dump into a store; what can't be brought is refused, and the store stays sound."""
    with get_repository("memory://") as vault:
        with suppress(FusionStoreError):
            timed(lambda: vault.import_records(read_dump(path)))
        assert timed(vault.check).ok
        assert len(timed(lambda: list(vault.export_records()))) < 100


@fuzzed(lines=st.lists(records, max_size=4), tenants=st.integers(0, 4))
def test_a_whole_dump_of_made_up_records(place: Path, timed: Stopwatch, lines: list[Any], tenants: int) -> None:
    path = place / "made-up.dump"
    path.write_bytes(signed(lines, tenants))
    restore(path, timed)


@fuzzed(
    start=st.sampled_from([b"", b"\x1f\x8b", gzip.compress(json.dumps(HEADER).encode() + b"\n")]),
    rest=st.binary(max_size=300),
)
def test_a_dump_of_made_up_bytes(place: Path, timed: Stopwatch, start: bytes, rest: bytes) -> None:
    path = place / "made-up.dump"
    path.write_bytes(start + rest)
    restore(path, timed)


def test_the_dumps_that_are_made_up_here_are_dumps(place: Path) -> None:
    with get_repository("memory://") as vault:
        vault.store_oauth_token(vault.add_api_token().hash, "github", OAuthTokenData("access"))
        write_dump(place / "written", vault.export_records())
    lines = gzip.decompress((place / "written").read_bytes()).splitlines()[1:-1]
    (place / "signed").write_bytes(signed([json.loads(line) for line in lines], 2))
    assert list(read_dump(place / "signed")) == list(read_dump(place / "written"))


@pytest.mark.parametrize("filling", [b"\0", b"\n", b" "])
def test_a_dump_that_inflates_to_much_takes_little_memory(place: Path, filling: bytes) -> None:
    path = place / "bomb.dump"
    path.write_bytes(gzip.compress(json.dumps(HEADER).encode() + b"\n" + filling * (64 * MEGABYTE), 1))
    tracemalloc.start()
    with pytest.raises(FusionStoreError):
        list(read_dump(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * MEGABYTE


key_lines = st.binary(max_size=50) | st.sampled_from(
    [b"aws-kms:", b"aws-kms:e30", b"#", b"", b"A" * 43 + b"=", b"A" * 44, b"B" * 43 + b"="]
)


@fuzzed(lines=st.lists(key_lines, max_size=4))
def test_a_key_file(place: Path, timed: Stopwatch, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]) -> None:
    path = place / "keys"
    path.touch(mode=0o600)
    path.write_bytes(b"\n".join(lines))
    monkeypatch.setenv("FUSION_STORE_KEY_FILE", str(path))
    try:
        timed(lambda: get_repository("memory://").close())
    except FusionStoreError as error:
        told = f"{error!r}{error.__cause__!r}{error.__context__ if not error.__suppress_context__ else None!r}"
        assert not any(len(line) > 20 and line.decode("latin-1") in told for line in lines)


ON_DISK = ("memory", "sqlite", "leveldb")
PASSWORD = "hunter2hunter2"
PARAMETERS = (
    "lock_timeout", "pool_size", "pool_timeout", "connect_timeout", "sslmode", "ssl_ca", "options", "host",
    "init_command",
)  # fmt: skip
text = st.text(max_size=12).filter(lambda drawn: not any(0xD800 <= ord(c) < 0xE000 for c in drawn))


urls = st.builds(
    lambda scheme, user, path, query, write: (
        f"{scheme}://{write(user) + ':' + PASSWORD + '@' if user is not None else ''}"
        f"{'' if scheme in ON_DISK and user is None else '127.0.0.1:1'}/{write(path.lstrip('/'))}"
        f"{'?' if query else ''}{'&'.join(f'{write(name)}={write(value)}' for name, value in query)}"
    ),
    scheme=st.sampled_from([*ON_DISK, "postgresql", "mysql", "mariadb", "postgresql+psycopg", "x"]),
    user=st.none() | text,
    path=text,
    query=st.lists(st.tuples(st.sampled_from(PARAMETERS) | text, text | st.integers().map(str)), max_size=2),
    write=st.sampled_from([str, quote]),
)


@fuzzed(url=urls)
@example(url=f"mysql://:Ā{PASSWORD}@127.0.0.1:1/vault")
def test_a_url(place: Path, timed: Stopwatch, url: str) -> None:
    told = ""
    try:
        timed(lambda: get_repository(url, create=False).close())
    except FusionStoreError as error:
        told = str(error)
        if isinstance(error, Unavailable):
            # A server was asked: PyMySQL reads all the certificates of the machine for that.
            timed.forget()
    assert PASSWORD not in told
    assert not list(place.iterdir())
