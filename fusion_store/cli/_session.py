"""What the global options say, and the repository they lead to."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from fusion_store import ConfigError, TokenRepository, get_repository
from fusion_store._config import ACTOR_VARIABLE
from fusion_store.cli._errors import PlaceError
from fusion_store.cli._output import Output

if TYPE_CHECKING:
    from fusion_store.backend import Backend, RecordRepository, StoreURL
    from fusion_store.layers import Keyring


def actor() -> str:
    """In whose name commands change things: ``FUSION_STORE_ACTOR``, else the user's."""
    if given := os.environ.get(ACTOR_VARIABLE):
        return given
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


class Session:
    """One run of the command line. ``url`` is None where the environment or the default decides.

    ``without_keys`` leaves the environment's keys alone, for when they, or what unwraps them, can't be had.
    """

    def __init__(self) -> None:
        self.url: str | None = None
        self.debug = False
        self.without_keys = False
        self.output = Output()

    def open(self, *, create: bool = False) -> TokenRepository:
        """The repository, for a ``with`` block; ``create`` is for commands that put the first records into a store."""
        keys = self._keys()
        try:
            return get_repository(self.url, create=create, encryption_keys=keys)
        except ConfigError as error:
            raise PlaceError(error) from error

    def _keys(self) -> Keyring | None:
        if self.without_keys:
            from fusion_store.layers import Keyring

            return Keyring()
        from fusion_store._registry import find_keyring

        return find_keyring()

    def open_storage(
        self, place: tuple[Backend, StoreURL] | None = None, *, create: bool = False, start_audit: bool = False
    ) -> RecordRepository:
        """The repository below all layers, for a ``with`` block; at ``place``, else where the global options say.

        ``start_audit``: for commands that change the store; see ``fusion_store._registry.open_storage``.
        """
        from fusion_store._registry import open_storage

        return open_storage(*(place or self.backend()), create=create, start_audit=start_audit)

    def backend(self) -> tuple[Backend, StoreURL]:
        """What opens the store and moves its schema, without opening it."""
        from fusion_store._registry import find_backend

        try:
            return find_backend(self.url)
        except ConfigError as error:
            raise PlaceError(error) from error
