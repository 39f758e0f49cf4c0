"""The audit trail: a chain of records for each tenant, and one for the store.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY
from sqlalchemy.types import TypeEngine

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME_INDEX = "ix_audit_records_recorded_at"


def text(size: int | None = None) -> TypeEngine[str]:
    return (
        sa.Text()
        .with_variant(sa.Text(collation="C"), "postgresql")
        .with_variant(LONGBLOB() if size is None else VARBINARY(size), "mysql", "mariadb")
    )


def column(name: str, size: int | None = None) -> sa.Column[str]:
    return sa.Column(name, text(size), nullable=False)


def number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "audit_chains",
        sa.Column("tenant_hash", text(64), primary_key=True),
        number("first"),
        number("last"),
        column("hash", 64),
        number("recorded_at"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    op.create_table(
        "audit_records",
        column("tenant_hash", 64),
        sa.Column("sequence", sa.BigInteger(), nullable=False, autoincrement=False),
        number("recorded_at"),
        column("actor", 1024),
        column("action", 64),
        column("outcome", 64),
        column("service", 255),
        column("credential_type", 16),
        column("token_id", 16),
        column("key_id", 16),
        column("detail"),
        column("previous", 64),
        column("hash", 64),
        sa.PrimaryKeyConstraint("tenant_hash", "sequence"),
        if_not_exists=True,
        mysql_engine="InnoDB",
    )
    # MySQL has no CREATE INDEX IF NOT EXISTS.
    if TIME_INDEX not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("audit_records")}:
        op.create_index(TIME_INDEX, "audit_records", ["recorded_at", "tenant_hash", "sequence"])


def downgrade() -> None:
    op.drop_table("audit_records", if_exists=True)
    op.drop_table("audit_chains", if_exists=True)
    marks = sa.table("marks", sa.column("name"))
    op.get_bind().execute(marks.delete().where(marks.c.name == "audit"))
