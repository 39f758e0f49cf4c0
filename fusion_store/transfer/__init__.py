"""Moving a whole vault: from store to store, into a file and out of it, and comparing two stores.

All of it works on repositories without layers and needs no keys: payloads, sealed or plain, are carried as they are,
with hashes, times, versions and counters; claims stay behind. It goes tenant by tenant, in the order of their hashes,
in memory that depends on the largest tenant and not on their number.
"""

from fusion_store.transfer._copy import copy, restore
from fusion_store.transfer._dump import dump
from fusion_store.transfer._reports import (
    MOST_LISTED,
    Conflict,
    CopyReport,
    Difference,
    DumpReport,
    Progress,
    Spot,
    VerifyReport,
)
from fusion_store.transfer._verify import verify

__all__ = [
    "MOST_LISTED",
    "Conflict",
    "CopyReport",
    "Difference",
    "DumpReport",
    "Progress",
    "Spot",
    "VerifyReport",
    "copy",
    "dump",
    "restore",
    "verify",
]
