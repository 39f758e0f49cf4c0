from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from fusion_store import (
    AsyncTokenRepository,
    CredentialType,
    RefreshClaim,
    StoreClosed,
    TenantNotFound,
    TokenRepository,
    VersionConflict,
)
from fusion_store.testing import ContractStore
from fusion_store.testing.contract._lifecycle import OPERATIONS, BlockingClock
from fusion_store.testing.contract._making import UNKNOWN, api_key, crafted_tenant, oauth

MINUTE = timedelta(minutes=1)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


def test_the_operations_work_as_coroutines(repository: TokenRepository) -> None:
    async def main() -> None:
        async with AsyncTokenRepository(repository) as vault:
            issued = await vault.add_api_token("mine", scopes=["a"])
            tenant = issued.metadata.tenant_hash
            assert await vault.validate_api_token(issued.token) == issued.metadata
            assert await vault.validate_api_token("nothing") is None
            assert (await vault.resolve_api_token(issued.hash[:8])).hash == issued.hash
            stored = await vault.store_oauth_token(tenant, "github", oauth())
            assert await vault.get_oauth_token(tenant, "github") == stored
            assert await vault.list_oauth_tokens(tenant) == {"github": stored}
            with pytest.raises(VersionConflict):
                await vault.store_oauth_token(tenant, "github", oauth(), expected_version=7)
            with pytest.raises(TenantNotFound):
                await vault.store_oauth_token(UNKNOWN, "github", oauth())
            claim = await vault.claim_refresh(tenant, "github", ttl=MINUTE)
            assert isinstance(claim, RefreshClaim)
            assert await vault.claim_refresh(tenant, "github", ttl=MINUTE) is None
            assert (await vault.commit_refresh(claim, oauth())).version == 2
            code = await vault.create_auth_code(tenant, "github", ttl=MINUTE, payload={"n": 1})
            redeemed = await vault.redeem_auth_code(code)
            assert redeemed is not None
            assert redeemed.payload == {"n": 1}
            await vault.store_credentials(tenant, "github", api_key())
            assert await vault.delete_credentials(tenant, "github", CredentialType.API_KEY) is True
            rotated = await vault.rotate_api_token(issued.hash)
            assert [token async for token in vault.iter_api_tokens()] == [rotated.metadata]
            assert [record async for record in vault.export_records()] == list(repository.export_records())
            assert await vault.import_records(crafted_tenant(1)) == 2
            assert (await vault.health()).ok
            assert (await vault.check()).ok
            assert (await vault.stats()).tenants == 2
            assert await vault.delete_tenant(tenant) is True
            assert await vault.get_tenant(tenant) is None
            await vault.flush()
        with pytest.raises(StoreClosed):
            repository.stats()

    run(main)


def test_a_slow_call_does_not_block_the_loop(contract_store: ContractStore) -> None:
    clock = BlockingClock()

    async def main() -> None:
        async with AsyncTokenRepository(contract_store.open(clock)) as vault:
            clock.hold = True
            slow = asyncio.create_task(vault.add_api_token("slow"))
            while not clock.asked.is_set():
                await asyncio.sleep(0)
            quick = await vault.add_api_token("quick")
            assert not slow.done()
            clock.go_on.set()
            await slow
            assert {token.hash async for token in vault.iter_api_tokens()} == {quick.hash, slow.result().hash}

    run(main)


def test_many_coroutines_at_once_count_exactly(repository: TokenRepository) -> None:
    async def main() -> None:
        async with AsyncTokenRepository(repository) as vault:
            tenant = (await vault.add_api_token()).hash
            stored = await asyncio.gather(*(vault.store_oauth_token(tenant, "github", oauth()) for _ in range(50)))
            assert sorted(token.version for token in stored) == list(range(1, 51))
            claims = await asyncio.gather(*(vault.claim_refresh(tenant, "github", ttl=MINUTE) for _ in range(16)))
            assert sum(claim is not None for claim in claims) == 1

    run(main)


def test_a_cancelled_call_runs_on_to_its_end(contract_store: ContractStore) -> None:
    clock = BlockingClock()
    repository = contract_store.open(clock)

    async def main() -> None:
        vault = AsyncTokenRepository(repository)
        clock.hold = True
        call = asyncio.create_task(vault.add_api_token("cancelled"))
        while not clock.asked.is_set():
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        clock.go_on.set()
        await vault.close()

    run(main)

    with contract_store.open(clock) as again:
        assert [token.description for token in again.list_api_tokens()] == ["cancelled"]


def test_after_closing_every_coroutine_is_refused(repository: TokenRepository) -> None:
    async def main() -> None:
        vault = AsyncTokenRepository(repository)
        await vault.close()
        await vault.close()
        for name, arguments in OPERATIONS.items():
            options = {"ttl": MINUTE} if name in ("claim_refresh", "create_auth_code") else {}
            answer = getattr(vault, name)(*arguments, **options)
            with pytest.raises(StoreClosed):
                await (anext(answer) if hasattr(answer, "__anext__") else answer)

    run(main)


def test_open_async_iterators_are_refused_at_their_next_step(repository: TokenRepository) -> None:
    for _ in range(3):
        repository.add_api_token()

    async def main() -> None:
        vault = AsyncTokenRepository(repository)
        tokens, records = vault.iter_api_tokens(), vault.export_records()
        await anext(tokens)
        await anext(records)
        await vault.close()
        with pytest.raises(StoreClosed):
            await anext(tokens)
        with pytest.raises(StoreClosed):
            await anext(records)

    run(main)


def test_an_async_iterator_goes_through_any_number(repository: TokenRepository) -> None:
    repository.import_records([record for number in range(120) for record in crafted_tenant(number)])

    async def main() -> None:
        async with AsyncTokenRepository(repository) as vault:
            assert [token async for token in vault.iter_api_tokens()] == repository.list_api_tokens(limit=1000)
            assert [record async for record in vault.export_records()] == list(repository.export_records())

    run(main)


def test_a_store_can_be_shared_by_a_loop_and_threads(repository: TokenRepository) -> None:
    tenant = repository.add_api_token().hash
    stop = Event()

    def write() -> int:
        count = 0
        while not stop.is_set():
            repository.store_oauth_token(tenant, "github", oauth())
            count += 1
        return count

    async def main() -> None:
        vault = AsyncTokenRepository(repository)
        for _ in range(20):
            await vault.store_oauth_token(tenant, "github", oauth())
        stop.set()
        count = await asyncio.get_running_loop().run_in_executor(None, writing.result)
        token = await vault.get_oauth_token(tenant, "github")
        assert token is not None
        assert token.version == count + 20
        await vault.close()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        try:
            run(main)
        finally:
            stop.set()
