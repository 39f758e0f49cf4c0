from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import CLI, Outcome

Program = Callable[..., Outcome]


def test_from_the_first_token_to_nothing_left(program: Program, cli: CLI, tmp_path: Path) -> None:
    assert cli("token", "list").code == 3

    added = program("token", "add", "my laptop", "--scope", "read", "--expires-in", "90d")
    token = added.out.strip()
    assert (added.code, len(token)) == (0, 64)
    assert "can't be shown again" in added.err
    assert token not in added.err

    hash = cli.json("token", "list")[0]["hash"]
    answer = {"access_token": "gho_secret", "refresh_token": "ghr_secret", "expires_in": 3600, "scope": "repo user"}
    assert program("oauth", "store", "github", "--tenant", hash[:10], stdin=json.dumps(answer)).code == 0
    assert program("credentials", "store", "openai", "--tenant", hash, "--type", "api_key", stdin="sk-1\n").code == 0
    assert "gho_secret" in cli("oauth", "show", "github", "--tenant", token[:8], "--reveal").out

    validated = program("token", "validate", stdin=f"{token}\n")
    assert validated.code == 0
    assert "my laptop" in validated.out

    rotated = program("token", "rotate", hash[:8])
    assert (rotated.code, "dead now" in rotated.err) == (0, True)
    assert cli("token", "validate", stdin=token) == (1, "not valid\n", "")
    replacement = rotated.out.strip()
    assert cli("token", "validate", stdin=replacement).code == 0

    refused = program("token", "delete", replacement[:8])
    assert (refused.code, refused.out) == (2, "")
    assert f"tenant {hash[:16]} with 1 API token, 1 OAuth token and 1 credential" in refused.err
    assert cli("token", "validate", stdin=replacement).code == 0

    assert program("token", "delete", replacement[:8], "--yes").code == 0
    assert program("token", "validate", stdin=replacement).code == 1
    assert cli("oauth", "list", "--tenant", hash).code == 3
    assert _rows_that_name(hash, tmp_path / "vault" / "vault.db") == 0


def test_deleting_a_tenant_leaves_the_others(cli: CLI) -> None:
    first, second = (cli.json("token", "add", name) for name in ("first", "second"))
    for tenant in (first, second):
        cli("oauth", "store", "github", "--tenant", tenant["tenant_id"], stdin="gho_x")
    deleted = cli.json("tenant", "delete", first["tenant_id"], "--yes")
    assert (deleted["deleted"], deleted["api_tokens"], deleted["oauth_tokens"]) == (True, 1, 1)
    assert [t["tenant_hash"] for t in cli.json("tenant", "list")] == [second["tenant_hash"]]
    assert list(cli.json("stats")["oauth_tokens"].values()) == [1]


def test_a_tenant_keeps_its_name_when_its_first_token_is_gone(cli: CLI) -> None:
    first = cli.json("token", "add", "laptop")
    second = cli.json("token", "add", "phone", "--tenant", first["prefix"])
    assert second["tenant_hash"] == first["hash"]
    deleted = cli.json("token", "delete", first["hash"], "--yes")
    assert not deleted["tenant_deleted"]
    for identifier in (first["tenant_id"], second["prefix"], second["token_id"]):
        assert cli.json("tenant", "show", identifier)["tenant_hash"] == first["hash"]


def test_rotation_with_a_grace_keeps_the_old_token_for_that_long(cli: CLI) -> None:
    old = cli.json("token", "add", "laptop", "--scope", "read", "--expires-in", "30d")
    new = cli.json("token", "rotate", old["token_id"], "--grace", "1h")
    assert (new["description"], new["scopes"], new["tenant_id"]) == ("laptop", ["read"], old["tenant_id"])
    assert cli.json("token", "validate", stdin=old["token"])["valid"]
    assert cli.json("token", "validate", stdin=new["token"])["hash"] == new["hash"]
    assert cli.json("token", "show", old["hash"])["expires_at"] < old["expires_at"]


def _rows_that_name(hash: str, path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(hash in str(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}"))
