"""Where a store lies: what differs from one database product to another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection

from fusion_store_sql._database import Database


class Location(ABC):
    """A place for one vault, stated by a URL. Making one touches nothing."""

    name: str
    """What ``health`` calls the backend."""
    atomic_ddl: bool
    """Whether a migration that is cut short leaves nothing behind."""

    def files(self) -> list[Path]:
        """The files of this machine that a vault there lies in, as they stand."""
        return []

    @abstractmethod
    def tables(self) -> set[str]:
        """The tables that stand there; none when there is no database. Changes nothing."""

    @abstractmethod
    def revisions(self) -> set[str]:
        """The schema revisions that a vault there is stamped with. Changes nothing."""

    @abstractmethod
    def prepare(self) -> None:
        """Make an empty place ready to take the schema."""

    @abstractmethod
    def finish(self) -> None:
        """The schema stands that ``prepare`` made the place ready for."""

    @abstractmethod
    def is_unfinished(self) -> bool:
        """Whether ``finish`` is missing after ``prepare``, where that left something behind. Changes nothing."""

    @abstractmethod
    def migrating(self) -> AbstractContextManager[Connection]:
        """A transaction in which the schema may be moved, by one process at a time; committed at the end."""

    @abstractmethod
    def connect(self) -> Database:
        """Open the database."""

    @abstractmethod
    def signal_reader(self) -> AbstractContextManager[Callable[[], int]]:
        """As ``Storage.signal_reader``, by a connection of its own."""

    @abstractmethod
    def bytes_on_disk(self, connection: Connection) -> int:
        """How much room the store takes."""

    @abstractmethod
    def damage(self, connection: Connection) -> Iterable[str]:
        """What the database itself finds wrong."""

    @abstractmethod
    def backup(self, database: Database, path: Path) -> None:
        """As ``TokenRepository.backup``."""
