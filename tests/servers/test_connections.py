"""What becomes of a call when the server is away, refuses, is slow, or the connection breaks."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url

from fusion_store import (
    Busy,
    ConfigError,
    FusionStoreError,
    OAuthTokenData,
    OutcomeUnknown,
    PermissionDenied,
    TokenRepository,
    Unavailable,
    get_repository,
)
from fusion_store_sql import SQLTokenRepository
from tests.servers.conftest import rows
from tests.servers.databases import engine_for
from tests.servers.proxy import Proxy, proxy_to

PORTS = {"postgresql": 5432, "mariadb": 3306}
KILL_OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mariadb": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
COUNT_OTHERS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}


@pytest.fixture
def proxy(server: str, url: str) -> Iterator[Proxy]:
    get_repository(url).close()
    parsed = make_url(url)
    with proxy_to(parsed.host or "127.0.0.1", parsed.port or PORTS[server]) as opened:
        yield opened


@pytest.fixture
def proxied(proxy: Proxy, url: str) -> Iterator[TokenRepository]:
    """The store behind the proxy."""
    parsed = make_url(url).set(host="127.0.0.1", port=proxy.port)
    with get_repository(parsed.render_as_string(hide_password=False), create=False) as repository:
        yield repository


def with_parameters(url: str, **parameters: str | int | float) -> str:
    return f"{url}?{'&'.join(f'{name}={value}' for name, value in parameters.items())}"


def kill_others(server: str, raw: Connection) -> None:
    for row in rows(raw, KILL_OTHERS[server]):
        if server == "mariadb":
            raw.exec_driver_sql(f"KILL {row[0]}")


def raised(operation: Callable[[], object]) -> Exception | None:
    try:
        operation()
    except Exception as error:
        return error
    return None


@contextmanager
def locked_tenant(url: str, tenant: str) -> Iterator[None]:
    """The tenant's row, held by another transaction."""
    with engine_for(url).execution_options(isolation_level="READ COMMITTED").begin() as other:
        other.exec_driver_sql(f"SELECT * FROM tenants WHERE tenant_hash = '{tenant}' FOR UPDATE")
        yield


def test_a_connection_that_the_server_ended_is_replaced(
    server: str, repository: TokenRepository, raw: Connection
) -> None:
    issued = repository.add_api_token()
    for _ in range(3):
        kill_others(server, raw)
        assert repository.validate_api_token(issued.token) is not None
        repository.store_oauth_token(issued.hash, "github", OAuthTokenData("access"))


def test_a_read_is_one_round_trip(proxy: Proxy, proxied: TokenRepository) -> None:
    issued = proxied.add_api_token()
    proxied.store_oauth_token(issued.hash, "github", OAuthTokenData("access"))
    reads: dict[str, Callable[[], object]] = {
        "validate": partial(proxied.validate_api_token, issued.token),
        "validate an unknown one": partial(proxied.validate_api_token, "unknown"),
        "get": partial(proxied.get_oauth_token, issued.hash, "github"),
        "find": partial(proxied.find_api_tokens, issued.hash[:10]),
        "page": proxied.list_api_tokens,
    }
    for name, read in reads.items():
        # Until psycopg has seen a statement a few times, and prepares it.
        for _ in range(6):
            read()
        before = proxy.messages
        for _ in range(10):
            read()
        assert proxy.messages - before == 10, name


def test_adding_a_token_is_a_handful_of_round_trips(proxy: Proxy, proxied: TokenRepository) -> None:
    for _ in range(7):
        proxied.add_api_token()
    before = proxy.messages
    proxied.add_api_token()
    assert proxy.messages - before <= 6


def test_a_hundred_readers_share_the_pool(server: str, repository: TokenRepository, url: str, raw: Connection) -> None:
    issued = repository.add_api_token()
    repository.close()
    errors: list[Exception | None] = []
    most = 0
    with get_repository(with_parameters(url, pool_size=3)) as small:

        def work() -> None:
            errors.extend(raised(partial(small.validate_api_token, issued.token)) for _ in range(20))
            errors.append(raised(partial(small.store_oauth_token, issued.hash, "github", OAuthTokenData("access"))))

        threads = [threading.Thread(target=work) for _ in range(100)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, rows(raw, COUNT_OTHERS[server])[0][0])
        for thread in threads:
            thread.join()
    assert set(errors) == {None}
    assert len(errors) == 2100
    assert 1 <= most <= 3


