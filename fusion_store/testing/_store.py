"""What the contract suite has to know about a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fusion_store._interface import TokenRepository
from fusion_store._registry import find_backend, get_repository
from fusion_store.backend import OpenOptions, RecordRepository, read_dump


@dataclass(frozen=True)
class ContractStore:
    """A place for one store, empty at first.

    - ``url``: opening it again must open the same data.
    - ``backup_url``: the URL that opens a backup written to a path.
    - ``backup_is_dump``: whether ``backup`` writes a dump instead (``write_dump``). A backend with neither has no
      backups: its ``backup`` is expected to be ``ConfigError``.
    - ``absent_url``: answers the URL of a place where no store was ever opened; by default, ``url`` is one.
    - ``many_processes``: whether several processes may have the store open at once.
    - ``options``: further arguments of ``get_repository``.
    """

    url: str
    backup_url: Callable[[Path], str] | None = None
    backup_is_dump: bool = False
    absent_url: Callable[[], str] | None = None
    many_processes: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self, clock: Callable[[], datetime] | None = None, **options: Any) -> TokenRepository:
        """Open the store, with further arguments of ``get_repository``; the caller closes it."""
        return get_repository(self.url, clock=clock, **{**self.options, **options})

    def open_storage(self, clock: Callable[[], datetime] | None = None) -> RecordRepository:
        """Open the store without any layer over it; the caller closes it."""
        backend, url = find_backend(self.url)
        return backend.open(url, OpenOptions(clock=clock))

    def open_in_memory(self, clock: Callable[[], datetime] | None = None) -> TokenRepository:
        """Open a new store of the reference model with the same options; the caller closes it."""
        return get_repository("memory://", clock=clock, **self.options)

    @property
    def has_backups(self) -> bool:
        """Whether the backend has backups at all."""
        return self.backup_is_dump or self.backup_url is not None

    def open_backup(self, path: Path, clock: Callable[[], datetime] | None = None) -> TokenRepository:
        """Open a backup, a dump as a store of the reference model; the caller closes it."""
        if self.backup_url is not None:
            return get_repository(self.backup_url(path), create=False, clock=clock, **self.options)
        repository = self.open_in_memory(clock)
        repository.import_records(read_dump(path))
        return repository
