"""Freezes a store of the present schema for every backend: ``python -m tests.frozen.make``, once for each schema.

Needs the servers that ``tests.servers`` needs, ``pg_dump`` and ``mariadb-dump``. What is frozen already stays.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from fusion_store import get_repository
from fusion_store.backend import write_dump
from fusion_store.testing import ManualClock
from tests.frozen.content import MODES, STORES, digest, fill
from tests.servers.databases import new_database

Freeze = Callable[[str, Path], None]


def main() -> None:
    STORES.mkdir(exist_ok=True)
    for mode in MODES:
        with TemporaryDirectory() as folder:
            freeze(mode, f"sqlite:///{folder}/vault.db", "sqlite.gz", _compress)
            freeze(mode, f"leveldb:///{folder}/vault", "leveldb.tar.gz", _archive)
            freeze(mode, f"sqlite:///{folder}/dumped.db", "dump", _dump, version="1")
        for server, export in (("postgresql", _pg_dump), ("mariadb", _mariadb_dump)):
            with new_database(server) as url:
                freeze(mode, url, f"{server}.sql", export)


def freeze(mode: str, url: str, suffix: str, write: Freeze, version: str | None = None) -> None:
    clock = ManualClock()
    with get_repository(url, clock=clock, audit=True, **MODES[mode]) as repository:
        fill(repository, clock)
        content, version = digest(repository), version or repository.schema_version()
    target = STORES / f"{version}-{mode}.{suffix}"
    if target.exists():
        return
    write(url, target)
    with digests() as known:
        known[target.name] = content
    sys.stdout.write(f"{target.name}\n")


@contextmanager
def digests() -> Iterator[dict[str, str]]:
    file = STORES / "digests.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    yield known
    file.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def _compress(url: str, target: Path) -> None:
    target.write_bytes(gzip.compress(Path(url.removeprefix("sqlite:///")).read_bytes(), mtime=0))


def _archive(url: str, target: Path) -> None:
    with tarfile.open(target, "w:gz") as archive:
        for file in sorted(Path(url.removeprefix("leveldb:///")).iterdir()):
            if not file.name.startswith("LO"):
                archive.add(file, file.name)


def _dump(url: str, target: Path) -> None:
    with get_repository(url, create=False) as repository:
        write_dump(target, repository.export_records())


def _pg_dump(url: str, target: Path) -> None:
    command = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", url]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    # What begins with a backslash is for psql.
    target.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("\\")))


def _mariadb_dump(url: str, target: Path) -> None:
    parsed = make_url(url)
    command = ["mariadb-dump", "--skip-dump-date", "--hex-blob", f"--host={parsed.host}", f"--user={parsed.username}"]
    text = subprocess.run([*command, str(parsed.database)], check=True, stdout=subprocess.PIPE, text=True).stdout
    # The first line is a command of the client's.
    lines = text.replace(str(parsed.database), "vault").splitlines(keepends=True)[1:]
    target.write_text("".join(line for line in lines if not line.startswith("-- Host")))


if __name__ == "__main__":
    main()
