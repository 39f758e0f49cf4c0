"""The declared tables, and the names of their revisions.

Names and hashes are compared byte for byte; times are microseconds since 1970-01-01 UTC. ``checksum`` is the
record's own (see ``fusion_store.backend``).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Dialect, ForeignKey, Index, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY
from sqlalchemy.types import TypeDecorator, TypeEngine

REVISIONS: Final = ("0001", "0002")
"""All revisions, oldest first."""
HEAD: Final = REVISIONS[-1]
LOCK_TABLE: Final = "migration_lock"
"""On servers: holds the row that whoever moves the schema locks; no part of the schema."""

_MYSQL: Final = ("mysql", "mariadb")


class ByteExact(TypeDecorator[str]):
    """Text that is compared and ordered by its UTF-8 bytes; ``size`` bytes at most where that must be said."""

    impl = Text
    cache_ok = True

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size

    def is_binary(self, dialect: Dialect) -> bool:
        """Whether the product holds it as bytes."""
        return dialect.name in _MYSQL

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if self.is_binary(dialect):
            return dialect.type_descriptor(LONGBLOB() if self.size is None else VARBINARY(self.size))
        return dialect.type_descriptor(Text(collation="C" if dialect.name == "postgresql" else None))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value.encode() if value is not None and self.is_binary(dialect) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        text: str = value.decode(errors="surrogateescape") if self.is_binary(dialect) else value
        return text


_Hash: Final = ByteExact(64)
_Service: Final = ByteExact(255)
_Payload: Final = LargeBinary().with_variant(LONGBLOB(), *_MYSQL)

metadata: Final = MetaData()


def _tenant(**options: Any) -> Column[str]:
    return Column(
        "tenant_hash",
        _Hash,
        ForeignKey("tenants.tenant_hash", ondelete="CASCADE"),
        nullable=False,
        **options,
    )


def _number(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


tenants: Final = Table(
    "tenants",
    metadata,
    Column("tenant_hash", _Hash, primary_key=True),
    _number("created_at"),
    _number("checksum"),
)

api_tokens: Final = Table(
    "api_tokens",
    metadata,
    Column("hash", _Hash, primary_key=True),
    Column("prefix", ByteExact(8), nullable=False),
    _tenant(),
    Column("description", ByteExact(1024), nullable=False),
    Column("scopes", ByteExact(), nullable=False),
    _number("created_at"),
    _number("last_used", nullable=True),
    _number("expires_at", nullable=True),
    _number("checksum"),
    Index("ix_api_tokens_prefix", "prefix"),
    Index("ix_api_tokens_created_at", "created_at", "hash"),
    Index("ix_api_tokens_tenant_hash", "tenant_hash", "created_at", "hash"),
    Index("ix_api_tokens_expires_at", "expires_at"),
)

oauth_tokens: Final = Table(
    "oauth_tokens",
    metadata,
    _tenant(primary_key=True),
    Column("service", _Service, primary_key=True),
    Column("payload", _Payload, nullable=False),
    _number("expires_at", nullable=True),
    _number("created_at"),
    _number("updated_at"),
    _number("version"),
    _number("checksum"),
)

service_credentials: Final = Table(
    "service_credentials",
    metadata,
    _tenant(primary_key=True),
    Column("service", _Service, primary_key=True),
    Column("credential_type", ByteExact(16), primary_key=True),
    Column("payload", _Payload, nullable=False),
    _number("expires_at", nullable=True),
    _number("created_at"),
    _number("updated_at"),
    _number("version"),
    _number("checksum"),
    Index("ix_service_credentials_expires_at", "expires_at"),
)

counters: Final = Table(
    "counters",
    metadata,
    _tenant(primary_key=True),
    Column("kind", ByteExact(16), primary_key=True),
    Column("service", _Service, primary_key=True),
    Column("credential_type", ByteExact(16), primary_key=True),
    _number("version"),
    _number("fence"),
    _number("claim_fence", nullable=True),
    Column("claim_owner", ByteExact(512), nullable=True),
    _number("claim_deadline", nullable=True),
    _number("checksum"),
    Index("ix_counters_claim_deadline", "claim_deadline"),
)

auth_codes: Final = Table(
    "auth_codes",
    metadata,
    Column("hash", _Hash, primary_key=True),
    _tenant(),
    Column("service", _Service, nullable=False),
    Column("payload", _Payload, nullable=False),
    _number("expires_at"),
    _number("checksum"),
    Index("ix_auth_codes_tenant_hash", "tenant_hash"),
    Index("ix_auth_codes_expires_at", "expires_at"),
)

marks: Final = Table(
    "marks",
    metadata,
    Column("name", ByteExact(128), primary_key=True),
    Column("value", _Payload, nullable=False),
)

signals: Final = Table(
    "signals",
    metadata,
    Column("name", ByteExact(128), primary_key=True),
    _number("value"),
)

audit_chains: Final = Table(
    "audit_chains",
    metadata,
    # No foreign key, here and below: a deleted tenant's chain stays.
    Column("tenant_hash", _Hash, primary_key=True),
    _number("first"),
    _number("last"),
    Column("hash", _Hash, nullable=False),
    _number("recorded_at"),
)

audit_records: Final = Table(
    "audit_records",
    metadata,
    Column("tenant_hash", _Hash, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    _number("recorded_at"),
    Column("actor", ByteExact(1024), nullable=False),
    Column("action", ByteExact(64), nullable=False),
    Column("outcome", ByteExact(64), nullable=False),
    Column("service", _Service, nullable=False),
    Column("credential_type", ByteExact(16), nullable=False),
    Column("token_id", ByteExact(16), nullable=False),
    Column("key_id", ByteExact(16), nullable=False),
    Column("detail", ByteExact(), nullable=False),
    Column("previous", _Hash, nullable=False),
    Column("hash", _Hash, nullable=False),
    Index("ix_audit_records_recorded_at", "recorded_at", "tenant_hash", "sequence"),
)
