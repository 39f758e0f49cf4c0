"""The reference model: a vault in plain dicts, for tests and for hosts that keep nothing."""

from fusion_store_memory._backend import backend
from fusion_store_memory._repository import MemoryTokenRepository

__all__ = ["MemoryTokenRepository", "backend"]
