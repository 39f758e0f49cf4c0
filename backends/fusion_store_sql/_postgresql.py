"""A vault in a PostgreSQL database, through psycopg 3."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import Connection

from fusion_store.backend import StoreURL
from fusion_store_sql._schema import metadata
from fusion_store_sql._server import POOL_PARAMETERS, ServerLocation

_TLS_PARAMETERS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_KEEPALIVES: Final = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


class PostgreSQLLocation(ServerLocation):
    """``postgresql://user:password@host:port/database``; TLS as libpq has it (``sslmode`` and the like).

    With ``pooler=transaction`` a pooler may hand each transaction to another session (pgbouncer): nothing is then
    asked of the session, neither timeouts nor prepared statements.
    """

    driver = "postgresql+psycopg"
    atomic_ddl = True
    snapshot: ClassVar = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    writing: ClassVar = "BEGIN ISOLATION LEVEL READ COMMITTED"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow_parameters((*POOL_PARAMETERS, *_TLS_PARAMETERS, "pooler"))
        self._tls = {name: url.query[name] for name in _TLS_PARAMETERS if name in url.query}
        url.choice("sslmode", _TLS_MODES)
        self._has_sessions = url.choice("pooler", ("session", "transaction")) != "transaction"

    def connect_args(self) -> dict[str, Any]:
        limits = self.limits
        arguments: dict[str, Any] = {
            "application_name": "fusion-store",
            "connect_timeout": round(limits.connect_timeout),
            **_KEEPALIVES,
            **self._tls,
        }
        if not self._has_sessions:
            return arguments | {"prepare_threshold": None}
        settings = {
            "statement_timeout": round(limits.statement_timeout * 1000),
            "lock_timeout": round(limits.lock_timeout * 1000),
            # A role or database may have turned it off, and a commit would answer before it is durable.
            "synchronous_commit": "on",
        }
        return arguments | {"options": " ".join(f"-c {name}={value}" for name, value in settings.items())}

    def bytes_on_disk(self, connection: Connection) -> int:
        sizes = " + ".join(f"pg_total_relation_size('{name}')" for name in metadata.tables)
        size: int = connection.exec_driver_sql(f"SELECT {sizes}").scalars().one()
        return size

    def damage(self, connection: Connection) -> list[str]:  # noqa: ARG002
        return []
