"""The checker of histories itself: what can be explained, and what can't."""

from __future__ import annotations

import random

import pytest

from tests.model.linearizability import Operation, Result, Spot, apply, is_linearizable


def call(client: int, name: str, argument: object, times: tuple[int, int | None], *result: object) -> Operation:
    return Operation(client, name, argument, times[0], times[1], result or None)


STALE = [
    call(0, "store", "a", (0, 1), "stored", 1),
    call(1, "get", None, (2, 3), "token", None, 0),
]
IMPOSSIBLE = {
    "a read that misses what was stored before it": STALE,
    "a version given twice": [
        call(0, "store", "a", (0, 9), "stored", 1),
        call(1, "store", "b", (0, 9), "stored", 1),
    ],
    "a version left out": [call(0, "store", "a", (0, 9), "stored", 2)],
    "a code taken twice": [
        call(0, "redeem", "c", (0, 9), "redeemed", True),
        call(1, "redeem", "c", (0, 9), "redeemed", True),
    ],
    "a code taken by nobody": [
        call(0, "redeem", "c", (0, 9), "redeemed", False),
        call(1, "redeem", "c", (0, 9), "redeemed", False),
    ],
    "two claims at once": [
        call(0, "claim", None, (0, 9), "claim", 1, 0),
        call(1, "claim", None, (0, 9), "claim", 2, 0),
    ],
    "a claim committed after a store": [
        call(0, "claim", None, (0, 1), "claim", 1, 0),
        call(1, "store", "b", (2, 3), "stored", 1),
        call(0, "commit", (1, "a"), (4, 5), "stored", 2),
    ],
    "a write that is seen and then isn't, by readers of an unknown outcome": [
        call(0, "store", "a", (0, None)),
        call(1, "get", None, (1, 2), "token", "a", 1),
        call(1, "get", None, (3, 4), "token", None, 0),
    ],
    "two reads in turns": [
        call(0, "store", "a", (0, 9), "stored", 1),
        call(1, "store", "b", (0, 9), "stored", 2),
        call(2, "get", None, (1, 2), "token", "b", 2),
        call(2, "get", None, (3, 4), "token", "a", 1),
    ],
}
POSSIBLE = {
    "nothing": [],
    "a read at the same time misses it": [
        call(0, "store", "a", (0, 9), "stored", 1),
        call(1, "get", None, (2, 3), "token", None, 0),
    ],
    "a write of unknown outcome that is seen late": [
        call(0, "store", "a", (0, None)),
        call(1, "get", None, (1, 2), "token", None, 0),
        call(1, "get", None, (3, 4), "token", "a", 1),
    ],
    "a write of unknown outcome that never was": [
        call(0, "store", "a", (0, None)),
        call(1, "store", "b", (1, 2), "stored", 1),
    ],
    "a code that a client took which was killed": [
        call(0, "redeem", "c", (0, None)),
        call(1, "redeem", "c", (3, 4), "redeemed", False),
    ],
}
START = Spot(codes=frozenset({"c"}))


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_history_that_no_order_explains_is_found(name: str) -> None:
    assert not is_linearizable(IMPOSSIBLE[name], START)


@pytest.mark.parametrize("name", POSSIBLE)
def test_a_history_that_an_order_explains_is_let_be(name: str) -> None:
    assert is_linearizable(POSSIBLE[name], START)


def test_one_wrong_answer_among_48_is_found() -> None:
    source = random.Random(7)
    spot, history = START, list[Operation]()
    for number in range(48):
        name = source.choice(["get", "store", "store new", "delete", "claim", "release"])
        operation = call(number % 4, name, f"v{number}", (number * 10, number * 10 + 25))
        spot, result = apply(spot, operation)
        history.append(call(number % 4, name, f"v{number}", (number * 10, number * 10 + 25), *result))
    assert is_linearizable(history, START)

    stored = [at for at, operation in enumerate(history) if operation.result and operation.result[0] == "stored"]
    for at in stored:
        wrong: Result = "stored", 1000
        changed = history[at]
        broken = call(changed.client, changed.name, changed.argument, (changed.began, changed.ended), *wrong)
        assert not is_linearizable([*history[:at], broken, *history[at + 1 :]], START)
