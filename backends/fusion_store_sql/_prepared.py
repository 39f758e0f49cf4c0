"""Statements of Core that are compiled once, and run by the driver itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Executable, Select
from sqlalchemy.sql.compiler import SQLCompiler

from fusion_store_sql._schema import ByteExact

Rows = Sequence[Sequence[Any]]


class Prepared:
    """A statement and the names of its parameters, in the order in which their values are given.

    It is for the calls that come by the thousand: Core builds its statement, and the result, anew each time.
    """

    def __init__(self, statement: Executable, *parameters: str) -> None:
        self._statement = statement
        self._parameters = parameters
        self._forms: dict[str, Form] = {}

    def form(self, dialect: Dialect) -> Form:
        """What the driver is given."""
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = Form(self._statement, self._parameters, dialect)
        return form

    def rows(self, connection: Connection, *values: Any) -> Rows:
        """All rows that it gives, in the transaction of the connection."""
        form = self.form(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(form.sql, form.arguments(values))
        return form.rows(cursor.fetchall())

    def run(self, connection: Connection, *values: Any) -> int:
        """How many rows it changes, in the transaction of the connection."""
        form = self.form(connection.dialect)
        cursor = connection.connection.cursor()
        cursor.execute(form.sql, form.arguments(values))
        return cursor.rowcount


class Form:
    """A statement in the words of one product."""

    def __init__(self, statement: Executable, parameters: tuple[str, ...], dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every statement has it
        assert isinstance(compiled, SQLCompiler)
        self.sql: Final = str(compiled)
        names = compiled.positiontup
        assert names is not None, "the dialect's parameters have no places"
        self._slots = [
            (parameters.index(name), None) if name in parameters else (None, compiled.params[name]) for name in names
        ]
        self._encoders = [
            (number, partial(bound.type.process_bind_param, dialect=dialect))
            for number, bound in enumerate(compiled.binds[name] for name in names)
            if isinstance(bound.type, ByteExact) and bound.type.is_binary(dialect)
        ]
        self._is_plain = not self._encoders and self._slots == [(number, None) for number in range(len(parameters))]
        self._decoders = [
            (number, partial(column.type.process_result_value, dialect=dialect))
            for number, column in enumerate(statement.selected_columns if isinstance(statement, Select) else ())
            if isinstance(column.type, ByteExact) and column.type.is_binary(dialect)
        ]

    def arguments(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values, in the order and the form that the driver wants."""
        if self._is_plain:
            return values
        placed = [fixed if place is None else values[place] for place, fixed in self._slots]
        return tuple(_converted(placed, self._encoders))

    def rows(self, found: Rows) -> Rows:
        """The driver's rows, with texts that are texts."""
        return [_converted(list(row), self._decoders) for row in found] if self._decoders else found


def _converted(values: list[Any], converters: Sequence[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    for place, convert in converters:
        values[place] = convert(values[place])
    return values
