"""Calls beside their floors, in rounds that take turns; and values that are only observed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from typing import NamedTuple, TypeVar

T = TypeVar("T")

Work = Callable[[int], int]
"""Does a thing so many times, and answers the nanoseconds that took."""


class Comparison(NamedTuple):
    """A call beside its floor, and what is asked of it: one of the three limits, or none."""

    name: str
    call: Work
    floor: Work
    ratio: float | None = None
    """At most so many times the floor."""
    extra: float | None = None
    """At most so many microseconds more than the floor."""
    most: float | None = None
    """At most so many microseconds."""
    calls: int = 20
    """In one round."""
    rounds: int = 500
    """Without ``--quick``."""


class Observation(NamedTuple):
    """A value without a floor, and the most that it may be."""

    name: str
    unit: str
    observe: Callable[[], float]
    most: float | None = None


class Figure(NamedTuple):
    """What was measured. Times are in microseconds per call, medians over the rounds."""

    group: str
    name: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    spread: float | None = None
    """Difference between the ratios' quartiles."""
    most_ratio: float | None = None
    goal: str = ""
    """What is asked, in words."""
    reached: bool | None = None
    """None where nothing is asked."""


def each(call: Callable[[T], object], arguments: Iterable[T]) -> Work:
    """Calls with one argument after the other, beginning anew when they run out."""
    endless = cycle(arguments)

    def work(count: int) -> int:
        wanted = list(islice(endless, count))
        began = time.perf_counter_ns()
        for argument in wanted:
            call(argument)
        return time.perf_counter_ns() - began

    return work


def repeat(call: Callable[[], object]) -> Work:
    """Calls without arguments."""

    def work(count: int) -> int:
        began = time.perf_counter_ns()
        for _ in range(count):
            call()
        return time.perf_counter_ns() - began

    return work


def prepared(prepare: Callable[[], T], call: Callable[[T], object]) -> Work:
    """Calls with what was prepared before, outside of the time."""

    def work(count: int) -> int:
        total = 0
        for _ in range(count):
            argument = prepare()
            began = time.perf_counter_ns()
            call(argument)
            total += time.perf_counter_ns() - began
        return total

    return work


def measure(
    group: str, measures: Iterable[Comparison | Observation], *, quick: bool, settle: Callable[[], None]
) -> Iterator[Figure]:
    """Each figure as soon as it is there; before each ``settle`` is called."""
    for measured in measures:
        settle()
        if isinstance(measured, Comparison):
            yield _compare(group, measured, max(3, measured.rounds // 20) if quick else measured.rounds)
        else:
            yield _observe(group, measured)


def _compare(group: str, comparison: Comparison, rounds: int) -> Figure:
    calls, floors = list[float](), list[float]()
    comparison.call(1), comparison.floor(1)
    for number in range(rounds):
        pair = [(comparison.call, calls), (comparison.floor, floors)]
        for work, times in pair if number % 2 else reversed(pair):
            times.append(work(comparison.calls) / comparison.calls / 1000)
    value, floor = statistics.median(calls), statistics.median(floors)
    ratios = [one / other for one, other in zip(calls, floors, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    ratio = statistics.median(ratios)
    goal, reached = "", None
    if comparison.ratio is not None:
        goal, reached = f"≤ {comparison.ratio:g} times", ratio <= comparison.ratio
    elif comparison.extra is not None:
        difference = statistics.median(one - other for one, other in zip(calls, floors, strict=True))
        goal, reached = f"≤ floor + {comparison.extra:g} µs", difference <= comparison.extra
    elif comparison.most is not None:
        goal, reached = f"≤ {comparison.most:g} µs", value <= comparison.most
    return Figure(
        group,
        comparison.name,
        value,
        "µs",
        floor,
        ratio,
        quartiles[2] - quartiles[0],
        most_ratio=comparison.ratio,
        goal=goal,
        reached=reached,
    )


def _observe(group: str, observation: Observation) -> Figure:
    value, most = observation.observe(), observation.most
    goal = "" if most is None else f"≤ {most:g} {observation.unit}"
    return Figure(
        group, observation.name, value, observation.unit, goal=goal, reached=None if most is None else value <= most
    )
