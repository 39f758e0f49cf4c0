"""The authorization server, request by request (RFC 6749, 7009, 7591, 7636, 9700)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fusion_store import IssuedToken, TokenRepository
from tests.integrations.mcp.authorization import CHALLENGE, REDIRECT, VERIFIER, Host, hosting


@pytest.fixture
def host(vault: TokenRepository, ada: IssuedToken) -> Iterator[Host]:
    with hosting(vault) as running:
        running.users = {"ada": ada, "bob": vault.add_api_token("Bob")}
        yield running


def is_refused(host: Host, client: dict[str, str], refresh_token: str) -> bool:
    answer = host.refresh(client, refresh_token)
    return answer.status_code == 400 and answer.json()["error"] == "invalid_grant"


def test_a_user_who_consents_lets_a_client_act_as_their_tenant(host: Host, vault: TokenRepository) -> None:
    client = host.register()
    back = host.browse(client, "ada", scope="read")
    assert back["state"] == "s"
    assert back["iss"] == str(host.issuer)
    tokens = host.exchange(client, back["code"]).json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "read"
    assert tokens["expires_in"] == 3600
    caller = vault.validate_api_token(tokens["access_token"])
    assert caller is not None
    assert caller.tenant_hash == host.users["ada"].hash
    assert caller.scopes == ("read",)
    assert host.status(tokens["access_token"]) == 200


def test_the_page_is_told_who_asks_and_for_what(host: Host) -> None:
    client = host.register(client_uri="https://notes.example/")
    host.sign_in(client, scope="read write")
    (asked,) = host.asked
    assert asked.client_id == client["client_id"]
    assert asked.client_name == "Notes app"
    assert asked.client_uri == "https://notes.example/"
    assert asked.redirect_uri == REDIRECT
    assert asked.scopes == ("read", "write")
    assert asked.resource == f"{host.url}/mcp"
    assert client["client_secret"] not in repr(asked)
    assert asked.ticket not in repr(asked)


def test_a_user_who_refuses_gives_nothing(host: Host) -> None:
    back = host.browse(host.register(), "nobody")
    assert back == {"error": "access_denied", "state": "s", "iss": str(host.issuer)}


def test_a_code_is_good_once_and_used_again_it_ends_the_grant(host: Host) -> None:
    client = host.register()
    code = host.browse(client)["code"]
    tokens = host.exchange(client, code).json()
    again = host.exchange(client, code)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert host.status(tokens["access_token"]) == 401
    assert is_refused(host, client, tokens["refresh_token"])


def test_a_code_with_another_verifier_is_good_for_nothing(host: Host) -> None:
    client = host.register()
    code = host.browse(client)["code"]
    assert host.exchange(client, code, code_verifier="w" * 43).json()["error"] == "invalid_grant"
    assert host.exchange(client, code).json()["error"] == "invalid_grant"


def test_what_one_client_was_given_is_nothing_to_another(host: Host) -> None:
    client, other = host.register(), host.register()
    assert host.exchange(other, host.browse(client)["code"]).json()["error"] == "invalid_grant"
    tokens = host.sign_in(client)
    assert is_refused(host, other, tokens["refresh_token"])
    for token in (tokens["refresh_token"], tokens["access_token"]):
        assert host.revoke(other, token).status_code == 200
    assert host.status(tokens["access_token"]) == 200
    latest = host.refresh(client, tokens["refresh_token"]).json()
    assert is_refused(host, other, tokens["refresh_token"])
    assert host.status(latest["access_token"]) == 200


def test_refreshing_replaces_both_tokens(host: Host) -> None:
    client = host.register()
    first = host.sign_in(client)
    second = host.refresh(client, first["refresh_token"]).json()
    assert {second["access_token"], second["refresh_token"]} & {first["access_token"], first["refresh_token"]} == set()
    assert host.status(first["access_token"]) == 401
    assert host.status(second["access_token"]) == 200
    assert host.refresh(client, second["refresh_token"]).status_code == 200


@pytest.mark.parametrize("spent", [0, 1])
def test_a_spent_refresh_token_used_again_ends_the_grant(host: Host, spent: int) -> None:
    client = host.register()
    tokens = [host.sign_in(client)]
    for _ in range(2):
        tokens.append(host.refresh(client, tokens[-1]["refresh_token"]).json())
    bystander = host.sign_in(client)

    assert is_refused(host, client, tokens[spent]["refresh_token"])

    assert is_refused(host, client, tokens[-1]["refresh_token"])
    assert host.status(tokens[-1]["access_token"]) == 401
    assert host.status(bystander["access_token"]) == 200


def test_of_callers_that_race_with_one_refresh_token_at_most_one_is_answered(
    host: Host, vault: TokenRepository
) -> None:
    client = host.register()
    for _ in range(5):
        tokens = host.sign_in(client)
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(host.refresh, [client] * 4, [tokens["refresh_token"]] * 4))
        won = [answer for answer in answers if answer.status_code == 200]
        assert len(won) <= 1
        assert all(answer.json()["error"] == "invalid_grant" for answer in answers if answer not in won)
        for answer in won:
            assert host.status(answer.json()["access_token"]) == 401
            assert vault.validate_api_token(answer.json()["access_token"]) is None
            assert is_refused(host, client, answer.json()["refresh_token"])


def test_a_refresh_may_narrow_the_access_token_but_not_the_grant(host: Host) -> None:
    client = host.register()
    tokens = host.sign_in(client, scope="read write")
    narrow = host.refresh(client, tokens["refresh_token"], scope="read").json()
    assert narrow["scope"] == "read"
    assert host.refresh(client, narrow["refresh_token"]).json()["scope"] == "read write"


def test_a_scope_that_is_named_often_counts_once(host: Host) -> None:
    client = host.register()
    tokens = host.sign_in(client, scope=" ".join(["read"] * 65))
    assert tokens["scope"] == "read"
    again = host.refresh(client, tokens["refresh_token"], scope=" ".join(["read"] * 65))
    assert (again.status_code, again.json()["scope"]) == (200, "read")


def test_deleting_the_access_token_stops_the_client(host: Host, vault: TokenRepository) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    access = vault.validate_api_token(tokens["access_token"])
    assert access is not None
    vault.delete_api_token(access.hash)
    assert host.status(tokens["access_token"]) == 401
    assert is_refused(host, client, tokens["refresh_token"])
    assert [place for place, _ in vault.list_credentials(host.users["ada"].hash)] == []


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_the_grant(host: Host, kind: str) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    assert host.revoke(client, tokens[kind]).status_code == 200
    assert host.status(tokens["access_token"]) == 401
    assert is_refused(host, client, tokens["refresh_token"])
    assert host.revoke(client, tokens[kind]).status_code == 200


def test_revoking_the_last_token_of_a_tenant_leaves_the_tenant(
    host: Host, vault: TokenRepository, ada: IssuedToken
) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    vault.delete_api_token(ada.hash)
    host.revoke(client, tokens["access_token"])
    assert vault.get_tenant(ada.hash) is not None
    assert all(token.expires_at is not None for token in vault.list_api_tokens(tenant_hash=ada.hash))
    vault.purge_expired()
    assert vault.get_tenant(ada.hash) is not None


@pytest.mark.parametrize(
    "step",
    ["INSERT ON api_tokens", "DELETE ON api_tokens", "UPDATE ON service_credentials", "DELETE ON service_credentials"],
)
def test_a_revocation_that_fails_half_way_leaves_no_live_token_without_its_grant(
    host: Host, vault: TokenRepository, tmp_path: Path, step: str
) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    with closing(sqlite3.connect(tmp_path / "vault.db", isolation_level=None)) as database:
        database.execute(f"CREATE TRIGGER refusal BEFORE {step} BEGIN INSERT INTO missing VALUES (1); END")
        assert host.revoke(client, tokens["access_token"]).status_code == 503
        database.execute("DROP TRIGGER refusal")
    is_live = vault.validate_api_token(tokens["access_token"]) is not None
    assert is_live == (host.status(tokens["access_token"]) == 200)
    assert host.revoke(client, tokens["refresh_token"]).status_code == 200
    assert vault.validate_api_token(tokens["access_token"]) is None
    assert is_refused(host, client, tokens["refresh_token"])


def test_with_the_tenant_everything_goes(host: Host, vault: TokenRepository, ada: IssuedToken) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    code = host.browse(client)["code"]
    vault.delete_tenant(ada.hash)
    assert host.status(tokens["access_token"]) == 401
    assert is_refused(host, client, tokens["refresh_token"])
    assert host.exchange(client, code).json()["error"] == "invalid_grant"
    assert vault.get_tenant(ada.hash) is None


def test_a_client_without_the_refresh_grant_gets_no_refresh_token(host: Host) -> None:
    client = host.register(grant_types=["authorization_code"])
    tokens = host.sign_in(client)
    assert tokens.get("refresh_token") is None
    assert host.status(tokens["access_token"]) == 200


def test_no_client_is_given_a_token_for_another_server(host: Host) -> None:
    client = host.register()
    for resource in ("https://other.example/mcp", f"{host.url}/mcp2", host.url, "x"):
        assert host.browse(client, resource=resource)["error"] == "invalid_target"
    for resource in (f"{host.url}/mcp/", f"{host.url}/mcp".upper().replace("/MCP", "/mcp")):
        assert host.status(host.sign_in(client, resource=resource)["access_token"]) == 200


def test_a_client_that_names_no_resource_asks_for_this_one(host: Host) -> None:
    client = host.register()
    query = {"response_type": "code", "client_id": client["client_id"], "code_challenge": CHALLENGE}
    page = host.http.get("/authorize", params=query | {"redirect_uri": REDIRECT}).headers["location"]
    tokens = host.exchange(client, host.follow(page, "ada")["code"]).json()
    assert host.asked[-1].resource == f"{host.url}/mcp"
    assert host.status(tokens["access_token"]) == 200


def test_a_token_that_another_server_on_the_vault_gave_is_refused(vault: TokenRepository, host: Host) -> None:
    with hosting(vault) as other:
        other.users = host.users
        tokens = other.sign_in(other.register())
        assert other.status(tokens["access_token"]) == 200
        assert host.status(tokens["access_token"]) == 401
        assert asyncio.run(host.server.load_access_token(tokens["access_token"])) is None


def test_a_token_that_was_given_for_no_server_is_refused_by_one_that_has_a_name(
    vault: TokenRepository, host: Host
) -> None:
    with hosting(vault, resource=None) as other:
        other.users = host.users
        client = other.register()
        query = {"response_type": "code", "client_id": client["client_id"], "code_challenge": CHALLENGE}
        page = other.http.get("/authorize", params=query | {"redirect_uri": REDIRECT}).headers["location"]
        token = other.exchange(client, other.follow(page, "ada")["code"]).json()["access_token"]
        assert asyncio.run(other.server.load_access_token(token)) is not None
        assert asyncio.run(host.server.load_access_token(token)) is None


def test_another_api_token_of_the_tenant_works_as_ever_but_is_no_clients(
    vault: TokenRepository, host: Host, ada: IssuedToken
) -> None:
    token = asyncio.run(host.server.load_access_token(ada.token))
    assert token is not None
    assert (token.client_id, token.subject) == (ada.metadata.token_id, ada.metadata.tenant_id)
    asyncio.run(host.server.revoke_token(token))
    assert vault.validate_api_token(ada.token) is not None


def test_an_access_token_is_its_clients(host: Host, ada: IssuedToken) -> None:
    client = host.register()
    token = asyncio.run(host.server.load_access_token(host.sign_in(client)["access_token"]))
    assert token is not None
    assert token.client_id == client["client_id"]
    assert token.subject == ada.metadata.tenant_id
    assert token.claims == {"tenant": ada.hash}
    assert token.resource == f"{host.url}/mcp"


def test_a_client_proves_who_it_is_as_it_registered(host: Host) -> None:
    client = host.register(token_endpoint_auth_method="client_secret_basic")
    form = {"grant_type": "authorization_code", "client_id": client["client_id"], "code_verifier": VERIFIER}
    form |= {"code": host.browse(client)["code"], "redirect_uri": REDIRECT}
    for answer in (
        host.http.post("/token", data=form),
        host.http.post("/token", data=form | {"client_secret": client["client_secret"]}),
        host.http.post("/token", data=form, auth=(client["client_id"], "wrong")),
        host.http.post("/token", data=form, auth=("other", client["client_secret"])),
        host.http.post("/token", data=form, headers={"authorization": "Basic !"}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    right = host.http.post("/token", data=form, auth=(client["client_id"], client["client_secret"]))
    assert host.status(right.json()["access_token"]) == 200


def test_a_public_client_has_no_secret(host: Host) -> None:
    client = host.register(token_endpoint_auth_method="none")
    assert client.get("client_secret") is None
    form = {"grant_type": "authorization_code", "client_id": client["client_id"], "code_verifier": VERIFIER}
    form |= {"code": host.browse(client)["code"], "redirect_uri": REDIRECT}
    assert host.status(host.http.post("/token", data=form).json()["access_token"]) == 200


def test_an_api_token_that_only_calls_itself_a_grants_is_none(
    host: Host, vault: TokenRepository, ada: IssuedToken
) -> None:
    tokens = host.sign_in(host.register())
    caller = vault.validate_api_token(tokens["access_token"])
    assert caller is not None
    for tenant in (ada, host.users["bob"]):
        claims = vault.add_api_token(caller.description, scopes=("read",), tenant_hash=tenant.hash)
        assert host.status(claims.token) == 401
    assert host.status(tokens["access_token"]) == 200


@pytest.mark.parametrize(
    ("uri", "taken"),
    [
        ("https://client.example/callback", True),
        ("http://localhost:3000/callback", True),
        ("http://127.0.0.1/callback", True),
        ("http://[::1]:8000/callback", True),
        ("cursor://anysphere.cursor-mcp/oauth", True),
        ("vscode://publisher.extension/callback", True),
        ("com.example.notes:/callback", True),
        ("https://client.example/callback?a=b", True),
        ("http://client.example/callback", False),
        ("http://127.0.0.1.client.example/", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://client.example/callback#fragment", False),
        ("https://client.example/callback#", False),
        ("https://user:password@client.example/callback", False),
        ("http://user@localhost/callback", False),
        ("com.example.notes:/callback#fragment", False),
        ("ftp://client.example/callback", False),
        ("ldap://client.example/callback", False),
        ("smb://client.example/share", False),
        ("intent://callback", False),
        ("mailto:client@client.example", False),
        ("view-source:https://client.example", False),
        ("notes://callback", False),
    ],
)
def test_where_a_code_may_be_sent(host: Host, uri: str, taken: bool) -> None:
    answer = host.register(redirect_uris=[uri])
    assert ("client_id" in answer) is taken
    if not taken:
        assert answer["status"] == 400
        assert answer["error"] == "invalid_redirect_uri"


def test_a_registration_that_is_too_long_is_refused(host: Host) -> None:
    assert host.register(client_name="x" * 17_000)["error"] == "invalid_client_metadata"
    # What stands in JSON in whatever form comes back as it was.
    odd = host.register(client_name="a\0b", jwks={"keys": [[[[[[[[[[[[[[[[[[2**70]]]]]]]]]]]]]]]]]]})
    found = asyncio.run(host.server.get_client(odd["client_id"]))
    assert found is not None
    assert found.client_name == "a\0b"
    assert found.jwks == odd["jwks"]


def test_a_request_that_is_too_long_is_refused(host: Host) -> None:
    assert host.browse(host.register(), state="x" * 5000)["error"] == "invalid_request"


def test_whatever_is_no_token_is_refused(host: Host) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    for text in ("x", "A" * 86, "A" * 107, "é" * 107, tokens["refresh_token"][:-1], tokens["access_token"]):
        assert is_refused(host, client, text)
        assert host.exchange(client, text).json()["error"] == "invalid_grant"
    assert host.refresh(client, tokens["refresh_token"]).status_code == 200


def test_while_the_store_is_down_every_endpoint_answers_503(host: Host, vault: TokenRepository) -> None:
    client = host.register()
    code, tokens = host.browse(client)["code"], host.sign_in(client)
    vault.close()
    answers = [
        host.exchange(client, code),
        host.refresh(client, tokens["refresh_token"]),
        host.revoke(client, tokens["access_token"]),
        host.http.post("/register", json={"redirect_uris": [REDIRECT]}),
        host.http.get("/authorize", params={"client_id": client["client_id"], "response_type": "code"}),
    ]
    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert all(answer.headers["retry-after"] for answer in answers)
    assert host.status(tokens["access_token"]) == 503