def test_a_server_that_is_away_is_unavailable_and_found_again(proxy: Proxy, proxied: TokenRepository) -> None:
    issued = proxied.add_api_token()
    proxy.refuses = True
    proxy.cut_all()

    for operation in (partial(proxied.validate_api_token, issued.token), proxied.add_api_token, proxied.stats):
        error = raised(operation)
        assert isinstance(error, Unavailable)
        assert error.retryable
    assert not proxied.health().ok

    proxy.refuses = False
    assert proxied.validate_api_token(issued.token) is not None
    assert proxied.stats().api_tokens == 1


@pytest.mark.parametrize("delivers", [True, False])
def test_a_connection_cut_at_the_commit_leaves_the_outcome_unknown(
    server: str, proxy: Proxy, proxied: TokenRepository, url: str, delivers: bool
) -> None:
    proxied.add_api_token()
    # On PostgreSQL a transaction begins with READ COMMITTED.
    proxy.delivers, proxy.cut_at = delivers, {"postgresql": b"COMMIT\0", "mariadb": b"COMMIT"}[server]

    with pytest.raises(OutcomeUnknown):
        proxied.add_api_token()

    assert proxy.cuts == 1
    with get_repository(url) as direct:
        deadline = time.monotonic() + 10
        while direct.stats().api_tokens != 1 + delivers and time.monotonic() < deadline:
            time.sleep(0.05)
        assert direct.stats().api_tokens == 1 + delivers
        assert direct.check().ok


def test_a_connection_cut_before_the_commit_changes_nothing(proxy: Proxy, proxied: TokenRepository, url: str) -> None:
    proxied.add_api_token()
    proxy.cut_at = b"INSERT INTO api_tokens"

    with pytest.raises(Unavailable):
        proxied.add_api_token()

    assert proxy.cuts == 1
    with get_repository(url) as direct:
        assert direct.stats().api_tokens == 1


def test_another_transactions_lock_is_waited_for_no_longer_than_lock_timeout(
    repository: TokenRepository, url: str
) -> None:
    tenant = repository.add_api_token().hash
    with (
        get_repository(with_parameters(url, lock_timeout=1)) as hurried,
        locked_tenant(url, tenant),
        pytest.raises(Busy, match="lock_timeout"),
    ):
        hurried.store_oauth_token(tenant, "github", OAuthTokenData("access"))

    assert repository.get_oauth_token(tenant, "github") is None


def test_no_connection_in_time_is_busy(repository: TokenRepository, url: str) -> None:
    tenant = repository.add_api_token().hash
    with get_repository(with_parameters(url, pool_size=1, pool_timeout=0.2, lock_timeout=20)) as small:
        with locked_tenant(url, tenant):
            store = partial(small.store_oauth_token, tenant, "github", OAuthTokenData("access"))
            waiting = threading.Thread(target=store)
            waiting.start()
            deadline = time.monotonic() + 10
            error = None
            while error is None and time.monotonic() < deadline:
                error = raised(partial(small.get_tenant, tenant))
            assert isinstance(error, Busy)
            assert "pool_size" in str(error)
        waiting.join()
        assert small.get_oauth_token(tenant, "github") is not None


