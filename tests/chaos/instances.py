"""Servers of these tests' own, on free ports and in folders of their own, to be killed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from sqlalchemy.exc import SQLAlchemyError

from tests.servers.databases import engine_for

_POSTGRESQL_FOLDERS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_START_SECONDS: Final = 60


def program(name: str) -> str | None:
    """Where a server's program lies: Debian keeps PostgreSQL's out of the PATH, and daemons in sbin."""
    folders = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, _POSTGRESQL_FOLDERS)]
    return shutil.which(name, path=os.pathsep.join(folders))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Instance(ABC):
    """A server with an empty database ``vault``. Not started yet; ``stop`` or ``kill`` ends it."""

    name: ClassVar[str]
    driver: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    account: ClassVar[str]
    """Whom the server runs as when root starts it."""
    admin: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (folder / "log").open("ab")
        folder.chmod(0o755)
        self.data.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(folder, self._user)
            shutil.chown(self.data, self._user)

    @classmethod
    def is_at_hand(cls) -> bool:
        """Whether the server and its driver are installed."""
        return find_spec(cls.driver) is not None and all(map(program, cls.programs))

    @property
    def _user(self) -> str | None:
        if os.geteuid() != 0:
            return None
        with suppress(KeyError):
            return pwd.getpwnam(self.account).pw_name
        raise AssertionError(f"root can't run {self.name}, and there is no account {self.account}")

    def url(self, database: str = "vault") -> str:
        return f"{self.name}://{self.admin}@127.0.0.1:{self.port}/{database}"

    @abstractmethod
    def make(self) -> None:
        """Fill the folder of a new server."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts the server in the foreground."""

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = self._spawn(self.command())
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            if self._process.poll() is not None:
                # What a killed server shared with its children goes with the last of them.
                self._process = self._spawn(self.command())
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with engine_for(self.url(self.admin_database)).connect():
                return True
        except SQLAlchemyError:
            return False

    admin_database: ClassVar[str]

    def kill(self) -> None:
        """End the server and its children at once, as a crash does."""
        assert self._process is not None
        victims = [self._process.pid, *_children(self._process.pid)]
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End the server in good order, without waiting for its clients."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT if self.name == "postgresql" else signal.SIGTERM)
        self._process.wait(_START_SECONDS)

    def close(self) -> None:
        """The end of everything."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._log.close()

    def run(self, *command: str) -> None:
        """Run a program of the server's to its end."""
        process = self._spawn(list(command))
        assert process.wait(_START_SECONDS) == 0, (self.folder / "log").read_text()[-2000:]

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        found = program(command[0])
        assert found is not None, command[0]
        user = self._user
        account: dict[str, Any] = {}
        if user is not None:
            account = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [found, *command[1:]],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            **account,
        )


class PostgreSQL(Instance):
    name = "postgresql"
    driver = "psycopg"
    programs = ("initdb", "postgres", "pg_basebackup", "pg_ctl")
    account = "postgres"
    admin = "postgres"
    admin_database = "postgres"

    def make(self) -> None:
        self.run(
            "initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"
        )

    def copy_of(self, primary: PostgreSQL) -> None:
        """Become a standby that follows a server, in place of ``make``."""
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"]
        self.run("pg_basebackup", *source, "-D", str(self.data), "-R", "-X", "stream", "-c", "fast")

    def promote(self) -> None:
        """Take writes from now on."""
        self.run("pg_ctl", "promote", "-D", str(self.data))

    def command(self) -> list[str]:
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "shared_buffers=16MB"]
        options = [argument for setting in settings for argument in ("-c", setting)]
        return ["postgres", "-D", str(self.data), "-p", str(self.port), *options]


class MariaDB(Instance):
    name = "mariadb"
    driver = "pymysql"
    programs = ("mariadb-install-db", "mariadbd")
    account = "mysql"
    admin = "root"
    admin_database = "mysql"

    def make(self) -> None:
        folders = [f"--datadir={self.data}", f"--tmpdir={self.folder}"]
        options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        self.run("mariadb-install-db", "--no-defaults", *folders, *options)

    def command(self) -> list[str]:
        return [
            "mariadbd",
            "--no-defaults",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            "--innodb-buffer-pool-size=32M",
            "--innodb-log-file-size=16M",
        ]


SERVERS: Final[dict[str, type[Instance]]] = {
    server.name: server for server in (PostgreSQL, MariaDB) if server.is_at_hand()
}


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(OSError):
        return [int(child) for child in children.read_text().split()]
    return []
