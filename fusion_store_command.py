"""The console script ``fusion-store``, a module of its own: Ctrl-C has its exit code before the library is loaded."""

from __future__ import annotations


def main() -> int:
    """Run the command line and answer its exit code."""
    try:
        from fusion_store.__main__ import main as run

        return run()
    except KeyboardInterrupt:
        return 130
