"""``python -m tests.mutation [GROUP [MUTANT ...]]``: mutmut on every group, on one, or again on these mutants of one.

``alive`` in place of names means those that no test has killed so far.

Each group has a folder of its own, ``mutants/GROUP``, where the packages lie side by side, as mutmut names mutants by
their paths. There ``mutmut show MUTANT`` shows a change, and what was tried before isn't tried again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.mutation.groups import GROUPS, Group

_ROOT = Path(__file__).parents[2]
_PACKAGES = {"fusion_store": "fusion_store", "fusion_store_leveldb": "backends/fusion_store_leveldb"}
_KILLED = {"killed", "timeout", "segfault"}


def main(name: str | None = None, *mutants: str) -> None:
    if name is None:
        # mutmut keeps its state in the process.
        for group in GROUPS:
            subprocess.run([sys.executable, "-m", "tests.mutation", group], check=True)
        return
    folder = _ROOT / "mutants" / name
    prepare(folder, GROUPS[name])
    os.chdir(folder)
    os.environ["FUSION_STORE_TEST_BACKENDS"] = GROUPS[name].backends

    from mutmut.__main__ import cli

    from tests.mutation.adapted import adapt

    adapt(GROUPS[name].decorators)
    forget_the_checkout()
    if mutants == ("alive",):
        mutants = tuple(alive(states()))
    children = os.environ.get("FUSION_STORE_TEST_MUTATION", "1")
    cli.main(["run", "--max-children", children, *mutants], standalone_mode=False)
    report(name)


def prepare(folder: Path, group: Group) -> None:
    """Lay out what mutmut works on, with its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name, source in {**_PACKAGES, "tests": "tests"}.items():
        shutil.copytree(_ROOT / source, folder / name, dirs_exist_ok=True, ignore=ignored)
    shutil.copy2(_ROOT / "pyproject.toml", folder)
    with (folder / "pyproject.toml").open("a") as configuration:
        configuration.write(
            "\n[tool.mutmut]\n"
            f"source_paths = {list(_PACKAGES)}\n"
            f"only_mutate = {list(group.mutated)}\n"
            f"pytest_add_cli_args_test_selection = {group.selection()}\n"
            "pytest_add_cli_args = ['-p', 'no:cacheprovider', '-p', 'no:xdist']\n"
            "use_git_change_detection = false\n"
            "on_dependency_change = 'ignore'\n"
            "timeout_multiplier = 8.0\n"
        )


def forget_the_checkout() -> None:
    """The tests are to be imported from the copy."""
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != _ROOT]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]


def states() -> dict[str, str]:
    """What became of each mutant."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    found: dict[str, str] = {}
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        found |= {mutant: status_by_exit_code[code] for mutant, code in data.exit_code_by_key.items()}
    return found


def alive(found: dict[str, str]) -> dict[str, str]:
    return {mutant: state for mutant, state in found.items() if state not in _KILLED}


def report(name: str) -> None:
    found = states()
    left = alive(found)
    for mutant, state in left.items():
        sys.stdout.write(f"{state}: {mutant}\n")
    killed = 1 - len(left) / len(found)
    sys.stdout.write(f"{name}: {len(found)} mutants, {killed:.1%} killed: {dict(Counter(found.values()))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
