"""The examples, each run as the program that it is and used over HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from cryptography.fernet import Fernet
from fastmcp import Client
from fastmcp.exceptions import ToolError

from fusion_store import IssuedToken, OAuthTokenData, TokenRepository, get_repository
from tests.auth.provider import Provider, Reply, Request, running_provider
from tests.integrations.mcp.authorization import Host, hosting

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVERS = ["fastapi_service", "flask_app"]


class World:
    """A vault that the examples share with the test, and an upstream API which knows accounts by their tokens."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder = folder
        self.provider = provider
        self.url = f"sqlite:///{folder}/vault.db"
        self.vault: TokenRepository = get_repository(self.url)
        self.accounts: dict[str, str] = {}
        services = folder / "services.toml"
        token_url = provider.url("/token")
        services.write_text(
            f'[services.upstream]\ntype = "oauth2_external"\nclient_id = "me"\ntoken_url = "{token_url}"\n'
        )
        provider.script("/profile", [self._profile])
        provider.script("/token", [self._refresh])
        self.environment = os.environ | {
            "FUSION_STORE_URL": self.url,
            "FUSION_STORE_SERVICES": str(services),
            "UPSTREAM_URL": provider.url(),
            "PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }

    def _profile(self, request: Request) -> Reply:
        name = self.accounts.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        return Reply(401) if name is None else Reply(json={"name": name})

    def _refresh(self, request: Request) -> Reply:
        name = request.form["refresh_token"]
        self.accounts[f"access of {name}"] = name
        return Reply(json={"access_token": f"access of {name}", "token_type": "Bearer", "expires_in": 3600})

    def add(self, name: str, scopes: tuple[str, ...] = ("profile",)) -> IssuedToken:
        """A tenant that has connected its account upstream; its token there is refused, and has to be refreshed."""
        issued = self.vault.add_api_token(name, scopes=scopes)
        token = OAuthTokenData("refused", name, expires_at=datetime.now(UTC) + timedelta(hours=1))
        self.vault.store_oauth_token(issued.hash, "upstream", token)
        return issued

    @contextmanager
    def serving(self, example: str) -> Iterator[str]:
        """Answers the server's URL."""
        log = self.folder / "log"
        with log.open("wb") as written:
            server = subprocess.Popen(
                [sys.executable, EXAMPLES / f"{example}.py"], env=self.environment, stdout=written, stderr=written
            )
        try:
            while (said := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())) is None:
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            yield said[1]
        finally:
            server.terminate()
            server.wait(30)
        assert "Traceback" not in log.read_text()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running_provider() as provider:
        made = World(tmp_path, provider)
        with made.vault:
            yield made


def get(url: str, token: IssuedToken | None = None) -> httpx2.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token.token}"}
    return httpx2.get(url, headers=headers, timeout=60)


@pytest.mark.parametrize("example", SERVERS)
def test_a_service_knows_its_callers_and_calls_upstream_for_each(world: World, example: str) -> None:
    ada, bob, new = world.add("Ada"), world.add("Bob"), world.vault.add_api_token("New", scopes=("profile",))
    with world.serving(example) as url:
        assert get(f"{url}/me").status_code == 401
        assert get(f"{url}/me", ada).json() == {"tenant": ada.metadata.tenant_id, "description": "Ada"}
        assert "Ada" in get(f"{url}/profile", ada).text
        assert "Bob" in get(f"{url}/profile", bob).text
        assert get(f"{url}/profile", new).status_code == 409
        world.vault.delete_api_token(bob.hash)
        assert get(f"{url}/profile", bob).status_code == 401
    assert len(world.provider.asked("/token")) == 2


def test_the_fastapi_service_wants_scopes_and_says_so_in_openapi(world: World) -> None:
    reader = world.add("Reader", scopes=())
    with world.serving("fastapi_service") as url:
        assert get(f"{url}/health").json() == {"ok": True}
        refused = get(f"{url}/profile", reader)
        assert (refused.status_code, 'scope="profile"' in refused.headers["www-authenticate"]) == (403, True)
        assert "BearerAuth" in get(f"{url}/openapi.json").json()["components"]["securitySchemes"]


