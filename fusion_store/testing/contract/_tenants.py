from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from fusion_store import (
    SYSTEM_TENANT,
    AmbiguousIdentifier,
    CredentialType,
    InvalidInput,
    RefreshClaim,
    TenantNotFound,
    TokenRepository,
)
from fusion_store.backend import Record
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import (
    CANARY,
    UNKNOWN,
    api_key,
    crafted_hash,
    crafted_tenant,
    crafted_token,
    exported,
    new_tenant,
    oauth,
    refused_field,
    tenant_of,
)

HOUR = timedelta(hours=1)


def fill(repository: TokenRepository, tenant_hash: str) -> tuple[str, RefreshClaim]:
    """One of everything; answers the code and the claim."""
    for service in ("github", "slack"):
        repository.store_oauth_token(tenant_hash, service, oauth(f"{service} access"))
        repository.store_credentials(tenant_hash, service, api_key(f"{service} key"))
    repository.store_oauth_token(tenant_hash, "deleted", oauth())
    repository.delete_oauth_token(tenant_hash, "deleted")
    repository.store_credentials(tenant_hash, "github", api_key(type=CredentialType.BEARER))
    claim = repository.claim_refresh(tenant_hash, "github", ttl=HOUR)
    assert claim is not None
    return repository.create_auth_code(tenant_hash, "github", ttl=HOUR), claim


def assert_gone(repository: TokenRepository, tenant_hash: str) -> None:
    assert repository.get_tenant(tenant_hash) is None
    assert tenant_hash not in [tenant.tenant_hash for tenant in repository.list_tenants()]
    assert repository.list_api_tokens(tenant_hash=tenant_hash) == []
    assert repository.list_oauth_tokens(tenant_hash) == {}
    assert repository.list_credentials(tenant_hash) == {}
    assert tenant_hash not in {tenant_of(record) for record in exported(repository)}
    with pytest.raises(TenantNotFound):
        repository.resolve_tenant(tenant_hash)


def test_a_tenant_says_what_it_holds(repository: TokenRepository, clock: ManualClock) -> None:
    tenant_hash = new_tenant(repository)
    born = clock.now
    clock.advance(HOUR)
    repository.add_api_token(tenant_hash=tenant_hash)
    fill(repository, tenant_hash)
    fill(repository, new_tenant(repository))

    tenant = repository.get_tenant(tenant_hash)

    assert tenant is not None
    assert (tenant.tenant_hash, tenant.tenant_id) == (tenant_hash, tenant_hash[:16])
    assert tenant.created_at == born
    assert (tenant.api_tokens, tenant.oauth_tokens, tenant.credentials) == (2, 2, 3)
    assert tenant in repository.list_tenants()


NO_TENANTS = [UNKNOWN, "", "no hash", "é", UNKNOWN.upper(), UNKNOWN[:16], UNKNOWN + "0"]


def test_an_unknown_tenant_is_absent(repository: TokenRepository) -> None:
    new_tenant(repository)

    for tenant_hash in NO_TENANTS:
        assert_absent(repository, tenant_hash)


def assert_absent(repository: TokenRepository, tenant_hash: str) -> None:
    assert repository.get_tenant(tenant_hash) is None
    assert repository.delete_tenant(tenant_hash) is False
    assert repository.list_api_tokens(tenant_hash=tenant_hash) == []
    assert repository.list_oauth_tokens(tenant_hash) == {}
    assert repository.list_credentials(tenant_hash) == {}
    assert repository.get_oauth_token(tenant_hash, "github") is None
    assert repository.delete_oauth_token(tenant_hash, "github") is False
    assert repository.get_credentials(tenant_hash, "github", CredentialType.API_KEY) is None
    assert repository.delete_credentials(tenant_hash, "github", CredentialType.API_KEY) is False


