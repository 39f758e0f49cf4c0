"""A pytest plugin for a checkout of the MCP SDK: its auth tests meet the vault's authorization server in place of their
own. ``test_sdk`` runs this away from here: both projects call their tests ``tests``."""

from __future__ import annotations

import asyncio
import atexit
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import count
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest
from mcp.server.auth.provider import AccessToken, TokenError
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from fusion_store import get_repository
from fusion_store.integrations.mcp import ConsentRequest, FusionAuthorizationServer, Lifetimes

AUTH = "tests/server/mcpserver/auth/test_auth_integration.py"
LIFECYCLE = "tests/interaction/auth/test_lifecycle.py"
_WRITES_CODES = "puts a code of its own making into the provider"
_MINTS = "mints access tokens in the provider for a grant that the SDK's server doesn't have"

LEFT_OUT = {
    f"{AUTH}::test_token_invalid_client_secret_returns_invalid_client": _WRITES_CODES,
    f"{AUTH}::test_token_expired_auth_code": "looks for its code among the provider's",
    f"{AUTH}::test_client_secret_basic_authentication": _WRITES_CODES,
    f"{AUTH}::test_wrong_auth_method_without_valid_credentials_fails": _WRITES_CODES,
    f"{AUTH}::test_basic_auth_without_header_fails": _WRITES_CODES,
    f"{AUTH}::test_basic_auth_invalid_base64_fails": _WRITES_CODES,
    f"{AUTH}::test_basic_auth_no_colon_fails": _WRITES_CODES,
    f"{AUTH}::test_basic_auth_client_id_mismatch_fails": _WRITES_CODES,
    f"{AUTH}::test_none_auth_method_public_client": _WRITES_CODES,
    f"{LIFECYCLE}::test_client_credentials_provider_obtains_a_token_without_an_authorize_step": _MINTS,
    f"{LIFECYCLE}::test_private_key_jwt_provider_authenticates_the_token_request_with_an_assertion": _MINTS,
    f"{LIFECYCLE}::test_an_expired_access_token_is_transparently_refreshed_before_the_next_request": (
        "wants refresh tokens that begin with refresh_"
    ),
    "tests/interaction/auth/test_as_handlers.py::test_a_non_loopback_http_redirect_uri_is_accepted_at_registration": (
        "wants a redirect URI accepted that MCP's specification forbids; it is refused here"
    ),
}
"""Which of their tests aren't run, and why."""

MODULES = (
    AUTH,
    "tests/server/auth/test_error_handling.py",
    "tests/interaction/auth/test_as_handlers.py",
    "tests/interaction/auth/test_authorize_token.py",
    "tests/interaction/auth/test_discovery.py",
    "tests/interaction/auth/test_flow.py",
    LIFECYCLE,
)
"""Their modules that run against a provider. ``test_identity_assertion`` is about a grant that isn't offered here,
``test_login_time`` about a client's timeouts."""

_folder = TemporaryDirectory()
atexit.register(_folder.cleanup)
_number = count()


class Clients(dict[str, OAuthClientInformationFull]):
    """Their provider's clients. Who puts one in adds it to the vault."""

    def __init__(self, server: FusionAuthorizationServer) -> None:
        super().__init__()
        self._server = server

    def __setitem__(self, client_id: str, client: OAuthClientInformationFull) -> None:
        with ThreadPoolExecutor(1) as threads:  # their tests run in a loop
            threads.submit(asyncio.run, self._server.add_client(client)).result()
        super().__setitem__(client_id, client)


class Provider(FusionAuthorizationServer):
    """Their provider's constructor, on a vault of its own with one user, who consents to all or to nothing.

    ``access_tokens`` is for looking at. The last three say what to do wrong, as theirs does.
    """

    def __init__(
        self,
        *,
        default_scopes: list[str] | None = None,
        deny_authorize: bool = False,
        issuer: str | None = None,
        issue_expired_first: bool = False,
        fail_next_refresh: bool = False,
        reject_all_tokens: bool = False,
    ) -> None:
        vault = get_repository(f"sqlite:///{_folder.name}/{next(_number)}.db")
        atexit.register(vault.close)
        lasting = Lifetimes(refresh_token=Lifetimes().access_token)  # as theirs
        super().__init__(vault, self._answer, issuer=issuer or "http://127.0.0.1:8000/", lifetimes=lasting)
        self._user = vault.add_api_token("the only user").hash
        self._refuses = deny_authorize
        self._issues_expired = issue_expired_first
        self._fails_refresh = fail_next_refresh
        self._rejects_tokens = reject_all_tokens
        self.clients = Clients(self)
        self.access_tokens: dict[str, AccessToken] = {}

    async def _answer(self, request: ConsentRequest) -> str:
        return await (self.deny(request.ticket) if self._refuses else self.approve(request.ticket, self._user))

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        await super().register_client(client_info)
        dict.__setitem__(self.clients, client_info.client_id, client_info)

    async def exchange_authorization_code(self, client: Any, authorization_code: Any) -> OAuthToken:
        token = await super().exchange_authorization_code(client, authorization_code)
        if self._issues_expired:
            self._issues_expired = False
            token.expires_in = -3600
        return token

    async def exchange_refresh_token(self, client: Any, refresh_token: Any, scopes: list[str]) -> OAuthToken:
        if self._fails_refresh:
            self._fails_refresh = False
            raise TokenError("invalid_grant", "refresh denied")
        return await super().exchange_refresh_token(client, refresh_token, scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        found = None if self._rejects_tokens else await super().load_access_token(token)
        if found is None:
            return None
        assert found.subject == self._user[:16]
        # Their only user has a name.
        self.access_tokens[token] = found = found.model_copy(update={"subject": "test-user"})
        return found


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def mock_oauth_provider() -> Provider:
    return Provider()


@pytest.fixture
def oauth_provider() -> Provider:
    return Provider()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement: what their tests are for")
    # Of their tools only this function is needed: it answers what it is given.
    stand_in: Any = ModuleType("inline_snapshot")
    stand_in.snapshot = lambda expected: expected
    sys.modules.setdefault("inline_snapshot", stand_in)
    their_own: Any = import_module("tests.interaction.auth._provider")
    their_own.InMemoryAuthorizationServerProvider = Provider


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is left out must be there. Fixtures of their modules go before a plugin's; these give way."""
    left_out: set[str] = set()
    for item in list(items):
        file, name = item.nodeid.partition("::")[0], item.nodeid.rpartition("::")[2].partition("[")[0]
        if f"{file}::{name}" in LEFT_OUT:
            left_out.add(f"{file}::{name}")
            items.remove(item)
        definitions: dict[str, Any] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]  # pytest's own
        for provider in {"mock_oauth_provider", "oauth_provider"} & definitions.keys():
            definitions[provider] = definitions[provider][:1]
    if left_out != LEFT_OUT.keys():
        raise pytest.UsageError(f"not among their tests: {sorted(LEFT_OUT.keys() - left_out)}")
