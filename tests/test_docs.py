"""README, docs and the tour say what works."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_on_a_page_do_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_some_pages_have_examples() -> None:
    assert sum(">>>" in page.read_text() for page in PAGES) >= 2


def test_the_tour_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = os.environ | {"FUSION_STORE_DATA_DIR": str(tmp_path)}
    environment.pop("FUSION_STORE_URL", None)
    subprocess.run([sys.executable, ROOT / "examples" / "tour.py"], env=environment, check=True, capture_output=True)
    listed = [sys.executable, "-m", "fusion_store", "token", "list"]
    shown = subprocess.run(listed, env=environment, check=True, capture_output=True, text=True)
    assert shown.stdout == "No API tokens found.\n"


def test_every_link_between_pages_leads_somewhere() -> None:
    import re

    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
