from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import (
    AmbiguousIdentifier,
    TokenNotFound,
    TokenRepository,
)
from fusion_store.backend import TenantRecord
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import (
    CANARY,
    UNKNOWN,
    crafted_hash,
    crafted_tenant,
    crafted_token,
    few_examples,
    micros,
    refused_field,
)

SECOND = timedelta(seconds=1)


def test_a_new_token_is_64_hex_characters_and_opens_a_tenant_of_its_own(
    repository: TokenRepository, clock: ManualClock
) -> None:
    issued = repository.add_api_token("my laptop", scopes=["read", "write"], expires_at=clock.now + SECOND)

    assert re.fullmatch("[0-9a-f]{64}", issued.token)
    known = issued.metadata
    assert known.hash == issued.hash == sha256(issued.token.encode()).hexdigest()
    assert known.tenant_hash == known.hash
    assert known.prefix == issued.token[:8]
    assert (known.token_id, known.tenant_id) == (known.hash[:16], known.tenant_hash[:16])
    assert known.description == "my laptop"
    assert known.scopes == ("read", "write")
    assert known.created_at == clock.now
    assert known.last_used is None
    assert known.expires_at == clock.now + SECOND
    assert repository.get_api_token(issued.hash) == known


def test_each_new_token_is_another_one_of_another_tenant(repository: TokenRepository) -> None:
    issued = [repository.add_api_token("same") for _ in range(5)]

    assert len({token.token for token in issued}) == 5
    assert len({token.metadata.tenant_hash for token in issued}) == 5


def test_a_further_token_joins_the_standing_tenant(repository: TokenRepository, clock: ManualClock) -> None:
    first = repository.add_api_token("first")
    clock.advance(SECOND)
    second = repository.add_api_token("second", tenant_hash=first.metadata.tenant_hash)

    assert second.metadata.tenant_hash == first.hash
    assert second.hash != first.hash
    assert repository.list_api_tokens(tenant_hash=first.hash) == [first.metadata, second.metadata]
    assert [tenant.tenant_hash for tenant in repository.list_tenants()] == [first.hash]


def test_a_live_token_validates(repository: TokenRepository) -> None:
    issued = repository.add_api_token("mine")
    repository.add_api_token("another's")

    assert repository.validate_api_token(issued.token) == issued.metadata


def test_what_is_almost_a_token_does_not_validate(repository: TokenRepository) -> None:
    issued = repository.add_api_token()
    token = issued.token

    for almost in (token.upper(), f" {token}", f"{token}\n", token[:-1], f"{token}0", token[:8], issued.hash, ""):
        assert almost == token or repository.validate_api_token(almost) is None


def test_a_token_is_dead_from_its_expiry_on_but_still_known(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token(expires_at=clock.now + SECOND)

    clock.advance(SECOND - timedelta(microseconds=1))
    assert repository.validate_api_token(issued.token) is not None
    clock.advance(timedelta(microseconds=1))
    assert repository.validate_api_token(issued.token) is None

    known = repository.get_api_token(issued.hash)
    assert known is not None
    assert known.expires_at == clock.now
    assert repository.list_api_tokens() == [known]
    assert list(repository.iter_api_tokens()) == [known]
    assert repository.find_api_tokens(issued.hash) == [known]
    assert repository.resolve_api_token(issued.hash) == known


@few_examples
@given(
    st.one_of(
        st.text(st.characters(exclude_categories=())),
        st.text("0123456789abcdef", min_size=64, max_size=64),
        st.binary(),
        st.none(),
        st.integers(),
        st.lists(st.text()),
    )
)
def test_validating_never_raises_whatever_it_is_given(repository: TokenRepository, odd: Any) -> None:
    assert repository.validate_api_token(odd) is None


def test_validating_odd_text_answers_none(repository: TokenRepository) -> None:
    repository.add_api_token()

    for odd in ("\0", "\ud800", "x" * 10_000_000, "é" * 64, "' OR 1=1 --", "%", "*"):
        assert repository.validate_api_token(odd) is None, ascii(odd[:20])


def test_an_unknown_token_is_absent(repository: TokenRepository) -> None:
    repository.add_api_token()

    for hash in (UNKNOWN, "", "x", UNKNOWN.upper(), "é" * 64, UNKNOWN + "0", "%" * 64):
        assert repository.get_api_token(hash) is None
        assert repository.delete_api_token(hash) is False
        with pytest.raises(TokenNotFound):
            repository.rotate_api_token(hash)


def test_tokens_are_listed_by_creation_then_hash(repository: TokenRepository, clock: ManualClock) -> None:
    added = []
    for _ in range(4):
        added += [repository.add_api_token().metadata for _ in range(3)]
        clock.advance(-SECOND)

    expected = sorted(added, key=lambda token: (token.created_at, token.hash))
    assert repository.list_api_tokens() == expected
    assert list(repository.iter_api_tokens()) == expected


def test_creation_order_holds_from_the_first_year_to_the_last(repository: TokenRepository, clock: ManualClock) -> None:
    moments = [
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 0, 1, UTC),
        datetime(1, 1, 1, 0, 0, 0, 1, UTC),
    ]
    for clock.now in moments:
        repository.add_api_token()

    assert [token.created_at for token in repository.list_api_tokens()] == sorted(moments)
    paged, after = [], None
    while page := repository.list_api_tokens(after=after, limit=1):
        paged += page
        after = page[-1].cursor
    assert [token.created_at for token in paged] == sorted(moments)


