"""The vault: tenants, API tokens, OAuth tokens, service credentials, counters, auth codes.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SYSTEM_TENANT = "0" * 64
SYSTEM_TENANT_CHECKSUM = 2998326164
TABLES = (
    "tenants",
    "api_tokens",
    "oauth_tokens",
    "service_credentials",
    "counters",
    "auth_codes",
    "marks",
    "signals",
)
INDEXES = (
    ("api_tokens", "prefix"),
    ("api_tokens", "created_at", "hash"),
    ("api_tokens", "tenant_hash", "created_at", "hash"),
    ("api_tokens", "expires_at"),
    ("service_credentials", "expires_at"),
    ("counters", "claim_deadline"),
    ("auth_codes", "tenant_hash"),
    ("auth_codes", "expires_at"),
)


def text(size: int | None = None) -> TypeEngine[str]:
    return (
        sa.Text()
        .with_variant(sa.Text(collation="C"), "postgresql")
        .with_variant(LONGBLOB() if size is None else VARBINARY(size), "mysql", "mariadb")
    )


def payload() -> TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def tenant() -> sa.Column[str]:
    return sa.Column("tenant_hash", text(64), sa.ForeignKey("tenants.tenant_hash", ondelete="CASCADE"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("tenant_hash", text(64), primary_key=True),
        number("created_at"),
        number("checksum"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "api_tokens",
        sa.Column("hash", text(64), primary_key=True),
        sa.Column("prefix", text(8), nullable=False),
        tenant(),
        sa.Column("description", text(1024), nullable=False),
        sa.Column("scopes", text(), nullable=False),
        number("created_at"),
        number("last_used", nullable=True),
        number("expires_at", nullable=True),
        number("checksum"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "oauth_tokens",
        tenant(),
        sa.Column("service", text(255), nullable=False),
        sa.Column("payload", payload(), nullable=False),
        number("expires_at", nullable=True),
        number("created_at"),
        number("updated_at"),
        number("version"),
        number("checksum"),
        sa.PrimaryKeyConstraint("tenant_hash", "service"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "service_credentials",
        tenant(),
        sa.Column("service", text(255), nullable=False),
        sa.Column("credential_type", text(16), nullable=False),
        sa.Column("payload", payload(), nullable=False),
        number("expires_at", nullable=True),
        number("created_at"),
        number("updated_at"),
        number("version"),
        number("checksum"),
        sa.PrimaryKeyConstraint("tenant_hash", "service", "credential_type"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "counters",
        tenant(),
        sa.Column("kind", text(16), nullable=False),
        sa.Column("service", text(255), nullable=False),
        sa.Column("credential_type", text(16), nullable=False),
        number("version"),
        number("fence"),
        number("claim_fence", nullable=True),
        sa.Column("claim_owner", text(512), nullable=True),
        number("claim_deadline", nullable=True),
        number("checksum"),
        sa.PrimaryKeyConstraint("tenant_hash", "kind", "service", "credential_type"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "auth_codes",
        sa.Column("hash", text(64), primary_key=True),
        tenant(),
        sa.Column("service", text(255), nullable=False),
        sa.Column("payload", payload(), nullable=False),
        number("expires_at"),
        number("checksum"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "marks",
        sa.Column("name", text(128), primary_key=True),
        sa.Column("value", payload(), nullable=False),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "signals",
        sa.Column("name", text(128), primary_key=True),
        number("value"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    for table, *columns in INDEXES:
        create_index_if_absent(table, columns)
    insert_if_absent("tenants", tenant_hash=SYSTEM_TENANT, created_at=0, checksum=SYSTEM_TENANT_CHECKSUM)
    insert_if_absent("signals", name="changes", value=0)


def create_index_if_absent(table: str, columns: list[str]) -> None:
    # MySQL has no CREATE INDEX IF NOT EXISTS.
    name = f"ix_{table}_{columns[0]}"
    if name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def insert_if_absent(table: str, **row: str | int) -> None:
    key = next(iter(row))
    target = sa.table(table, *(sa.column(name) for name in row))
    bind = op.get_bind()
    if bind.scalar(sa.select(sa.func.count()).select_from(target).where(target.c[key] == row[key])) == 0:
        bind.execute(target.insert().values(**row))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table, if_exists=True)
