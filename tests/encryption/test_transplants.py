"""A payload reads at the place and with the expiry that it was sealed for, and nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import combinations

import pytest

from fusion_store import (
    CorruptRecord,
    EncryptionError,
    OAuthTokenData,
    Tampered,
    TokenRepository,
)
from fusion_store.backend import AUDIT_MARK, AuditSettings, encode_settings
from tests.encryption.raw import Raw, RawMemory
from tests.encryption.vaults import TTL, Contents, Row, Vault, fill, outcome, storage

OpenRaw = Callable[[TokenRepository], Raw]
Expected = type[Tampered] | type[CorruptRecord]


def assert_refused(repository: TokenRepository, contents: Contents, row: Row, expected: Expected) -> None:
    """Reading fails and names the row; so does the list that it stands in."""
    found = outcome(partial(contents.read, repository, row))
    assert type(found) is expected, row
    assert isinstance(found, EncryptionError | CorruptRecord)
    assert (found.tenant_hash, found.kind, found.service) == row.named
    if expected is Tampered:
        tenant_hash, kind, service = row.named
        assert f"{kind} record (tenant {tenant_hash[:16]}, service {service!r})" in str(found)
    if not row.hash:
        assert type(outcome(partial(contents.list_beside, repository, row))) is expected, row


def after_swap_of_contents(vault: Vault, row: Row, other: Row) -> Expected:
    """What stands first in the way of a row with another row's contents."""
    if vault.backend == "sqlite" and (row.hash or other.hash):
        # A code's checksum covers its hash, which is what it is found by.
        return CorruptRecord
    if vault.backend == "leveldb" and bool(row.hash) != bool(other.hash):
        # Values of codes and of secrets have different shapes.
        return CorruptRecord
    return Tampered


def test_payloads_of_any_two_rows_that_were_swapped_are_refused(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row, other in combinations(contents.rows, 2):
        database.swap_payloads(row, other)
        for each in (row, other):
            assert_refused(repository, contents, each, Tampered)
        report = repository.check()
        assert {(p.tenant_hash, p.kind, p.service) for p in report.corrupt} == {row.named, other.named}
        assert len(report.corrupt) == 2
        database.swap_payloads(row, other)
    assert repository.check().ok
    assert all(contents.read(repository, row) is not None for row in contents.rows)


def test_contents_of_any_two_rows_that_were_swapped_are_refused(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row, other in combinations(contents.rows, 2):
        database.swap_contents(row, other)
        expected = after_swap_of_contents(vault, row, other)
        for each in (row, other):
            if each.hash:
                # With its contents a code has got another tenant's name.
                assert type(outcome(partial(contents.read, repository, each))) is expected
            else:
                assert_refused(repository, contents, each, expected)
        database.swap_contents(row, other)
    assert repository.check().ok
    assert all(contents.read(repository, row) is not None for row in contents.rows)


@pytest.mark.parametrize("backend", ["memory"])
def test_records_found_under_the_key_of_another_are_refused(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    assert isinstance(database, RawMemory)
    for row, other in combinations(contents.rows, 2):
        if not (row.hash or other.hash):
            database.swap_entries(row, other)
            for each in (row, other):
                assert isinstance(outcome(partial(contents.read, repository, each)), Tampered)
            database.swap_entries(row, other)
    assert repository.check().ok
    row, other, *_ = (row for row in contents.rows if row.hash)
    database.swap_entries(row, other)
    assert isinstance(outcome(partial(contents.read, repository, row)), Tampered)


@pytest.mark.parametrize("backend", ["sqlite"])
def test_rows_that_a_forged_table_answers_for_another_tenant_are_refused(vault: Vault) -> None:
    with vault.sealed() as repository:
        victim, other = (repository.add_api_token().hash for _ in range(2))
        repository.store_oauth_token(victim, "github", OAuthTokenData("of the victim"))
    with closing(sqlite3.connect(vault.folder / "vault.db", isolation_level=None)) as connection:
        columns = "service, payload, expires_at, created_at, updated_at, version, checksum"
        # Once the tenant that was asked for, to be found; once the one that it was sealed for, to be opened.
        either = f"CASE abs(random()) % 2 WHEN 0 THEN '{victim}' ELSE '{other}' END"
        connection.execute("ALTER TABLE oauth_tokens RENAME TO hidden")
        connection.execute(f"CREATE VIEW oauth_tokens AS SELECT {either} AS tenant_hash, {columns} FROM hidden")
    repository = vault.sealed()
    for _ in range(40):
        assert not isinstance(outcome(partial(repository.get_oauth_token, other, "github")), OAuthTokenData)
        listed = outcome(partial(repository.list_oauth_tokens, other))
        assert listed == {} or isinstance(listed, Tampered)


def test_a_changed_expiry_is_refused(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row in contents.rows:
        standing = database.expires_at(row)
        changes = [1, 2**62] if standing is None else [standing - 1, standing + 1, 1]
        for change in changes if standing is None or row.hash else [*changes, None]:
            database.set_expires_at(row, change)
            assert_refused(repository, contents, row, Tampered)
            assert [(p.tenant_hash, p.kind, p.service) for p in repository.check().corrupt] == [row.named]
        database.set_expires_at(row, standing)
    assert repository.check().ok


def test_a_tampered_record_fails_its_own_read_and_its_list_only(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    row, *others = contents.rows
    raw(repository).set_expires_at(row, None)
    assert_refused(repository, contents, row, Tampered)
    assert all(contents.read(repository, other) is not None for other in others)
    beside = [other for other in others if other.place.tenant_hash != row.place.tenant_hash]
    assert not any(isinstance(outcome(partial(contents.list_beside, repository, each)), Tampered) for each in beside)


def test_a_list_names_the_record_that_was_altered(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    database = raw(repository)
    for row in contents.rows:
        if row.hash:
            continue
        payload = database.payload(row)
        database.set_payload(row, payload[:-1] + bytes([payload[-1] ^ 1]))
        with pytest.raises(Tampered) as caught:
            contents.list_beside(repository, row)
        assert (caught.value.tenant_hash, caught.value.kind, caught.value.service) == row.named
        database.set_payload(row, payload)


def test_an_altered_auth_code_is_refused_again_and_again_until_it_expires(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    row = next(row for row in contents.rows if row.hash)
    database = raw(repository)
    payload = database.payload(row)
    database.set_payload(row, payload[:-1] + bytes([payload[-1] ^ 1]))
    for _ in range(3):
        assert_refused(repository, contents, row, Tampered)
    vault.clock.advance(TTL)
    assert repository.purge_expired()["codes"] == len(contents.codes)
    assert contents.read(repository, row) is None


def test_a_code_that_could_not_be_opened_is_restored_in_the_audit_trail_too(vault: Vault, raw: OpenRaw) -> None:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now)
    row = next(row for row in contents.rows if row.hash)
    database = raw(repository)
    database.set_payload(row, database.payload(row)[:-1] + b"?")
    storage(repository).write_mark(AUDIT_MARK, encode_settings(AuditSettings()))

    with pytest.raises(Tampered):
        contents.read(repository, row)

    trail = repository.audit_log(tenant_hash=row.place.tenant_hash)
    assert [(record.action, record.service) for record in trail] == [
        ("auth_code.redeem", row.place.service),
        ("auth_code.restore", row.place.service),
    ]
