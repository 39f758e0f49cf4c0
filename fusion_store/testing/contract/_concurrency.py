from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import Event

import pytest

from fusion_store import (
    CredentialType,
    IssuedToken,
    OAuthTokenData,
    TenantNotFound,
    TokenRepository,
    VersionConflict,
)
from fusion_store.backend import APITokenRecord, TenantRecord
from fusion_store.testing.contract._making import (
    api_key,
    at_once,
    crafted_tenant,
    exported,
    new_tenant,
    oauth,
    outcomes,
    tenant_of,
)

HOUR = timedelta(hours=1)
THREADS = 16


def test_sixteen_threads_add_tokens_and_each_one_stands(handles: list[TokenRepository]) -> None:
    def add(number: int) -> list[IssuedToken]:
        return [handles[number % len(handles)].add_api_token(f"{number}") for _ in range(5)]

    issued = [token for batch in at_once([partial(add, n) for n in range(THREADS)]) for token in batch]

    for handle in handles:
        assert {token.hash for token in handle.iter_api_tokens()} == {token.hash for token in issued}
        assert len(handle.list_tenants()) == 5 * THREADS
        assert all(handle.validate_api_token(token.token) for token in issued)


def test_sixteen_threads_store_and_none_is_lost(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])

    def store(number: int) -> list[int]:
        handle = handles[number % len(handles)]
        handle.store_oauth_token(tenant, f"own {number}", oauth(f"{number}"))
        handle.store_credentials(tenant, f"own {number}", api_key(f"{number}"))
        return [handle.store_oauth_token(tenant, "shared", oauth(f"{number} {step}")).version for step in range(3)]

    versions = [version for batch in at_once([partial(store, n) for n in range(THREADS)]) for version in batch]

    assert sorted(versions) == list(range(1, 3 * THREADS + 1))
    tokens = handles[-1].list_oauth_tokens(tenant)
    assert {tokens[f"own {n}"].access_token for n in range(THREADS)} == {f"{n}" for n in range(THREADS)}
    assert tokens["shared"].version == 3 * THREADS
    assert len(handles[-1].list_credentials(tenant)) == THREADS


def test_of_sixteen_threads_exactly_one_deletes(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])
    second = handles[0].add_api_token(tenant_hash=tenant)
    handles[0].store_oauth_token(tenant, "github", oauth())
    handles[0].store_credentials(tenant, "github", api_key())

    def once(delete: Callable[[TokenRepository], bool]) -> None:
        answers = at_once([partial(delete, handles[n % len(handles)]) for n in range(THREADS)])
        assert sorted(answers) == [False] * (THREADS - 1) + [True]

    once(lambda handle: handle.delete_oauth_token(tenant, "github"))
    once(lambda handle: handle.delete_credentials(tenant, "github", CredentialType.API_KEY))
    once(lambda handle: handle.delete_api_token(second.hash))
    once(lambda handle: handle.delete_tenant(tenant))


def test_of_sixteen_threads_exactly_one_stores_where_nothing_may_stand(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])

    answers = outcomes(
        [
            partial(handles[n % len(handles)].store_oauth_token, tenant, "github", oauth(f"{n}"), expected_version=0)
            for n in range(THREADS)
        ]
    )

    assert sum(isinstance(answer, VersionConflict) for answer in answers) == THREADS - 1
    assert handles[0].get_oauth_token(tenant, "github") in answers


def test_a_hundred_threads_count_to_exactly_a_hundred(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])
    handles[0].store_oauth_token(tenant, "counter", oauth(metadata={"count": "0"}))

    def count(handle: TokenRepository) -> None:
        while True:
            token = handle.get_oauth_token(tenant, "counter")
            assert token is not None
            following = OAuthTokenData("access", metadata={"count": str(int(token.metadata["count"]) + 1)})
            try:
                handle.store_oauth_token(tenant, "counter", following, expected_version=token.version)
            except VersionConflict:
                continue
            return

    at_once([partial(count, handles[n % len(handles)]) for n in range(100)])

    token = handles[0].get_oauth_token(tenant, "counter")
    assert token is not None
    assert token.metadata == {"count": "100"}
    assert token.version == 101


