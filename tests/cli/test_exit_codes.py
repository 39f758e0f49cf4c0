from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

import fusion_store
from fusion_store import AmbiguousIdentifier, CorruptRecord, FusionStoreError, InvalidInput
from fusion_store.cli import ExitCode, run
from fusion_store.cli._errors import MEANINGS, report
from tests.cli.conftest import CLI, Outcome


def test_success_is_0_and_a_token_that_is_not_live_1(cli: CLI) -> None:
    issued = cli.json("token", "add")
    assert cli("token", "validate", stdin=issued["token"]).code == 0
    outcome = cli("--json", "token", "validate", stdin=issued["hash"])
    assert (outcome.code, outcome.json, outcome.err) == (1, {"valid": False}, "")


@pytest.mark.parametrize("odd", [b"", b"\xff\xfe", b"\0", b"a" * 2_000_000, "ü".encode(), b"a\nb\n"])
def test_whatever_is_no_token_is_not_valid(cli: CLI, odd: bytes) -> None:
    cli("token", "add")
    assert cli("token", "validate", stdin=odd) == (1, "not valid\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nosuch",),
        ("token", "nosuch"),
        ("token", "show"),
        ("token", "show", "abc"),
        ("token", "add", "x" * 257),
        ("token", "add", "x", "surplus"),
        ("token", "add", "--scope", "a b"),
        ("token", "add", "--nosuch"),
        ("token", "list", "--json"),
        ("--data-dir", "x", "token", "list"),
        ("oauth", "list"),
        ("credentials", "list", "--tenant", "x"),
        ("credentials", "show", "s", "--tenant", "abcd", "--type", "nosuch"),
        ("oauth", "delete", "s", "--tenant", "abcd", "--expected-version", "many"),
    ],
)
def test_wrong_usage_is_2(cli: CLI, arguments: tuple[str, ...]) -> None:
    cli("token", "add")
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    first, second = outcome.err.splitlines()
    assert first.startswith("Error: ")
    assert second.startswith("Hint: ")
    assert cli("--json", *arguments).error["exit_code"] == 2


def test_a_global_option_after_the_command_is_explained(cli: CLI) -> None:
    assert "fusion-store --json …" in cli("token", "list", "--json").err


def test_what_is_not_there_is_3(cli: CLI) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    missing = [
        ("token", "show", "0123abcd"),
        ("token", "rotate", "0123abcd"),
        ("token", "delete", "0123abcd", "--yes"),
        ("token", "add", "--tenant", "0123abcd"),
        ("tenant", "show", "0123abcd"),
        ("tenant", "delete", "0123abcd", "--yes"),
        ("oauth", "list", "--tenant", "0123abcd"),
        ("oauth", "show", "github", "--tenant", tenant),
        ("oauth", "delete", "github", "--tenant", tenant),
        ("credentials", "show", "github", "--tenant", tenant, "--type", "bearer"),
        ("credentials", "delete", "github", "--tenant", tenant, "--type", "bearer"),
    ]
    for arguments in missing:
        assert cli(*arguments).code == 3, arguments


@pytest.mark.parametrize("scheme", ["sqlite", *["leveldb"] * (find_spec("plyvel") is not None)])
def test_a_mistyped_url_is_3_and_makes_no_store(cli: CLI, tmp_path: Path, scheme: str) -> None:
    a_tenant = ("--tenant", "0123abcd")
    for arguments in (
        ("token", "add", *a_tenant),
        ("token", "list"),
        ("token", "show", "0123abcd"),
        ("token", "validate"),
        ("token", "rotate", "0123abcd"),
        ("token", "delete", "0123abcd", "--yes"),
        ("tenant", "list"),
        ("tenant", "show", "0123abcd"),
        ("tenant", "delete", "0123abcd", "--yes"),
        ("oauth", "list", *a_tenant),
        ("oauth", "show", "github", *a_tenant),
        ("oauth", "store", "github", *a_tenant),
        ("oauth", "delete", "github", *a_tenant),
        ("credentials", "list", *a_tenant),
        ("credentials", "show", "github", "--type", "bearer", *a_tenant),
        ("credentials", "store", "github", "--type", "bearer", *a_tenant),
        ("credentials", "delete", "github", "--type", "bearer", *a_tenant),
        ("auth-code", "create", "github", *a_tenant),
        ("services",),
        ("key", "status"),
        *(("schema", name) for name in ("current", "upgrade")),
        *(("audit", name) for name in ("status", "enable", "list", "export", "verify")),
        *((name,) for name in ("stats", "check", "health", "doctor", "purge")),
        *((name, str(tmp_path / "file")) for name in ("backup", "dump")),
    ):
        outcome = cli(*arguments, url=f"{scheme}:///{tmp_path}/none/vault", stdin="secret")
        assert outcome.code == 3, arguments
        assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_busy_is_5(cli: CLI, tmp_path: Path) -> None:
    cli("token", "add")
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        outcome = cli("token", "add", url=cli.url + "?lock_timeout=0.1")
        healthy = cli("--json", "health", url=cli.url + "?lock_timeout=0.1")
    assert outcome.code == 5
    assert (healthy.code, healthy.json["ok"]) == (5, False)