def test_transactions_that_lock_each_other_out_both_succeed(repository: TokenRepository, url: str) -> None:
    first, second = (repository.add_api_token().hash for _ in range(2))
    assert isinstance(repository, SQLTokenRepository)
    database = repository._location.connect()
    met = threading.Barrier(2)
    runs = []

    def lock_both(order: tuple[str, str], connection: Connection) -> None:
        runs.append(order)
        for tenant in order:
            connection.exec_driver_sql(f"SELECT * FROM tenants WHERE tenant_hash = '{tenant}' FOR UPDATE")
            if len(runs) <= 2 and tenant == order[0]:
                met.wait(20)

    orders = ((first, second), (second, first))
    threads = [threading.Thread(target=database.write, args=(partial(lock_both, order),)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()

    assert len(runs) == 3


def test_a_statement_that_takes_too_long_is_busy(server: str, repository: TokenRepository, url: str) -> None:
    sleep = {"postgresql": "SELECT pg_sleep(20)", "mariadb": "SELECT SLEEP(20) FROM tenants"}[server]
    with get_repository(with_parameters(url, statement_timeout=0.3)) as hurried:
        assert isinstance(hurried, SQLTokenRepository)
        began = time.monotonic()
        with pytest.raises(Busy, match="statement_timeout"), hurried._database.read() as connection:
            connection.exec_driver_sql(sleep).all()
        assert time.monotonic() - began < 10


def test_an_unknown_user_is_refused_without_a_word_about_the_password(server: str, url: str) -> None:
    wrong = make_url(url).set(username="nobody_here", password="canary7f3a").render_as_string(hide_password=False)

    with pytest.raises(PermissionDenied) as caught:
        get_repository(wrong)

    assert "canary7f3a" not in "".join(traceback.format_exception(caught.value))


def test_a_user_without_rights_on_the_tables_is_refused(
    server: str, repository: TokenRepository, url: str, raw: Connection
) -> None:
    database = make_url(url).database
    name = f"reader_{str(database)[-12:]}"
    if server == "postgresql":
        statements = [f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"]
        cleanup = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        statements = [f"CREATE USER {name}@'127.0.0.1'", f"CREATE USER {name}@localhost"]
        statements += [f"GRANT SELECT ON {database}.* TO {name}@{host}" for host in ("'127.0.0.1'", "localhost")]
        cleanup = [f"DROP USER {name}@'127.0.0.1'", f"DROP USER {name}@localhost"]
    for statement in statements:
        raw.exec_driver_sql(statement)
    try:
        with get_repository(make_url(url).set(username=name).render_as_string()) as reader:
            assert reader.stats().tenants == 0
            with pytest.raises(PermissionDenied):
                reader.add_api_token()
    finally:
        for statement in cleanup:
            raw.exec_driver_sql(statement)


@pytest.mark.parametrize("password", ["pässword", "пароль€"])
def test_a_password_may_hold_any_characters(server: str, url: str, raw: Connection, password: str) -> None:
    database = make_url(url).database
    name = f"owner_{str(database)[-12:]}"
    if server == "postgresql":
        statements = [f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", f"GRANT ALL ON DATABASE {database} TO {name}"]
        statements += [f"GRANT ALL ON SCHEMA public TO {name}"]
        cleanup = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        users = [f"{name}@'127.0.0.1'", f"{name}@localhost"]
        statements = [f"CREATE USER {user} IDENTIFIED BY '{password}'" for user in users]
        statements += [f"GRANT ALL ON {database}.* TO {user}" for user in users]
        cleanup = [f"DROP USER {user}" for user in users]
    for statement in statements:
        raw.exec_driver_sql(statement)
    try:
        with get_repository(
            make_url(url).set(username=name, password=password).render_as_string(hide_password=False)
        ) as repository:
            assert repository.stats().tenants == 0
    finally:
        for statement in cleanup:
            raw.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("options", "-c%20fsync=off"),
        ("host", "elsewhere"),
        ("init_command", "DROP%20DATABASE%20x"),
        ("local_infile", "1"),
        ("pool_size", "0"),
        ("pool_size", "many"),
        ("pool_timeout", "-1"),
        ("sslmode", "off"),
        ("ssl_mode", "off"),
    ],
)
def test_a_parameter_outside_the_list_is_refused(url: str, parameter: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        get_repository(with_parameters(url, **{parameter: value}))
    assert parameter in str(caught.value)


def test_a_url_without_a_database_is_refused(server: str, url: str) -> None:
    for path in ("", "/", "/a/b"):
        with pytest.raises(ConfigError, match="names no database"):
            get_repository(f"{server}://user@127.0.0.1{path}")


def test_encryption_on_the_wire_that_was_asked_for_is_never_left_out(server: str, url: str, raw: Connection) -> None:
    parameters = {"postgresql": {"sslmode": "verify-full"}, "mariadb": {"ssl_mode": "verify_identity"}}[server]
    # Neither test server has a certificate for 127.0.0.1 that this machine trusts.
    with pytest.raises(FusionStoreError) as caught:
        get_repository(with_parameters(url, **parameters))
    assert isinstance(caught.value, Unavailable | ConfigError)


def test_a_backup_holds_one_moment_while_others_write(repository: TokenRepository, url: str, tmp_path: Path) -> None:
    from fusion_store.backend import read_dump

    tenants = sorted(repository.add_api_token().hash for _ in range(300))
    last, first = tenants[-1], tenants[0]
    done = threading.Event()

    def move() -> None:
        """Gives every tenant the next value, the last tenant first."""
        with get_repository(url) as other:
            number = 0
            while not done.is_set():
                number += 1
                for tenant in (last, first):
                    other.store_oauth_token(tenant, "github", OAuthTokenData(f"{number}"))

    writer = threading.Thread(target=move)
    writer.start()
    try:
        for attempt in range(5):
            path = tmp_path / f"{attempt}.dump"
            repository.backup(path)
            with get_repository("memory://") as restored:
                restored.import_records(read_dump(path))
                found = (restored.get_oauth_token(tenant, "github") for tenant in (last, first))
                later, earlier = (token.version if token else 0 for token in found)
                assert 0 <= later - earlier <= 1
    finally:
        done.set()
        writer.join()
