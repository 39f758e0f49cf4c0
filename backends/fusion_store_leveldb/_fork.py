"""What a fork does to LevelDB in the child, whose copy of the library believes to be in the parent still.

- A database that was open in the parent must not be touched again, nor be closed: its locks may be held by threads that
  aren't there.
- The names of the databases that were open count as locked.
- The one thread that compacts for all databases is gone, once it had been started, and is never started again:
  writes to a new database would block for ever as soon as they need it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any, Final

import plyvel

from fusion_store import ForkedHandle

_PROBE_SECONDS: Final = 2.0

_open: weakref.WeakSet[OpenDatabase] = weakref.WeakSet()
_used = False
_inherited = False
_unusable = False
_spelling = ""


class OpenDatabase:
    """Keeps an open ``plyvel.DB``; one that was inherited by a fork is never freed."""

    def __init__(self, database: Any) -> None:
        self.database = database
        _open.add(self)


def database_path(folder: Path) -> bytes:
    """How LevelDB is to be told of the folder; ``ForkedHandle`` where it can't work in this process any more."""
    global _used  # noqa: PLW0603
    if _inherited or _unusable:
        _refuse_without_compaction()
    _used = True
    return os.fsencode(folder) + _spelling.encode()


def _refuse_without_compaction() -> None:
    global _inherited, _unusable  # noqa: PLW0603
    refusal = ForkedHandle("LevelDB was in use before the fork and can't be used here: start the process with spawn")
    if _unusable:
        raise refusal
    # Only trying tells. Where it fails, the thread and its database stay stuck as long as the process lives.
    folder = tempfile.mkdtemp(prefix="fusion-store-")
    probe = plyvel.DB(os.fsencode(folder), create_if_missing=True)
    compaction = threading.Thread(target=probe.compact_range, daemon=True)
    compaction.start()
    compaction.join(_PROBE_SECONDS)
    if compaction.is_alive():
        _unusable = True
        _never_free(probe)
        shutil.rmtree(folder, ignore_errors=True)
        raise refusal
    probe.close()
    shutil.rmtree(folder, ignore_errors=True)
    _inherited = False


def _never_free(thing: object) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _after_fork_in_child() -> None:
    global _inherited, _spelling  # noqa: PLW0603
    for entry in list(_open):
        _never_free(entry.database)
    _open.clear()
    if _used:
        _inherited = True
        _spelling += "/."


os.register_at_fork(after_in_child=_after_fork_in_child)
