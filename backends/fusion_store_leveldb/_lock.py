"""The exclusive right to a store's folder: ``flock`` on a file inside it, and a registry of this process.

LevelDB's own lock is weak: a second spelling of the path passes it, and closing any descriptor of its lock file drops
it, as by copying the folder. ``flock`` belongs to the open file and suffers neither, but a fork shares it.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from fusion_store import StoreLocked, StoreNotFound
from fusion_store_leveldb._errors import IN_USE, translated

MARKER: Final = "FUSION-STORE"
"""The name of the file inside the folder."""

_HOLDER_AT: Final = 512
_HOLDER_BYTES: Final = 256
_POLL_SECONDS: Final = 0.02

_held: weakref.WeakValueDictionary[tuple[int, int], FolderLock] = weakref.WeakValueDictionary()
# Reentrant, since a collected lock may be released while its own thread is in here.
_registry: threading.RLock = threading.RLock()


class FolderLock:
    """Holds a folder until ``release``; a forgotten one is released when it is collected."""

    def __init__(self, folder: Path, *, create: bool, timeout: float) -> None:
        """Lock the folder through its marker file, which ``create`` adds.

        A handle of this process that holds it is ``StoreLocked`` at once, another process after ``timeout``
        seconds. ``StoreNotFound`` when the marker file is missing.
        """
        self.folder = folder
        self.descriptor = -1
        with translated():
            status = folder.stat()
        self._identity = status.st_dev, status.st_ino
        with _registry:
            if self._identity in _held:
                raise StoreLocked("this process has the store open already: use that repository, or close it first")
            _held[self._identity] = self
        try:
            self._lock_marker(create=create, timeout=timeout)
        except BaseException:
            self.release()
            raise

    def _lock_marker(self, *, create: bool, timeout: float) -> None:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        with translated():
            try:
                self.descriptor = os.open(self.folder / MARKER, flags, 0o600)
            except FileNotFoundError:
                raise StoreNotFound("there is no store at that place") from None
        deadline = time.monotonic() + timeout
        while not self._try_lock():
            if time.monotonic() >= deadline:
                raise StoreLocked(f"the store is held by {self._read_holder()}; {IN_USE}")
            time.sleep(_POLL_SECONDS)
        with translated():
            if not os.path.samestat(os.fstat(self.descriptor), (self.folder / MARKER).lstat()):
                raise StoreLocked("the store was replaced while it was waited for: open it again")

    def _try_lock(self) -> bool:
        with translated():
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def sign(self) -> None:
        """Write into the marker who holds the folder, for those who wait."""
        holder = f"process {os.getpid()} on host {socket.gethostname()}".encode(errors="replace")
        with translated():
            os.pwrite(self.descriptor, holder[: _HOLDER_BYTES - 1].ljust(_HOLDER_BYTES - 1) + b"\n", _HOLDER_AT)

    def _read_holder(self) -> str:
        with translated():
            text = os.pread(self.descriptor, _HOLDER_BYTES, _HOLDER_AT).decode(errors="replace").strip()
        return text if re.fullmatch(r"process \d+ on host [\w.-]+", text) else "another process"

    def release(self) -> None:
        """Give the folder free; does nothing when it was given free already, or by a fork."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            # Closing alone would leave it locked as long as a forked child keeps its copy of the descriptor.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
        with _registry:
            if _held.get(self._identity) is self:
                del _held[self._identity]

    def __del__(self) -> None:
        if hasattr(self, "_identity"):
            self.release()

    def leave_to_parent(self) -> None:
        """Drop the inherited descriptor in a forked child. The lock itself is the parent's: it isn't undone."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _after_fork_in_child() -> None:
    global _registry  # noqa: PLW0603
    _registry = threading.RLock()
    inherited = list(_held.values())
    _held.clear()
    for lock in inherited:
        lock.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork_in_child)
