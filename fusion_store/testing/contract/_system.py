from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from fusion_store import AlreadyExists, ConfigError, CredentialType, FusionStoreError, TokenRepository
from fusion_store.testing import ContractStore, ManualClock
from fusion_store.testing.contract._making import api_key, exported, new_tenant, oauth, outcomes

HOUR = timedelta(hours=1)


def test_an_empty_store_holds_nothing(repository: TokenRepository) -> None:
    stats = repository.stats()

    assert (stats.tenants, stats.api_tokens, stats.oauth_tokens, stats.credentials) == (0, 0, {}, {})
    assert repository.list_api_tokens() == []
    assert list(repository.iter_api_tokens()) == []
    assert repository.list_tenants() == []
    assert repository.purge_expired() == {"codes": 0, "claims": 0, "credentials": 0, "api_tokens": 0}
    assert repository.check().ok


def test_the_schema_version_is_one_everywhere(repository: TokenRepository) -> None:
    version = repository.schema_version()

    assert version
    assert version == repository.stats().schema_version == repository.health().schema


def test_stats_count_what_the_store_holds(repository: TokenRepository, clock: ManualClock) -> None:
    tenants = [new_tenant(repository) for _ in range(3)]
    repository.add_api_token(tenant_hash=tenants[0], expires_at=clock.now)
    for tenant in tenants:
        repository.store_oauth_token(tenant, "github", oauth())
    repository.store_oauth_token(tenants[0], "GitHub", oauth())
    repository.store_credentials(tenants[0], "github", api_key())
    repository.store_credentials(tenants[1], "slack", api_key())
    repository.store_credentials(tenants[1], "slack", api_key(type=CredentialType.CUSTOM))
    repository.store_credentials(tenants[1], "old", api_key(expires_at=clock.now))
    repository.claim_refresh(tenants[0], "claimed only", ttl=HOUR)
    repository.create_auth_code(tenants[0], "code only", ttl=HOUR)

    stats = repository.stats()

    assert (stats.tenants, stats.api_tokens) == (3, 4)
    assert stats.oauth_tokens == {"github": 3, "GitHub": 1}
    assert stats.credentials == {CredentialType.API_KEY: 2, CredentialType.CUSTOM: 1}
    assert stats.bytes_on_disk >= 0


def test_a_healthy_store_says_so(repository: TokenRepository) -> None:
    before = exported(repository)

    health = repository.health()

    assert health.ok, health.error
    assert health.error is None
    assert health.backend
    assert health.encryption in ("plain", "encrypted")
    assert 0 <= health.latency < 60
    assert exported(repository) == before


def test_checking_reads_every_record_of_a_sound_store(repository: TokenRepository, clock: ManualClock) -> None:
    for _ in range(3):
        tenant = new_tenant(repository)
        repository.store_oauth_token(tenant, "github", oauth())
        repository.store_credentials(tenant, "github", api_key(expires_at=clock.now))
        repository.create_auth_code(tenant, "github", ttl=HOUR)
        repository.claim_refresh(tenant, "slack", ttl=HOUR)

    report = repository.check()

    assert report.ok
    assert report.corrupt == ()
    assert report.records == len(exported(repository))


