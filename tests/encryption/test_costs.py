"""No operation seals or opens a payload that it could do without: one cipher call a record, none to move it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store.layers import Cipher, Key
from tests.encryption.vaults import ON_DISK, TTL, Contents, Vault, fill

TOKEN = OAuthTokenData("access", "refresh")
CREDENTIALS = ServiceCredentials(CredentialType.API_KEY, {"key": "value"})

Counts = tuple[int, int]
"""How many payloads were sealed, and how many opened."""


@dataclass
class Scene:
    vault: Vault
    repository: TokenRepository
    contents: Contents

    @property
    def tenant(self) -> str:
        return self.contents.rows[0].place.tenant_hash

    def target(self) -> TokenRepository:
        return self.vault.elsewhere("target").open()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the ciphers of the ``cryptography`` library were called."""
    counted: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            counted[name] += 1
            return function(*arguments)

        return call

    class CountedAESGCM:
        def __init__(self, key: bytes) -> None:
            cipher = AESGCM(key)
            self.encrypt = counting("seal", cipher.encrypt)
            self.decrypt = counting("open", cipher.decrypt)

    monkeypatch.setattr(Fernet, "encrypt", counting("seal", Fernet.encrypt))
    monkeypatch.setattr(Fernet, "decrypt", counting("open", Fernet.decrypt))
    monkeypatch.setattr("fusion_store.layers._seal.AESGCM", CountedAESGCM)
    return counted


def commit(scene: Scene) -> object:
    claim = scene.repository.claim_refresh(scene.tenant, "github", ttl=TTL)
    assert claim is not None
    return scene.repository.commit_refresh(claim, TOKEN)


def release(scene: Scene) -> None:
    claim = scene.repository.claim_refresh(scene.tenant, "github", ttl=TTL)
    assert claim is not None
    scene.repository.release_refresh(claim)


def import_sealed(scene: Scene) -> object:
    return scene.target().import_records(list(scene.repository.export_records()))


def backup(scene: Scene) -> None:
    if scene.vault.backend != "memory":
        scene.repository.backup(scene.vault.folder / "backup")


OPERATIONS: dict[str, tuple[Callable[[Scene], object], Counts]] = {
    "store_oauth_token": (lambda s: s.repository.store_oauth_token(s.tenant, "github", TOKEN), (1, 0)),
    "get_oauth_token": (lambda s: s.repository.get_oauth_token(s.tenant, "github"), (0, 1)),
    "get_oauth_token, absent": (lambda s: s.repository.get_oauth_token(s.tenant, "absent"), (0, 0)),
    "list_oauth_tokens": (lambda s: s.repository.list_oauth_tokens(s.tenant), (0, 2)),
    "delete_oauth_token": (lambda s: s.repository.delete_oauth_token(s.tenant, "github"), (0, 0)),
    "claim_refresh, commit_refresh": (commit, (1, 0)),
    "claim_refresh, release_refresh": (release, (0, 0)),
    "create_auth_code": (lambda s: s.repository.create_auth_code(s.tenant, "github", ttl=TTL), (1, 0)),
    "redeem_auth_code": (lambda s: s.repository.redeem_auth_code(next(iter(s.contents.codes.values()))), (0, 1)),
    "redeem_auth_code, absent": (lambda s: s.repository.redeem_auth_code("absent"), (0, 0)),
    "store_credentials": (lambda s: s.repository.store_credentials(s.tenant, "github", CREDENTIALS), (1, 0)),
    "get_credentials": (lambda s: s.repository.get_credentials(s.tenant, "github", CredentialType.API_KEY), (0, 1)),
    "list_credentials": (lambda s: s.repository.list_credentials(s.tenant), (0, 5)),
    "delete_credentials": (
        lambda s: s.repository.delete_credentials(s.tenant, "github", CredentialType.API_KEY),
        (0, 0),
    ),
    "add_api_token": (lambda s: s.repository.add_api_token(), (0, 0)),
    "list_api_tokens": (lambda s: s.repository.list_api_tokens(), (0, 0)),
    "list_tenants": (lambda s: s.repository.list_tenants(), (0, 0)),
    "delete_tenant": (lambda s: s.repository.delete_tenant(s.tenant), (0, 0)),
    "stats": (lambda s: s.repository.stats(), (0, 0)),
    "health": (lambda s: s.repository.health(), (0, 0)),
    "purge_expired": (lambda s: s.repository.purge_expired(), (0, 0)),
    "export_records": (lambda s: list(s.repository.export_records()), (0, 0)),
    "import_records into a plain store": (import_sealed, (0, 0)),
    "backup": (backup, (0, 0)),
    "check": (lambda s: s.repository.check(), (0, 13)),
}


# What a cipher is called for doesn't depend on the disk below.
@pytest.mark.parametrize("backend", ["memory", ON_DISK[-1]])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_record_is_sealed_or_opened_once_at_most(vault: Vault, calls: Counter[str], operation: str) -> None:
    repository = vault.sealed()
    scene = Scene(vault, repository, fill(repository, vault.clock.now))
    assert len(scene.contents.rows) == 13
    run, expected = OPERATIONS[operation]
    calls.clear()
    run(scene)
    assert (calls["seal"], calls["open"]) == expected


def test_filling_a_store_seals_each_payload_once(vault: Vault, calls: Counter[str]) -> None:
    repository = vault.sealed()
    calls.clear()
    contents = fill(repository, vault.clock.now)
    assert (calls["seal"], calls["open"]) == (len(contents.rows), 0)


def test_opening_a_store_opens_its_mark_alone(vault: Vault, calls: Counter[str]) -> None:
    fill(vault.sealed(), vault.clock.now)
    vault.close()
    calls.clear()
    vault.sealed()
    assert (calls["seal"], calls["open"]) == (0, 1)
    vault.close()
    calls.clear()
    vault.open()
    assert not calls


def test_plain_records_are_sealed_once_each_when_they_are_imported(vault: Vault, calls: Counter[str]) -> None:
    source = vault.elsewhere("source").open()
    contents = fill(source, vault.clock.now)
    target = vault.sealed()
    calls.clear()
    target.import_records(source.export_records())
    assert (calls["seal"], calls["open"]) == (len(contents.rows), 0)


def test_only_the_key_that_an_envelope_names_is_tried(vault: Vault, calls: Counter[str]) -> None:
    contents = fill(vault.sealed(), vault.clock.now)
    vault.close()
    repository = vault.open(*(Key.generate() for _ in range(5)), vault.key, cipher=Cipher.AES_256_GCM)
    calls.clear()
    for row in contents.rows:
        assert contents.read(repository, row) is not None
    assert (calls["seal"], calls["open"]) == (0, len(contents.rows))
