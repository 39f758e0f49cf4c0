"""A vault in a MariaDB or MySQL database, through PyMySQL."""

from __future__ import annotations

import ssl
from typing import Any, ClassVar, Final

from sqlalchemy import Connection, event, text

from fusion_store import ConfigError
from fusion_store.backend import StoreURL
from fusion_store_sql._database import Database
from fusion_store_sql._schema import metadata
from fusion_store_sql._server import POOL_PARAMETERS, ServerLocation

_TLS_MODES: Final = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
_TLS_FILES: Final = ("ssl_ca", "ssl_cert", "ssl_key")
_NETWORK_GRACE_SECONDS: Final = 5.0


class MySQLLocation(ServerLocation):
    """``mariadb://user:password@host:port/database``, or ``mysql://…``; TLS as the server's own clients have it."""

    driver = "mysql+pymysql"
    atomic_ddl = False
    snapshot: ClassVar = ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "BEGIN")
    writing: ClassVar = "BEGIN"

    def __init__(self, url: StoreURL) -> None:
        super().__init__(url)
        url.allow_parameters((*POOL_PARAMETERS, *_TLS_FILES, "ssl_mode", "unix_socket"))
        self._tls_mode = url.choice("ssl_mode", _TLS_MODES) or "preferred"
        self._tls_files = {name: url.query[name] for name in _TLS_FILES if name in url.query}
        if self._tls_files and self._tls_mode in ("disabled", "preferred"):
            self._tls_mode = "verify_identity"
        self._socket = url.query.get("unix_socket")

    def connect(self) -> Database:
        database = super().connect()
        event.listen(database.engine, "connect", _read_committed)
        return database

    def connect_args(self) -> dict[str, Any]:
        limits = self.limits
        network = limits.statement_timeout + _NETWORK_GRACE_SECONDS if limits.statement_timeout else None
        arguments: dict[str, Any] = {
            "charset": "utf8mb4",
            "connect_timeout": max(1, limits.connect_timeout),
            "read_timeout": network,
            "write_timeout": network,
            "init_command": self._settings(),
        }
        if self._url.password is not None:
            # As the server's own clients send it; PyMySQL would make Latin-1 of it, or fail.
            arguments["password"] = self._url.password.encode()
        if self._socket is not None:
            arguments["unix_socket"] = self._socket
        if self._tls_mode == "disabled":
            arguments["ssl_disabled"] = True
        elif self._tls_mode != "preferred":
            arguments["ssl"] = self._tls_context()
        return arguments

    def _settings(self) -> str:
        """Strict, so that nothing is cut to fit; each product is given the timeout that it knows."""
        lock_wait = max(1, round(self.limits.lock_timeout)) if self.limits.lock_timeout else 1 << 30
        timeout = self.limits.statement_timeout
        return (
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
            f"innodb_lock_wait_timeout = {lock_wait}"
            f" /*M! , max_statement_time = {timeout:f} */"
            f" /*!50708 , max_execution_time = {round(timeout * 1000)} */"
        )

    def _tls_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._tls_files.get("ssl_ca"))
            if "ssl_cert" in self._tls_files:
                context.load_cert_chain(self._tls_files["ssl_cert"], self._tls_files.get("ssl_key"))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"the TLS files of the {self.name} URL can't be used: {error.strerror}") from None
        context.check_hostname = self._tls_mode == "verify_identity"
        if self._tls_mode == "required":
            context.verify_mode = ssl.CERT_NONE
        return context

    def bytes_on_disk(self, connection: Connection) -> int:
        size = connection.scalar(
            text(
                "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"
            )
        )
        return int(size or 0)

    def damage(self, connection: Connection) -> list[str]:
        found = []
        for name in metadata.tables:
            for table, _, kind, message in connection.exec_driver_sql(f"CHECK TABLE {name}"):
                if kind in ("error", "Error") or (kind == "status" and message != "OK"):
                    found.append(f"{table}: {message}")
        return found


def _read_committed(connection: Any, record: object) -> None:  # noqa: ARG001
    connection.query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
