"""What goes wrong besides the provider: the store, the configuration, shutdown, and others in the way."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fusion_store import (
    AuthError,
    ConfigError,
    ForkedHandle,
    NeedsReauth,
    OAuthTokenData,
    OutcomeUnknown,
    ReadOnly,
    RefreshClaim,
    RefreshFailed,
    StoreClosed,
    Unavailable,
    WrongKey,
)
from fusion_store.auth import AuthContext, BlockingAuthManager, DevicePrompt, GrantRejected, Prompt, ServiceConfig
from tests.auth.manager.conftest import CONFIG, HOUR, MINUTE, SECOND, Scripted, World
from tests.auth.provider import Gate


@pytest.mark.parametrize("error", [ConfigError("no secret"), WrongKey("no key"), KeyError("a bug")])
def test_whatever_ends_a_refresh_gives_the_claim_back(world: World, error: Exception) -> None:
    world.store(-SECOND)
    world.strategy.answers = [error]
    with pytest.raises(type(error)):
        world.get()
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is not None


def test_a_configuration_that_cannot_work_does_not_take_a_living_token_away(world: World) -> None:
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)
    world.strategy.answers = [ConfigError("no secret")]
    assert world.get() == stored


def test_a_token_that_the_vault_refuses_is_a_failure_and_gives_the_claim_back(world: World) -> None:
    world.store(-SECOND)
    world.strategy.answers = [OAuthTokenData("x" * 70_000)]
    with pytest.raises(RefreshFailed, match="github: the new token can't be stored: access_token") as caught:
        world.get()
    assert not caught.value.retryable
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is not None


def overtake(world: World) -> OAuthTokenData:
    """The lease runs out during the provider's answer, and another one claims."""
    world.clock.advance(2 * MINUTE)
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is not None
    return world.strategy.new_token()


def test_an_answer_that_came_late_is_stored_if_nobody_has_stored_another(world: World) -> None:
    world.store(-SECOND)
    world.strategy.answers = [lambda: overtake(world)]
    assert world.get().access_token == "access 1"
    stored = world.repository.get_oauth_token(world.issued.hash, "github")
    assert stored is not None
    assert stored.refresh_token == "refresh 1"


def test_a_first_token_that_came_late_is_stored_if_nobody_has_stored_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "unattended", True)
    world.strategy.answers = [lambda: overtake(world)]
    new = world.get()
    assert (new.access_token, new.version) == ("access 1", 1)
    assert world.repository.get_oauth_token(world.issued.hash, "github") == new


def test_an_answer_that_came_late_never_replaces_a_token_that_was_stored_at_the_last_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(-SECOND)
    world.strategy.answers = [lambda: overtake(world)]
    store = world.repository.store_oauth_token

    def store_after_another(*arguments: Any, **options: Any) -> OAuthTokenData:
        store(world.issued.hash, "github", OAuthTokenData("by another", expires_at=world.clock.now + HOUR))
        return store(*arguments, **options)

    monkeypatch.setattr(world.repository, "store_oauth_token", store_after_another)
    assert world.get().access_token == "by another"
    stored = world.repository.get_oauth_token(world.issued.hash, "github")
    assert stored is not None
    assert stored.access_token == "by another"


def test_anothers_token_that_is_dead_already_is_not_handed_out(world: World) -> None:
    world.store(-SECOND)

    def store_dead() -> OAuthTokenData:
        world.repository.store_oauth_token(
            world.issued.hash, "github", OAuthTokenData("dead", expires_at=world.clock.now - SECOND)
        )
        return world.strategy.new_token()

    world.strategy.answers = [store_dead]
    with pytest.raises(NeedsReauth, match="github: the token was deleted or ended meanwhile"):
        world.get()


def test_an_unknown_commit_of_the_same_access_token_is_told_by_its_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(-SECOND)
    commit, failed = world.repository.commit_refresh, [OutcomeUnknown("half-way")]

    def fail_first(*arguments: Any) -> OAuthTokenData:
        if failed:
            raise failed.pop()
        return commit(*arguments)

    monkeypatch.setattr(world.repository, "commit_refresh", fail_first)
    world.strategy.answers = [OAuthTokenData("old", "rotated", expires_at=world.clock.now + HOUR)]
    assert (world.get().refresh_token, world.get().version) == ("rotated", 2)


