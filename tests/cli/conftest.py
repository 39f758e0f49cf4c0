from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fusion_store.cli import run

PROGRAM = (sys.executable, "-m", "fusion_store")
# Ctrl-C needs a controlling terminal, and a signal that isn't ignored as it is in background jobs.
_LOGIN = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err)


class CLI:
    """Runs commands in this process against one SQLite store."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, stdin: str | bytes = b"", url: str | None = None) -> Outcome:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        self._capsys.readouterr()
        code = run(["--url", url or self.url, *arguments])
        return Outcome(code, *self._capsys.readouterr())

    def json(self, *arguments: str, stdin: str | bytes = b"") -> Any:
        """The document of a command that has to succeed without a word on stderr."""
        outcome = self("--json", *arguments, stdin=stdin)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.json


class Terminal:
    """One run of the program at a pseudo-terminal, its only one for input, output and errors."""

    def __init__(self, *arguments: str, columns: int = 120, **environment: str) -> None:
        self._side, other = pty.openpty()
        termios.tcsetwinsize(other, (40, columns))
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _LOGIN, *PROGRAM, *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns), **environment},
        )
        os.close(other)
        self.screen = ""

    def expect(self, text: str) -> None:
        """Wait until ``text`` has been shown."""
        deadline = time.monotonic() + 20
        while text not in self.screen:
            assert time.monotonic() < deadline, f"{text!r} not shown in {self.screen!r}"
            if not self._read():
                raise AssertionError(f"{text!r} not shown in {self.screen!r}")

    def send(self, text: str) -> None:
        os.write(self._side, text.encode())

    def finish(self) -> int:
        """Wait for the end and answer the exit code."""
        while self._read():
            pass
        os.close(self._side)
        return self._process.wait(20)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _read(self) -> bool:
        if not select.select([self._side], [], [], 20)[0]:
            return False
        try:
            content = os.read(self._side, 65536)
        except OSError:
            return False
        self.screen += content.decode(errors="replace")
        return bool(content)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FUSION_STORE_URL", "FUSION_STORE_DATA_DIR", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/vault/vault.db"


@pytest.fixture
def cli(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CLI:
    return CLI(url, monkeypatch, capsys)


@pytest.fixture
def program(url: str) -> Callable[..., Outcome]:
    """Runs the real executable against the same store as ``cli``."""

    def invoke(*arguments: str, stdin: str = "", **environment: str) -> Outcome:
        done = subprocess.run(
            [*PROGRAM, "--url", url, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def terminal(url: str) -> Iterator[Callable[..., Terminal]]:
    """Starts the real executable at a pseudo-terminal."""
    started: list[Terminal] = []

    def start(*arguments: str, columns: int = 120, **environment: str) -> Terminal:
        started.append(Terminal("--url", url, *arguments, columns=columns, **environment))
        return started[-1]

    yield start
    for each in started:
        each.kill()
