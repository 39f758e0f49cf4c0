"""The LevelDB backend: one folder, one process at a time."""

from fusion_store_leveldb._backend import backend
from fusion_store_leveldb._repository import LevelDBTokenRepository

__all__ = ["LevelDBTokenRepository", "backend"]
