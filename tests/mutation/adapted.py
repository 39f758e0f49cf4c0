"""mutmut, adapted: it mutates decorated functions too, leaves wording alone, and collects the tests once.

Nearly every typed operation is decorated, and mutmut leaves such functions out, not knowing what a decorator does to
the copies that it makes. Here the copies stand undecorated, under the one decorated function that chooses among them.

mutmut forks once a mutant and starts pytest in the child, which takes longer than the tests. Here the child has the
tests from before the fork. What decorators of our own made before that, when modules were imported, is made
again by their mutants. All else that mutmut runs tests for runs in a child as well: what stands open in the parent, as
a LevelDB store, can't be used in any child, so that every mutant would seem to be killed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import libcst as cst
import pytest
from _pytest.config import _prepareconfig
from mutmut.configuration import config
from mutmut.mutation import file_mutation, mutators
from mutmut.runners.harness import PytestRunner
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd
from mutmut.utils.format_utils import mangled_name_from_mutant_name
from mutmut.workers.isolation import ForkRunner, run_in_fork, run_in_fork_with_result

_PASSED = {"operation", "contextmanager", "property", "wraps", "_from_memory"}
_MOST_SECONDS = 3.0
"""How long the tests that call a function, the fastest first, may take before a mutant is said to live."""


def adapt(decorators: Mapping[str, tuple[str, ...]]) -> None:
    """``decorators``: our own among the mutated functions, as mutmut names them, each with the files of its tests.

    Changes mutmut in this process, by names that only the version in ``tox.ini`` is known to have.
    """
    _mutate_decorated()
    _leave_prose_alone()
    _collect_once(decorators)


def _mutate_decorated() -> None:
    module: Any = file_mutation
    skips = module.MutationVisitor._skip_node_and_children
    arranges = module.function_trampoline_arrangement

    def skip(visitor: Any, node: cst.CSTNode) -> Any:
        if isinstance(node, cst.FunctionDef) and _is_passed(node):
            node = node.with_changes(decorators=[])
        return skips(visitor, node)

    def arrange(function: cst.FunctionDef, mutants: Iterable[Any], class_name: str | None) -> Any:
        before, (chooser, *copies), after, names = arranges(function, mutants, class_name)
        if _is_passed(function):
            copies = [copy.with_changes(decorators=[]) for copy in copies]
        return before, [chooser, *copies], after, names

    module.MutationVisitor._skip_node_and_children = skip
    module.function_trampoline_arrangement = arrange


def _leave_prose_alone() -> None:
    module: Any = file_mutation
    module.mutation_operators = [
        (kind, _unless_prose if operator is mutators.operator_string else operator)
        for kind, operator in module.mutation_operators
    ]


def _unless_prose(text: cst.BaseString) -> Iterator[cst.BaseString]:
    if not isinstance(text, cst.SimpleString) or " " not in text.value:
        yield from mutators.operator_string(text)


class _CollectedTests:
    """A session of pytest's, made before forking; a child runs tests of it."""

    def __init__(self, arguments: list[str]) -> None:
        self._config = _prepareconfig(arguments)
        self._config._do_configure()
        self._session = pytest.Session.from_config(self._config)
        self._config.hook.pytest_sessionstart(session=self._session)
        self._items = {item.nodeid: item for item in self._session.perform_collect()}

    def run(self, names: Iterable[str]) -> int:
        """1 as soon as one fails, 0 when none does."""
        items = [self._items[name] for name in names]
        for item, following in zip(items, [*items[1:], None], strict=True):
            self._config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._session.testsfailed:
                return 1
        return 0


def _collect_once(decorators: Mapping[str, tuple[str, ...]]) -> None:
    forking: Any = ForkRunner
    running: Any = PytestRunner
    start_up, run_tests = forking.startup, running.run_tests
    collects_stats, forces_fail = forking.collect_stats, forking.run_forced_fail

    def collect(runner: Any) -> None:
        options = config()
        with change_cwd("mutants"):
            runner.test_runner.collected = _CollectedTests(
                [
                    "-q",
                    "-s",
                    "--tb=native",
                    "--rootdir=.",
                    *options.pytest_add_cli_args,
                    *options.pytest_add_cli_args_test_selection,
                ]
            )
        for name, files in decorators.items():
            tests = {test for test in state().duration_by_test if test.startswith(files)}
            state().tests_by_mangled_function_name[name] = tests
        start_up(runner)
        with change_cwd("mutants"):
            if run_in_fork(runner.test_runner.collected.run, state().duration_by_test):
                sys.exit("a test fails whatever is mutated")

    def run(runner: Any, *, mutant_name: str | None, tests: Iterable[str]) -> Any:
        if mutant_name is None:
            return run_tests(runner, mutant_name=mutant_name, tests=tests)
        with change_cwd("mutants"):
            name = mangled_name_from_mutant_name(mutant_name)
            if name in decorators:
                try:
                    _decorate_again(name)
                except Exception:
                    return 1
            return runner.collected.run(_fastest(tests))

    def collect_stats(runner: Any, tests: Iterable[str] | None) -> Any:
        def collected() -> tuple[Any, ...]:
            code, found = collects_stats(runner, tests), state()
            return code, dict(found.tests_by_mangled_function_name), found.duration_by_test

        code, tests_by_function, durations = run_in_fork_with_result(collected)
        state().tests_by_mangled_function_name.update(tests_by_function)
        state().duration_by_test.update(durations)
        return code

    forking.startup, forking.collect_stats, running.run_tests = collect, collect_stats, run
    # They are run when they have been collected.
    forking.run_clean_tests = lambda *_, **__: 0
    forking.run_forced_fail = lambda runner: run_in_fork(forces_fail, runner)


def _fastest(tests: Iterable[str]) -> list[str]:
    durations = state().duration_by_test
    ordered = sorted(tests, key=lambda test: durations[test])
    spent = accumulate(durations[test] for test in ordered)
    return [test for test, seconds in zip(ordered, spent, strict=True) if seconds <= _MOST_SECONDS] or ordered[:1]


def _decorate_again(name: str) -> None:
    """Put what the decorator makes now in the place of all that it has made."""
    module, _, mangled = name.rpartition(".")
    decorator = getattr(sys.modules[module], mangled.removeprefix("x_"))
    modules = [found for key, found in sys.modules.items() if key.startswith("fusion_store")]
    kinds = {kind for found in modules for kind in vars(found).values() if isinstance(kind, type)}
    for kind in kinds:
        for attribute, member in list(vars(kind).items()):
            code = getattr(member, "__code__", None)
            if code is not None and code.co_qualname.startswith(f"{mangled}__mutmut_"):
                setattr(kind, attribute, decorator(member.__wrapped__))


def _is_passed(function: cst.FunctionDef) -> bool:
    names = {_name(decorator.decorator) for decorator in function.decorators}
    return bool(names) and names <= _PASSED


def _name(decorator: cst.BaseExpression) -> str | None:
    called = decorator.func if isinstance(decorator, cst.Call) else decorator
    return called.value if isinstance(called, cst.Name) else None
