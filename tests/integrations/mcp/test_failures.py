"""A store that fails at one step of many, or doesn't say what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import httpx2
import pytest
from mcp.server.auth.provider import AuthorizeError

from fusion_store import AuthError, Busy, IssuedToken, OutcomeUnknown, TokenRepository
from fusion_store._audit import AuditEntry
from fusion_store._records import APITokenRecord, AuthCodeRecord, Place, SecretRecord, TenantRecord
from fusion_store.backend import Change, RecordRepository, SecretState
from fusion_store.http._asgi import Receive, Scope, Send
from fusion_store.integrations.mcp import FusionGuard
from fusion_store.layers import Layer
from tests.http.servers import call
from tests.integrations.mcp.authorization import Answer, Host, hosting
from tests.integrations.mcp.peers import is_unavailable
from tests.integrations.mcp.test_provider import CLIENT, PARAMS, make


class Failing(Layer):
    """A vault that is busy for the ``broken`` operations: methods, of secrets with the beginning of the service."""

    broken = ""

    def _attempt(self, operation: str) -> None:
        if self.broken and operation.startswith(self.broken):
            raise Busy("another one has the store")

    def insert_api_token(
        self, token: APITokenRecord, tenant: TenantRecord | None, mode: bytes, *, audit: AuditEntry | None = None
    ) -> None:
        self._attempt("insert_api_token")
        super().insert_api_token(token, tenant, mode, audit=audit)

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        self._attempt("replace_api_token")
        return super().replace_api_token(old, new, old_expires_at, audit=audit)

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        self._attempt("remove_api_token")
        return super().remove_api_token(hash, audit=audit)

    def take_auth_code(self, hash: str, *, audit: AuditEntry | None = None) -> AuthCodeRecord | None:
        self._attempt("take_auth_code")
        return super().take_auth_code(hash, audit=audit)

    def read_secret(self, place: Place) -> SecretRecord | None:
        self._attempt(f"read_secret {place.service}")
        return super().read_secret(place)


class Unsure(Layer):
    """A vault that loses the answer to one change of a grant, which it ``makes`` or doesn't."""

    makes: bool | None = None

    def change_secret(
        self, place: Place, change: Change, mode: bytes, *, audit: AuditEntry | None = None
    ) -> SecretState | None:
        makes, is_grant = self.makes, place.service.startswith("mcp.grant:")
        if makes is None or not is_grant:
            return super().change_secret(place, change, mode, audit=audit)
        self.makes = None
        if makes:
            super().change_secret(place, change, mode, audit=audit)
        raise OutcomeUnknown("the connection was lost")


@pytest.fixture
def failing(vault: TokenRepository) -> Failing:
    assert isinstance(vault, RecordRepository)
    return Failing(vault)


@pytest.fixture
def host(failing: Failing, ada: IssuedToken) -> Iterator[Host]:
    with hosting(failing) as running:
        running.users = {"ada": ada}
        yield running


@pytest.fixture
def unsure(vault: TokenRepository, ada: IssuedToken) -> Iterator[tuple[Host, Unsure]]:
    assert isinstance(vault, RecordRepository)
    store = Unsure(vault)
    with hosting(store) as running:
        running.users = {"ada": ada}
        yield running, store


def exchange(host: Host, client: Answer, code: str, _: Answer) -> httpx2.Response:
    return host.exchange(client, code)


def refresh(host: Host, client: Answer, _: str, tokens: Answer) -> httpx2.Response:
    return host.refresh(client, tokens["refresh_token"])


def revoke(host: Host, client: Answer, _: str, tokens: Answer) -> httpx2.Response:
    return host.revoke(client, tokens["refresh_token"])


