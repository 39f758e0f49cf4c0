"""What lies in the raw database: nothing of a deleted tenant, and nothing altered goes unnoticed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from fusion_store import (
    AlreadyExists,
    CorruptRecord,
    CredentialType,
    FusionStoreError,
    ServiceCredentials,
    TokenRepository,
    get_repository,
)
from tests.sql.conftest import fill, raw


def rows_naming(connection: sqlite3.Connection, text: str) -> int:
    found = 0
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert "oauth_tokens" in tables
    for table in tables:
        for row in connection.execute(f"SELECT * FROM {table}"):
            found += any(text in str(value) for value in row)
    return found


def test_a_deleted_tenant_leaves_no_row(repository: TokenRepository, path: Path) -> None:
    gone, kept, _ = fill(repository)
    for tenant in (gone, kept):
        repository.claim_refresh(tenant, "other", ttl=timedelta(hours=1))
        repository.create_auth_code(tenant, "other", ttl=timedelta(hours=1))
    with raw(path) as connection:
        before = rows_naming(connection, kept)
        assert before == rows_naming(connection, gone) == 1 + 2 + 2 + 2 + 5 + 1
        assert repository.delete_tenant(gone)
        assert rows_naming(connection, gone) == 0
        assert rows_naming(connection, kept) == before


def test_the_last_tokens_deletion_leaves_no_row(repository: TokenRepository, path: Path) -> None:
    (tenant,) = fill(repository, 1)
    for token in repository.list_api_tokens():
        repository.delete_api_token(token.hash)
    with raw(path) as connection:
        assert rows_naming(connection, tenant) == 0


ALTERATIONS = {
    "tenants": ["created_at", "checksum"],
    "api_tokens": ["prefix", "description", "scopes", "created_at", "expires_at", "checksum"],
    "oauth_tokens": ["payload", "expires_at", "created_at", "updated_at", "version", "checksum"],
    "service_credentials": ["payload", "expires_at", "created_at", "updated_at", "version", "checksum"],
    "counters": ["version", "fence", "claim_owner", "claim_fence", "claim_deadline", "checksum"],
    "auth_codes": ["payload", "expires_at", "checksum"],
}


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in ALTERATIONS.items() for c in columns])
@pytest.mark.parametrize("value", [7, b"\xff\x00", "x\udc80".encode(errors="surrogateescape")], ids=repr)
def test_an_altered_column_is_reported(
    repository: TokenRepository, path: Path, table: str, column: str, value: object
) -> None:
    (tenant,) = fill(repository, 1)
    repository.create_auth_code(tenant, "github", ttl=timedelta(hours=1))
    assert repository.check().ok
    with raw(path) as connection:
        as_text = isinstance(value, bytes) and column in ("prefix", "description", "scopes", "claim_owner")
        placeholder = "CAST(? AS TEXT)" if as_text else "?"
        connection.execute(
            f"UPDATE {table} SET {column} = {placeholder} WHERE rowid IN (SELECT max(rowid) FROM {table})", (value,)
        )
    report = repository.check()
    assert len(report.corrupt) == 1
    assert report.corrupt[0].tenant_hash in (tenant, "0" * 64)
    if table in ("oauth_tokens", "service_credentials", "counters", "auth_codes"):
        assert report.corrupt[0].service
    with pytest.raises(CorruptRecord):
        list(repository.export_records())


@pytest.mark.parametrize("value", ["?", b"", 1.5, 2**62, -(2**62)])
def test_a_last_use_that_is_no_moment_is_reported(repository: TokenRepository, path: Path, value: object) -> None:
    issued = repository.add_api_token()
    with raw(path) as connection:
        connection.execute("UPDATE api_tokens SET last_used = ?", (value,))
    reads: list[Callable[[], object]] = [
        lambda: repository.validate_api_token(issued.token),
        lambda: list(repository.iter_api_tokens()),
    ]
    for read in reads:
        with pytest.raises(CorruptRecord):
            read()
    assert len(repository.check().corrupt) == 1


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("oauth_tokens", "service"),
        ("service_credentials", "service"),
        ("service_credentials", "credential_type"),
        ("auth_codes", "service"),
    ],
)
def test_a_name_that_is_no_text_is_reported(repository: TokenRepository, path: Path, table: str, column: str) -> None:
    (tenant,) = fill(repository, 1)
    code = repository.create_auth_code(tenant, "login", ttl=timedelta(hours=1))
    with raw(path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = x'ff' WHERE rowid = (SELECT max(rowid) FROM {table})")
    reads: dict[str, Callable[[], object]] = {
        "oauth_tokens": partial(repository.list_oauth_tokens, tenant),
        "service_credentials": partial(repository.list_credentials, tenant),
        "auth_codes": partial(repository.redeem_auth_code, code),
    }
    with pytest.raises(CorruptRecord):
        reads[table]()
    assert len(repository.check().corrupt) == 1


def test_a_code_whose_expiry_is_no_moment_is_reported(repository: TokenRepository, path: Path) -> None:
    (tenant,) = fill(repository, 1)
    code = repository.create_auth_code(tenant, "login", ttl=timedelta(hours=1))
    with raw(path) as connection:
        connection.execute("UPDATE auth_codes SET expires_at = ?", (2**62,))
    with pytest.raises(CorruptRecord):
        repository.redeem_auth_code(code)


@pytest.mark.parametrize("table", ["oauth_tokens", "service_credentials"])
def test_a_secret_whose_text_does_not_read_is_named(repository: TokenRepository, path: Path, table: str) -> None:
    (tenant,) = fill(repository, 1)
    with raw(path) as connection:
        connection.execute(f"UPDATE {table} SET version = CAST(? AS TEXT) WHERE service = 'github'", (b"\xff",))
    reads: dict[str, Callable[[], object]] = {
        "oauth_tokens": partial(repository.get_oauth_token, tenant, "github"),
        "service_credentials": partial(repository.get_credentials, tenant, "github", CredentialType.API_KEY),
    }
    for _ in range(3):
        with pytest.raises(CorruptRecord) as caught:
            reads[table]()
        assert (caught.value.tenant_hash, caught.value.service) == (tenant, "github")
    repository.store_credentials(tenant, "mail", ServiceCredentials(CredentialType.BEARER, {"token": "t"}))


def test_a_record_moved_to_another_place_is_reported(repository: TokenRepository, path: Path) -> None:
    first, second, _ = fill(repository)
    with raw(path) as connection:
        connection.execute(
            "UPDATE oauth_tokens SET payload = (SELECT payload FROM oauth_tokens WHERE tenant_hash = ? "
            "AND service = 'github') WHERE tenant_hash = ? AND service = 'github'",
            (first, second),
        )
    with pytest.raises(CorruptRecord) as caught:
        repository.get_oauth_token(second, "github")
    assert (caught.value.tenant_hash, caught.value.kind, caught.value.service) == (second, "oauth", "github")
    assert repository.get_oauth_token(first, "github")
    assert len(repository.check().corrupt) == 1


def test_rows_of_no_tenant_are_reported(repository: TokenRepository, path: Path) -> None:
    gone, *_ = fill(repository)
    with raw(path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM tenants WHERE tenant_hash = ?", (gone,))
    report = repository.check()
    assert {place.kind for place in report.corrupt} == {"api_token", "oauth", "credential", "counter"}
    assert all(place.tenant_hash == gone and "no tenant" in place.reason for place in report.corrupt)


def test_a_damaged_page_is_reported(repository: TokenRepository, path: Path) -> None:
    fill(repository, 20)
    repository.close()
    damaged = bytearray(path.read_bytes())
    for start in range(4096, len(damaged), 4096):
        if b"credential-" in damaged[start : start + 4096]:
            damaged[start : start + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    with get_repository(f"sqlite:///{path}") as opened:
        assert not opened.check().ok
        with pytest.raises(FusionStoreError):
            list(opened.export_records())


def test_a_backup_during_writes_is_a_moment_of_the_vault(repository: TokenRepository, tmp_path: Path) -> None:
    fill(repository)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            repository.add_api_token("meanwhile")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            repository.backup(tmp_path / f"copy{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        with get_repository(f"sqlite:///{tmp_path / f'copy{number}.db'}") as copy:
            assert copy.check().ok
            assert copy.stats().tenants >= 3


def test_a_backup_overwrites_nothing_and_leaves_nothing_behind(repository: TokenRepository, tmp_path: Path) -> None:
    standing = tmp_path / "standing"
    standing.write_text("mine")
    with pytest.raises(AlreadyExists):
        repository.backup(standing)
    assert standing.read_text() == "mine"
    with pytest.raises(FusionStoreError):
        repository.backup("/proc/nowhere/copy.db")
