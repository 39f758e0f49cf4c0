"""``python -m benchmarks``: what reading an OAuth token through encryption costs."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.sealed_reads import MEASURES, Bench

# Short rounds: machines run the same code at other speeds for milliseconds at a time, and call and floor must meet the
# same ones.
ROUNDS, CALLS = 500, 20


class Figure(NamedTuple):
    """One measure beside its floor; times in microseconds per call, medians over the rounds."""

    name: str
    microseconds: float
    floor_microseconds: float
    ratio: float
    spread: float
    """Difference between the ratios' quartiles."""


def main() -> None:
    """Measure, print a table, and write JSON where that is wanted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a smoke test, no figures to quote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    rounds = 50 if arguments.quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        figures = [
            _measure(name, partial(call, bench), partial(floor, bench), rounds)
            for name, (call, floor) in MEASURES.items()
        ]
    width = max(len(figure.name) for figure in figures)
    sys.stdout.write(f"{'':{width}}  {'µs':>7}  {'floor':>7}  {'ratio':>6}  spread\n")
    for figure in figures:
        sys.stdout.write(
            f"{figure.name:{width}}  {figure.microseconds:7.2f}  {figure.floor_microseconds:7.2f}"
            f"  {figure.ratio:6.2f}  {figure.spread:.2f}\n"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([figure._asdict() for figure in figures], indent=2) + "\n")


def _measure(name: str, call: Callable[[], object], floor: Callable[[], object], rounds: int) -> Figure:
    calls, floors = list[float](), list[float]()
    for number in range(rounds):
        pair = [(call, calls), (floor, floors)]
        for timed, times in pair if number % 2 else reversed(pair):
            times.append(_time(timed))
    ratios = [one / other for one, other in zip(calls, floors, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    return Figure(
        name,
        statistics.median(calls),
        statistics.median(floors),
        statistics.median(ratios),
        quartiles[2] - quartiles[0],
    )


def _time(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - began) / CALLS / 1000


if __name__ == "__main__":
    main()
