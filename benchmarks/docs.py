"""The page of figures: what was measured is kept beside it, so that it can be measured in pieces."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import plots
from benchmarks.measuring import Figure

_BEGIN: Final = "<!-- figures: written by python -m benchmarks --docs docs -->"
_END: Final = "<!-- end of figures -->"


class Measured(msgspec.Struct):
    """A figure, and on how large a store, where and when it was measured."""

    figure: Figure
    tenants: int
    machine: str
    python: str
    date: str


def update(folder: Path, figures: Iterable[Figure], groups: Iterable[str], *, tenants: int, date: str) -> None:
    """Put the figures in place of earlier ones of the same names, and write page and plots anew."""
    kept = folder / "performance" / "figures.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    standing = msgspec.json.decode(kept.read_bytes(), type=list[Measured]) if kept.exists() else []
    by_name = {(old.figure.group, old.figure.name, old.figure.unit): old for old in standing}
    for figure in figures:
        by_name[figure.group, figure.name, figure.unit] = Measured(
            figure, tenants, platform.platform(), platform.python_version(), date
        )
    order = list(groups)
    measured = sorted(by_name.values(), key=lambda one: (order.index(one.figure.group), one.figure.name))
    kept.write_text(json.dumps(msgspec.to_builtins(measured), indent=1, ensure_ascii=False) + "\n")
    page = folder / "performance.md"
    text = page.read_text()
    tables = "\n".join(_tables(measured, kept.parent))
    page.write_text(re.sub(f"{_BEGIN}.*{_END}", lambda _: f"{_BEGIN}\n{tables}\n{_END}", text, flags=re.DOTALL))


def _tables(measured: list[Measured], folder: Path) -> Iterable[str]:
    for group in dict.fromkeys(one.figure.group for one in measured):
        members = [one for one in measured if one.figure.group == group]
        yield f"\n### {group}\n"
        compared = [one for one in members if one.figure.ratio is not None]
        if compared:
            (folder / f"{group}.svg").write_text(plots.plot(group, [one.figure for one in compared]))
            yield f"![{group}](performance/{group}.svg)\n"
            yield "| operation / floor | µs | floor, µs | ratio | spread | asked | tenants |"
            yield "|---|---|---|---|---|---|---|"
            yield from (_compared(one) for one in compared)
        observed = [one for one in members if one.figure.ratio is None]
        if observed:
            yield "\n| what | value | asked | tenants |\n|---|---|---|---|"
            yield from (_observed(one) for one in observed)


def _compared(one: Measured) -> str:
    figure = one.figure
    return (
        f"| {figure.name} | {figure.value:.2f} | {figure.floor or 0:.2f} | {figure.ratio or 0:.2f} "
        f"| {figure.spread or 0:.2f} | {_asked(figure)} | {one.tenants:,} |"
    )


def _observed(one: Measured) -> str:
    figure = one.figure
    return f"| {figure.name} | {figure.value:.1f} {figure.unit} | {_asked(figure)} | {one.tenants:,} |"


def _asked(figure: Figure) -> str:
    missed: dict[Any, str] = {True: "", False: " **missed**", None: ""}
    return figure.goal + missed[figure.reached]
