"""Validations answered from memory, as a layer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from hashlib import sha256
from typing import Final, TypeVar, cast

from msgspec.structs import replace

from fusion_store._audit import AuditEntry
from fusion_store._errors import ConfigError
from fusion_store._records import APITokenRecord, Record
from fusion_store._values import APITokenMetadata
from fusion_store.backend import RecordRepository, Resolve, refuse_conflict
from fusion_store.layers._layer import Layer
from fusion_store.layers._live_tokens import LiveToken, LiveTokens, clear_all
from fusion_store.layers._signal_watch import SignalWatch

_SHORTEST_BOUND: Final = timedelta(milliseconds=10)

_Validate = TypeVar("_Validate", bound="Callable[[CachedTokenRepository, str], APITokenMetadata | None]")


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """How many validations are answered from memory, and how long after a revocation at most.

    - ``size``: tokens that are kept, about 1 KB each; the one that wasn't asked for the longest makes room.
    - ``bound``: for how long after a revocation by another process a token may still be answered.
    - ``monotonic``: answers monotonic seconds, in which ``bound`` is measured.
    """

    size: int = 65_536
    bound: timedelta = timedelta(seconds=1)
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 1:
            raise ConfigError("size: must be a positive integer")
        if not isinstance(self.bound, timedelta) or self.bound < _SHORTEST_BOUND:
            raise ConfigError("bound: must be a timedelta of at least 10 milliseconds")


def _from_memory(ask: _Validate) -> _Validate:
    """Answers for a token that is in memory, and calls the method itself for any other.

    All of it stands in one function, without locks and context managers, and takes what it needs from the repository at
    once: this is what a request costs.
    """

    @wraps(ask)
    def answer(self: CachedTokenRepository, token: str) -> APITokenMetadata | None:
        guard, find, monotonic, watch, present = self._at_hand
        under_way = guard.under_way
        under_way.append(None)
        try:
            if guard.refusal is not None:
                raise guard.refusal
            try:
                known = find(sha256(token.encode()).digest())
            except (AttributeError, UnicodeEncodeError):
                return None if self.attempts is None else ask(self, token)
            if known is None:
                return ask(self, token)
            seen = monotonic()
            if seen >= watch.fresh_until:
                return ask(self, token)
            now = present()
            if known.expires_at is not None and known.expires_at <= now:
                return None if self.attempts is None else ask(self, token)
            known.seen = seen
            last_used = known.at
            # No call stands between this look and the change, so that no other thread has its turn there.
            if last_used < now:
                known.at = now
            if not known.waits:
                self._last_used.add(known)
            if self.attempts is not None:
                self.attempts.accept(known.metadata, self._now())
            return replace(known.metadata, last_used=last_used)
        finally:
            under_way.pop()
            if guard.refusal is not None:
                guard.wake()

    return cast(_Validate, answer)


class CachedTokenRepository(Layer):
    """Answers repeated validations of a live token from memory, each still counted as a use.

    A token that is revoked through this repository, or another cached one of this process, is refused from the moment
    when that call returns. One revoked elsewhere is refused within ``bound``: a thread looks at the store's change
    signal several times in that time, and where it can't, the store itself is asked. Expiry follows the repository's
    clock.
    """

    def __init__(self, inner: RecordRepository, options: CacheOptions | None = None) -> None:
        super().__init__(inner)
        self.options = CacheOptions() if options is None else options
        self._monotonic = self.options.monotonic
        self._present: Callable[[], datetime] = self._moment if inner.clock else partial(datetime.now, UTC)
        self._tokens = LiveTokens(self.options.size)
        self._counting = threading.Lock()
        self.misses = 0
        """Validations that couldn't be answered from memory."""
        self._watch = SignalWatch(inner, self._tokens.clear, self.options.bound.total_seconds(), self._monotonic)
        self._at_hand = (self.guard, self._tokens.find, self._monotonic, self._watch, self._present)

    @_from_memory
    def validate_api_token(self, token: str) -> APITokenMetadata | None:
        with self.guard:
            with self._counting:
                self.misses += 1
            self._watch.start()
            generation = self._tokens.generation
            metadata = super().validate_api_token(token)
            if metadata is not None:
                self._tokens.put(LiveToken(metadata, self._present(), self._monotonic()), generation)
            return metadata

    @_from_memory
    def recall_api_token(self, token: str) -> APITokenMetadata | None:  # noqa: ARG002
        """As ``validate_api_token`` where the answer is in memory; else None, and the store has to be asked.

        Never waits for disk, network or other threads: for an event loop.
        """
        return None

    def replace_api_token(
        self, old: APITokenRecord, new: APITokenRecord, old_expires_at: int | None, *, audit: AuditEntry | None = None
    ) -> bool:
        with _revoking():
            return super().replace_api_token(old, new, old_expires_at, audit=audit)

    def remove_api_token(self, hash: str, *, audit: AuditEntry | None = None) -> bool:
        with _revoking():
            return super().remove_api_token(hash, audit=audit)

    def remove_tenant(self, tenant_hash: str, *, audit: AuditEntry | None = None) -> bool:
        with _revoking():
            return super().remove_tenant(tenant_hash, audit=audit)

    def insert_records(
        self,
        records: Sequence[Record],
        mode: bytes,
        resolve: Resolve = refuse_conflict,
        *,
        audit: AuditEntry | None = None,
    ) -> int:
        with _revoking():
            return super().insert_records(records, mode, resolve, audit=audit)

    def purge_records(self, now: int, limit: int, *, audit: AuditEntry | None = None) -> dict[str, int]:
        with _revoking():
            return super().purge_records(now, limit, audit=audit)

    def close(self) -> None:
        super().close()
        self._watch.stop()

    def close_storage(self) -> None:
        self._watch.stop()
        super().close_storage()

    def after_fork(self) -> None:
        super().after_fork()
        self._counting = threading.Lock()
        self._tokens.reset()
        self._watch.reset()


@contextmanager
def _revoking() -> Iterator[None]:
    """Around a write that may revoke tokens, also where it failed: it may have been made."""
    try:
        yield
    finally:
        clear_all()
