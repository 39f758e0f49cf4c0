"""What a request is answered, by either middleware (RFC 6750)."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from fusion_store import AsyncTokenRepository, ConfigError, IssuedToken, TokenRepository, get_repository
from fusion_store.http import BearerAuthMiddleware, BearerAuthWSGI
from fusion_store.http._gate import Incoming, Question
from fusion_store.testing import ManualClock
from tests.http.applications import Serving, flask_app, starlette_app
from tests.http.servers import call

BARE = 'Bearer realm="fusion-store"'
UNKNOWN = "0" * 64


def get(server: str, authorization: str | None = None, path: str = "/") -> httpx2.Response:
    headers = {} if authorization is None else {"authorization": authorization}
    return httpx2.get(f"http://{server}{path}", headers=headers)


def test_a_live_token_reaches_the_handler_as_its_tenant(
    serving: Serving, vault: TokenRepository, ada: IssuedToken
) -> None:
    with serving(vault) as server:
        for scheme in ("Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "):
            answer = get(server, f"{scheme} {ada.token}")
            assert answer.status_code == 200
            assert answer.json() == {"handed": ada.hash, "current": ada.hash}


def test_each_request_is_its_own_tenants(serving: Serving, vault: TokenRepository, ada: IssuedToken) -> None:
    bob = vault.add_api_token("Bob")
    with serving(vault, required=False) as server, httpx2.Client(base_url=f"http://{server}") as client:
        for issued in (ada, bob, None, ada):
            headers = {} if issued is None else {"authorization": f"Bearer {issued.token}"}
            hash = None if issued is None else issued.hash
            assert client.get("/", headers=headers).json() == {"handed": hash, "current": hash}


def test_without_credentials_the_challenge_is_bare(serving: Serving, vault: TokenRepository) -> None:
    with serving(vault) as server:
        for answer in (get(server), get(server, "Basic dXNlcjpwYXNz"), get(server, path=f"/?access_token={UNKNOWN}")):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == BARE
            assert answer.headers["cache-control"] == "no-store"
            assert answer.content == b""


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer\t{UNKNOWN}",
        f"Bearer {UNKNOWN} {UNKNOWN}",
        f"Bearer {UNKNOWN}, Bearer {UNKNOWN}",
        f'Bearer "{UNKNOWN}"',
        f"Bearer token={UNKNOWN}",
        f"Bearer {UNKNOWN}=x",
        "Bearer ====",
        "Bearer caf\u00e9",
        ": x",
        "Bearer " + "a" * 8186,
    ],
)
def test_malformed_credentials_are_an_invalid_request(
    serving: Serving, vault: TokenRepository, authorization: str
) -> None:
    with serving(vault, required=False) as server:
        connection = http.client.HTTPConnection(server)
        connection.request("GET", "/", headers={"Authorization": authorization.encode("latin-1")})
        answer = connection.getresponse()
        assert answer.status == 400
        assert answer.headers["www-authenticate"].startswith(f'{BARE}, error="invalid_request", error_description="')
        connection.close()


def test_a_header_of_8_kib_is_taken(serving: Serving, vault: TokenRepository) -> None:
    with serving(vault) as server:
        assert get(server, "Bearer " + "a" * 8185).status_code == 401


def test_repeated_credentials_are_an_invalid_request(
    serving: Serving, vault: TokenRepository, ada: IssuedToken
) -> None:
    header = ("authorization", f"Bearer {ada.token}")
    with serving(vault) as server:
        repeated = httpx2.get(f"http://{server}/", headers=[header, header])
        in_query = get(server, f"Bearer {ada.token}", f"/?x=1&access%5Ftoken={ada.token}")
        for answer in (repeated, in_query):
            assert answer.status_code == 400
            assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("first", ["Basic dXNlcjpwYXNz", "Basic", 'Digest username="x", realm="y"', ""])
def test_a_bearer_token_behind_another_schemes_credentials_is_an_invalid_request(
    serving: Serving, vault: TokenRepository, ada: IssuedToken, first: str
) -> None:
    second = f"bearer {ada.token}"
    with serving(vault) as server:
        twice = [("authorization", first), ("authorization", second)]
        answers = [httpx2.get(f"http://{server}/", headers=twice), get(server, f"{first}, {second}")]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert get(server, 'Digest username="bearer", realm="y"').status_code == 401


def test_unknown_expired_and_revoked_tokens_look_the_same(
    serving: Serving, vault: TokenRepository, clock: ManualClock
) -> None:
    expired = vault.add_api_token(expires_at=clock.now + timedelta(hours=1))
    revoked = vault.add_api_token()
    with serving(vault, required=False) as server:
        assert get(server, f"Bearer {expired.token}").status_code == 200
        assert get(server, f"Bearer {revoked.token}").status_code == 200
        clock.advance(timedelta(hours=1))
        vault.delete_api_token(revoked.hash)
        answers = [get(server, f"Bearer {token}") for token in (UNKNOWN, expired.token, revoked.token)]

    assert {answer.status_code for answer in answers} == {401}
    (challenge,) = {answer.headers["www-authenticate"] for answer in answers}
    assert challenge.startswith(f'{BARE}, error="invalid_token", error_description="')
    assert {answer.json()["error"] for answer in answers} == {"invalid_token"}


def test_a_missing_scope_is_named(serving: Serving, vault: TokenRepository, ada: IssuedToken) -> None:
    both = vault.add_api_token(scopes=("write", "more", "read"))
    with serving(vault, scopes=("read", "write")) as server:
        assert get(server, f"Bearer {both.token}").status_code == 200
        answer = get(server, f"Bearer {ada.token}")
        assert answer.status_code == 403
        assert answer.headers["www-authenticate"].startswith(f'{BARE}, error="insufficient_scope", ')
        assert answer.headers["www-authenticate"].endswith('scope="read write"')


def test_options_may_be_iterators(vault: TokenRepository, ada: IssuedToken) -> None:
    app = BearerAuthMiddleware(
        starlette_app(),
        vault,
        scopes=iter(["read", "write"]),  # type: ignore[arg-type]
        public_paths=iter(["/health"]),  # type: ignore[arg-type]
        public_prefixes=iter(["/static/"]),  # type: ignore[arg-type]
    )

    async def status(path: str) -> int:
        return (await call(app, [(b"authorization", f"Bearer {ada.token}".encode())], path=path))[0]

    assert asyncio.run(status("/")) == 403
    assert asyncio.run(status("/health")) == 200
    assert asyncio.run(status("/static/x")) == 200


def test_while_the_store_is_away_nobody_passes_and_nobody_is_called_a_stranger(
    serving: Serving, vault: TokenRepository, ada: IssuedToken, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(vault, public_paths=["/health"], required=False) as server:
        vault.close()
        for token in (ada.token, UNKNOWN):
            answer = get(server, f"Bearer {token}")
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "www-authenticate" not in answer.headers
        assert get(server, path="/health").status_code == 200
        assert get(server, "Bearer").status_code == 400
    assert "StoreClosed" in caplog.text


def test_every_challenge_says_where_the_metadata_lies(
    serving: Serving, vault: TokenRepository, ada: IssuedToken
) -> None:
    url = "https://api.example/.well-known/oauth-protected-resource"
    with serving(vault, resource_metadata=url, realm="api", scopes=["write"]) as server:
        answers = [get(server, text) for text in (None, "Bearer", f"Bearer {UNKNOWN}", f"Bearer {ada.token}")]
    assert [answer.status_code for answer in answers] == [401, 400, 401, 403]
    assert answers[0].headers["www-authenticate"] == f'Bearer realm="api", resource_metadata="{url}"'
    assert all(f'resource_metadata="{url}"' in answer.headers["www-authenticate"] for answer in answers)


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("/health", True),
        ("/health?x=1", True),
        ("/health/", False),
        ("/healthy", False),
        ("/Health", False),
        ("/caf%C3%A9", True),
        ("/static/", True),
        ("/static/a/b.css", True),
        ("/static", False),
        ("/statics/a", False),
        ("/static/../admin", False),
        ("/static/%2e%2e/admin", False),
        ("/static/%252e%252e/admin", False),
        ("/static/a/..%5Cadmin", False),
        ("/", False),
    ],
)
def test_only_the_named_paths_are_public(serving: Serving, vault: TokenRepository, path: str, public: bool) -> None:
    with serving(vault, public_paths=["/health", "/café"], public_prefixes=["/static/"]) as server:
        connection = http.client.HTTPConnection(server)
        connection.request("GET", path)
        assert connection.getresponse().status == (200 if public else 401)
        connection.close()


def test_a_public_path_asks_nobody_who_he_is(serving: Serving, vault: TokenRepository, ada: IssuedToken) -> None:
    with serving(vault, public_paths=["/health"]) as server:
        for authorization in (f"Bearer {ada.token}", "Bearer", f"Bearer {UNKNOWN}"):
            assert get(server, authorization, "/health").json() == {"handed": None, "current": None}


def test_where_nobody_may_pass_what_is_presented_still_counts(
    serving: Serving, vault: TokenRepository, ada: IssuedToken
) -> None:
    with serving(vault, required=False) as server:
        assert get(server).json() == {"handed": None, "current": None}
        assert get(server, f"Bearer {ada.token}").json()["handed"] == ada.hash
        assert get(server, f"Bearer {UNKNOWN}").status_code == 401
        assert get(server, "Basic dXNlcjpwYXNz").status_code == 401
        assert get(server, path=f"/?access_token={ada.token}").status_code == 401


def test_a_refused_head_request_has_no_body(serving: Serving, vault: TokenRepository) -> None:
    with serving(vault) as server:
        answer = httpx2.head(f"http://{server}/", headers={"authorization": "Bearer"})
        assert answer.status_code == 400
        assert answer.content == b""


def test_on_wsgi_the_middleware_itself_leaves_out_the_body(vault: TokenRepository) -> None:
    app = BearerAuthWSGI(flask_app(), vault)
    answered: list[Any] = []

    def start_response(*answer: Any) -> Callable[[bytes], object]:
        answered.append(answer)
        return answered.append

    def ask(method: str) -> bytes:
        environ = {"REQUEST_METHOD": method, "PATH_INFO": "/", "HTTP_AUTHORIZATION": "Bearer"}
        return b"".join(app(environ, start_response))

    body = ask("GET")
    assert json.loads(body)["error"] == "invalid_request"
    assert ask("HEAD") == b""
    assert answered[0] == answered[1]
    assert dict(answered[1][1])["content-length"] == str(len(body))


def test_a_token_that_is_known_needs_the_scopes_too(serving: Serving) -> None:
    with get_repository("memory://", cache=True) as cached:
        reader, writer = (cached.add_api_token(scopes=(scope,)) for scope in ("read", "write"))
        with serving(cached, scopes=["write"]) as server:
            for _ in range(3):
                answer = get(server, f"Bearer {reader.token}")
                assert answer.status_code == 403
                assert 'scope="write"' in answer.headers["www-authenticate"]
                assert get(server, f"Bearer {writer.token}").status_code == 200


def test_an_async_repository_serves_as_well(serving: Serving, vault: TokenRepository, ada: IssuedToken) -> None:
    repository = AsyncTokenRepository(vault)
    with serving(repository) as server:
        assert get(server, f"Bearer {ada.token}").json() == {"handed": ada.hash, "current": ada.hash}
        assert get(server, f"Bearer {UNKNOWN}").status_code == 401
        asyncio.run(repository.close())
        assert get(server, f"Bearer {ada.token}").status_code == 503


def test_validating_is_noted_as_use(serving: Serving, vault: TokenRepository, ada: IssuedToken) -> None:
    with serving(vault) as server:
        get(server, f"Bearer {ada.token}")
    vault.flush()
    noted = vault.get_api_token(ada.hash)
    assert noted is not None
    assert noted.last_used is not None


def test_no_answer_and_no_log_holds_a_token(
    serving: Serving, vault: TokenRepository, ada: IssuedToken, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "fusion_store")
    caplog.set_level(logging.DEBUG, "uvicorn")
    with serving(vault, scopes=["write"]) as server:
        authorizations = [f"Bearer {ada.token}", f"Bearer {ada.token}x", f"Bearer {ada.token} x", f"Bearer={ada.token}"]
        answers = [get(server, text) for text in authorizations]
        vault.close()
        answers.append(get(server, authorizations[0]))
    assert [answer.status_code for answer in answers] == [403, 401, 400, 400, 503]
    assert not any(ada.token[:16] in answer.text + str(answer.headers) for answer in answers)
    assert ada.token[:16] not in caplog.text


def test_what_the_gate_knows_of_a_request_shows_no_token() -> None:
    incoming = Incoming(lambda _: [UNKNOWN.encode()], f"access_token={UNKNOWN}".encode(), "192.0.2.1")
    assert UNKNOWN not in repr(Question(UNKNOWN, presented=True)) + repr(incoming)


@pytest.mark.parametrize(
    "options",
    [
        {"realm": 'a"b'},
        {"realm": "a\r\nset-cookie: x"},
        {"realm": "é"},
        {"scopes": "read"},
        {"scopes": ["two words"]},
        {"scopes": ['qu"ote']},
        {"resource_metadata": "/relative"},
        {"resource_metadata": 'https://x/"\r\n'},
        {"public_paths": ["health"]},
        {"public_paths": "/health"},
        {"public_prefixes": ["/pub"]},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_used_is_refused_at_once(vault: TokenRepository, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        BearerAuthMiddleware(starlette_app(), vault, **options)
    with pytest.raises(ConfigError, match=next(iter(options))):
        BearerAuthWSGI(flask_app(), vault, **options)