@pytest.mark.parametrize("by", ["tenant", "last token"])
def test_nothing_is_written_under_a_tenant_while_it_is_deleted(handles: list[TokenRepository], by: str) -> None:
    repository = handles[0]
    standing = new_tenant(repository)
    repository.store_oauth_token(standing, "github", oauth())
    before = exported(repository)

    for _ in range(6):
        tenant = new_tenant(repository)
        codes: list[str] = []

        def write_until_gone(tenant: str, operation: Callable[[str, int], object]) -> None:
            for step in range(10_000):
                try:
                    operation(tenant, step)
                except TenantNotFound:
                    return
            pytest.fail("the tenant was never deleted")

        def delete(tenant: str) -> None:
            delete_it = handles[-1].delete_tenant if by == "tenant" else handles[-1].delete_api_token
            while not repository.list_oauth_tokens(tenant):
                pass
            assert delete_it(tenant) is True

        def create_code(tenant: str, step: int, codes: list[str] = codes) -> None:
            codes.append(repository.create_auth_code(tenant, f"{step % 3}", ttl=HOUR))

        at_once(
            [
                partial(delete, tenant),
                partial(write_until_gone, tenant, lambda t, n: handles[-1].store_oauth_token(t, f"{n % 3}", oauth())),
                partial(write_until_gone, tenant, lambda t, n: repository.store_credentials(t, f"{n % 3}", api_key())),
                partial(write_until_gone, tenant, lambda t, n: handles[-1].claim_refresh(t, f"c{n % 3}", ttl=HOUR)),
                partial(write_until_gone, tenant, create_code),
            ]
        )

        assert repository.get_tenant(tenant) is None
        assert repository.list_oauth_tokens(tenant) == {}
        assert repository.list_credentials(tenant) == {}
        assert repository.list_api_tokens(tenant_hash=tenant) == []
        assert [repository.redeem_auth_code(code) for code in codes] == [None] * len(codes)
        assert exported(repository) == before
    assert repository.stats().tenants == 1
    assert repository.check().ok


def test_a_tenant_that_is_deleted_while_it_gets_tokens_leaves_none(handles: list[TokenRepository]) -> None:
    repository = handles[0]
    for _ in range(8):
        tenant = new_tenant(repository)
        added = outcomes(
            [
                partial(handles[-1].delete_tenant, tenant),
                *(partial(handles[n % len(handles)].add_api_token, tenant_hash=tenant) for n in range(3)),
                partial(repository.rotate_api_token, tenant, grace=HOUR),
            ]
        )
        assert added[0] is True
        assert repository.list_api_tokens() == []
        assert exported(repository)[1:] == []
        for answer in added:
            assert not isinstance(answer, IssuedToken) or repository.validate_api_token(answer.token) is None


def test_deleting_the_last_token_while_one_is_added_leaves_both_or_neither(handles: list[TokenRepository]) -> None:
    repository = handles[0]
    others = repository.import_records(record for number in range(200) for record in crafted_tenant(number))
    for _ in range(15):
        last = repository.add_api_token()
        deleted, added = outcomes(
            [
                partial(repository.delete_api_token, last.hash),
                partial(handles[-1].add_api_token, tenant_hash=last.hash),
            ]
        )
        assert deleted is True
        if isinstance(added, IssuedToken):
            assert repository.get_tenant(last.hash) is not None
            assert handles[-1].validate_api_token(added.token) is not None
        else:
            assert isinstance(added, TenantNotFound)
            assert repository.get_tenant(last.hash) is None
        repository.delete_tenant(last.hash)
    assert len(exported(repository)) == 1 + others


def test_deleting_the_last_two_tokens_at_once_deletes_the_tenant(handles: list[TokenRepository]) -> None:
    for _ in range(10):
        first = handles[0].add_api_token()
        second = handles[0].add_api_token(tenant_hash=first.hash)
        handles[0].store_oauth_token(first.hash, "github", oauth())

        answers = at_once(
            [partial(handles[0].delete_api_token, first.hash), partial(handles[-1].delete_api_token, second.hash)]
        )

        assert answers == [True, True]
        assert handles[0].get_tenant(first.hash) is None
        assert len(exported(handles[0])) == 1


def test_a_token_is_dead_once_its_deletion_returned(repository: TokenRepository) -> None:
    for delete in (repository.delete_api_token, repository.delete_tenant, repository.rotate_api_token):
        issued = repository.add_api_token()
        returned = Event()

        def remove(
            delete: Callable[[str], object] = delete, hash: str = issued.hash, returned: Event = returned
        ) -> None:
            delete(hash)
            returned.set()

        def validate(token: str = issued.token, returned: Event = returned) -> None:
            while not returned.is_set():
                repository.validate_api_token(token)
            assert repository.validate_api_token(token) is None

        at_once([remove, *[validate] * 4])


def test_uses_from_many_threads_are_all_kept(repository: TokenRepository) -> None:
    issued = [repository.add_api_token() for _ in range(THREADS)]

    def use(token: IssuedToken) -> None:
        for step in range(20):
            repository.validate_api_token(token.token)
            if step % 7 == 0:
                repository.flush()

    at_once([partial(use, token) for token in issued])
    repository.flush()

    used = [record.last_used for record in exported(repository) if isinstance(record, APITokenRecord)]
    assert len(used) == THREADS
    assert None not in used


def test_an_export_is_whole_within_each_tenant_while_others_write(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])
    done = Event()

    def write() -> None:
        try:
            for _ in range(30):
                handles[-1].store_oauth_token(tenant, "github", oauth())
                handles[-1].delete_oauth_token(tenant, "github")
        finally:
            done.set()

    def export() -> None:
        while not done.is_set():
            records = exported(handles[0])
            tenants = {record.tenant_hash for record in records if isinstance(record, TenantRecord)}
            assert {tenant_of(record) for record in records} <= tenants

    at_once([write, export, export])

    assert handles[0].check().ok
