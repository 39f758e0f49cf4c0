"""Moving a store from one schema to another."""

from __future__ import annotations

from fusion_store.backend import AUDIT_MARK
from fusion_store_leveldb import _codec as codec
from fusion_store_leveldb import _folder as folders
from fusion_store_leveldb import _keys as keys
from fusion_store_leveldb import _rows as rows
from fusion_store_leveldb._session import Changes, Session


def move_schema(path: str, version: str, *, lock_timeout: float) -> None:
    """Bring the store to that schema, which may be older; what the schema can't hold is lost.

    The database is never behind the marker, so that a move which was cut short is finished by another one.
    """
    lock = folders.claim_folder(path, create=False, lock_timeout=lock_timeout)
    try:
        lock.sign()
        is_older = version < folders.read_schema(path)
        if is_older:
            folders.mark_ready(lock, version)
        session = Session(folders.open_database(lock.folder))
        try:
            if rows.read_schema(session) != version:
                session.write(_changes(session, version))
        finally:
            session.close()
        if not is_older:
            folders.mark_ready(lock, version)
    finally:
        lock.release()


def _changes(session: Session, version: str) -> Changes:
    changes = Changes()
    changes.put(keys.SCHEMA, codec.encode_bytes(version.encode()))
    if version < "0002":
        for entry, named in session.scan(keys.TOKENS_BY_HASH):
            changes.put(entry, keys.split_entry(named)[0])
        for key, _ in session.scan(keys.AUDIT):
            changes.delete(key)
        changes.delete(keys.mark(AUDIT_MARK))
    return changes