def test_purging_deletes_what_has_expired_and_says_how_much(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = repository.add_api_token(expires_at=clock.now + HOUR).hash
    live = repository.add_api_token(tenant_hash=tenant)
    for n in range(3):
        repository.create_auth_code(tenant, "github", ttl=HOUR)
        repository.store_credentials(tenant, f"{n}", api_key(expires_at=clock.now + HOUR))
    for n in range(2):
        repository.claim_refresh(tenant, f"{n}", ttl=HOUR)
    repository.store_oauth_token(tenant, "old", oauth(expires_at=clock.now + HOUR))
    clock.advance(HOUR - timedelta(microseconds=1))
    assert set(repository.purge_expired().values()) == {0}
    clock.advance(timedelta(microseconds=1))
    code = repository.create_auth_code(tenant, "github", ttl=HOUR)
    repository.store_credentials(tenant, "kept", api_key(expires_at=clock.now + HOUR))
    claim = repository.claim_refresh(tenant, "kept", ttl=HOUR)
    assert claim is not None

    assert repository.purge_expired() == {"codes": 3, "claims": 2, "credentials": 3, "api_tokens": 1}
    assert repository.purge_expired() == {"codes": 0, "claims": 0, "credentials": 0, "api_tokens": 0}

    assert repository.list_api_tokens() == [live.metadata]
    assert repository.redeem_auth_code(code) is not None
    assert list(repository.list_credentials(tenant)) == [("kept", CredentialType.API_KEY)]
    assert list(repository.list_oauth_tokens(tenant)) == ["old"]
    assert repository.commit_refresh(claim, oauth()).version == 1
    assert repository.check().ok


def test_of_several_expired_tokens_the_last_in_order_stays(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = repository.add_api_token(expires_at=clock.now + 9 * HOUR).hash
    for step in (2, 1, 0):
        clock.advance(HOUR)
        repository.add_api_token(tenant_hash=tenant, expires_at=clock.now + step * HOUR)
    repository.add_api_token(tenant_hash=tenant, expires_at=clock.now + HOUR)
    last = repository.list_api_tokens()[-1]
    clock.advance(100 * HOUR)

    assert repository.purge_expired()["api_tokens"] == 4

    assert repository.list_api_tokens(tenant_hash=tenant) == [last]


def test_purged_tokens_are_gone_for_good(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    old = repository.add_api_token(tenant_hash=tenant, expires_at=clock.now + HOUR)
    repository.validate_api_token(old.token)
    clock.advance(HOUR)
    repository.purge_expired()
    repository.flush()

    assert repository.get_api_token(old.hash) is None
    assert repository.find_api_tokens(old.hash) == []
    assert repository.find_api_tokens(old.metadata.prefix) == []
    assert [token.hash for token in repository.iter_api_tokens()] == [tenant]


def test_what_is_stored_outlives_reopening(
    repository: TokenRepository, reopen: Callable[[], TokenRepository], clock: ManualClock
) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    repository.store_credentials(tenant, "github", api_key())
    repository.create_auth_code(tenant, "github", ttl=HOUR)
    before = exported(repository)
    stats = repository.stats()

    again = reopen()

    assert exported(again) == before
    after = again.stats()
    assert (after.tenants, after.api_tokens, after.oauth_tokens, after.credentials) == (
        stats.tenants,
        stats.api_tokens,
        stats.oauth_tokens,
        stats.credentials,
    )
    assert again.schema_version() == stats.schema_version
    assert again.check().ok


def test_a_backup_opens_as_an_equal_store(
    repository: TokenRepository, contract_store: ContractStore, clock: ManualClock, tmp_path: Path
) -> None:
    path = tmp_path / "the backup"
    if not contract_store.has_backups:
        with pytest.raises(ConfigError):
            repository.backup(path)
        assert not path.exists()
        return
    issued = repository.add_api_token()
    repository.store_oauth_token(issued.hash, "github", oauth())
    repository.store_credentials(issued.hash, "github", api_key())
    code = repository.create_auth_code(issued.hash, "github", ttl=HOUR)
    claim = repository.claim_refresh(issued.hash, "slack", ttl=HOUR)
    assert claim is not None
    repository.validate_api_token(issued.token)

    repository.backup(path)
    before = exported(repository)
    with pytest.raises(AlreadyExists):
        repository.backup(path)
    repository.delete_tenant(issued.hash)

    with contract_store.open_backup(path, clock) as backup:
        assert exported(backup) == before
        validated = backup.validate_api_token(issued.token)
        assert validated is not None
        assert validated.last_used == clock.now
        assert backup.redeem_auth_code(code) is not None
        if not contract_store.backup_is_dump:
            assert backup.claim_refresh(issued.hash, "slack", ttl=HOUR) is None
            assert backup.commit_refresh(claim, oauth()).version == 1
        assert backup.check().ok
        assert backup.schema_version() == repository.schema_version()


def test_a_backup_never_touches_what_stands_at_its_path(
    repository: TokenRepository, contract_store: ContractStore, tmp_path: Path
) -> None:
    expected = ConfigError if not contract_store.has_backups else AlreadyExists
    file, folder = tmp_path / "a file", tmp_path / "a folder"
    file.write_text("mine")
    folder.mkdir()
    (folder / "inner").write_text("mine too")

    for path in (file, folder, str(file)):
        with pytest.raises(expected):
            repository.backup(path)

    assert file.read_text() == "mine"
    assert [entry.name for entry in folder.iterdir()] == ["inner"]
    assert (folder / "inner").read_text() == "mine too"


def test_a_backup_taken_while_others_write_is_sound(
    repository: TokenRepository, contract_store: ContractStore, clock: ManualClock, tmp_path: Path
) -> None:
    path = tmp_path / "the backup"
    tenant = new_tenant(repository)
    done = Event()

    def write() -> None:
        for number in range(10_000):
            repository.store_oauth_token(tenant, f"{number % 5}", oauth(metadata={"n": f"{number}"}))
            repository.delete_api_token(repository.add_api_token(tenant_hash=tenant).hash)
            if done.is_set():
                return

    def backup() -> None:
        try:
            while not repository.list_oauth_tokens(tenant):
                pass
            repository.backup(path)
        finally:
            done.set()

    _, answer = outcomes([write, backup])

    if not contract_store.has_backups:
        assert isinstance(answer, ConfigError)
        return
    assert answer is None
    with contract_store.open_backup(path, clock) as copy:
        assert copy.check().ok
        assert len(copy.list_oauth_tokens(tenant)) >= 1


def test_a_failed_backup_leaves_nothing(repository: TokenRepository, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(FusionStoreError):
        repository.backup(tmp_path / "file" / "backup")

    assert [entry.name for entry in tmp_path.iterdir() if "backup" in entry.name] == []
    assert (tmp_path / "file").read_text() == "no folder"
    assert repository.check().ok
