"""Where a page of rows begins: behind the last row of the page before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean, Column, ColumnElement, and_, literal, or_, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class Behind(ColumnElement[bool]):
    """Whether columns, the first counting most, come behind these values or parameters.

    MySQL and MariaDB read an index from its beginning for a comparison of rows, and no further than needed for the same
    in single comparisons; for the others it is the other way round.
    """

    type = Boolean()
    inherit_cache = False

    def __init__(self, columns: Sequence[Column[Any]], values: Sequence[Any]) -> None:
        self.columns = columns
        self.values = [
            value if isinstance(value, ColumnElement) else literal(value, column.type)
            for column, value in zip(columns, values, strict=True)
        ]

    def self_group(self, against: object = None) -> Behind:  # noqa: ARG002
        """Itself: a condition, which is compared with no 1."""
        return self


@compiles(Behind)
def _compare_rows(element: Behind, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(tuple_(*element.columns) > tuple_(*element.values), **options)


@compiles(Behind, "mysql", "mariadb")
def _compare_columns(element: Behind, compiler: SQLCompiler, **options: Any) -> str:
    *earlier, (last, value) = zip(element.columns, element.values, strict=True)
    condition: ColumnElement[bool] = last > value
    for column, value in reversed(earlier):
        condition = or_(column > value, and_(column == value, condition))
    return compiler.process(condition.self_group(), **options)
