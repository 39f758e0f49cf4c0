"""A sealed store opened without keys: everything that opens or seals no payload works, the rest is ``WrongKey``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from fusion_store import (
    SYSTEM_TENANT,
    ConfigError,
    CredentialType,
    IssuedToken,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
    WrongKey,
)
from fusion_store.backend import MarkRecord
from fusion_store.layers import Key
from tests.encryption.vaults import TTL, Contents, Vault, all_records, fill, storage

TOKEN = OAuthTokenData("access", "refresh")
CREDENTIALS = ServiceCredentials(CredentialType.API_KEY, {"key": "value"})


@dataclass
class Scene:
    """A sealed store that its keys were lost for."""

    vault: Vault
    repository: TokenRepository
    contents: Contents
    issued: IssuedToken
    """An API token of a tenant with a token and a claim for ``github``, and all kinds of credentials."""
    exported: list[Any]

    @property
    def tenant(self) -> str:
        return self.issued.metadata.tenant_hash

    def code(self) -> str:
        return next(iter(self.contents.codes.values()))


@pytest.fixture
def scene(vault: Vault) -> Scene:
    with vault.sealed() as repository:
        contents = fill(repository, vault.clock.now)
        tenant = contents.rows[0].place.tenant_hash
        issued = repository.add_api_token("another", tenant_hash=tenant)
        exported = list(repository.export_records())
    return Scene(vault, vault.open(), contents, issued, exported)


def claimed(scene: Scene) -> Any:
    claim = scene.repository.claim_refresh(scene.tenant, "github", ttl=TTL)
    assert claim is not None
    return claim


def backed_up(scene: Scene) -> Vault:
    """The backup, opened with its key and read."""
    copy = scene.vault.elsewhere("backup")
    copy.folder.mkdir(parents=True)
    path = copy.folder / {"sqlite": "vault.db", "leveldb": "vault", "memory": ""}[scene.vault.backend]
    if scene.vault.backend == "memory":
        with pytest.raises(ConfigError):
            scene.repository.backup(path)
        return copy
    scene.repository.backup(path)
    restored = copy.sealed()
    assert all(scene.contents.read(restored, row) is not None for row in scene.contents.rows)
    return copy


def imported(scene: Scene) -> bool:
    """Whether sealed records go in as they are."""
    repository, tenant = scene.repository, scene.contents.rows[-1].place.tenant_hash
    assert repository.delete_tenant(tenant)
    assert repository.import_records(scene.exported) > 0
    kept = all_records(storage(repository))
    return all(record in kept for record in scene.exported if not isinstance(record, MarkRecord))


def listing_streams(scene: Scene) -> bool:
    return len(list(scene.repository.iter_api_tokens())) == 3


WORKS: dict[str, Callable[[Scene], object]] = {
    "add_api_token": lambda s: s.repository.add_api_token("new"),
    "validate_api_token": lambda s: s.repository.validate_api_token(s.issued.token),
    "get_api_token": lambda s: s.repository.get_api_token(s.issued.hash),
    "list_api_tokens": lambda s: len(s.repository.list_api_tokens()) == 3,
    "iter_api_tokens": listing_streams,
    "find_api_tokens": lambda s: s.repository.find_api_tokens(s.issued.hash[:16]),
    "resolve_api_token": lambda s: s.repository.resolve_api_token(s.issued.hash[:16]),
    "rotate_api_token": lambda s: s.repository.validate_api_token(s.repository.rotate_api_token(s.issued.hash).token),
    "delete_api_token": lambda s: s.repository.delete_api_token(s.issued.hash),
    "get_tenant": lambda s: s.repository.get_tenant(s.tenant),
    "list_tenants": lambda s: len(s.repository.list_tenants()) == 2,
    "resolve_tenant": lambda s: s.repository.resolve_tenant(s.tenant[:16]),
    "delete_tenant": lambda s: s.repository.delete_tenant(s.tenant),
    "delete_oauth_token": lambda s: s.repository.delete_oauth_token(s.tenant, "github"),
    "delete_credentials": lambda s: s.repository.delete_credentials(s.tenant, "github", CredentialType.API_KEY),
    "claim_refresh": claimed,
    "release_refresh": lambda s: s.repository.release_refresh(claimed(s)) is None and claimed(s),
    "schema_version": lambda s: s.repository.schema_version(),
    "stats": lambda s: s.repository.stats().tenants == 2,
    "health": lambda s: s.repository.health().ok,
    "check": lambda s: {p.reason for p in s.repository.check().corrupt} <= {"sealed with a key that isn't at hand"},
    "audit_log": lambda s: s.repository.audit_log() == [],
    "purge_expired": lambda s: s.vault.clock.advance(TTL) and s.repository.purge_expired()["codes"] == 3,
    "backup": backed_up,
    "export_records": lambda s: list(s.repository.export_records()) == s.exported,
    "import_records": imported,
    "flush": lambda s: s.repository.flush() is None,
    "close": lambda s: s.repository.close() is None,
}

NEEDS_KEYS: dict[str, Callable[[Scene], object]] = {
    "store_oauth_token": lambda s: s.repository.store_oauth_token(s.tenant, "github", TOKEN),
    "get_oauth_token": lambda s: s.repository.get_oauth_token(s.tenant, "github"),
    "list_oauth_tokens": lambda s: s.repository.list_oauth_tokens(s.tenant),
    "commit_refresh": lambda s: s.repository.commit_refresh(claimed(s), TOKEN),
    "create_auth_code": lambda s: s.repository.create_auth_code(s.tenant, "github", ttl=TTL),
    "redeem_auth_code": lambda s: s.repository.redeem_auth_code(s.code()),
    "store_credentials": lambda s: s.repository.store_credentials(s.tenant, "github", CREDENTIALS),
    "get_credentials": lambda s: s.repository.get_credentials(s.tenant, "github", CredentialType.API_KEY),
    "list_credentials": lambda s: s.repository.list_credentials(s.tenant),
}


def test_every_typed_operation_is_on_one_side() -> None:
    assert set(WORKS) | set(NEEDS_KEYS) == set(TokenRepository.__abstractmethods__)
    assert not set(WORKS) & set(NEEDS_KEYS)


@pytest.mark.parametrize("operation", WORKS)
def test_it_works_without_keys(scene: Scene, operation: str) -> None:
    assert WORKS[operation](scene)


@pytest.mark.parametrize("operation", NEEDS_KEYS)
def test_it_needs_keys_and_changes_nothing_without(scene: Scene, operation: str) -> None:
    with pytest.raises(WrongKey, match="no key "):
        NEEDS_KEYS[operation](scene)
    assert list(scene.repository.export_records()) == scene.exported or operation == "commit_refresh"
    scene.vault.close()
    sealed = scene.vault.sealed()
    assert all(scene.contents.read(sealed, row) is not None for row in scene.contents.rows)


def test_a_claim_outlives_a_commit_that_lacked_keys(scene: Scene) -> None:
    claim = claimed(scene)
    with pytest.raises(WrongKey, match="no key "):
        scene.repository.commit_refresh(claim, TOKEN)
    scene.vault.close()
    assert scene.vault.sealed().commit_refresh(claim, TOKEN).version == 2


def test_no_code_is_taken_for_a_moment_even_where_no_key_could_open_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage(scene.repository), "take_auth_code", lambda _, **__: pytest.fail("taken"))
    with pytest.raises(WrongKey, match="no key "):
        scene.repository.redeem_auth_code(scene.code())


def test_a_code_outlives_a_redemption_that_lacked_its_key(scene: Scene) -> None:
    scene.vault.close()
    newer = Key.generate()
    with scene.vault.open(newer, scene.vault.key) as repository:
        code = repository.create_auth_code(scene.tenant, "github", ttl=TTL, payload={"a": 1})
    with scene.vault.sealed() as repository:
        for _ in range(2):
            with pytest.raises(WrongKey) as caught:
                repository.redeem_auth_code(code)
            assert caught.value.key_id == newer.key_id
    with scene.vault.open(scene.vault.key, newer) as repository:
        redeemed = repository.redeem_auth_code(code)
        assert redeemed is not None
        assert redeemed.payload == {"a": 1}
        assert repository.redeem_auth_code(code) is None


def test_plain_records_are_not_imported_without_keys(scene: Scene) -> None:
    plain = scene.vault.elsewhere("plain").open()
    fill(plain, scene.vault.clock.now)
    before = all_records(storage(scene.repository))
    with pytest.raises(WrongKey, match="no key "):
        scene.repository.import_records(plain.export_records())
    assert all_records(storage(scene.repository)) == before


def test_reading_names_the_key_that_is_missing(scene: Scene) -> None:
    for row in scene.contents.rows:
        if row.hash:
            continue
        with pytest.raises(WrongKey) as caught:
            scene.contents.read(scene.repository, row)
        assert caught.value.key_id == scene.vault.key.key_id
        assert (caught.value.tenant_hash, caught.value.kind, caught.value.service) == row.named


def test_the_system_tenant_is_no_exception(vault: Vault) -> None:
    with vault.sealed() as repository:
        repository.store_oauth_token(SYSTEM_TENANT, "github", TOKEN)
    keyless = vault.open()
    with pytest.raises(WrongKey, match="no key "):
        keyless.get_oauth_token(SYSTEM_TENANT, "github")
    with pytest.raises(WrongKey, match="no key "):
        keyless.store_oauth_token(SYSTEM_TENANT, "github", TOKEN)
    assert keyless.delete_oauth_token(SYSTEM_TENANT, "github")
