"""One operation in a process of its own, traced by strace, which kills it or makes its system calls fail."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, AnyStr, NamedTuple

from tests.crash.ledger import Ledger
from tests.crash.operations import Facts
from tests.crash.stores import Store
from tests.crash.worker import ACKNOWLEDGED

ROOT = Path(__file__).parents[2]

_is_call = re.compile(r"(\d+) +(\w+)\(").match


class Trial(NamedTuple):
    """``answer``: what the act came to, None when it was killed before it said so; ``afterwards`` of a later write."""

    answer: str | None
    afterwards: str | None
    calls: list[str]
    """The system calls on the store's files, of the thread that made most of them."""
    log: list[str]
    """What strace wrote, with the paths of descriptors."""

    @property
    def failed(self) -> list[str]:
        """The system calls that the injection made fail, as they stand in the log."""
        return list(_failed(self.log))

    @property
    def is_acknowledged(self) -> bool:
        return self.answer == ACKNOWLEDGED


def _failed(lines: list[str]) -> Iterator[str]:
    begun = ""
    for line in lines:
        if "<unfinished" in line:
            begun = line
        if "(INJECTED)" in line:
            yield begun if "resumed>" in line else line


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
    return process.returncode is not None


class Worker:
    """Runs one trial at a time; ends with its ``with`` block."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process = self._start()
        self._is_idle = True

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.crash.worker"]
        return subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _begin_task(self, task: dict[str, Any]) -> None:
        if not self._is_idle:
            # A test failed amid a trial.
            self.__exit__()
            self._process = self._start()
        self._is_idle = False
        self._say(json.dumps(task))

    def run(self, store: Store, operation: str, facts: Facts, injection: str | None = None) -> Trial:
        """The trial of an operation; traced with an injection in strace's words, an empty one doing nothing.

        A process that isn't killed by the injection goes on to write, when the tracer has gone.
        """
        return self._run(store, operation, facts, injection, kill=False)

    def run_and_kill(self, store: Store, operation: str, facts: Facts, injection: str | None = None) -> Trial:
        """As ``run``, but what the injection leaves alive is killed as soon as it has answered."""
        return self._run(store, operation, facts, injection, kill=True)

    def kill_before(self, store: Store, operation: str, facts: Facts) -> None:
        """Prepare the operation, and kill before its act."""
        pid = self._begin(store, operation, facts)
        os.kill(pid, signal.SIGKILL)
        self._end()

    @contextmanager
    def load(self, url: str, keys: list[str], ledger: Ledger, processes: list[list[str]]) -> Iterator[list[int]]:
        """Processes with threads of these names at work on a store, while the block lasts; answers their pids.

        What they do is taken down in the ledger. They are told to stop in the end, those that the block didn't kill.
        """
        owned = [{name: ledger.of_thread(name) for name in names} for names in processes]
        self._begin_task({"url": url, "keys": keys, "processes": owned})
        pids = [int(pid) for pid in self._hear().split()]
        failure: list[BaseException] = []
        last = ""

        def take_down() -> None:
            nonlocal last
            try:
                while (line := self._hear()) and not line.startswith("exit"):
                    ledger.note(json.loads(line))
                last = line
            except BaseException as error:
                failure.append(error)

        reader = threading.Thread(target=take_down)
        reader.start()
        try:
            yield pids
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            reader.join()
        for error in failure:
            raise error
        assert set(last.split()[1:]) <= {"0", "-9"}, last
        self._is_idle = True

    @contextmanager
    def traced_load(self, pid: int, store: Store, injection: str) -> Iterator[None]:
        """One of those processes, traced while the block lasts."""
        with self._traced(pid, store, injection):
            yield

    def _run(self, store: Store, operation: str, facts: Facts, injection: str | None, *, kill: bool) -> Trial:
        pid = self._begin(store, operation, facts)
        afterwards = None
        with self._traced(pid, store, injection):
            self._say("go")
            answer = self._hear()
        if answer.startswith("exit"):
            assert kill, f"{operation} ended with {answer}"
            self._is_idle = True
            return Trial(None, None, *self._logged(injection))
        assert ";" not in answer, answer
        if kill:
            os.kill(pid, signal.SIGKILL)
        else:
            self._say("go on")
            afterwards = self._hear()
        self._end()
        return Trial(answer, afterwards, *self._logged(injection))

    @contextmanager
    def _traced(self, pid: int, store: Store, injection: str | None) -> Iterator[None]:
        if injection is None:
            yield
            return
        paths = [argument for path in store.watched() for argument in ("-P", str(path))]
        wanted = ["-e", f"inject={injection}"] if injection else []
        command = ["strace", "-f", "-y", "-o", str(self._log), *paths, *wanted, "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
            # Until it says so, the process may still run on untraced.
            assert b"attached" in self._pipe(tracer.stderr).readline()
            yield
            tracer.terminate()
            # It misses a signal now and then.
            while not _has_ended(tracer):
                tracer.terminate()

    def _logged(self, injection: str | None) -> tuple[list[str], list[str]]:
        if injection is None:
            return [], []
        lines = self._log.read_text(errors="replace").splitlines()
        calls = [found.groups() for found in map(_is_call, lines) if found]
        busiest = Counter(pid for pid, _ in calls).most_common(1)
        return [name for pid, name in calls if pid == busiest[0][0]], lines

    def _begin(self, store: Store, operation: str, facts: Facts) -> int:
        task = {"kind": store.kind, "folder": str(store.folder), "operation": operation, "facts": asdict(facts)}
        self._begin_task(task)
        pid = int(self._hear())
        ready = self._hear()
        assert ready == "ready", ready
        return pid

    def _end(self) -> None:
        while not self._hear().startswith("exit"):
            pass
        self._is_idle = True

    def _say(self, line: str) -> None:
        print(line, file=self._pipe(self._process.stdin), flush=True)

    def _hear(self) -> str:
        return self._pipe(self._process.stdout).readline().strip()

    @staticmethod
    def _pipe(pipe: IO[AnyStr] | None) -> IO[AnyStr]:
        assert pipe is not None
        return pipe
