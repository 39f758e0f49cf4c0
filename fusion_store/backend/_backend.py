"""What a URL scheme stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from fusion_store._errors import ConfigError, InvalidInput
from fusion_store._urls import StoreURL
from fusion_store.backend._repository import RecordRepository


class OpenOptions(NamedTuple):
    """How a repository is to be opened; the arguments of ``get_repository``."""

    create: bool = True
    token_prefix: str | None = None
    clock: Callable[[], datetime] | None = None


class Backend(ABC):
    """Opens the stores of one or more URL schemes, and moves their schema.

    Every method raises ``ConfigError`` for a URL that it can't use.
    """

    @abstractmethod
    def open(self, url: StoreURL, options: OpenOptions) -> RecordRepository:
        """Open the store, at the current schema.

        An empty location gets it, unless ``create`` is false (``StoreNotFound``); a store of another schema
        is ``SchemaOutOfDate`` or ``SchemaTooNew`` and not touched.
        """

    @abstractmethod
    def current_schema(self, url: StoreURL) -> str:
        """The schema version of the store as it stands; ``StoreNotFound`` where there is none."""

    def files(self, url: StoreURL) -> list[Path]:  # noqa: ARG002 # for those that override it
        """The folders and files of this machine that the store lies in, as they stand; none for one elsewhere."""
        return []

    @property
    @abstractmethod
    def newest_schema(self) -> str:
        """The schema version that this release opens."""

    def upgrade_schema(self, url: StoreURL) -> None:
        """Bring the store to the newest schema; a store that has it isn't touched."""
        if self.current_schema(url) != self.newest_schema:
            raise ConfigError("this backend has no other schema to upgrade from")

    def downgrade_schema(self, url: StoreURL, version: str) -> None:
        """Bring the store back to an older schema; what that one can't hold is lost.

        ``InvalidInput`` for one that there isn't.
        """
        if self.current_schema(url) != version:
            raise InvalidInput("version", "this backend has no such schema to go back to")
