"""The processes that are killed: children of this one, forked after the imports, which take longest.

Reads a task as a line of JSON on stdin. For a trial it answers on stdout the child's pid, ``ready``, how the act went,
how writing went afterwards; in between the child waits for a line each. For a load it answers the children's pids, and
what ``load`` tells. Both end with ``exit`` and the children's exit codes.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from fusion_store import FusionStoreError, TokenRepository
from tests.crash import load
from tests.crash.operations import OPERATIONS, Facts, Scene, go_on
from tests.crash.stores import Store

ACKNOWLEDGED = "acknowledged"


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def hear() -> str:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(0)
        line += byte
    return line.decode()


def outcome(act: Callable[[], object]) -> str:
    """``acknowledged``, or the name of the vault's error; a traceback in one line for any other."""
    try:
        act()
    except FusionStoreError as error:
        sys.stderr.write(f"{error}\n")
        return load.name_of(error)
    except BaseException as error:
        return "; ".join("".join(traceback.format_exception(error)).splitlines())
    return ACKNOWLEDGED


def work(kind: str, folder: str, operation: str, facts: dict[str, str]) -> None:
    store = Store(kind, Path(folder))
    opened: list[TokenRepository] = []

    def opens() -> TokenRepository:
        opened.append(store.open(create=True))
        return opened[-1]

    tell(str(os.getpid()))
    act = OPERATIONS[operation].prepare(Scene(store, Facts(**facts), opens))
    tell("ready")
    hear()
    tell(outcome(act))
    hear()

    def write() -> None:
        finish = OPERATIONS[operation].finish
        if not opened or operation == "close" or finish is not Store.open:
            for vault in opened:
                vault.close()
            opened.append(finish(store))
        go_on(opened[-1])

    tell(outcome(write))
    for vault in opened:
        vault.close()


def fork(act: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def when_closed(waiting: int, go: int, act: Callable[[], None]) -> None:
    """Begin when the parent has told whom it has begun."""
    os.close(go)
    os.read(waiting, 1)
    act()


def main() -> None:
    # Making a store imports what moves its schema.
    import_module("fusion_store_sql._migrations")
    while True:
        task: dict[str, Any] = json.loads(hear())
        if "processes" in task:
            calls = [partial(load.run, task["url"], task["keys"], threads) for threads in task["processes"]]
        else:
            calls = [partial(work, **task)]
        if "processes" in task:
            waiting, go = os.pipe()
            children = [fork(partial(when_closed, waiting, go, call)) for call in calls]
            tell(" ".join(map(str, children)))
            os.close(go)
            os.close(waiting)
        else:
            children = [fork(call) for call in calls]
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        tell(f"exit {' '.join(map(str, statuses))}")


if __name__ == "__main__":
    main()
