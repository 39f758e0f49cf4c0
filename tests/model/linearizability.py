"""Whether a history of concurrent operations could have happened one after the other (Wing and Gong, 1993)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

Result = tuple[object, ...]
"""What a client saw: the kind of answer first, or the name of an error."""


@dataclass(frozen=True)
class Operation:
    """One call. Without ``result`` nobody knows what came of it: it may have been made at any time since it began, or
    never. Times are in nanoseconds."""

    client: int
    name: str
    argument: object
    began: int
    ended: int | None = None
    result: Result | None = None


class Spot(NamedTuple):
    """One place as it stands: what is stored there, its counters, the claim that is held, and the codes not taken."""

    value: object = None
    version: int = 0
    stores: int = 0
    fence: int = 0
    held: int = 0
    """The fence of the claim that may still be committed; 0: none."""
    codes: frozenset[object] = frozenset()


def apply(spot: Spot, operation: Operation) -> tuple[Spot, Result]:  # noqa: PLR0911 - one for each operation
    """What one operation does to a place, and what its caller is answered."""
    argument = operation.argument
    match operation.name:
        case "get":
            return spot, ("token", spot.value, spot.version)
        case "store":
            return _stored(spot, argument)
        case "store new":
            return (spot, ("VersionConflict",)) if spot.version else _stored(spot, argument)
        case "delete":
            if not spot.version:
                return spot, ("deleted", False)
            return spot._replace(value=None, version=0, held=0), ("deleted", True)
        case "claim":
            if spot.held:
                return spot, ("claim", 0, 0)
            fence = spot.fence + 1
            return spot._replace(fence=fence, held=fence), ("claim", fence, spot.stores)
        case "commit":
            fence, value = argument if isinstance(argument, tuple) else (0, None)
            return _stored(spot, value) if spot.held == fence else (spot, ("ClaimLost",))
        case "release":
            return spot._replace(held=0 if spot.held == argument else spot.held), ("released",)
        case "redeem":
            return spot._replace(codes=spot.codes - {argument}), ("redeemed", argument in spot.codes)
    raise AssertionError(operation.name)


def _stored(spot: Spot, value: object) -> tuple[Spot, Result]:
    version = spot.stores + 1
    return spot._replace(value=value, version=version, stores=version, held=0), ("stored", version)


_NEVER: Final = float("inf")


def is_linearizable(history: Sequence[Operation], start: Spot) -> bool:
    """Whether some order of the operations explains every result, none moved before one that ended ahead of it."""
    ends = [_NEVER if operation.ended is None else operation.ended for operation in history]
    known = sum(1 << at for at, operation in enumerate(history) if operation.result is not None)
    seen = {(0, start)}
    waiting = [(0, start)]
    while waiting:
        done, spot = waiting.pop()
        if done & known == known:
            return True
        open_ones = [at for at in range(len(history)) if not done >> at & 1]
        first_end = min(ends[at] for at in open_ones)
        for at in open_ones:
            if history[at].began > first_end:
                continue
            after, result = apply(spot, history[at])
            step = done | 1 << at, after
            if history[at].result in (None, result) and step not in seen:
                seen.add(step)
                waiting.append(step)
    return False