def test_an_unknown_commit_that_cannot_be_looked_up_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(-SECOND)
    commit, read = world.repository.commit_refresh, world.repository.get_oauth_token
    unknown: list[Exception] = [OutcomeUnknown("half-way")]
    unreadable: list[Exception] = []

    def fail_first(*arguments: Any) -> OAuthTokenData:
        if unknown:
            unreadable.append(Unavailable("away"))
            raise unknown.pop()
        return commit(*arguments)

    def read_later(*arguments: Any) -> OAuthTokenData | None:
        if unreadable:
            raise unreadable.pop()
        return read(*arguments)

    monkeypatch.setattr(world.repository, "commit_refresh", fail_first)
    monkeypatch.setattr(world.repository, "get_oauth_token", read_later)
    new = world.get()
    assert (new.access_token, new.version) == ("access 1", 2)


def test_a_store_that_cannot_be_read_after_the_claim_is_named_and_the_claim_given_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(-SECOND)
    claim, read = world.repository.claim_refresh, world.repository.get_oauth_token
    unreadable: list[Exception] = []

    def claim_at_last(*arguments: Any, **options: Any) -> RefreshClaim | None:
        unreadable.append(Unavailable("away"))
        return claim(*arguments, **options)

    def read_later(*arguments: Any) -> OAuthTokenData | None:
        if unreadable:
            raise unreadable.pop()
        return read(*arguments)

    monkeypatch.setattr(world.repository, "claim_refresh", claim_at_last)
    monkeypatch.setattr(world.repository, "get_oauth_token", read_later)
    with pytest.raises(Unavailable, match="away"):
        world.get()
    assert world.strategy.refreshed == []
    assert claim(world.issued.hash, "github", ttl=HOUR) is not None


def test_a_token_that_another_one_stored_before_the_claim_is_answered_without_a_refresh(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.store(-SECOND)
    claim = world.repository.claim_refresh

    def claim_after_another(*arguments: Any, **options: Any) -> RefreshClaim | None:
        world.store(HOUR)
        return claim(*arguments, **options)

    monkeypatch.setattr(world.repository, "claim_refresh", claim_after_another)
    assert world.get().version == 2
    assert (world.strategy.refreshed, caplog.messages) == ([], [])
    assert claim(world.issued.hash, "github", ttl=HOUR) is not None


def test_a_claim_that_cannot_be_given_back_is_only_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.store(-SECOND)

    def refuse(*_: Any) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(world.repository, "release_refresh", refuse)
    world.strategy.answers = [RefreshFailed("500", retryable=True)]
    with pytest.raises(RefreshFailed, match="500"):
        world.get()
    assert "a refresh claim couldn't be released and runs out by itself: Unavailable" in caplog.messages


def test_a_refusal_that_cannot_be_noted_is_no_lost_token(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)

    def refuse(*_: Any) -> OAuthTokenData:
        raise ReadOnly("standby")

    monkeypatch.setattr(world.repository, "commit_refresh", refuse)
    world.strategy.answers = [GrantRejected("invalid_grant"), GrantRejected("invalid_grant")]
    assert world.get() == stored
    assert caplog.messages == [
        f"github: the provider refused to refresh the token of tenant {world.tenant_id}",
        "github: the refusal can't be noted: ReadOnly",
    ]
    with pytest.raises(NeedsReauth, match="invalid_grant"):
        world.invalidate(stored.version)


def test_a_token_refused_upstream_and_by_the_provider_is_never_handed_out_again(world: World) -> None:
    world.store(HOUR)
    world.strategy.answers = [GrantRejected("invalid_grant")]
    for _ in range(3):
        with pytest.raises(NeedsReauth):
            world.invalidate(1)
        with pytest.raises(NeedsReauth):
            world.get()
    assert len(world.strategy.refreshed) == 1


def test_a_sign_in_without_a_user_that_was_refused_is_not_repeated_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Scripted, "unattended", True)
    world.strategy.answers = [GrantRejected("wrong password")]

    async def calls() -> None:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for _ in range(5):
                with pytest.raises(AuthError):
                    await tenant.get_token("github", CONFIG)
            assert world.strategy.authenticated == 1

    asyncio.run(calls())
    assert caplog.messages == [f"github: refreshing the token of tenant {world.tenant_id} failed: wrong password"]


