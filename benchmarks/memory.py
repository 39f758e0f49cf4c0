"""How much memory grows while all of a store is read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measuring import Observation
from benchmarks.stores import Stores
from fusion_store import TokenRepository, get_repository
from fusion_store.backend import TenantRecord

_FIRST_TENANTS: Final = 5000
"""From here on memory should not grow."""
_MIB: Final = 1024 * 1024


class Watch:
    """Counts tenants, and looks at the memory of the process.

    ``own`` memory is anonymous: pages of files that LevelDB maps are the system's to take back.
    """

    def __init__(self) -> None:
        self.tenants = 0
        self.first = self.most = self.mapped = 0

    def __call__(self, tenants: int) -> None:
        before, self.tenants = self.tenants, self.tenants + tenants
        if before // 1000 == self.tenants // 1000:
            return
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        own, mapped = (int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile"))
        if self.tenants <= _FIRST_TENANTS:
            self.first = max(self.first, own)
        self.most, self.mapped = max(self.most, own), max(self.mapped, mapped)

    def megabytes_grown(self) -> float:
        """Since the first 5,000 tenants."""
        return (self.most - self.first) / _MIB


def memory(stores: Stores) -> Iterator[Observation]:
    """Listing and exporting everything, each in a process of its own."""
    for scheme in stores.schemes:
        url = stores.url(scheme)
        for name in _READERS:
            yield Observation(f"{scheme}: {name}, memory grown", "MiB", partial(_grown, url, name), 16)


def _grown(url: str, name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", url, name]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603


def _list_all(vault: TokenRepository, watch: Watch) -> None:
    for _ in vault.iter_api_tokens():
        watch(1)


def _export_all(vault: TokenRepository, watch: Watch) -> None:
    for record in vault.export_records():
        watch(isinstance(record, TenantRecord))


_READERS: Final[dict[str, Callable[[TokenRepository, Watch], None]]] = {
    "list all": _list_all,
    "export all": _export_all,
}


def _main() -> None:
    url, name = sys.argv[1:]
    watch = Watch()
    with get_repository(url) as vault:
        _READERS[name](vault, watch)
    sys.stdout.write(f"{watch.megabytes_grown()}\n")


if __name__ == "__main__":
    _main()
