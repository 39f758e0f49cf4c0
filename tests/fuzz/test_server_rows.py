"""The same for PostgreSQL and MariaDB, as far as the types of their columns let a value in."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import StatementError

from fusion_store import get_repository
from tests.fuzz.inputs import MADE_UP, Stopwatch
from tests.fuzz.test_rows import TABLES, anything, at, furnish, use
from tests.model.surroundings import BACKENDS
from tests.servers.databases import engine_for, new_database

_UNCHECKED: Final = {
    "postgresql": "SET session_replication_role = replica",
    "mariadb": "SET check_constraint_checks = 0, foreign_key_checks = 0",
}


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("server", [server for server in _UNCHECKED if server in BACKENDS])
def test_rows_of_a_server(server: str, timed: Stopwatch) -> None:
    with new_database(server) as url, engine_for(url).connect() as connection:
        with get_repository(url, audit=True) as vault:
            known = furnish(vault)
        connection.exec_driver_sql(_UNCHECKED[server])
        sound = Contents(connection)

        @MADE_UP
        @given(table=st.sampled_from(TABLES), row=at, column=at, value=anything)
        def reads(table: str, row: float, column: float, value: Any) -> None:
            sound.restore()
            if sound.alter(table, row, column, value):
                use(url, known, timed)
            # How long a server takes isn't the processor's time of this process.
            timed.forget()

        reads()


class Contents:
    """What a database held at first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        found = MetaData()
        found.reflect(connection)
        self._tables = found.tables
        self._rows = {
            name: [row._asdict() for row in connection.execute(self._tables[name].select())] for name in TABLES
        }

    def restore(self) -> None:
        """Bring it back."""
        for name, rows in self._rows.items():
            self._connection.execute(self._tables[name].delete())
            if rows:
                self._connection.execute(self._tables[name].insert(), rows)

    def alter(self, name: str, row: float, column: float, value: Any) -> bool:
        """Put a value into a row; whether the server took it."""
        table, rows = self._tables[name], self._rows[name]
        if not rows:
            return False
        chosen = [*table.columns][int(column * len(table.columns))]
        standing = rows[int(row * len(rows))]
        if chosen.type.python_type is bytes and not isinstance(value, bytes | None):
            value = str(value).encode()
        change = table.update().where(*(key == standing[key.name] for key in table.primary_key.columns))
        try:
            self._connection.execute(change.values({chosen.name: value}))
        except StatementError:
            return False
        return True
