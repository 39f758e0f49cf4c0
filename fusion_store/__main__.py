"""The console script ``fusion-store``, also ``python -m fusion_store``."""

from __future__ import annotations

import sys
from contextlib import suppress

from fusion_store._version import __version__


def main() -> int:
    """Run the command line and answer its exit code."""
    if sys.argv[1:2] == ["--version"] and sys.stdout is not None:
        # What can't be written is reported below.
        with suppress(OSError):
            sys.stdout.write(f"fusion-store {__version__}\n")
            sys.stdout.flush()
            return 0
    try:
        from fusion_store.cli import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
