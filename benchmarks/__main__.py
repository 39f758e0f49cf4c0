"""``python -m benchmarks``: what each operation takes, beside what nobody can do without.

Call and floor take turns in short rounds of one process: machines run the same code at other speeds for milliseconds
at a time, and both must meet the same ones. The servers measured are those that FUSION_STORE_TEST_POSTGRESQL_URL and
FUSION_STORE_TEST_MARIADB_URL name.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks import counting, docs, listing, memory, opening, peers, plots, reading, serving, writing
from benchmarks.measuring import Comparison, Figure, Observation, measure
from benchmarks.stores import Stores, backends

GROUPS: Final[dict[str, Callable[[Stores], Iterable[Comparison | Observation]]]] = {
    "validate": reading.validation,
    "read": reading.oauth_tokens,
    "page": listing.pages,
    "find": listing.prefixes,
    "add": writing.adding,
    "store": writing.storing,
    "delete": writing.deleting,
    "open": opening.opening,
    "import": opening.importing,
    "loop": serving.loop_delay,
    "memory": memory.memory,
    "counts": counting.counts,
    "peers": peers.peers,
}


def main() -> None:
    """Measure, print a table, and write JSON and plots where they are wanted."""
    arguments = _parser().parse_args()
    with ExitStack() as at_end:
        folder = arguments.store_dir or Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="fusion-store-")))
        folder.mkdir(parents=True, exist_ok=True)
        stores = at_end.enter_context(
            closing(
                Stores(
                    folder.absolute(),
                    arguments.tenants or (300 if arguments.quick else 10_000),
                    arguments.backend or backends(),
                    keep=arguments.store_dir is not None,
                    quick=arguments.quick,
                    say=_say,
                )
            )
        )
        figures = list(_shown(stores, arguments.only or list(GROUPS), quick=arguments.quick))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(_report(figures, stores), indent=2, ensure_ascii=False) + "\n")
    if arguments.plots is not None:
        arguments.plots.mkdir(parents=True, exist_ok=True)
        for group in dict.fromkeys(figure.group for figure in figures if figure.ratio is not None):
            plot = plots.plot(group, [figure for figure in figures if figure.group == group])
            (arguments.plots / f"{group}.svg").write_text(plot)
    if arguments.docs is not None:
        today = datetime.now(UTC).date().isoformat()
        docs.update(arguments.docs, figures, GROUPS, tenants=stores.count, date=today)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a smoke test, no figures to quote")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--backend", action="append", choices=backends(), help="by default all at hand")
    parser.add_argument("--tenants", type=int, help="in each store; by default 10,000, with --quick 300")
    parser.add_argument("--store-dir", type=Path, metavar="DIR", help="keep the stores there, and use them again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write an SVG for each group there")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="write them into DIR/performance.md, with its plots")
    return parser


def _shown(stores: Stores, groups: list[str], *, quick: bool) -> Iterator[Figure]:
    for group in groups:
        _say(f"\n{group:72} {'µs':>9} {'floor':>9} {'ratio':>6} {'spread':>6}")
        for figure in measure(group, GROUPS[group](stores), quick=quick, settle=stores.settle):
            _say(_line(figure))
            yield figure


def _line(figure: Figure) -> str:
    verdict = {True: "ok", False: "MISSED", None: ""}[figure.reached]
    if figure.ratio is None:
        return f"{figure.name:72} {figure.value:9.1f} {figure.unit:>23}  {figure.goal:14} {verdict}"
    return (
        f"{figure.name:72} {figure.value:9.2f} {figure.floor:9.2f} {figure.ratio:6.2f} {figure.spread:6.2f}"
        f"  {figure.goal:14} {verdict}"
    )


def _report(figures: list[Figure], stores: Stores) -> dict[str, Any]:
    return {
        "tenants": stores.count,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "figures": [figure._asdict() for figure in figures],
    }


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