def test_a_sign_in_without_a_user_that_was_refused_takes_no_living_token_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "unattended", True)
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)
    world.strategy.answers = [GrantRejected("invalid_grant"), GrantRejected("wrong password")] * 2
    assert world.get() == stored
    with pytest.raises(NeedsReauth, match=r"github: the sign-in was refused \(wrong password\)"):
        world.invalidate(stored.version)


@pytest.mark.parametrize(
    "failure", [RefreshFailed("0", retryable=True, retry_after=0), RefreshFailed("invalid_client")]
)
def test_no_failure_is_repeated_at_once(world: World, failure: RefreshFailed) -> None:
    world.store(-SECOND)
    world.strategy.answers = [failure]

    async def calls() -> None:
        async with world.make_manager() as manager:
            for _ in range(5):
                with pytest.raises(RefreshFailed) as caught:
                    await manager.tenant_of(world.issued.hash).get_token("github", CONFIG)
                assert caught.value.retry_after == 1
            assert caught.value.retryable == failure.retryable
        assert len(world.strategy.refreshed) == 1

    asyncio.run(calls())


# Shutdown


def test_a_cancelled_shutdown_lets_refreshes_end(world: World) -> None:
    world.store(-SECOND)

    async def calls() -> OAuthTokenData:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def held() -> OAuthTokenData:
            asked.set()
            await gate.wait()
            return world.strategy.new_token()

        world.strategy.answers = [held]
        manager = world.make_manager()
        call = asyncio.create_task(manager.tenant_of(world.issued.hash).get_token("github", CONFIG))
        await asked.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.aclose(), 0.01)
        gate.set()
        new = await call
        await manager.aclose()
        with pytest.raises(StoreClosed):
            await manager.tenant_of(world.issued.hash).invalidate_token("github", new.version, CONFIG)
        return new

    assert asyncio.run(calls()).access_token == "access 1"


def test_closing_stores_what_could_not_be_stored_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.store(-SECOND)
    commit, failed = world.repository.commit_refresh, [ReadOnly("standby")]

    def fail_first(*arguments: Any) -> OAuthTokenData:
        if failed:
            raise failed.pop()
        return commit(*arguments)

    monkeypatch.setattr(world.repository, "commit_refresh", fail_first)
    with pytest.raises(RefreshFailed):
        world.get()
    stored = world.repository.get_oauth_token(world.issued.hash, "github")
    assert stored is not None
    assert stored.access_token == "access 1"


