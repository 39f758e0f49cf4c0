"""What FastMCP's OAuth keeps lies in the vault: a login outlives every restart, of the server and of the client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from fastmcp.server.auth import MultiAuth
from fastmcp.utilities.http import find_available_port

from fusion_store import TokenRepository, get_repository
from fusion_store.integrations.fastmcp import FusionTokenVerifier
from fusion_store.integrations.key_value import FusionKeyValueStore
from fusion_store.layers import Key, Keyring
from fusion_store.testing import ManualClock
from tests.auth.provider import running_provider
from tests.integrations.fastmcp.oauth import SUBJECT, ConsentingOAuth, Upstream, make_proxy
from tests.integrations.fastmcp.peers import ask, knock, serving
from tests.integrations.mcp.peers import is_unavailable


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with running_provider() as provider:
        yield Upstream(provider)


class World:
    """A vault on disk, sealed, in which a proxy and the client of one tenant keep what they have to."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder = folder
        self.upstream = upstream
        self.port = find_available_port()
        self.clock = ManualClock(datetime.now(UTC))
        self._keys = Keyring([Key.generate()])
        with self.opened() as vault:
            self.tenant_hash = vault.add_api_token("Ada").hash

    @contextmanager
    def opened(self) -> Iterator[TokenRepository]:
        url = f"sqlite:///{self.folder}/vault.db"
        with get_repository(url, encryption_keys=self._keys, clock=self.clock) as vault:
            yield vault

    @contextmanager
    def serving(self, vault: TokenRepository) -> Iterator[str]:
        proxy = make_proxy(self.upstream, self.port, FusionKeyValueStore(vault))
        with serving(proxy, guarded=True, port=self.port) as url:
            yield url

    def client_storage(self, vault: TokenRepository) -> FusionKeyValueStore:
        return FusionKeyValueStore(vault, tenant_hash=self.tenant_hash)

    def log_in(self, vault: TokenRepository, url: str) -> None:
        """As a client that has just been started."""
        seen = ask(url, ConsentingOAuth(token_storage=self.client_storage(vault)))
        assert seen["subject"] == SUBJECT

    def client_token(self, vault: TokenRepository, url: str) -> str:
        """The access token that the client has of the proxy."""
        kept = asyncio.run(self.client_storage(vault).get(f"{url}/tokens", collection="mcp-oauth-token"))
        assert kept is not None
        return str(kept["access_token"])


@pytest.fixture
def world(tmp_path: Path, upstream: Upstream) -> World:
    return World(tmp_path, upstream)


def test_a_login_outlives_restarts_of_server_and_client(world: World) -> None:
    for _ in range(3):
        with world.opened() as vault, world.serving(vault) as url:
            world.log_in(vault, url)
    assert world.upstream.logins == 1

    with world.opened() as vault, world.serving(vault) as url:
        vault.delete_tenant(world.tenant_hash)
        world.tenant_hash = vault.add_api_token("Bob").hash
        world.log_in(vault, url)
    assert world.upstream.logins == 2


def test_an_expired_login_is_refreshed_after_a_restart(world: World) -> None:
    with world.opened() as vault, world.serving(vault) as url:
        world.log_in(vault, url)
        before = world.client_token(vault, url)
    with world.opened() as vault, world.serving(vault) as url:
        expiry = world.client_storage(vault).put(
            f"{url}/token_expiry", {"expires_at": 1.0}, collection="mcp-oauth-token-expiry"
        )
        asyncio.run(expiry)
        world.log_in(vault, url)
        assert world.client_token(vault, url) != before
    assert world.upstream.provider.refreshes == 1
    assert world.upstream.provider.reuses == 0
    assert world.upstream.logins == 1


def test_a_login_that_was_left_half_done_is_purged(world: World) -> None:
    callback = "http://localhost:1/callback"
    with world.opened() as vault, world.serving(vault) as url:
        world.log_in(vault, url)
        base = url.removesuffix("/mcp")
        metadata = {"redirect_uris": [callback], "token_endpoint_auth_method": "none"}
        client = httpx2.post(f"{base}/register", json=metadata).json()
        asked = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": callback,
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            "state": "s",
        }
        assert httpx2.get(f"{base}/authorize", params=asked).is_redirect
        world.clock.advance(timedelta(minutes=20))
        assert vault.purge_expired()["credentials"] == 1
        world.log_in(vault, url)
    assert world.upstream.logins == 1


def test_no_secret_of_it_is_on_disk(world: World) -> None:
    with world.opened() as vault, world.serving(vault) as url:
        world.log_in(vault, url)
        kept = [*world.upstream.issued, world.client_token(vault, url), f"127.0.0.1:{world.port}"]
    on_disk = b"".join(path.read_bytes() for path in world.folder.iterdir())
    assert world.tenant_hash.encode() in on_disk
    assert [secret for secret in kept if secret.encode() in on_disk] == []


def test_while_the_store_is_down_clients_keep_their_logins(world: World) -> None:
    with world.opened() as vault, world.serving(vault) as url:
        world.log_in(vault, url)
        token = world.client_token(vault, url)
        assert knock(url, token).status_code == 200
        vault.close()
        assert is_unavailable(knock(url, token))
        client = {"redirect_uris": ["http://localhost:1/callback"], "token_endpoint_auth_method": "none"}
        refresh = {"grant_type": "refresh_token", "client_id": "x", "refresh_token": secrets.token_hex()}
        base = url.removesuffix("/mcp")
        assert is_unavailable(httpx2.post(f"{base}/register", json=client))
        assert is_unavailable(httpx2.post(f"{base}/token", data=refresh))


def test_a_proxy_and_the_vaults_own_tokens_together(world: World) -> None:
    with world.opened() as vault:
        proxy = make_proxy(world.upstream, world.port, FusionKeyValueStore(vault))
        issued = vault.add_api_token("Machine", scopes=("read",))
        auth = MultiAuth(server=proxy, verifiers=[FusionTokenVerifier(vault)])
        with serving(auth, guarded=True, port=world.port) as url:
            world.log_in(vault, url)
            assert ask(url, issued.token)["claims"] == {"tenant": issued.metadata.tenant_hash}
            assert knock(url, "0" * 64).status_code == 401
            token = world.client_token(vault, url)
            vault.close()
            for known in (token, issued.token):
                assert is_unavailable(knock(url, known))
