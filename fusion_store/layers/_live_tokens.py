"""Live API tokens in memory: a bounded number, found without a lock."""

from __future__ import annotations

import heapq
import threading
from datetime import datetime
from itertools import count
from typing import Final
from weakref import WeakValueDictionary

from fusion_store._values import APITokenMetadata
from fusion_store.backend import TokenUse


class LiveToken(TokenUse):
    """A token that was live when it was read; ``seen`` is when it was last asked for, in monotonic seconds."""

    __slots__ = ("expires_at", "metadata", "seen")

    def __init__(self, metadata: APITokenMetadata, at: datetime, seen: float) -> None:
        super().__init__(metadata.hash, at if metadata.last_used is None else max(at, metadata.last_used))
        self.metadata = metadata
        self.expires_at = metadata.expires_at
        self.seen = seen


class LiveTokens:
    """Up to ``size`` tokens by their SHA-256; the one that wasn't asked for the longest makes room for another.

    ``find`` takes no lock. Whoever puts a token in has asked for the ``generation`` before reading the store: what was
    read before a revocation isn't taken.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._tokens: dict[bytes, LiveToken] = {}
        self._order: list[tuple[float, int, bytes]] = []
        self._numbers = count()
        self.find = self._tokens.get
        self.generation = 0
        self.reset()
        _of_this_process[id(self)] = self

    def __len__(self) -> int:
        return len(self._tokens)

    def reset(self) -> None:
        """Forget everything, as after a fork."""
        self._lock = threading.Lock()
        self.clear()

    def put(self, token: LiveToken, generation: int) -> None:
        """Take a token in, unless something was revoked since that generation."""
        digest = bytes.fromhex(token.hash)
        with self._lock:
            if generation != self.generation:
                return
            if digest not in self._tokens:
                if len(self._tokens) == self._size:
                    self._make_room()
                heapq.heappush(self._order, (token.seen, next(self._numbers), digest))
            self._tokens[digest] = token

    def _make_room(self) -> None:
        """Each token stands once in the order, at a time when it was seen; it may have been seen since."""
        while True:
            placed, number, digest = self._order[0]
            seen = self._tokens[digest].seen
            if seen <= placed:
                heapq.heappop(self._order)
                del self._tokens[digest]
                return
            heapq.heapreplace(self._order, (seen, number, digest))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.generation += 1
            self._tokens.clear()
            self._order.clear()


_of_this_process: Final[WeakValueDictionary[int, LiveTokens]] = WeakValueDictionary()


def clear_all() -> None:
    """Forget every token of this process: one was revoked, and others may have the same store open."""
    for reference in _of_this_process.valuerefs():
        tokens = reference()
        if tokens is not None:
            tokens.clear()
