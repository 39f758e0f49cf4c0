"""What is MariaDB's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection

from fusion_store import (
    CorruptRecord,
    CredentialType,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
    get_repository,
)
from fusion_store._registry import find_backend
from fusion_store.testing.contract._making import crafted_tenant
from fusion_store_sql._backend import _locate
from fusion_store_sql._queries import token_page
from tests.servers.conftest import rows


@pytest.fixture
def server() -> str:
    return "mariadb"


def test_tables_are_innodb_and_sessions_strict_whatever_the_server_says(repository: TokenRepository, url: str) -> None:
    with _locate(find_backend(url)[1]).connect().read() as connection:
        engines = rows(
            connection, "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        modes = rows(connection, "SELECT @@sql_mode, @@global.sql_mode")

    assert engines == [("InnoDB",)]
    assert modes == [("STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", modes[0][1])]


@pytest.mark.parametrize("tenant_hash", [None, "a" * 64])
def test_a_page_is_not_looked_for_from_the_beginning_of_the_index(
    repository: TokenRepository, url: str, tenant_hash: str | None
) -> None:
    repository.import_records(crafted_tenant(1))
    with _locate(find_backend(url)[1]).connect().read() as connection:
        page = token_page(tenant_hash, (1, "f" * 64)).form(connection.dialect)
        plan = connection.exec_driver_sql(f"EXPLAIN {page.sql}", page.arguments((tenant_hash, 1, "f" * 64, 100)))
        assert plan.mappings().one()["type"] == "range"


@pytest.mark.parametrize("column", ["tenant_hash", "hash"])
def test_an_audit_chain_that_is_no_text_is_reported(url: str, raw: Connection, column: str) -> None:
    with get_repository(url, audit=True) as repository:
        tenant = repository.add_api_token().hash
        raw.exec_driver_sql(f"UPDATE audit_chains SET {column} = X'FF00' WHERE tenant_hash <> ''")
        assert not repository.check().ok
        with pytest.raises(CorruptRecord):
            repository.add_api_token(tenant_hash=tenant)


@pytest.mark.parametrize("table", ["oauth_tokens", "service_credentials", "auth_codes"])
def test_a_service_that_is_no_text_is_reported(url: str, raw: Connection, table: str) -> None:
    with get_repository(url) as repository:
        tenant = repository.add_api_token().hash
        repository.store_oauth_token(tenant, "github", OAuthTokenData("access"))
        repository.store_credentials(tenant, "github", ServiceCredentials(CredentialType.API_KEY, {}))
        code = repository.create_auth_code(tenant, "github", ttl=timedelta(hours=1))
        raw.exec_driver_sql(f"UPDATE {table} SET service = X'FF00'")
        reads: dict[str, Callable[[], object]] = {
            "oauth_tokens": partial(repository.list_oauth_tokens, tenant),
            "service_credentials": partial(repository.list_credentials, tenant),
            "auth_codes": partial(repository.redeem_auth_code, code),
        }
        assert not repository.check().ok
        with pytest.raises(CorruptRecord):
            reads[table]()
