"""README, docs and the tour say what works."""

from __future__ import annotations

import ast
import builtins
import doctest
import inspect
import os
import re
import subprocess
import symtable
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fusion_store import TokenRepository

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_on_a_page_do_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctest.testfile(str(page), module_relative=False).failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_on_a_page_can_be_copied(page: Path) -> None:
    """It compiles, knows its names and finds what it imports; where it says ``# continued``, with the one before it."""
    before = ""
    for block in re.findall(r"^ *```python\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE):
        if ">>>" in block:
            continue
        source = before = before + block if block.startswith("# continued") else block
        compile(source, page.name, "exec")
        assert not _unknown_names(source), block
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                _import(ast.unparse(statement))


def _unknown_names(source: str) -> set[str]:
    """Names that a module would look for in vain."""
    module = symtable.symtable(source, "<block>", "exec")
    known = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    scopes, used = [module], set[str]()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        used |= {
            symbol.get_name()
            for symbol in scope.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or scope is module)
        }
    return used - known - set(dir(builtins)) - {"__name__", "__file__"}


def _import(statement: str) -> None:
    try:
        exec(statement, {})
    except ImportError as error:
        if find_spec((error.name or "").partition(".")[0]) is not None:
            raise


def test_every_operation_is_in_the_table_of_concepts() -> None:
    table = re.findall(r"^\| `(\w+)\((.*?)\)` \|", (ROOT / "docs" / "concepts.md").read_text(), re.MULTILINE)
    operations = {name for name in dir(TokenRepository) if not name.startswith("_")}
    assert sorted(name for name, _ in table) == sorted(operations)
    for name, arguments in table:
        parameters = list(inspect.signature(getattr(TokenRepository, name)).parameters.values())[1:]
        positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        named = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        assert arguments == ", ".join([*positional, *["*"] * bool(named), *named]), name


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
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