def test_each_tenant_of_the_fastmcp_server_calls_upstream_with_its_own_token(world: World) -> None:
    ada, bob, new = world.add("Ada"), world.add("Bob"), world.vault.add_api_token("New")

    async def profile(url: str, token: IssuedToken) -> Any:
        async with Client(f"{url}/mcp", auth=token.token) as client:
            return (await client.call_tool("profile", {})).data

    async def both(url: str) -> list[Any]:
        return await asyncio.gather(*(profile(url, token) for token in [ada, bob] * 3))

    with world.serving("fastmcp_server") as url:
        assert asyncio.run(both(url)) == ["Ada", "Bob"] * 3
        with pytest.raises(ToolError, match="fusion-store connect"):
            asyncio.run(profile(url, new))
        world.vault.delete_api_token(ada.hash)
        refused = httpx2.post(f"{url}/mcp", headers={"authorization": f"Bearer {ada.token}"}, json={}, timeout=60)
        assert refused.status_code == 401
    assert sorted(request.form["refresh_token"] for request in world.provider.asked("/token")) == ["Ada", "Bob"]


class McpClient:
    """The MCP client's program, run after run, at a server of the test's own."""

    def __init__(self, world: World, host: Host) -> None:
        self.host = host
        self.own = world.vault.add_api_token("client")
        self.command = [sys.executable, str(EXAMPLES / "mcp_client.py"), f"{host.url}/mcp", "whoami"]
        self.environment = world.environment | {"API_AUTH_KEY": self.own.token}
        self.answer = f"{host.users['ada'].hash}\n"

    @contextmanager
    def asking(self) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """A run that asks its user to open a URL: that."""
        pipe = subprocess.PIPE
        with subprocess.Popen(self.command, env=self.environment, stdout=pipe, stderr=pipe, text=True) as run:
            assert run.stdout is not None
            said, _, url = run.stdout.readline().partition(" ")
            try:
                assert said == "Open"
                yield run, url.strip()
            finally:
                run.kill()

    def consent(self) -> None:
        """A run whose user consents."""
        with self.asking() as (run, url):
            browsed = httpx2.get(url, cookies={"user": "ada"}, follow_redirects=True, timeout=60)
            assert browsed.text == "You can close this window.\r\n"
            out, err = run.communicate(timeout=60)
        assert (out, run.returncode) == (self.answer, 0), err

    def run(self) -> str:
        return subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, check=True, timeout=100
        ).stdout


@pytest.fixture
def mcp_client(world: World) -> Iterator[McpClient]:
    with get_repository(f"sqlite:///{world.folder}/theirs.db") as theirs, hosting(theirs) as host:
        host.users = {"ada": theirs.add_api_token("Ada")}
        yield McpClient(world, host)


def test_the_mcp_client_asks_its_user_once(mcp_client: McpClient) -> None:
    mcp_client.consent()
    (asked,) = mcp_client.host.asked
    assert mcp_client.run() == mcp_client.answer
    assert mcp_client.host.asked == [asked]


def test_the_mcp_client_that_was_stopped_before_its_user_consented_asks_again(mcp_client: McpClient) -> None:
    with mcp_client.asking():
        pass
    mcp_client.consent()


def test_the_mcp_client_asks_again_when_its_grant_has_ended(world: World, mcp_client: McpClient) -> None:
    mcp_client.consent()
    token = world.vault.get_oauth_token(mcp_client.own.hash, f"{mcp_client.host.url}/mcp")
    assert token is not None
    access = asyncio.run(mcp_client.host.server.load_access_token(token.access_token))
    assert access is not None
    asyncio.run(mcp_client.host.server.revoke_token(access))
    mcp_client.consent()
    assert mcp_client.run() == mcp_client.answer


def test_the_mcp_client_minds_no_other_connections(mcp_client: McpClient) -> None:
    with mcp_client.asking() as (run, url):
        back = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0])
        for sent in (b"", b"nonsense\r\n\r\n", b"GET /favicon.ico HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", back.port or 0)) as browser:
                browser.sendall(sent)
        httpx2.get(url, cookies={"user": "ada"}, follow_redirects=True, timeout=60)
        out, err = run.communicate(timeout=60)
    assert (out, err) == (mcp_client.answer, "")


def test_the_agent_signs_in_once(world: World) -> None:
    provider = world.provider
    provider.script("/token", [provider.strict_token])
    provider.script("/tasks", [{"tasks": ["one", "two"]}])
    environment = world.environment | {
        "FUSION_STORE_KEYS": Fernet.generate_key().decode(),
        "FUSION_STORE_URL": f"sqlite:///{world.folder}/agent.db",
        "AGENT_CLIENT_ID": "agent",
        "AGENT_CLIENT_SECRET": "secret",
        "AGENT_TOKEN_URL": provider.url("/token"),
        "AGENT_API_URL": provider.url("/tasks"),
    }
    command = [sys.executable, str(EXAMPLES / "embedded_agent.py")]
    for _ in range(2):
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
        assert run.stdout == "doing one\ndoing two\n"
    first, second = provider.asked("/tasks")
    assert first.headers["authorization"] == second.headers["authorization"]
    assert len(provider.asked("/token")) == 1
