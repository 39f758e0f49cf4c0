"""An observer that writes down what it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from fusion_store.layers import Observer


class Notebook(Observer):
    """What was called and how it ended, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def operation(self, name: str) -> AbstractContextManager[object]:
        return self._noted(name)

    def refresh(self, service: str) -> AbstractContextManager[object]:
        return self._noted(f"refresh {service}")

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.seen.append((name, type(error).__name__))
            raise
        self.seen.append((name, "ok"))
