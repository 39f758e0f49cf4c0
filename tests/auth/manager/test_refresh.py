"""A token is refreshed once, whoever asks, and a failed refresh destroys nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from fusion_store import (
    AsyncTokenRepository,
    AuthError,
    Busy,
    NeedsReauth,
    OAuthTokenData,
    OutcomeUnknown,
    ReadOnly,
    RefreshFailed,
    RefreshTimeout,
    TokenRepository,
    WrongKey,
)
from fusion_store.auth import AuthManager, GrantRejected, RefusedAgain, Tenant
from tests.auth.manager.conftest import CONFIG, HOUR, MINUTE, SECOND, Scripted, World
from tests.monitoring.notebook import Notebook


def test_a_token_with_life_left_is_answered_as_it_stands(world: World) -> None:
    stored = world.store(HOUR)
    assert world.get() == stored
    world.clock.advance(54 * MINUTE)
    assert world.get() == stored
    assert world.strategy.refreshed == []


def test_a_token_that_never_expires_is_never_refreshed(world: World) -> None:
    stored = world.repository.store_oauth_token(world.issued.hash, "github", OAuthTokenData("forever", "refresh"))
    world.clock.advance(10_000 * HOUR)
    assert world.get() == stored


@pytest.mark.parametrize(
    ("life", "fresh", "due"), [(HOUR, 55 * MINUTE - SECOND, SECOND), (4 * MINUTE, 3 * MINUTE - SECOND, SECOND)]
)
def test_in_its_last_five_minutes_or_quarter_a_token_is_refreshed(
    world: World, life: timedelta, fresh: timedelta, due: timedelta
) -> None:
    stored = world.store(life)
    world.clock.advance(fresh)
    assert world.get() == stored
    world.clock.advance(due)
    new = world.get()
    assert (new.access_token, new.version) == ("access 1", 2)
    assert world.repository.get_oauth_token(world.issued.hash, "github") == new
    assert [token.refresh_token for token in world.strategy.refreshed] == ["old refresh"]


def test_many_callers_in_one_loop_share_one_refresh(world: World) -> None:
    world.store(-SECOND)

    async def calls() -> list[OAuthTokenData]:
        async with world.make_manager() as manager:
            tenants = [await manager.tenant(world.issued.token) for _ in range(50)]
            return await asyncio.gather(*(tenant.get_token("github", CONFIG) for tenant in tenants))

    assert {token.access_token for token in asyncio.run(calls())} == {"access 1"}
    assert len(world.strategy.refreshed) == 1


def test_managers_that_share_nothing_but_the_store_refresh_once(world: World) -> None:
    world.store(-SECOND)

    async def slow() -> OAuthTokenData:
        # Waits move the clock that all of them share: not by a refresh's time limit.
        while len(world.waits) < 10:
            await asyncio.sleep(0.001)
        return world.strategy.new_token()

    async def calls() -> list[OAuthTokenData]:
        managers = [world.make_manager() for _ in range(10)]
        try:
            return await asyncio.gather(*(m.tenant_of(world.issued.hash).get_token("github", CONFIG) for m in managers))
        finally:
            for manager in managers:
                await manager.aclose()

    world.strategy.answers = [slow]
    assert {token.access_token for token in asyncio.run(calls())} == {"access 1"}
    assert len(world.strategy.refreshed) == 1


def test_a_caller_that_is_cancelled_does_not_end_the_refresh_for_the_others(world: World) -> None:
    world.store(-SECOND)

    async def calls() -> OAuthTokenData:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def held() -> OAuthTokenData:
            asked.set()
            await gate.wait()
            return world.strategy.new_token()

        world.strategy.answers = [held]
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            first = asyncio.create_task(tenant.get_token("github", CONFIG))
            await asked.wait()
            second = asyncio.create_task(tenant.get_token("github", CONFIG))
            await asyncio.sleep(0.01)
            first.cancel()
            await asyncio.sleep(0.01)
            gate.set()
            return await second

    assert asyncio.run(calls()).access_token == "access 1"
    assert len(world.strategy.refreshed) == 1
    assert world.waits == []
    assert world.repository.get_oauth_token(world.issued.hash, "github") is not None


def test_while_a_token_is_refreshed_for_one_the_others_are_given_the_one_that_lives(world: World) -> None:
    stored = world.store(HOUR)

    async def calls() -> OAuthTokenData:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def held() -> OAuthTokenData:
            asked.set()
            await gate.wait()
            return world.strategy.new_token()

        world.strategy.answers = [held]
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            refused = asyncio.create_task(tenant.invalidate_token("github", stored.version, CONFIG))
            await asked.wait()
            try:
                async with asyncio.timeout(20):
                    assert await tenant.get_token("github", CONFIG) == stored
            finally:
                gate.set()
            return await refused

    assert asyncio.run(calls()).access_token == "access 1"


def test_who_shares_a_refresh_that_failed_is_not_given_the_token_that_was_refused(world: World) -> None:
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)

    async def calls() -> None:
        gate, asked = asyncio.Event(), asyncio.Event()

        async def held() -> Exception:
            asked.set()
            await gate.wait()
            return RefreshFailed("500", retryable=True)

        world.strategy.answers = [held]
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            early = asyncio.create_task(tenant.get_token("github", CONFIG))
            await asked.wait()
            refused = asyncio.create_task(tenant.invalidate_token("github", stored.version, CONFIG))
            await asyncio.sleep(0.01)
            gate.set()
            assert await early == stored
            with pytest.raises(RefreshFailed, match="github: the last refresh failed a moment ago"):
                await refused

    asyncio.run(calls())
    assert len(world.strategy.refreshed) == 1


def test_a_failure_that_nobody_waits_for_any_more_is_not_reported_as_unheard(world: World) -> None:
    world.store(-SECOND)
    reports = list[dict[str, Any]]()

    async def calls() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
        gate, asked = asyncio.Event(), asyncio.Event()

        async def held() -> Exception:
            asked.set()
            await gate.wait()
            return RefreshFailed("500", retryable=True)

        world.strategy.answers = [held]
        async with world.make_manager() as manager:
            call = asyncio.create_task(manager.tenant_of(world.issued.hash).get_token("github", CONFIG))
            await asked.wait()
            call.cancel()
            await asyncio.sleep(0.01)
            gate.set()
        gc.collect()

    asyncio.run(calls())
    assert reports == []


def test_who_waits_too_long_for_anothers_refresh_is_told(world: World) -> None:
    world.store(-SECOND)
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is not None
    began = world.clock.now
    with pytest.raises(RefreshTimeout, match="github: another caller's refresh didn't end in time"):
        world.get()
    assert timedelta(seconds=30) <= world.clock.now - began <= timedelta(seconds=35)
    assert world.strategy.refreshed == []


def test_who_waits_too_long_is_given_the_old_token_while_it_lives(world: World) -> None:
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is not None
    assert world.get() == stored
    with pytest.raises(RefreshTimeout):
        world.invalidate(stored.version)


def test_after_an_owners_death_the_lease_runs_out_and_another_one_refreshes(world: World) -> None:
    world.store(-SECOND)
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=timedelta(seconds=20)) is not None
    assert world.get().access_token == "access 1"


@pytest.mark.parametrize(
    "failure", [RefreshFailed("500", retryable=True), RefreshFailed("invalid_client"), AuthError("odd")]
)
def test_while_the_old_token_lives_a_failed_refresh_is_only_logged(
    world: World, caplog: pytest.LogCaptureFixture, failure: AuthError
) -> None:
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)
    world.strategy.answers = [failure]
    with caplog.at_level(logging.WARNING, "fusion_store.auth"):
        assert world.get() == stored
    assert str(failure) in caplog.text
    assert "old" not in caplog.text.replace("should", "")
    assert world.repository.get_oauth_token(world.issued.hash, "github") == stored
    assert world.get().access_token == "access 2"


def test_with_a_dead_token_a_failed_refresh_is_raised_and_the_claim_given_back(
    world: World,
) -> None:
    stored = world.store(-SECOND)
    world.strategy.answers = [RefreshFailed("busy", retryable=True, retry_after=7)]
    with pytest.raises(RefreshFailed) as caught:
        world.get()
    assert (caught.value.retryable, caught.value.retry_after) == (True, 7)
    assert world.repository.get_oauth_token(world.issued.hash, "github") == stored
    assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is not None


def test_after_a_failure_the_provider_is_left_alone_for_as_long_as_it_asked(world: World) -> None:
    world.store(-SECOND)
    world.strategy.answers = [RefreshFailed("slow down", retryable=True, retry_after=60)]

    async def calls() -> OAuthTokenData:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for _ in range(5):
                with pytest.raises(RefreshFailed) as caught:
                    await tenant.get_token("github", CONFIG)
            assert caught.value.retry_after == 60
            assert len(world.strategy.refreshed) == 1
            world.clock.advance(MINUTE)
            return await tenant.get_token("github", CONFIG)

    assert asyncio.run(calls()).access_token == "access 2"


def test_without_a_word_from_the_provider_the_pause_grows_with_each_failure(world: World) -> None:
    world.store(-SECOND)
    world.strategy.answers = [RefreshFailed("500", retryable=True) for _ in range(4)]

    async def pauses() -> list[int]:
        found = []
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for number in range(1, 5):
                waited = 0
                while len(world.strategy.refreshed) < number:
                    with pytest.raises(RefreshFailed):
                        await tenant.get_token("github", CONFIG)
                    if len(world.strategy.refreshed) < number:
                        world.clock.advance(SECOND)
                        waited += 1
                found.append(waited)
        return found

    assert asyncio.run(pauses()) == [0, 1, 2, 4]


def test_during_the_pause_a_living_token_is_answered_unless_it_was_refused(world: World) -> None:
    stored = world.store(HOUR)
    world.clock.advance(57 * MINUTE)
    world.strategy.answers = [RefreshFailed("500", retryable=True)]

    async def calls() -> None:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for _ in range(3):
                assert await tenant.get_token("github", CONFIG) == stored
            with pytest.raises(RefreshFailed, match="github: the last refresh failed a moment ago"):
                await tenant.invalidate_token("github", stored.version)
            assert len(world.strategy.refreshed) == 1

    asyncio.run(calls())


def test_a_refresh_that_succeeded_ends_the_growth_of_the_pauses(world: World) -> None:
    world.store(-SECOND)
    failure = RefreshFailed("500", retryable=True)
    world.strategy.answers = [failure, failure, world.strategy.new_token(), failure]

    async def calls() -> float | None:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for _ in range(2):
                with pytest.raises(RefreshFailed, match="500"):
                    await tenant.get_token("github", CONFIG)
                world.clock.advance(2 * SECOND)
            await tenant.get_token("github", CONFIG)
            world.clock.advance(HOUR)
            with pytest.raises(RefreshFailed, match="500"):
                await tenant.get_token("github", CONFIG)
            with pytest.raises(RefreshFailed) as caught:
                await tenant.get_token("github", CONFIG)
            return caught.value.retry_after

    assert asyncio.run(calls()) == 1


def test_a_failure_at_one_service_does_not_end_the_pause_of_another(world: World) -> None:
    world.store(-SECOND)
    world.repository.store_oauth_token(
        world.issued.hash, "mail", OAuthTokenData("old", "refresh", expires_at=world.clock.now - SECOND)
    )
    world.strategy.answers = [RefreshFailed("500", retryable=True) for _ in range(2)]

    async def calls() -> None:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for service in ("github", "mail") * 3:
                with pytest.raises(RefreshFailed):
                    await tenant.get_token(service, CONFIG)

    asyncio.run(calls())
    assert len(world.strategy.refreshed) == 2


def test_a_refused_grant_is_noted_and_nobody_asks_again(world: World) -> None:
    stored = world.store(HOUR, metadata={"kept": "yes"})
    world.clock.advance(57 * MINUTE)
    world.strategy.answers = [GrantRejected("invalid_grant")]
    for _ in range(3):
        kept = world.get()
        assert (kept.access_token, kept.refresh_token) == (stored.access_token, stored.refresh_token)
        assert kept.metadata["kept"] == "yes"
    world.clock.advance(HOUR)
    for _ in range(3):
        with pytest.raises(NeedsReauth, match="github: the user has to consent"):
            world.get()
    assert len(world.strategy.refreshed) == 1


def test_a_refused_grant_is_no_matter_when_another_one_has_stored_a_new_token(world: World) -> None:
    world.store(-SECOND)
    other = OAuthTokenData("by another", "its refresh", expires_at=world.clock.now + HOUR)

    def refuse() -> Exception:
        world.repository.store_oauth_token(world.issued.hash, "github", other)
        return GrantRejected("invalid_grant")

    world.strategy.answers = [refuse]
    assert world.get().access_token == "by another"


def test_a_refused_grant_of_a_deleted_token_is_told_as_such(world: World) -> None:
    world.store(-SECOND)

    def refuse() -> Exception:
        world.repository.delete_oauth_token(world.issued.hash, "github")
        return GrantRejected("invalid_grant")

    world.strategy.answers = [refuse]
    with pytest.raises(NeedsReauth, match=r"github: the provider refused the grant \(invalid_grant\)"):
        world.get()


def test_consenting_again_ends_a_refusal(world: World) -> None:
    world.store(-SECOND)
    world.strategy.answers = [GrantRejected("invalid_grant")]
    with pytest.raises(NeedsReauth):
        world.get()

    async def connect() -> OAuthTokenData:
        async with world.make_manager() as manager:
            return await manager.tenant_of(world.issued.hash).authenticate("github", CONFIG)

    asyncio.run(connect())
    world.clock.advance(HOUR)
    assert world.get().access_token == "access 3"


def test_without_a_token_or_a_refresh_token_the_user_has_to_consent(world: World) -> None:
    with pytest.raises(NeedsReauth):
        world.get()
    token = OAuthTokenData("access", expires_at=world.clock.now + MINUTE)
    stored = world.repository.store_oauth_token(world.issued.hash, "github", token)
    world.clock.advance(MINUTE - SECOND)
    assert world.get() == stored
    with pytest.raises(NeedsReauth, match="github: the user has to consent"):
        world.invalidate(stored.version)
    world.clock.advance(SECOND)
    with pytest.raises(NeedsReauth):
        world.get()
    assert world.strategy.refreshed == []


def test_a_strategy_that_needs_no_user_signs_in_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "unattended", True)
    assert world.get().access_token == "access 1"
    assert world.get().access_token == "access 1"
    assert world.strategy.authenticated == 1


def test_a_deleted_token_is_not_brought_back_by_a_refresh_under_way(world: World) -> None:
    world.store(-SECOND)

    def delete_meanwhile() -> OAuthTokenData:
        world.repository.delete_oauth_token(world.issued.hash, "github")
        return world.strategy.new_token()

    world.strategy.answers = [delete_meanwhile]
    with pytest.raises(NeedsReauth, match="github: the token was deleted or ended meanwhile"):
        world.get()
    assert world.repository.get_oauth_token(world.issued.hash, "github") is None


def test_a_deleted_tenant_gets_no_token(world: World) -> None:
    world.store(-SECOND)

    def delete_meanwhile() -> OAuthTokenData:
        world.repository.delete_tenant(world.issued.hash)
        return world.strategy.new_token()

    world.strategy.answers = [delete_meanwhile]
    with pytest.raises(AuthError, match="the tenant is gone"):
        world.get()


def test_a_sign_in_without_a_user_is_not_tried_for_a_tenant_that_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "unattended", True)
    world.repository.delete_tenant(world.issued.hash)

    async def call() -> None:
        async with world.make_manager() as manager:
            await manager.tenant_of(world.issued.hash).get_token("github", CONFIG)

    with pytest.raises(AuthError, match="the tenant is gone"):
        asyncio.run(call())
    assert world.strategy.authenticated == 0


# Storing fails


class Failing:
    """Makes ``commit_refresh`` fail a number of times before it works."""

    def __init__(self, repository: TokenRepository, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
        self.left = list(errors)
        self.commit = repository.commit_refresh
        self.committed_first = False
        monkeypatch.setattr(repository, "commit_refresh", self)

    def __call__(self, claim: object, token: OAuthTokenData) -> OAuthTokenData:
        if self.left:
            if self.committed_first:
                self.commit(claim, token)  # type: ignore[arg-type]
            raise self.left.pop(0)
        return self.commit(claim, token)  # type: ignore[arg-type]


def test_storing_is_tried_again_until_the_lease_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.store(-SECOND)
    Failing(world.repository, monkeypatch, *[Busy("busy")] * 7)
    assert world.get().access_token == "access 1"
    assert len(world.strategy.refreshed) == 1
    assert world.waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1]


def test_at_the_end_of_the_lease_storing_is_not_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.store(-SECOND)
    Failing(world.repository, monkeypatch, Busy("busy"))

    def answer_late() -> OAuthTokenData:
        world.clock.advance(MINUTE)
        return world.strategy.new_token()

    world.strategy.answers = [answer_late]
    with pytest.raises(RefreshFailed, match=r"github: the new token couldn't be stored \(Busy\)"):
        world.get()
    assert world.waits == []


def test_a_token_that_cannot_be_sealed_is_kept_back_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.store(-SECOND)
    Failing(world.repository, monkeypatch, WrongKey("no key"))
    with pytest.raises(RefreshFailed, match=r"github: the new token couldn't be stored \(WrongKey\)"):
        world.get()
    assert world.waits == []


@pytest.mark.parametrize("committed", [True, False])
def test_an_unknown_commit_is_looked_up(world: World, monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    world.store(-SECOND)
    failing = Failing(world.repository, monkeypatch, OutcomeUnknown("half-way"))
    failing.committed_first = committed
    new = world.get()
    assert (new.access_token, new.version) == ("access 1", 2)
    assert world.waits == ([] if committed else [0.05])
    assert world.repository.get_oauth_token(world.issued.hash, "github") == new


def test_a_token_that_cannot_be_stored_is_kept_back_and_stored_by_the_next_call(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = world.store(-SECOND)
    failing = Failing(world.repository, monkeypatch, ReadOnly("full"), ReadOnly("full"))

    async def calls() -> OAuthTokenData:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            for _ in range(2):
                with pytest.raises(RefreshFailed, match="stored") as caught:
                    await tenant.get_token("github", CONFIG)
                assert caught.value.retryable
                assert world.repository.get_oauth_token(world.issued.hash, "github") == stored
            # The old refresh token may be dead: nobody else may spend it meanwhile.
            assert world.repository.claim_refresh(world.issued.hash, "github", ttl=HOUR) is None
            return await tenant.get_token("github", CONFIG)

    assert asyncio.run(calls()).access_token == "access 1"
    assert failing.left == []
    assert len(world.strategy.refreshed) == 1


def test_a_token_kept_back_gives_way_to_a_later_one_that_is_refreshed_in_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.store(-SECOND)
    Failing(world.repository, monkeypatch, ReadOnly("full"))

    async def calls() -> OAuthTokenData:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            with pytest.raises(RefreshFailed, match="stored"):
                await tenant.get_token("github", CONFIG)
            later = OAuthTokenData("later", "its refresh", expires_at=world.clock.now + HOUR)
            world.repository.store_oauth_token(world.issued.hash, "github", later)
            world.clock.advance(HOUR)
            return await tenant.get_token("github", CONFIG)

    assert asyncio.run(calls()).access_token == "access 2"
    assert [token.refresh_token for token in world.strategy.refreshed] == ["old refresh", "its refresh"]


# Refused upstream


def test_a_token_that_was_refused_upstream_is_refreshed_if_it_is_still_the_one_seen(world: World) -> None:
    world.store(HOUR)
    new = world.invalidate(1)
    assert (new.access_token, new.version) == ("access 1", 2)
    assert world.invalidate(1) == new
    assert len(world.strategy.refreshed) == 1


def test_a_token_that_replaced_a_refused_one_is_renewed_for_being_refused_after_a_minute(world: World) -> None:
    first = world.store(HOUR)

    async def calls() -> OAuthTokenData:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            second = await tenant.invalidate_token("github", first.version, CONFIG)
            world.clock.advance(MINUTE - SECOND)
            with pytest.raises(RefusedAgain, match="github: the service refuses the new token, too") as caught:
                await tenant.invalidate_token("github", second.version, CONFIG)
            assert (caught.value.retryable, caught.value.retry_after) == (False, 1)
            assert await tenant.get_token("github", CONFIG) == second
            # Who was refused the one before is given the new one all the same.
            assert await tenant.invalidate_token("github", first.version, CONFIG) == second
            world.clock.advance(SECOND)
            return await tenant.invalidate_token("github", second.version, CONFIG)

    assert asyncio.run(calls()).version == 3
    assert len(world.strategy.refreshed) == 2


def test_a_token_that_replaced_a_refused_one_is_renewed_when_it_is_about_to_expire(world: World) -> None:
    first = world.store(HOUR)
    world.strategy.answers = [OAuthTokenData("short", "refresh", expires_at=world.clock.now + MINUTE)]

    async def calls() -> OAuthTokenData:
        async with world.make_manager() as manager:
            tenant = manager.tenant_of(world.issued.hash)
            await tenant.invalidate_token("github", first.version, CONFIG)
            world.clock.advance(50 * SECOND)
            return await tenant.get_token("github", CONFIG)

    assert asyncio.run(calls()).version == 3


def test_a_token_that_was_refused_upstream_is_not_handed_out_again(world: World) -> None:
    world.store(HOUR)
    world.strategy.answers = [RefreshFailed("500", retryable=True), GrantRejected("invalid_grant")]
    with pytest.raises(RefreshFailed):
        world.invalidate(1)
    with pytest.raises(NeedsReauth):
        world.invalidate(1)


def test_the_handle_remembers_the_configuration_it_was_given(world: World) -> None:
    world.store(HOUR)

    async def calls() -> OAuthTokenData:
        async with world.make_manager() as manager:
            tenant: Tenant = await manager.tenant(world.issued.token)
            seen = await tenant.get_token("github", CONFIG)
            return await tenant.invalidate_token("github", seen.version)

    assert asyncio.run(calls()).version == 2


def test_an_async_repository_does_as_well(world: World) -> None:
    world.store(-SECOND)

    async def calls() -> OAuthTokenData:
        asynchronous = AsyncTokenRepository(world.repository)
        async with AuthManager(asynchronous, {"scripted": world.strategy}, clock=world.clock) as manager:
            new = await (await manager.tenant(world.issued.token)).get_token("github", CONFIG)
        assert await asynchronous.get_oauth_token(world.issued.hash, "github") == new
        return new

    assert asyncio.run(calls()).access_token == "access 1"


def test_observers_are_told_of_each_request_to_the_provider(world: World) -> None:
    notebook = Notebook()
    world.observers.append(notebook)
    world.store(-SECOND)
    world.get()
    world.get()
    world.clock.advance(HOUR)
    world.strategy.answers = [GrantRejected("invalid_grant")]
    with pytest.raises(NeedsReauth):
        world.get()

    assert notebook.seen == [("refresh github", "ok"), ("refresh github", "GrantRejected")]


def test_a_new_token_is_kept_though_an_observer_fails(world: World) -> None:
    class Broken(Notebook):
        @contextmanager
        def _noted(self, name: str) -> Iterator[None]:
            yield
            raise OSError

    world.observers.append(Broken())
    world.store(-SECOND)
    assert world.get().access_token == "access 1"
