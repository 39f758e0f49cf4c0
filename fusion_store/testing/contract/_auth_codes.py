from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from fusion_store import AuthCode, TokenRepository
from fusion_store.backend import AuthCodeRecord
from fusion_store.testing import ManualClock
from fusion_store.testing.contract._making import at_once, exported, new_tenant, refused_field

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)


def test_a_code_hands_over_its_payload(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    payload = {"state": "s é😀", "verifier": ["a", {"b": None}], "n": 1, "f": 1.5, "yes": True}

    code = repository.create_auth_code(tenant, "github", ttl=MINUTE, payload=payload)

    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", code)
    assert repository.redeem_auth_code(code) == AuthCode(tenant, "github", clock.now + MINUTE, payload)


def test_a_codes_payload_is_empty_by_default(repository: TokenRepository) -> None:
    empty: list[Mapping[str, Any] | None] = [None, {}, MappingProxyType({})]
    for payload in empty:
        code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE, payload=payload)
        redeemed = repository.redeem_auth_code(code)
        assert redeemed is not None
        assert redeemed.payload == {}


def test_a_code_works_once(repository: TokenRepository) -> None:
    code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE)

    assert repository.redeem_auth_code(code) is not None
    assert repository.redeem_auth_code(code) is None


def test_each_code_is_another_one(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    codes = [repository.create_auth_code(tenant, "github", ttl=MINUTE, payload={"n": n}) for n in range(5)]

    assert len(set(codes)) == 5
    for n in (3, 0, 4, 1, 2):
        redeemed = repository.redeem_auth_code(codes[n])
        assert redeemed is not None
        assert redeemed.payload == {"n": n}


def test_a_code_is_dead_from_its_expiry_on(repository: TokenRepository, clock: ManualClock) -> None:
    tenant = new_tenant(repository)
    in_time, late = (repository.create_auth_code(tenant, "github", ttl=MINUTE) for _ in range(2))

    clock.advance(MINUTE - MICROSECOND)
    assert repository.redeem_auth_code(in_time) is not None
    clock.advance(MICROSECOND)
    assert repository.redeem_auth_code(late) is None


def test_a_code_once_refused_as_expired_does_not_come_back(repository: TokenRepository, clock: ManualClock) -> None:
    code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE)
    clock.advance(MINUTE)
    assert repository.redeem_auth_code(code) is None
    repository.purge_expired()
    clock.advance(-MINUTE)

    assert repository.redeem_auth_code(code) is None


def test_what_is_no_code_answers_none(repository: TokenRepository) -> None:
    repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE)
    odd: list[Any] = ["", "x", "x" * 43, "\0", "\ud800", "é", "x" * 10_000_000, None, 5, b"x", ["x"]]

    for code in odd:
        assert repository.redeem_auth_code(code) is None


def test_neither_a_codes_hash_nor_another_spelling_redeems_it(repository: TokenRepository) -> None:
    code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE)

    for almost in (sha256(code.encode()).hexdigest(), code.swapcase(), f"{code} ", code[:-1]):
        assert repository.redeem_auth_code(almost) is None
    assert repository.redeem_auth_code(code) is not None


def test_only_the_hash_of_a_code_is_stored(repository: TokenRepository) -> None:
    code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE)

    records = exported(repository)

    stored = [record for record in records if isinstance(record, AuthCodeRecord)]
    assert [record.hash for record in stored] == [sha256(code.encode()).hexdigest()]
    assert all(code.encode() not in record.payload for record in stored)
    assert code not in repr(records)


def test_a_code_outlives_reopening(repository: TokenRepository, reopen: Callable[[], TokenRepository]) -> None:
    code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE, payload={"n": 1})

    redeemed = reopen().redeem_auth_code(code)

    assert redeemed is not None
    assert redeemed.payload == {"n": 1}


def test_a_redeemed_code_stays_redeemed_after_reopening(
    repository: TokenRepository, reopen: Callable[[], TokenRepository]
) -> None:
    code = repository.create_auth_code(new_tenant(repository), "github", ttl=MINUTE)
    repository.redeem_auth_code(code)

    assert reopen().redeem_auth_code(code) is None


def test_a_code_lives_for_a_positive_duration(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)
    odd: list[Any] = [timedelta(0), -MICROSECOND, timedelta.max, 60, None]

    for ttl in odd:
        assert refused_field(partial(repository.create_auth_code, tenant, "github", ttl=ttl)) == "ttl", ttl

    assert exported(repository) == before


def test_of_sixteen_threads_exactly_one_gets_a_code(handles: list[TokenRepository]) -> None:
    tenant = new_tenant(handles[0])
    for n in range(5):
        code = handles[0].create_auth_code(tenant, "github", ttl=MINUTE, payload={"n": n})

        answers = at_once([partial(handles[k % len(handles)].redeem_auth_code, code) for k in range(16)])

        assert [answer.payload for answer in answers if answer] == [{"n": n}]
