"""What commands print: JSON, plain text, or tables on a terminal.

Everything that comes from the store passes ``inert`` or the JSON encoder, so that no stored text can move a cursor,
colour the screen or be taken for markup.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

T = TypeVar("T")
Cell = str | int | datetime | None
"""What a column or field shows; None is a time that never comes or never was."""

REDACTED: Final = "[redacted]"
_ROWS_AT_ONCE: Final = 500
_UNBROKEN: Final = frozenset({"PREFIX", "HASH…", "TENANT"})


def inert(text: str) -> str:
    """The text with everything but printable characters and spaces written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def iso(moment: datetime | None) -> str | None:
    """A time as ISO 8601 in UTC, for JSON."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shown_time(moment: datetime | None, separator: str = "T") -> str:
    """A time in UTC to the second, for people."""
    if moment is None:
        return "never"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(separator, "seconds") + "Z"


class OutputLost(Exception):
    """Nobody takes what is printed; ``closed_pipe`` when whoever read it has stopped."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output can't be written: {error.strerror or type(error).__name__}")
        self.closed_pipe = isinstance(error, BrokenPipeError)


class Output:
    """Prints a command's results; ``json`` is set by the global option."""

    def __init__(self) -> None:
        self.json = False

    @property
    def terminal(self) -> bool:
        """Whether results go to a person's screen."""
        return not self.json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    def flush(self) -> None:
        """Hand over what was printed so far, or raise ``OutputLost``."""
        try:
            sys.stdout.flush()
        except OSError as error:
            raise OutputLost(error) from None

    def document(self, value: object) -> None:
        """Print one JSON document."""
        self._write(json.dumps(value, indent=2))

    def line(self, text: str) -> None:
        """Print one line of text, inert."""
        self._write(inert(text))

    def note(self, text: str) -> None:
        """Tell the person something that isn't the result: on stderr, and not under ``--json``."""
        if not self.json:
            sys.stderr.write(f"{inert(text)}\n")

    def prompt(self, document: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Show what the person has to do next: on stderr, under ``--json`` as one line of JSON."""
        shown = [json.dumps(document)] if self.json else [inert(line) for line in lines]
        sys.stderr.write("".join(f"{line}\n" for line in shown))
        sys.stderr.flush()

    def drawing(self, text: str) -> None:
        """Show lines that were drawn here, not stored by anybody, on stderr."""
        sys.stderr.write(text)

    def result(self, document: Mapping[str, Any], text: str) -> None:
        """Print what a command did, as a document or as one line."""
        if self.json:
            self.document(document)
        else:
            self.line(text)

    def fields(self, document: Mapping[str, Any], fields: Sequence[tuple[str, Cell]]) -> None:
        """Print one record, as a document or as names and values."""
        if self.json:
            self.document(document)
            return
        named = [(f"{inert(name)}:", self._text(value)) for name, value in fields]
        width = max(len(name) for name, _ in named) + 1
        lines = [(name.ljust(width), value) for name, value in named]
        if not self.terminal:
            self._write("\n".join(f"{name}{value}".rstrip() for name, value in lines))
            return
        from rich.console import Console
        from rich.text import Text

        console = Console()
        for name, shown in lines:
            console.print(Text.assemble((name, "bold"), shown), soft_wrap=True)

    def records(
        self,
        items: Iterable[T],
        document: Callable[[T], Mapping[str, Any]],
        columns: Sequence[str],
        row: Callable[[T], Sequence[Cell]],
        *,
        empty: str,
    ) -> None:
        """Print any number of records in constant memory, as a JSON array or as rows; ``empty`` when there are none."""
        if self.json:
            self._array(document(item) for item in items)
            return
        rows = map(row, items)
        chunk = list(islice(rows, _ROWS_AT_ONCE))
        if not chunk:
            self.line(empty)
            return
        if self.terminal:
            while chunk:
                self._rich_table(columns, chunk)
                chunk = list(islice(rows, _ROWS_AT_ONCE))
            return
        widths = [len(column) for column in columns]
        header: list[Sequence[str]] = [columns]
        while chunk:
            lines = [[self._text(value) for value in cells] for cells in chunk]
            widths = [max(width, *(len(line[i]) for line in lines)) for i, width in enumerate(widths)]
            for line in header + lines:
                self._write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
            header, chunk = [], list(islice(rows, _ROWS_AT_ONCE))

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Shows a spinner on stderr meanwhile, where that is a terminal."""
        if not self.shows_progress:
            yield
            return
        from rich.console import Console

        with Console(stderr=True).status(text):
            yield

    @property
    def shows_progress(self) -> bool:
        """Whether somebody is there to watch: stderr is a terminal, and no JSON is wanted."""
        return not self.json and sys.stderr.isatty()

    @contextmanager
    def progress(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None] | None]:
        """Shows a bar on stderr meanwhile, where somebody watches; gives what moves it on, else None."""
        if not self.shows_progress:
            yield None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
        from rich.text import Text

        class Rate(TextColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:,.0f}/s" if task.speed is not None else "")

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(""),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(text, total=total)
            yield lambda count: bar.advance(task, count)

    def _array(self, documents: Iterable[Mapping[str, Any]]) -> None:
        opening = "["
        for document in documents:
            self._write(f"{opening}\n{json.dumps(document)}", end="")
            opening = ","
        self._write("[]" if opening == "[" else "\n]")

    def _rich_table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(Text(column), overflow="fold", no_wrap=column in _UNBROKEN)
        now = datetime.now(UTC)
        for cells in rows:
            styles = [
                "red" if column == "EXPIRES" and isinstance(cell, datetime) and cell <= now else ""
                for column, cell in zip(columns, cells, strict=True)
            ]
            table.add_row(*(Text(self._text(cell), style) for cell, style in zip(cells, styles, strict=True)))
        Console().print(table)

    def _text(self, value: Cell) -> str:
        if value is None or isinstance(value, datetime):
            return shown_time(value, " " if self.terminal else "T")
        return inert(str(value))

    def _write(self, text: str, end: str = "\n") -> None:
        try:
            sys.stdout.write(text + end)
        except OSError as error:
            raise OutputLost(error) from None
