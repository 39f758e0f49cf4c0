"""Kills the making of a vault's schema at each statement that changes something, and opens the vault anew.

Run with the server's name; prints the last statement it was killed at. FUSION_STORE_TEST_KILL_STEP=3 leaves out two of
three. Its children are forked from here, since
starting an interpreter for each takes minutes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine, event

from fusion_store import get_repository
from tests.servers.databases import new_database
from tests.sql.conftest import fill

KILLED = 9
STEP = int(os.environ.get("FUSION_STORE_TEST_KILL_STEP", "1"))
READS = ("SELECT", "SHOW", "DESCRIBE", "select")


def main(server: str) -> None:
    statement = 1 - STEP
    status = KILLED
    while status == KILLED:
        statement += STEP
        with new_database(server) as url:
            status = in_child(partial(open_and_die, url, statement))
            assert in_child(partial(use, url)) == 0, f"killed at statement {statement}"
    assert status == 0
    sys.stdout.write(str(statement - STEP))


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked child that does ``work``."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def open_and_die(url: str, number: int) -> None:
    left = number

    @event.listens_for(Engine, "after_cursor_execute")
    def count(_connection: object, _cursor: object, text: str, *_: object) -> None:
        nonlocal left
        left -= not text.startswith(READS)
        if left == 0:
            os._exit(KILLED)

    get_repository(url).close()


def use(url: str) -> None:
    with get_repository(url) as repository:
        fill(repository)
        assert repository.check().ok


if __name__ == "__main__":
    main(sys.argv[1])