def assert_not_writable(repository: TokenRepository, tenant_hash: str) -> None:
    operations: list[Callable[[], object]] = [
        lambda: repository.add_api_token(tenant_hash=tenant_hash),
        lambda: repository.store_oauth_token(tenant_hash, "github", oauth()),
        lambda: repository.store_oauth_token(tenant_hash, "github", oauth(), expected_version=0),
        lambda: repository.store_credentials(tenant_hash, "github", api_key()),
        lambda: repository.claim_refresh(tenant_hash, "github", ttl=HOUR),
        lambda: repository.create_auth_code(tenant_hash, "github", ttl=HOUR),
    ]
    for operation in operations:
        with pytest.raises(TenantNotFound):
            operation()


def test_nothing_is_written_under_an_unknown_tenant(repository: TokenRepository) -> None:
    new_tenant(repository)
    before = exported(repository)

    for tenant_hash in NO_TENANTS:
        assert_not_writable(repository, tenant_hash)

    assert exported(repository) == before


def test_tenants_are_listed_by_hash_and_paged(repository: TokenRepository) -> None:
    hashes = sorted(new_tenant(repository) for _ in range(7))

    listed = repository.list_tenants()
    assert [tenant.tenant_hash for tenant in listed] == hashes
    paged, after = [], None
    while page := repository.list_tenants(after=after, limit=2):
        assert len(page) <= 2
        paged += page
        after = page[-1].cursor
    assert paged == listed


def test_a_tenants_cursor_works_when_the_tenant_is_gone(repository: TokenRepository) -> None:
    hashes = sorted(new_tenant(repository) for _ in range(5))
    cursor = repository.list_tenants()[2].cursor

    repository.delete_tenant(hashes[2])

    assert [tenant.tenant_hash for tenant in repository.list_tenants(after=cursor)] == hashes[3:]


def test_a_tenant_is_resolved_by_its_hash_or_a_unique_prefix(repository: TokenRepository) -> None:
    for number, head in enumerate(["abcd0", "abcd1", "abce0", "abc"]):
        repository.import_records(crafted_tenant(number, head=head))
    zero, one, other = crafted_hash(0, "abcd0"), crafted_hash(1, "abcd1"), crafted_hash(2, "abce0")

    assert repository.resolve_tenant("abce") == repository.resolve_tenant(other) == other
    assert repository.resolve_tenant("abcd1") == one
    with pytest.raises(AmbiguousIdentifier, match="tenants match") as caught:
        repository.resolve_tenant("abcd")
    assert sorted(caught.value.candidates) == [zero, one]
    for identifier in ("ABCD", "abcdx", "abc%", "abc_", "****", "é" * 4, UNKNOWN):
        with pytest.raises(TenantNotFound):
            repository.resolve_tenant(identifier)


def test_a_tenant_is_resolved_when_the_token_it_began_with_is_long_gone(repository: TokenRepository) -> None:
    tenant_hash = new_tenant(repository)
    second = repository.add_api_token(tenant_hash=tenant_hash)
    repository.delete_api_token(tenant_hash)

    assert repository.resolve_tenant(tenant_hash) == tenant_hash
    assert repository.resolve_tenant(tenant_hash[:8]) == tenant_hash
    with pytest.raises(TenantNotFound):
        repository.resolve_tenant(second.hash)


def test_deleting_a_tenant_leaves_nothing_that_names_it(repository: TokenRepository) -> None:
    issued = repository.add_api_token()
    further = repository.add_api_token(tenant_hash=issued.hash)
    code, claim = fill(repository, issued.hash)

    assert repository.delete_tenant(issued.hash) is True
    assert repository.delete_tenant(issued.hash) is False

    assert_gone(repository, issued.hash)
    assert repository.validate_api_token(issued.token) is None
    assert repository.validate_api_token(further.token) is None
    assert repository.get_oauth_token(issued.hash, "github") is None
    assert repository.get_credentials(issued.hash, "github", CredentialType.API_KEY) is None
    assert repository.redeem_auth_code(code) is None
    with pytest.raises(TenantNotFound):
        repository.commit_refresh(claim, oauth())
    repository.release_refresh(claim)
    stats = repository.stats()
    assert (stats.tenants, stats.api_tokens, stats.oauth_tokens, stats.credentials) == (0, 0, {}, {})
    assert repository.check().ok


