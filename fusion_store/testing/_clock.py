"""Time as tests want it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)


class ManualClock:
    """A clock that stands still until a test moves it, forward or back."""

    def __init__(self, now: datetime = _START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, duration: timedelta) -> datetime:
        """Move by ``duration``, which may be negative; answers the new time."""
        self.now += duration
        return self.now
