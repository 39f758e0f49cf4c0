"""What is found, and how it is said."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was found."""

    check: str
    """Which check found it, for example ``unused_tokens``."""
    problem: bool
    """Whether something is wrong; else it is advice."""
    number: int
    """How many records or files it concerns."""
    text: str
    """What was found."""
    advice: str
    """What to do."""
    examples: tuple[str, ...] = ()
    """Some of them: public ids or names of files."""


class Growth(NamedTuple):
    """How fast a store grows, by the size of what was created in the last ``days`` and is still there.

    Audit records of chains whose oldest were purged don't count: as many go as come.
    """

    bytes_on_disk: int
    days: float
    bytes_per_day: float
    """0 also where nothing in the store is a day old: nothing can be told from that."""
    free_bytes: int | None
    """On the disk that it lies on; None where that isn't this machine's."""

    @property
    def full_in_days(self) -> float | None:
        """When the disk is full at that pace; None when that can't be told, or never."""
        if self.free_bytes is None or not self.bytes_per_day:
            return None
        return self.free_bytes / self.bytes_per_day