def test_a_tenants_tokens_are_listed_apart(repository: TokenRepository, clock: ManualClock) -> None:
    mine = [repository.add_api_token().metadata]
    for _ in range(3):
        repository.add_api_token()
        clock.advance(SECOND)
        mine.append(repository.add_api_token(tenant_hash=mine[0].tenant_hash).metadata)

    assert repository.list_api_tokens(tenant_hash=mine[0].tenant_hash) == mine
    assert repository.list_api_tokens(tenant_hash=mine[0].tenant_hash, limit=2) == mine[:2]
    assert repository.list_api_tokens(tenant_hash=mine[0].tenant_hash, after=mine[1].cursor) == mine[2:]
    for unknown in (UNKNOWN, "", mine[0].tenant_hash[:16]):
        assert repository.list_api_tokens(tenant_hash=unknown) == []


@few_examples
@given(size=st.integers(1, 9))
def test_pages_put_together_are_the_whole_list(repository: TokenRepository, clock: ManualClock, size: int) -> None:
    while len(repository.list_api_tokens()) < 7:
        repository.add_api_token()
        repository.add_api_token()
        clock.advance(SECOND)

    whole = repository.list_api_tokens()
    paged, after = [], None
    while page := repository.list_api_tokens(after=after, limit=size):
        assert len(page) <= size
        paged += page
        after = page[-1].cursor
    assert paged == whole == sorted(whole, key=lambda token: (token.created_at, token.hash))


def test_a_hundred_tokens_are_a_page_unless_said_otherwise(repository: TokenRepository) -> None:
    repository.import_records([record for number in range(101) for record in crafted_tenant(number)])

    assert len(repository.list_api_tokens()) == 100
    assert len(repository.list_api_tokens(limit=101)) == 101
    assert len(repository.list_tenants()) == 100


def test_iterating_goes_through_any_number_of_tokens(repository: TokenRepository) -> None:
    tenant = crafted_hash(0)
    tokens = [crafted_token(number, tenant, created_at=number % 7) for number in range(1001)]
    repository.import_records([TenantRecord(tenant, 0), *tokens])

    expected = [token.hash for token in sorted(tokens, key=lambda token: (token.created_at, token.hash))]
    assert [token.hash for token in repository.iter_api_tokens()] == expected


def test_a_cursor_works_when_its_token_is_gone(repository: TokenRepository) -> None:
    for _ in range(6):
        repository.add_api_token()
    listed = repository.list_api_tokens()

    repository.delete_api_token(listed[2].hash)

    assert repository.list_api_tokens(after=listed[2].cursor) == listed[3:]
    assert repository.list_api_tokens(after=listed[-1].cursor) == []


