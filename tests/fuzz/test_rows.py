"""Rows of a store that say anything at all: what reads them reports them, and goes on."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example
from hypothesis import strategies as st

from fusion_store import (
    SYSTEM_TENANT,
    CredentialType,
    FusionStoreError,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
    get_repository,
)
from tests.fuzz.inputs import Stopwatch, fuzzed

HOUR = timedelta(hours=1)
TABLES = (
    "tenants", "api_tokens", "oauth_tokens", "service_credentials", "counters", "auth_codes", "marks",
    "audit_records", "audit_chains",
)  # fmt: skip

anything = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=80),
    st.text(max_size=20).filter(lambda text: text.isprintable()),
    st.sampled_from([2**62, -(2**62), "", b"", "f" * 64, SYSTEM_TENANT, "\0"]),
)
at = st.floats(0, 1, exclude_max=True)


def furnish(vault: TokenRepository) -> tuple[str, str, str, str]:
    """One record of each kind; answers a token, its tenant, the tenant's other token's hash and a code."""
    issued = vault.add_api_token("laptop", scopes=["read"])
    other = vault.add_api_token(tenant_hash=issued.hash)
    for tenant in (issued.hash, SYSTEM_TENANT):
        vault.store_oauth_token(tenant, "github", OAuthTokenData("access", "refresh", metadata={"a": "b"}))
        vault.store_credentials(tenant, "mail", ServiceCredentials(CredentialType.API_KEY, {"key": [1]}))
        vault.claim_refresh(tenant, "github", ttl=HOUR)
    return issued.token, issued.hash, other.hash, vault.create_auth_code(issued.hash, "login", ttl=HOUR)


def use(url: str, known: tuple[str, str, str, str], timed: Stopwatch) -> None:
    """All that a host may do; no other errors than the vault's own come out of it."""
    token, tenant, other, code = known
    try:
        vault = timed(lambda: get_repository(url, create=False))
    except FusionStoreError:
        return
    operations: Iterable[Callable[[], Any]] = (
        lambda: vault.validate_api_token(token),
        lambda: list(vault.iter_api_tokens()),
        lambda: vault.find_api_tokens(tenant[:8]),
        lambda: vault.resolve_tenant(tenant[:8]),
        vault.list_tenants,
        lambda: vault.get_tenant(tenant),
        lambda: vault.list_oauth_tokens(tenant),
        lambda: vault.get_oauth_token(tenant, "github"),
        lambda: vault.get_credentials(tenant, "mail", CredentialType.API_KEY),
        lambda: vault.list_credentials(tenant),
        vault.stats,
        lambda: list(vault.export_records()),
        vault.audit_log,
        lambda: vault.claim_refresh(tenant, "github", ttl=HOUR),
        lambda: vault.store_oauth_token(tenant, "github", OAuthTokenData("new")),
        lambda: vault.delete_oauth_token(tenant, "github"),
        lambda: vault.store_credentials(tenant, "mail", ServiceCredentials(CredentialType.API_KEY, {})),
        lambda: vault.delete_credentials(tenant, "mail", CredentialType.API_KEY),
        lambda: vault.redeem_auth_code(code),
        lambda: vault.create_auth_code(tenant, "login", ttl=HOUR),
        vault.purge_expired,
        lambda: vault.rotate_api_token(tenant),
        vault.add_api_token,
        lambda: vault.add_api_token(tenant_hash=tenant),
        lambda: vault.delete_api_token(other),
        lambda: vault.delete_tenant(tenant),
        vault.flush,
    )
    try:
        # Its first time SQLAlchemy compiles a dozen statements for it, on a sound store as well.
        assert isinstance(vault.check().ok, bool)
        assert isinstance(timed(vault.check).ok, bool)
        assert isinstance(timed(vault.health).ok, bool)
        for operation in operations:
            with suppress(FusionStoreError):
                timed(operation)
        timed(vault.check)
    finally:
        with suppress(FusionStoreError):
            timed(vault.close)


def test_rows_of_sqlite(place: Path, timed: Stopwatch) -> None:
    url = f"sqlite:///{place}/vault.db"
    with get_repository(url, audit=True) as vault:
        known = furnish(vault)

    @fuzzed(table=st.sampled_from(TABLES), row=at, column=at, value=anything)
    @example(table="tenants", row=0.0, column=0.0, value=b"")
    @example(table="audit_chains", row=0.0, column=0.5, value=b"")
    @example(table="audit_chains", row=0.0, column=0.0, value=b"")
    @example(table="audit_chains", row=0.99, column=0.5, value=2**63 - 1)
    @example(table="audit_records", row=0.0, column=0.0, value="\0")
    @example(table="marks", row=0.0, column=0.99, value=0)
    @example(table="marks", row=0.5, column=0.99, value=0)
    def reads(timed: Stopwatch, table: str, row: float, column: float, value: Any) -> None:
        for left in place.glob("altered.db*"):
            left.unlink()
        altered = place / "altered.db"
        shutil.copy(place / "vault.db", altered)
        with closing(sqlite3.connect(altered, isolation_level=None)) as database:
            database.execute("PRAGMA ignore_check_constraints = ON")
            columns = [found[1] for found in database.execute(f"PRAGMA table_info({table})")]
            rows = [found[0] for found in database.execute(f"SELECT rowid FROM {table}")] if columns else []
            if not rows:
                return
            try:
                name = columns[int(column * len(columns))]
                database.execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", (value, rows[int(row * len(rows))]))
            except sqlite3.IntegrityError:
                return
        use(f"sqlite:///{altered}", known, timed)

    reads(timed=timed)


def test_values_of_leveldb(place: Path, timed: Stopwatch) -> None:
    plyvel = pytest.importorskip("plyvel", reason="its driver isn't installed")

    url = f"leveldb:///{place}/vault"
    with get_repository(url, audit=True) as vault:
        known = furnish(vault)

    @fuzzed(row=at, cut=st.integers(0, 80), value=st.binary(max_size=80), new_key=st.none() | st.binary(max_size=80))
    # The last page of tokens is followed by itself.
    @example(row=0.65, cut=80, value=b"", new_key=b"\xff")
    def reads(timed: Stopwatch, row: float, cut: int, value: bytes, new_key: bytes | None) -> None:
        altered = place / "altered"
        shutil.rmtree(altered, ignore_errors=True)
        shutil.copytree(place / "vault", altered)
        with closing(plyvel.DB(str(altered))) as database:
            entries = list(database)
            key, standing = entries[int(row * len(entries))]
            database.put(key if new_key is None else key[:cut] + new_key, standing[:cut] + value)
        use(f"leveldb:///{altered}", known, timed)

    reads(timed=timed)
