"""What is forgotten when, and how much is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from fusion_store import (
    SYSTEM_TENANT,
    ConfigError,
    CredentialType,
    ServiceCredentials,
    TokenRepository,
    get_repository,
)
from fusion_store.integrations.mcp import ConsentRequest, FusionAuthorizationServer
from fusion_store.integrations.mcp._registrations import MAX_UNUSED_CLIENTS
from fusion_store.testing import ManualClock
from tests.integrations.mcp.authorization import Host, hosting

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
CAP = 3


@pytest.fixture
def clock() -> ManualClock:
    # The SDK has no clock but the system's, so this one begins there.
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def vault(tmp_path: Path, clock: ManualClock) -> Iterator[TokenRepository]:
    with get_repository(f"sqlite:///{tmp_path}/vault.db", clock=clock) as repository:
        yield repository


@pytest.fixture
def host(vault: TokenRepository, clock: ManualClock) -> Iterator[Host]:
    with hosting(vault, clock=clock, max_unused_clients=CAP) as running:
        running.users = {"ada": vault.add_api_token("Ada")}
        yield running


def is_taken(answer: dict[str, str]) -> bool:
    return "client_id" in answer


def knows(host: Host, client: dict[str, str]) -> bool:
    return asyncio.run(host.server.get_client(client["client_id"])) is not None


def kept(vault: TokenRepository) -> int:
    """How many records there are, of whatever kind."""
    return sum(1 for _ in vault.export_records())


def test_only_so_many_clients_are_kept_that_nobody_uses(host: Host) -> None:
    clients = [host.register() for _ in range(CAP)]
    refused = host.register()
    assert (refused["status"], refused["error"]) == (400, "invalid_client_metadata")
    assert all(knows(host, client) for client in clients)


def test_however_many_register_at_once(host: Host) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: host.register(), range(12)))
    assert sum(is_taken(answer) for answer in answers) == CAP


def test_a_client_that_a_user_consents_to_takes_no_place(host: Host) -> None:
    clients = [host.register() for _ in range(CAP)]
    host.sign_in(clients[0])
    assert is_taken(host.register())
    assert not is_taken(host.register())


def test_unused_clients_are_forgotten_after_a_day_and_make_room(
    host: Host, vault: TokenRepository, clock: ManualClock
) -> None:
    for _ in range(3):
        clients = [host.register() for _ in range(CAP)]
        clock.advance(DAY - SECOND)
        assert all(knows(host, client) for client in clients)
        assert not is_taken(host.register())
        clock.advance(SECOND)
        assert not any(knows(host, client) for client in clients)
    assert vault.check().ok


def test_however_many_register_in_the_course_of_time_the_store_does_not_grow(
    host: Host, vault: TokenRepository, clock: ManualClock
) -> None:
    sizes = []
    for _ in range(4):
        for _ in range(CAP + 1):
            host.register()
        sizes.append(kept(vault))
        clock.advance(DAY)
    assert sizes == sizes[:1] * 4


def test_a_slot_in_which_another_client_lies_is_nobodys(host: Host, vault: TokenRepository) -> None:
    clients = [host.register() for _ in range(2)]
    slots = vault.list_credentials(SYSTEM_TENANT)
    (first, kind), (second, _) = [place for place in slots if place[0].startswith("mcp.unused-client:")]
    vault.store_credentials(SYSTEM_TENANT, second, slots[first, kind])
    assert [knows(host, client) for client in clients] == [True, False]


def test_a_used_client_lives_on_for_90_days_after_its_last_token(host: Host, clock: ManualClock) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    for _ in range(5):
        clock.advance(timedelta(days=29))
        tokens = host.refresh(client, tokens["refresh_token"]).json()
    clock.advance(90 * DAY - SECOND)
    assert knows(host, client)
    clock.advance(DAY + SECOND)
    assert not knows(host, client)


def test_a_client_that_the_host_adds_stays(host: Host, clock: ManualClock) -> None:
    info = OAuthClientInformationFull(client_id="desktop", redirect_uris=[AnyUrl("http://localhost/callback")])
    asyncio.run(host.server.add_client(info))
    clock.advance(timedelta(days=10_000))
    assert asyncio.run(host.server.get_client("desktop")) == info
    assert asyncio.run(host.server.get_client("Desktop")) is None
    assert is_taken(host.register())


def test_a_code_lives_for_five_minutes(host: Host, clock: ManualClock) -> None:
    client = host.register()
    code, late = host.browse(client)["code"], host.browse(client)["code"]
    clock.advance(5 * MINUTE - SECOND)
    assert host.exchange(client, code).status_code == 200
    clock.advance(SECOND)
    assert host.exchange(client, late).json()["error"] == "invalid_grant"


def test_consent_is_waited_for_ten_minutes(host: Host, clock: ManualClock) -> None:
    client = host.register()
    asked = host.http.get("/authorize", params=query(client))
    page = asked.headers["location"]
    clock.advance(10 * MINUTE)
    assert "code" in host.follow(page, "ada")
    clock.advance(SECOND)
    assert httpx2.get(page, cookies={"user": "ada"}).status_code == 400


def query(client: dict[str, str]) -> dict[str, str]:
    return {"response_type": "code", "client_id": client["client_id"], "code_challenge": "c" * 43}


def test_an_access_token_lives_for_an_hour_and_a_refresh_token_for_30_days(host: Host, clock: ManualClock) -> None:
    client = host.register()
    first = host.sign_in(client)
    clock.advance(timedelta(hours=1) - SECOND)
    assert host.status(first["access_token"]) == 200
    clock.advance(SECOND)
    assert host.status(first["access_token"]) == 401
    second = host.refresh(client, first["refresh_token"]).json()
    assert host.status(second["access_token"]) == 200
    clock.advance(timedelta(days=30))
    assert host.refresh(client, second["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_client_whose_access_token_was_purged_goes_on(host: Host, vault: TokenRepository, clock: ManualClock) -> None:
    client = host.register()
    tokens = host.sign_in(client)
    for _ in range(2):
        clock.advance(timedelta(hours=1))
        vault.purge_expired()
        tokens = host.refresh(client, tokens["refresh_token"]).json()
        assert host.status(tokens["access_token"]) == 200


def test_a_spent_token_is_known_until_the_last_one_expires(host: Host, clock: ManualClock) -> None:
    client = host.register()
    tokens = [host.sign_in(client)]
    for _ in range(3):
        clock.advance(timedelta(days=29))
        tokens.append(host.refresh(client, tokens[-1]["refresh_token"]).json())
    clock.advance(timedelta(days=29))
    assert host.refresh(client, tokens[0]["refresh_token"]).json()["error"] == "invalid_grant"
    assert host.refresh(client, tokens[-1]["refresh_token"]).json()["error"] == "invalid_grant"


def test_what_expired_is_purged(host: Host, vault: TokenRepository, clock: ManualClock) -> None:
    ada = host.users["ada"]
    client = host.register()
    tokens = host.sign_in(client)
    host.refresh(client, tokens["refresh_token"])
    host.revoke(client, host.sign_in(client)["access_token"])
    clock.advance(timedelta(days=100))
    vault.purge_expired()
    assert vault.list_credentials(ada.hash) == {}
    assert [token.hash for token in vault.list_api_tokens(tenant_hash=ada.hash)] == [ada.hash]


@pytest.mark.parametrize("cap", [0, 1001])
def test_a_cap_that_cannot_be_kept_is_refused(vault: TokenRepository, cap: int) -> None:
    async def consent(request: ConsentRequest) -> str:
        return request.ticket

    with pytest.raises(ConfigError, match="max_unused_clients"):
        FusionAuthorizationServer(vault, consent, max_unused_clients=cap)


def test_the_record_of_as_many_clients_as_there_may_be_fits(vault: TokenRepository, clock: ManualClock) -> None:
    data = {"holders": [["f" * 32, 2**33, slot] for slot in range(MAX_UNUSED_CLIENTS)]}
    vault.store_credentials(SYSTEM_TENANT, "probe", ServiceCredentials(CredentialType.CUSTOM, data))