def test_nothing_can_be_written_under_a_deleted_tenant(repository: TokenRepository) -> None:
    tenant_hash = new_tenant(repository)
    fill(repository, tenant_hash)
    repository.delete_tenant(tenant_hash)

    assert_not_writable(repository, tenant_hash)
    with pytest.raises(TenantNotFound):
        repository.import_records([crafted_token(1, tenant_hash)])

    assert_gone(repository, tenant_hash)


def test_a_tenant_of_the_same_hash_begins_from_nothing(repository: TokenRepository) -> None:
    repository.import_records(crafted_tenant(1))
    tenant_hash = crafted_hash(1)
    code, _ = fill(repository, tenant_hash)
    repository.delete_tenant(tenant_hash)

    repository.import_records(crafted_tenant(1))

    tenant = repository.get_tenant(tenant_hash)
    assert tenant is not None
    assert (tenant.api_tokens, tenant.oauth_tokens, tenant.credentials) == (1, 0, 0)
    assert repository.redeem_auth_code(code) is None
    claim = repository.claim_refresh(tenant_hash, "github", ttl=HOUR)
    assert claim is not None
    assert (claim.fence, claim.token_version) == (1, 0)
    assert repository.store_oauth_token(tenant_hash, "deleted", oauth()).version == 1
    assert repository.store_credentials(tenant_hash, "github", api_key()).version == 1


def test_with_its_last_token_goes_the_tenant(repository: TokenRepository) -> None:
    first = repository.add_api_token()
    second = repository.add_api_token(tenant_hash=first.hash)
    code, _ = fill(repository, first.hash)

    repository.delete_api_token(first.hash)
    assert repository.get_tenant(first.hash) is not None
    assert repository.get_oauth_token(first.hash, "github") is not None

    repository.delete_api_token(second.hash)
    assert_gone(repository, first.hash)
    assert repository.get_oauth_token(first.hash, "github") is None
    assert repository.redeem_auth_code(code) is None
    assert repository.check().ok


def test_with_its_last_token_goes_the_tenant_even_if_that_had_expired(
    repository: TokenRepository, clock: ManualClock
) -> None:
    issued = repository.add_api_token(expires_at=clock.now + HOUR)
    fill(repository, issued.hash)
    clock.advance(2 * HOUR)

    repository.delete_api_token(issued.hash)

    assert_gone(repository, issued.hash)


def test_neither_expiry_nor_purging_deletes_a_tenant(repository: TokenRepository, clock: ManualClock) -> None:
    tenant_hash = repository.add_api_token(expires_at=clock.now + HOUR).hash
    repository.add_api_token(tenant_hash=tenant_hash, expires_at=clock.now + HOUR)
    stored = repository.store_oauth_token(tenant_hash, "github", oauth())
    clock.advance(2 * HOUR)

    repository.purge_expired()
    repository.purge_expired()

    tenant = repository.get_tenant(tenant_hash)
    assert tenant is not None
    assert (tenant.api_tokens, tenant.oauth_tokens) == (1, 1)
    assert repository.get_oauth_token(tenant_hash, "github") == stored
    assert repository.add_api_token(tenant_hash=tenant_hash).metadata.tenant_hash == tenant_hash


def test_the_system_tenant_is_there_from_the_start_and_holds_secrets(
    repository: TokenRepository, clock: ManualClock
) -> None:
    system = repository.get_tenant(SYSTEM_TENANT)
    assert system is not None
    assert (system.api_tokens, system.oauth_tokens, system.credentials) == (0, 0, 0)

    code, claim = fill(repository, SYSTEM_TENANT)

    system = repository.get_tenant(SYSTEM_TENANT)
    assert system is not None
    assert (system.api_tokens, system.oauth_tokens, system.credentials) == (0, 2, 3)
    assert repository.list_oauth_tokens(SYSTEM_TENANT).keys() == {"github", "slack"}
    assert repository.redeem_auth_code(code) is not None
    assert repository.commit_refresh(claim, oauth()).version == 2


