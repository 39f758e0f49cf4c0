"""What the contract suite has to know about a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fusion_store._interface import TokenRepository
from fusion_store._registry import find_backend, get_repository
from fusion_store.backend import OpenOptions, RecordRepository


@dataclass(frozen=True)
class ContractStore:
    """A place for one store, empty at first.

    - ``url``: opening it again must open the same data.
    - ``backup_url``: the URL that opens a backup written to a path; None for a backend without backups, whose
      ``backup`` is then expected to be ``ConfigError``.
    - ``options``: further arguments of ``get_repository``.
    """

    url: str
    backup_url: Callable[[Path], str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, clock: Callable[[], datetime] | None = None) -> TokenRepository:
        """Open the store; the caller closes it."""
        return get_repository(self.url, clock=clock, **self.options)

    def open_storage(self, clock: Callable[[], datetime] | None = None) -> RecordRepository:
        """Open the store without any layer over it; the caller closes it."""
        backend, url = find_backend(self.url)
        return backend.open(url, OpenOptions(clock=clock))

    def open_in_memory(self, clock: Callable[[], datetime] | None = None) -> TokenRepository:
        """Open a new store of the reference model with the same options; the caller closes it."""
        return get_repository("memory://", clock=clock, **self.options)