def test_paging_shows_each_standing_token_once_while_others_come_and_go(
    repository: TokenRepository, clock: ManualClock
) -> None:
    standing = {repository.add_api_token().hash for _ in range(20)}
    passing = [repository.add_api_token().hash for _ in range(20)]

    seen: list[str] = []
    after = None
    while page := repository.list_api_tokens(after=after, limit=3):
        seen += [token.hash for token in page]
        after = page[-1].cursor
        for _ in range(2):
            if passing:
                repository.delete_api_token(passing.pop())
        repository.delete_api_token(page[-1].hash)
        standing.discard(page[-1].hash)
        if len(seen) < 30:
            clock.advance(-SECOND)
            repository.add_api_token("behind the cursor")
            clock.advance(2 * SECOND)
            repository.add_api_token("ahead of the cursor")
            clock.advance(-SECOND)

    assert len(seen) == len(set(seen))
    assert standing <= set(seen)


def test_iterating_shows_each_standing_token_once_while_others_come_and_go(
    repository: TokenRepository, clock: ManualClock
) -> None:
    tenant = crafted_hash(0)
    tokens = [crafted_token(number, tenant) for number in range(700)]
    repository.import_records([TenantRecord(tenant, 0), *tokens])
    hashes = [token.hash for token in repository.iter_api_tokens()]
    standing = set(hashes[::2])

    seen = []
    for place, token in enumerate(repository.iter_api_tokens()):
        seen.append(token.hash)
        if place % 100 == 0:
            repository.delete_api_token(hashes[min(place, 698) + 1])
            repository.add_api_token()

    assert len(seen) == len(set(seen))
    assert standing <= set(seen)


def test_a_token_is_found_by_the_beginning_of_its_random_part_or_hash(repository: TokenRepository) -> None:
    issued = repository.add_api_token()
    repository.import_records(crafted_tenant(1, head="1234", prefix="ZZZZzzzz"))
    crafted = repository.get_api_token(crafted_hash(1, "1234"))
    assert crafted is not None

    for length in (4, 6, 8):
        assert issued.metadata in repository.find_api_tokens(issued.metadata.prefix[:length])
        assert repository.find_api_tokens("ZZZZzzzz"[:length]) == [crafted]
    for length in (4, 16, 63, 64):
        assert crafted in repository.find_api_tokens(crafted.hash[:length])
    assert repository.find_api_tokens(issued.hash) == [issued.metadata]
    assert repository.find_api_tokens(issued.token) == []


def test_finding_is_case_sensitive_and_knows_no_wildcards(repository: TokenRepository) -> None:
    repository.import_records(crafted_tenant(1, head="abcd", prefix="ABCDefgh"))

    for prefix in (
        "abcdEFGH",
        "ABCDEFGH",
        "ABcd",
        "%%%%",
        "____",
        "ABC_",
        "ABC%",
        "ABCD*",
        "ABC?",
        "    ",
        "\uff21\uff22\uff23\uff24",
    ):
        assert repository.find_api_tokens(prefix) == [], prefix
    for prefix in ("abcd", "ABCD", "ABCDefgh"):
        assert len(repository.find_api_tokens(prefix)) == 1, prefix


def test_a_token_that_matches_twice_is_found_once(repository: TokenRepository) -> None:
    repository.import_records(crafted_tenant(1, head="abcd1234", prefix="abcd1234"))

    assert [token.hash for token in repository.find_api_tokens("abcd")] == [crafted_hash(1, "abcd1234")]


def test_all_that_match_are_found_in_the_order_of_listing(repository: TokenRepository) -> None:
    for number in range(12):
        head = "abcd" if number % 2 else ""
        prefix = "crafted0" if number % 2 else "abcdcdef"
        repository.import_records(crafted_tenant(number, head=head, prefix=prefix, created_at=-(number % 5)))

    assert repository.find_api_tokens("abcd") == repository.list_api_tokens()


def test_what_follows_a_prefix_in_order_is_not_found_by_it(repository: TokenRepository) -> None:
    for number, prefix in enumerate(["abcczzzz", "abcd0000", "abcdzzzz", "abce0000", "abcd", "abc"]):
        repository.import_records(crafted_tenant(number, prefix=prefix))

    found = {token.prefix for token in repository.find_api_tokens("abcd")}
    assert found == {"abcd0000", "abcdzzzz", "abcd"}