def test_the_system_tenant_is_never_listed_and_found_by_its_full_hash_only(repository: TokenRepository) -> None:
    fill(repository, SYSTEM_TENANT)
    tenant_hash = new_tenant(repository)

    assert [tenant.tenant_hash for tenant in repository.list_tenants()] == [tenant_hash]
    assert repository.resolve_tenant(SYSTEM_TENANT) == SYSTEM_TENANT
    for length in (4, 16, 63):
        with pytest.raises(TenantNotFound):
            repository.resolve_tenant(SYSTEM_TENANT[:length])
    assert repository.stats().tenants == 1
    assert repository.list_api_tokens(tenant_hash=SYSTEM_TENANT) == []


def test_the_system_tenant_gets_no_token_and_is_not_deleted(repository: TokenRepository) -> None:
    fill(repository, SYSTEM_TENANT)
    before = exported(repository)

    for forbidden in (
        lambda: repository.add_api_token(tenant_hash=SYSTEM_TENANT),
        lambda: repository.delete_tenant(SYSTEM_TENANT),
        lambda: repository.import_records([crafted_token(1, SYSTEM_TENANT)]),
    ):
        with pytest.raises(InvalidInput) as caught:
            forbidden()
        assert caught.value.field == "tenant_hash"

    assert exported(repository) == before


def test_a_thousand_tenants_are_untouched_by_a_neighbours_deletion(repository: TokenRepository) -> None:
    near, nearer = crafted_hash(1, "5" * 63 + "0"), crafted_hash(2, "5" * 63 + "1")
    records: list[Record] = []
    for number, head in [(1, near), (2, nearer), *((number, "") for number in range(3, 1001))]:
        records += crafted_tenant(number, head=head, prefix="sameseen", created_at=number // 3)
    assert repository.import_records(records) == 2000
    codes = {}
    for step in range(6):
        for tenant_hash in (near, nearer):
            service = f"service {step // 2}"
            repository.store_oauth_token(tenant_hash, service, oauth(f"{tenant_hash[-1]} {step}"))
            repository.store_credentials(tenant_hash, service, api_key(f"{tenant_hash[-1]} {step}"))
            codes[tenant_hash] = repository.create_auth_code(tenant_hash, service, ttl=HOUR)
    for tenant_hash in (near, nearer):
        repository.import_records([crafted_token(2000 + int(tenant_hash[-1]), tenant_hash)])
    before = exported(repository)

    assert repository.delete_tenant(near) is True

    assert exported(repository) == [record for record in before if tenant_of(record) != near]
    assert_gone(repository, near)
    assert repository.list_oauth_tokens(nearer)["service 2"].access_token == "1 5"
    assert repository.list_credentials(nearer)["service 2", CredentialType.API_KEY].data == {"key": "1 5"}
    assert repository.redeem_auth_code(codes[near]) is None
    assert repository.redeem_auth_code(codes[nearer]) is not None
    assert len(repository.find_api_tokens("sameseen")) == 999
    assert repository.stats().tenants == 999
    assert repository.check().ok


def test_a_tenant_hash_is_clean_text(repository: TokenRepository) -> None:
    before = exported(repository)
    odd: list[Any] = [None, 5, b"x" * 64, ["x"], "\0" * 64, CANARY + "\ud800"]

    for value in odd:
        operations: list[Callable[[], object]] = [
            partial(repository.get_tenant, value),
            partial(repository.delete_tenant, value),
            partial(repository.list_oauth_tokens, value),
            partial(repository.list_credentials, value),
            partial(repository.get_oauth_token, value, "github"),
            partial(repository.delete_oauth_token, value, "github"),
            partial(repository.store_oauth_token, value, "github", oauth()),
            partial(repository.get_credentials, value, "github", CredentialType.API_KEY),
            partial(repository.delete_credentials, value, "github", CredentialType.API_KEY),
            partial(repository.store_credentials, value, "github", api_key()),
            partial(repository.claim_refresh, value, "github", ttl=HOUR),
            partial(repository.create_auth_code, value, "github", ttl=HOUR),
        ]
        assert [refused_field(operation) for operation in operations] == ["tenant_hash"] * 12, ascii(value)

    assert exported(repository) == before
