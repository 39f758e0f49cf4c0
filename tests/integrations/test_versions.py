"""What the documentation says is supported is what is tested and what the extras ask for."""

from __future__ import annotations

import re
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "integrations.md"


def documented() -> dict[str, tuple[str, str]]:
    """The lowest and the newest version by library."""
    rows = re.findall(r"^\| ([\w-]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name.lower(): (lowest, newest) for name, lowest, newest in rows}


def test_the_lowest_versions_are_those_that_are_tested() -> None:
    lines = (HERE / "lowest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: lowest for name, (lowest, _) in documented().items()} == pinned


def test_the_extras_ask_for_the_lowest_versions() -> None:
    asked = [Requirement(line) for line in requires("fusion-store") or []]
    for name, (lowest, _) in documented().items():
        bounds = {str(one.specifier) for one in asked if one.name == name}
        assert [Version(bound.removeprefix(">=")) for bound in bounds] == [Version(lowest)], name


def test_nothing_is_documented_that_is_older_than_the_lowest() -> None:
    for name, (lowest, newest) in documented().items():
        assert Version(lowest) <= Version(newest), name
        assert Version(lowest) <= Version(version(name)), name