def test_a_token_is_resolved_by_its_hash_or_a_unique_prefix(repository: TokenRepository) -> None:
    issued = repository.add_api_token()

    for identifier in (issued.hash, issued.hash[:16], issued.hash[:4], issued.metadata.prefix, issued.token[:4]):
        assert repository.resolve_api_token(identifier) == issued.metadata
    for identifier in (UNKNOWN, "zzzz", issued.token, issued.hash.upper() + "x", "é" * 4):
        with pytest.raises(TokenNotFound):
            repository.resolve_api_token(identifier)


def test_two_tokens_with_the_same_prefix_are_both_found_and_resolving_says_ambiguous(
    repository: TokenRepository,
) -> None:
    repository.import_records([*crafted_tenant(1, prefix="sameseen"), *crafted_tenant(2, prefix="sameseen")])
    repository.add_api_token()
    both = {crafted_hash(1), crafted_hash(2)}

    assert {token.hash for token in repository.find_api_tokens("sameseen")} == both
    with pytest.raises(AmbiguousIdentifier, match="API tokens match") as caught:
        repository.resolve_api_token("sameseen")
    assert set(caught.value.candidates) == both
    assert len(caught.value.candidates) == 2


@pytest.mark.parametrize("gone", [1, 2])
def test_a_token_survives_the_deletion_of_another_with_the_same_prefix(repository: TokenRepository, gone: int) -> None:
    repository.import_records([*crafted_tenant(1, prefix="sameseen"), *crafted_tenant(2, prefix="sameseen")])
    left = 3 - gone

    assert repository.delete_api_token(crafted_hash(gone)) is True

    kept = repository.get_api_token(crafted_hash(left))
    assert kept is not None
    assert repository.find_api_tokens("sameseen") == [kept]
    assert repository.resolve_api_token("sameseen") == kept
    assert repository.get_api_token(crafted_hash(gone)) is None


def test_an_identifier_needs_four_characters_of_clean_text(repository: TokenRepository) -> None:
    odd: list[Any] = ["", "a", "abc", CANARY + "\ud800", "abcd\0", None, 5, b"abcd"]

    for identifier in odd:
        assert refused_field(partial(repository.find_api_tokens, identifier)) == "prefix", identifier
        assert refused_field(partial(repository.resolve_api_token, identifier)) == "identifier", identifier
        assert refused_field(partial(repository.resolve_tenant, identifier)) == "identifier", identifier


def test_a_deleted_token_is_gone_and_the_others_stay(repository: TokenRepository) -> None:
    first = repository.add_api_token()
    second = repository.add_api_token(tenant_hash=first.hash)

    assert repository.delete_api_token(first.hash) is True
    assert repository.delete_api_token(first.hash) is False

    assert repository.validate_api_token(first.token) is None
    assert repository.get_api_token(first.hash) is None
    assert repository.find_api_tokens(first.hash) == []
    assert repository.find_api_tokens(first.metadata.prefix) == []
    assert repository.list_api_tokens() == list(repository.iter_api_tokens()) == [second.metadata]
    assert repository.validate_api_token(second.token) == second.metadata


def test_an_expired_token_can_be_deleted(repository: TokenRepository, clock: ManualClock) -> None:
    issued = repository.add_api_token(expires_at=clock.now + SECOND)
    clock.advance(SECOND)

    assert repository.delete_api_token(issued.hash) is True
    assert repository.get_api_token(issued.hash) is None


def test_times_keep_their_microseconds_at_both_ends_of_the_calendar(repository: TokenRepository) -> None:
    for moment in (
        datetime(1, 1, 1, 0, 0, 0, 1, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2026, 6, 1, 12, 30, 15, 123457, UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    ):
        issued = repository.add_api_token(expires_at=moment)
        known = repository.get_api_token(issued.hash)
        assert known is not None
        assert known.expires_at == moment
        assert known.expires_at.tzinfo is UTC
        assert micros(known.expires_at) == micros(moment)


def test_a_token_keeps_its_description_and_scopes_to_the_letter(repository: TokenRepository) -> None:
    description = "  Zoë\u2019s “laptop”\n\t😀 e\u0301 %_'\";--  "
    scopes = tuple(f"scope:{number}/*'\"é😀" for number in range(64))

    issued = repository.add_api_token(description, scopes=scopes)

    known = repository.get_api_token(issued.hash)
    assert known is not None
    assert known.description == description
    assert known.scopes == scopes
