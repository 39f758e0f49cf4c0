"""Every operation, broken off at each of the system calls that it makes on the store's files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

import pytest

from tests.crash.ledger import Ledger
from tests.crash.operations import AFTERWARDS, OPERATIONS, Facts
from tests.crash.stores import AUDITED, BACKENDS, Store, state
from tests.crash.surroundings import EVERYWHERE, POINTS, chance, some, wait_for
from tests.crash.trials import Worker
from tests.crash.worker import ACKNOWLEDGED

Copy = Callable[[str], tuple[Store, Facts]]

MAIN = ("create", "store", "delete a tenant", "rotate", "migrate", "refresh", "change keys")
CASES = [
    (name, kind)
    for name in (OPERATIONS if POINTS > 1 else MAIN)
    for kind in OPERATIONS[name].kinds
    if EVERYWHERE or kind not in AUDITED or name in MAIN
]
NAMES = [f"{name}, {kind}" for name, kind in CASES]
# What fails where no room is left.
WRITING = ("write", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "mkdir")
# Failing, these leave open, mapped or locked what the library has every right to believe given back; LevelDB takes a
# listing that breaks off for a folder with fewer files.
NEVER_FAILING = ("close", "munmap", "mmap", "fcntl", "flock", "getdents64")

# SQLite takes a sector that can't be read for damage, doesn't say why it can't open a file or enlarge an index, and
# opens for reading only what it can't open for writing. LevelDB takes a file that it can't ask for as missing.
ANSWERS = {
    "sqlite": {
        "pread64": {"CorruptStore"},
        "pwrite64": {"StorageFull"},
        "openat": {"PermissionDenied", "ReadOnly"},
        "newfstatat": {"PermissionDenied", "StorageFull"},
    },
    "leveldb": {"access": {"CorruptStore"}},
}

_changes = re.compile(r"\d+ +(write|pwrite64|ftruncate|fallocate|fsync|fdatasync|rename)\(").match
_is_on_leveldbs_log = re.compile(r"/LOG(\.old)?[\">]").search
_syncs_folder = re.compile(r"fdatasync\(\d+<[^>.]+>\)").search
_is_on_sqlites_log = re.compile(r"(pwrite64|fdatasync)\(\d+<[^>]+-wal>").search


class Known(NamedTuple):
    """What an operation does when nothing goes wrong: its calls, and the states before and after it."""

    calls: list[str]
    before: list[str]
    after: list[str]


_known: dict[tuple[str, str], Known] = {}


class Broken:
    """One operation on stores of one kind, to be broken off."""

    def __init__(self, name: str, kind: str, worker: Worker, copy: Copy) -> None:
        self.name, self.kind, self._worker, self._copy = name, kind, worker, copy
        self.facts = self._place()[1]
        if (name, kind) not in _known:
            _known[name, kind] = self._watch()
        self.calls, self.before, self.after = _known[name, kind]

    @property
    def backend(self) -> str:
        return Store(self.kind, Path()).backend

    def _watch(self) -> Known:
        store = self.fresh()
        self._worker.kill_before(store, self.name, self.facts)
        before = self.state_of(store)
        store = self.fresh()
        trial = self._worker.run_and_kill(store, self.name, self.facts, "")
        assert trial.is_acknowledged, trial
        return Known(trial.calls, before, self.state_of(store))

    def _place(self) -> tuple[Store, Facts]:
        store, facts = self._copy(self.kind)
        if OPERATIONS[self.name].begins_empty:
            rmtree(store.path, ignore_errors=True)
            store.path.unlink(missing_ok=True)
        return store, facts

    def fresh(self) -> Store:
        """The store as it was before, in a place of its own."""
        return self._place()[0]

    def state_of(self, store: Store) -> list[str]:
        """What a store that was broken off holds when it is opened again."""
        with OPERATIONS[self.name].finish(store) as vault:
            return state(vault, self.facts.names())


@pytest.fixture
def broken(request: pytest.FixtureRequest, worker: Worker, copy: Copy) -> Broken:
    name, kind = request.param
    return Broken(name, kind, worker, copy)


@pytest.mark.parametrize("broken", CASES, ids=NAMES, indirect=True)
def test_killed_at_any_system_call_it_was_made_as_a_whole_or_not_at_all(broken: Broken, worker: Worker) -> None:
    for name, number in some(numbered(broken.calls), chance("kill", broken.name, broken.kind)):
        store, injection = broken.fresh(), f"{name}:signal=KILL:when={number}"
        trial = worker.run_and_kill(store, broken.name, broken.facts, injection)
        assert trial.answer is None, injection
        assert broken.state_of(store) in (broken.before, broken.after), injection
        rmtree(store.folder)


@pytest.mark.parametrize("broken", CASES, ids=NAMES, indirect=True)
def test_a_broken_disk_is_told_as_what_it_is_and_loses_nothing(broken: Broken, worker: Worker) -> None:
    points = [(*call, again) for call in numbered(broken.calls) if call[0] not in NEVER_FAILING for again in ("", "+")]
    for name, number, again in some(points, chance("EIO", broken.name, broken.kind)):
        own = ANSWERS[broken.backend].get(name, set())
        fail(broken, worker, f"{name}:error=EIO:when={number}{again}", {"StorageIO", *own})


@pytest.mark.parametrize("broken", [("open", "sqlite")], indirect=True)
def test_a_file_that_could_not_be_opened_for_writing_for_a_moment_is_written_afterwards(
    broken: Broken, worker: Worker
) -> None:
    for number in range(1, broken.calls.count("openat") + 1):
        fail(broken, worker, f"openat:error=EIO:when={number}", {"StorageIO", *ANSWERS["sqlite"]["openat"]})


@pytest.mark.parametrize("broken", CASES, ids=NAMES, indirect=True)
def test_a_full_disk_is_told_as_what_it_is_and_loses_nothing(broken: Broken, worker: Worker) -> None:
    points = [(*call, again) for call in numbered(broken.calls) if call[0] in WRITING for again in ("", "+")]
    for name, number, again in some(points, chance("ENOSPC", broken.name, broken.kind)):
        error = {"StorageFull"} if "write" in name or name == "mkdir" else {"StorageFull", "StorageIO"}
        fail(broken, worker, f"{name}:error=ENOSPC:when={number}{again}", error)


def fail(broken: Broken, worker: Worker, injection: str, errors: set[str]) -> None:
    """Break the operation by that injection: it succeeds all the same, or raises one of these or ``OutcomeUnknown``."""
    store = broken.fresh()
    trial = worker.run(store, broken.name, broken.facts, injection)
    assert trial.failed, injection
    if trial.is_acknowledged:
        assert not [call for call in trial.failed if _matters(call, trial.log)], injection
    assert trial.answer in {ACKNOWLEDGED, "OutcomeUnknown", *errors}, injection
    assert trial.afterwards == ACKNOWLEDGED, injection
    found = [line for line in broken.state_of(store) if f'"{AFTERWARDS}"' not in line]
    if trial.is_acknowledged:
        assert found == broken.after, injection
    elif trial.answer in errors and OPERATIONS[broken.name].is_one_step:
        assert found == broken.before, injection
    else:
        assert found in (broken.before, broken.after), injection
    rmtree(store.folder)


def _matters(call: str, log: list[str]) -> bool:
    """Whether a change that is acknowledged isn't on the disk, that call having failed.

    LevelDB goes on without its LOG, which is for people. SQLite doesn't tell that the folder can't be synced in which
    it has made a log, nor that it can't move a log into the database when it closes it: the log has been synced.
    """
    if not _changes(call) or _is_on_leveldbs_log(call) or _syncs_folder(call):
        return False
    at = log.index(call)
    earlier = [line for line in log[:at] if _is_on_sqlites_log(line)]
    is_in_log = bool(earlier) and "fdatasync" in earlier[-1] and "INJECTED" not in earlier[-1]
    return not is_in_log or any("unlink" in line and "-wal" in line for line in log[at:])


def numbered(calls: list[str]) -> list[tuple[str, int]]:
    """Each call with its number among those of its name."""
    return [(call, calls[: at + 1].count(call)) for at, call in enumerate(calls)]


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("calls", ["write,pwrite64", "fdatasync"])
@pytest.mark.parametrize("kind", BACKENDS)
def test_threads_that_share_a_commit_share_its_failure(
    kind: str, calls: str, error: str, worker: Worker, place: Path
) -> None:
    store, ledger = Store(kind, place), Ledger()
    store.open(create=True).close()
    with worker.load(store.url, [], ledger, [list("abcdef")]) as (pid,):
        ledger.wait_for_calls(20)
        with worker.traced_load(
            pid, store, f"{calls}:error={error}:when={1 + chance(kind, calls, error).randrange(50)}+"
        ):
            wait_for(lambda: bool(ledger.errors))
        ledger.wait_for_calls(20)
    assert ledger.errors <= {"StorageIO" if error == "EIO" else "StorageFull", "StorageIO", "OutcomeUnknown"}
    with store.open() as vault:
        ledger.settle(vault)
    assert ledger.living() > 6