@pytest.mark.parametrize(
    ("ask", "broken"),
    [
        (exchange, "take_auth_code"),
        (exchange, "insert_api_token"),
        (refresh, "read_secret mcp.grant:"),
        (refresh, "insert_api_token"),
        (revoke, "read_secret mcp.grant:"),
        (revoke, "replace_api_token"),
    ],
)
def test_whichever_step_the_store_fails_at_the_client_is_told_to_come_again(
    host: Host, failing: Failing, ask: Callable[[Host, Answer, str, Answer], httpx2.Response], broken: str
) -> None:
    client = host.register()
    code, tokens = host.browse(client)["code"], host.sign_in(client)
    failing.broken = broken
    assert is_unavailable(ask(host, client, code, tokens))
    failing.broken = ""
    # Nothing was spent: a code may be used up, a grant is as it was.
    assert host.status(tokens["access_token"]) == 200
    assert host.refresh(client, tokens["refresh_token"]).status_code == 200


def test_a_token_whose_grant_cannot_be_looked_up_is_not_refused(host: Host, failing: Failing) -> None:
    tokens = host.sign_in(host.register())
    failing.broken = "read_secret mcp.grant:"
    assert host.status(tokens["access_token"]) == 503


@pytest.mark.parametrize("step", ["pending", "approve", "deny", "add_client"])
def test_what_the_host_calls_tells_the_guard(failing: Failing, ada: IssuedToken, step: str) -> None:
    async def ticket() -> str:
        await make(failing).register_client(CLIENT)
        return await make(failing).authorize(CLIENT, PARAMS)

    asked = asyncio.run(ticket())
    server = make(failing)
    failing.broken = "read_secret mcp.consent-key"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if step == "add_client":
            failing.close()
            await server.add_client(CLIENT)
        elif step == "approve":
            await server.approve(asked, ada.hash)
        else:
            await getattr(server, step)(asked)

    assert asyncio.run(call(FusionGuard(app)))[0] == 503


def test_what_is_the_hosts_own_error_is_none_of_the_stores(failing: Failing) -> None:
    server = make(failing)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await server.approve("forged", "0" * 64)

    with pytest.raises(AuthError):
        asyncio.run(call(FusionGuard(app)))


def test_a_request_that_cannot_be_sealed_goes_back_to_the_client(host: Host, failing: Failing) -> None:
    client = host.register()
    failing.broken = "read_secret mcp.consent-key"
    back = host.browse(client)
    assert (back["error"], back["state"]) == ("temporarily_unavailable", "s")
    with pytest.raises(AuthorizeError):
        asyncio.run(make(failing).authorize(CLIENT, PARAMS))


def test_a_spent_access_token_that_cannot_be_deleted_costs_no_new_ones(
    host: Host, failing: Failing, vault: TokenRepository, caplog: pytest.LogCaptureFixture
) -> None:
    client = host.register()
    spent = host.sign_in(client)
    failing.broken = "remove_api_token"
    tokens = host.refresh(client, spent["refresh_token"])
    assert tokens.status_code == 200
    assert "a spent access token lives until it expires: Busy" in caplog.text
    assert vault.validate_api_token(spent["access_token"]) is not None
    assert host.status(spent["access_token"]) == 401
    assert host.status(tokens.json()["access_token"]) == 200


def test_tokens_that_were_kept_are_given_out_though_the_store_did_not_say_so(unsure: tuple[Host, Unsure]) -> None:
    host, store = unsure
    client = host.register()
    tokens = host.sign_in(client)
    store.makes = True
    renewed = host.refresh(client, tokens["refresh_token"])
    assert renewed.status_code == 200
    assert host.status(renewed.json()["access_token"]) == 200
    assert host.status(tokens["access_token"]) == 401
    assert host.refresh(client, renewed.json()["refresh_token"]).status_code == 200


def test_tokens_that_were_not_kept_are_not_given_out(unsure: tuple[Host, Unsure]) -> None:
    host, store = unsure
    client = host.register()
    tokens = host.sign_in(client)
    store.makes = False
    assert is_unavailable(host.refresh(client, tokens["refresh_token"]))
    assert host.status(tokens["access_token"]) == 200
    assert host.refresh(client, tokens["refresh_token"]).status_code == 200