def test_a_new_token_that_cannot_be_stored_even_at_the_end_is_logged_as_lost(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.store(-SECOND)

    def refuse(*_: Any) -> OAuthTokenData:
        raise ReadOnly("standby")

    monkeypatch.setattr(world.repository, "commit_refresh", refuse)
    with pytest.raises(RefreshFailed, match=r"github: the new token couldn't be stored \(ReadOnly\)"):
        world.get()
    assert caplog.messages == [
        f"github: the new token of tenant {world.tenant_id} can't be stored: ReadOnly",
        f"github: a new token of tenant {world.tenant_id} is lost: ReadOnly",
    ]


def blocking(world: World, **options: Any) -> BlockingAuthManager:
    return BlockingAuthManager(world.repository, strategies={"scripted": world.strategy, **options}, clock=world.clock)


def test_closing_ends_the_calls_of_other_threads(world: World) -> None:
    world.store(HOUR)
    ends: list[type[Exception]] = []

    class Endless(Scripted):
        type = "endless"

        async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
            await asyncio.Event().wait()
            raise AssertionError

    manager = blocking(world, endless=Endless(world.clock))

    def until_closed(call: Callable[[], object]) -> None:
        try:
            while True:
                call()
        except Exception as error:
            ends.append(type(error))

    tenant = manager.tenant(world.issued.token)
    calls: list[Callable[[], object]] = [
        lambda: tenant.get_token("github", CONFIG),
        lambda: tenant.cache.get("k"),
        lambda: tenant.authenticate("mail", ServiceConfig(type="endless")),
    ]
    threads = [threading.Thread(target=until_closed, args=(call,), daemon=True) for call in calls * 2]
    for thread in threads:
        thread.start()
    manager.close()
    for thread in threads:
        thread.join(20)

    assert not any(thread.is_alive() for thread in threads)
    assert set(ends) == {StoreClosed}


def test_while_a_manager_waits_for_a_refresh_to_close_it_takes_no_calls(world: World) -> None:
    world.store(-SECOND)
    gate, asked = Gate(), threading.Event()

    async def held() -> OAuthTokenData:
        asked.set()
        await gate.passed()
        return world.strategy.new_token()

    world.strategy.answers = [held]
    manager = blocking(world)
    tenant = manager.tenant_of(world.issued.hash)

    def call_until_refused() -> None:
        for _ in range(1000):
            tenant.cache.get("k")
            time.sleep(0.002)

    with ThreadPoolExecutor(2) as threads:
        threads.submit(tenant.get_token, "github", CONFIG)
        assert asked.wait(20)
        closing = threads.submit(manager.close)
        try:
            with pytest.raises(StoreClosed):
                call_until_refused()
            manager.close()
            assert not closing.done()
        finally:
            gate.open()
        closing.result(20)

    stored = world.repository.get_oauth_token(world.issued.hash, "github")
    assert stored is not None
    assert stored.access_token == "access 1"


def test_the_managers_thread_has_a_name_and_keeps_no_process_alive(world: World) -> None:
    before = set(threading.enumerate())
    with blocking(world):
        (thread,) = set(threading.enumerate()) - before
        assert (thread.name, thread.daemon) == ("fusion-store-auth", True)
    assert not thread.is_alive()


def test_a_manager_that_cannot_be_made_leaves_no_thread(world: World) -> None:
    before = set(threading.enumerate())
    with pytest.raises(TypeError):
        BlockingAuthManager(world.repository, nonsense=True)
    assert set(threading.enumerate()) <= before


if hasattr(os, "fork"):

    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_forked_child_is_told_to_make_its_own(world: World) -> None:
        with blocking(world) as manager:
            child = os.fork()
            if not child:
                try:
                    manager.tenant(world.issued.token)
                except ForkedHandle as error:
                    os._exit(7 if "make the manager anew" in str(error) else 8)
                finally:
                    os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


# Disconnecting and signing in


def test_disconnecting_deletes_whatever_revoking_raises(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.store(HOUR)
    world.strategy.revocation = ConfigError("no secret")
    assert world.call(lambda tenant: tenant.disconnect("github", CONFIG))
    assert world.repository.get_oauth_token(world.issued.hash, "github") is None
    assert caplog.messages == [f"github: revoking a token of tenant {world.tenant_id} failed: ConfigError"]


def test_one_broken_screen_does_not_end_the_sign_in_of_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[Prompt] = []
    prompt = DevicePrompt("github", "CODE", "https://x/", None, world.clock.now + HOUR)

    class Asking(Scripted):
        async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
            await asyncio.sleep(0.01)
            await context.prompt(prompt)
            return self.new_token()

    async def show(prompt: Prompt) -> None:
        shown.append(prompt)

    async def broken(prompt: Prompt) -> None:
        raise ConnectionResetError

    async def calls() -> list[OAuthTokenData]:
        manager = world.make_manager()
        manager.strategies["scripted"] = Asking(world.clock)
        async with manager:
            tenant = manager.tenant_of(world.issued.hash)
            without = tenant.authenticate("github", CONFIG)
            return await asyncio.gather(
                without, *(tenant.authenticate("github", CONFIG, show=to) for to in (broken, show))
            )

    assert {token.version for token in asyncio.run(calls())} == {1}
    assert shown == [prompt]
    assert caplog.messages == ["a prompt of github can't be shown: ConnectionResetError"]