def test_health_ends_in_time_though_the_store_hangs(program: Callable[..., Outcome], tmp_path: Path, cli: CLI) -> None:
    cli("token", "add")
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        # The program is given 60 seconds.
        found = program("--url", f"{cli.url}?lock_timeout=600", "--json", "health", "--timeout", "5s")
    assert (found.code, found.json["error"]) == (5, "Unavailable: no answer within 5 s")


def test_health_ends_in_time_though_opening_the_store_hangs(
    program: Callable[..., Outcome], tmp_path: Path, cli: CLI
) -> None:
    cli("token", "add")
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        found = program("--url", f"{cli.url}?lock_timeout=600", "--json", "health", "--timeout", "5s")
    assert (found.code, found.error["message"]) == (5, "no answer within 5 s")


def test_another_schema_is_6(cli: CLI, tmp_path: Path) -> None:
    cli("token", "add")
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert cli("token", "list").code == 6
    assert cli("schema", "upgrade").code == 6
    current = cli("--json", "schema", "current")
    assert (current.code, current.json["up_to_date"]) == (0, False)


def test_a_corrupt_record_is_7(cli: CLI, tmp_path: Path) -> None:
    tenant = cli.json("token", "add")["tenant_hash"]
    cli("oauth", "store", "github", "--tenant", tenant, stdin="gho_secret")
    assert cli("check").code == 0
    with closing(sqlite3.connect(tmp_path / "vault" / "vault.db")) as connection, connection:
        connection.execute("UPDATE oauth_tokens SET payload = x'00'")
    assert cli("oauth", "show", "github", "--tenant", tenant).code == 7
    found = cli("--json", "check")
    assert (found.code, found.json["ok"]) == (7, False)
    assert (found.json["corrupt"][0]["tenant_hash"], found.json["corrupt"][0]["service"]) == (tenant, "github")
    shown = cli("check")
    assert (shown.code, tenant[:16] in shown.out) == (7, True)


@pytest.mark.parametrize("url", ["nosuch://x", "sqlite:///x.db?nosuch=1", "sqlite://host/x.db", "x", ""])
def test_a_url_that_can_not_be_used_is_9(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--url", url, "token", "list"]) == 9
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_conflict_is_10(cli: CLI, tmp_path: Path) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    place = ("github", "--tenant", tenant)
    assert cli("oauth", "store", *place, "--expected-version", "0", stdin="one").code == 0
    assert cli("oauth", "store", *place, "--expected-version", "0", stdin="two").code == 10
    assert cli("oauth", "delete", *place, "--expected-version", "7").code == 10
    assert cli.json("oauth", "show", *place, "--reveal")["access_token"] == "one"
    assert cli("oauth", "delete", *place, "--expected-version", "1").code == 0
    assert cli("backup", str(tmp_path / "copy.db")).code == 0
    assert cli("backup", str(tmp_path / "copy.db")).code == 10


def test_every_error_of_the_library_has_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    codes = {}
    for name in fusion_store.__all__:
        kind = getattr(fusion_store, name)
        if isinstance(kind, type) and issubclass(kind, FusionStoreError):
            codes[name] = report(_made(kind), as_json=False, debug=False)
    assert ExitCode.INTERNAL not in {
        code
        for name, code in codes.items()
        if not issubclass(getattr(fusion_store, name), fusion_store.AuthError) and name != "FusionStoreError"
    }
    assert codes["OutcomeUnknown"] == 11
    assert codes["StoreLocked"] == codes["Unavailable"] == codes["StorageFull"] == 5
    assert codes["SchemaOutOfDate"] == codes["SchemaTooNew"] == 6
    assert codes["CorruptStore"] == codes["CorruptRecord"] == 7
    assert codes["WrongKey"] == codes["NotEncrypted"] == codes["Tampered"] == 8


def test_a_bug_is_70_and_its_text_is_kept_back(cli: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr("fusion_store.cli._session.get_repository", fail)
    outcome = cli("token", "list")
    assert outcome.code == 70
    assert "a secret" not in outcome.err
    assert "Traceback" not in outcome.err
    assert "Traceback" in cli("--debug", "token", "list").err


def test_debug_shows_the_traceback_and_nothing_else_does(cli: CLI) -> None:
    assert "Traceback" not in cli("token", "show", "0123abcd").err
    shown = cli("--debug", "token", "show", "0123abcd")
    assert (shown.code, "Traceback" in shown.err) == (3, True)
    assert "Traceback" in cli("--debug", "--json", "token", "show", "0123abcd").error["traceback"]


def test_errors_under_json_are_one_document_on_stderr(cli: CLI) -> None:
    cli("token", "add")
    outcome = cli("--json", "token", "show", "0123abcd")
    assert outcome.out == ""
    assert outcome.error == {
        "error": "TokenNotFound",
        "message": "no such API token",
        "hint": "'fusion-store token list' shows the API tokens of this store",
        "exit_code": 3,
    }


def test_help_documents_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for code, meaning in MEANINGS.items():
        assert f"{code:>3}  {meaning}" in shown


def _made(kind: type[FusionStoreError]) -> FusionStoreError:
    if kind is InvalidInput:
        return InvalidInput("field", "reason")
    if kind is AmbiguousIdentifier:
        return AmbiguousIdentifier("2 match", ())
    if kind is CorruptRecord:
        return CorruptRecord("oauth")
    return kind("message")
