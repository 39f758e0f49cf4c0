from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fusion_store import SYSTEM_TENANT, OAuthTokenData, get_repository
from fusion_store.cli import run
from tests.cli.conftest import CLI, Outcome, Terminal
from tests.transfer.vaults import SECRET, furnish

Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process, away from any store."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Outcome:
        capsys.readouterr()
        return Outcome(run(arguments), *capsys.readouterr())

    return invoke


@pytest.fixture
def tenants(url: str) -> list[str]:
    """The tenants of a furnished store at ``url``."""
    with get_repository(url) as vault:
        return furnish(vault)


def test_a_store_is_copied_and_verified(command: Command, url: str, tenants: list[str]) -> None:
    copied = command("copy", url, "sqlite:///other.db")
    assert (copied.code, copied.err) == (0, "")
    assert copied.out.startswith("4 tenants with 36 records: 35 added, 0 replaced, 1 skipped, 0 conflicts, in ")
    assert "tenants/s" in copied.out

    verified = command("verify", url, "sqlite:///other.db")
    assert (verified.code, verified.err) == (0, "")
    assert verified.out.startswith("Equal: 4 tenants with 36 records, in ")
    assert "Digest: " in verified.out


def test_reports_are_documents_under_json(command: Command, url: str, tenants: list[str]) -> None:
    assert {**command("--json", "copy", url, "sqlite:///other.db").json, "seconds": 0} == {
        "tenants": 4,
        "records": 36,
        "added": 35,
        "replaced": 0,
        "skipped": 1,
        "conflicts": 0,
        "resumed": False,
        "seconds": 0,
        "listed": [],
    }
    with get_repository("sqlite:///other.db") as vault:
        vault.store_oauth_token(tenants[0], "github", OAuthTokenData("newer"))
    merged = command("--json", "copy", url, "sqlite:///other.db", "--merge").json
    assert merged["conflicts"] == 1
    assert merged["listed"] == [
        {
            "kind": "oauth",
            "tenant_hash": tenants[0],
            "service": "github",
            "credential_type": "",
            "hash": "",
            "standing_version": 3,
            "incoming_version": 2,
            "kept": "standing",
        }
    ]
    outcome = command("--json", "verify", url, "sqlite:///other.db")
    assert outcome.code == 1
    assert outcome.json["equal"] is False
    assert outcome.json["differences"] == {"version": 2}
    assert outcome.json["listed"][1]["difference"] == "version"
    assert outcome.json["source_digest"] != outcome.json["destination_digest"]
    dumped = command("--json", "--url", url, "dump", "vault.dump").json
    assert (dumped["path"], dumped["tenants"], dumped["records"]) == ("vault.dump", 4, 36)


def test_differences_are_listed_and_the_exit_code_is_1(command: Command, url: str, tenants: list[str]) -> None:
    command("copy", url, "sqlite:///other.db")
    with get_repository("sqlite:///other.db") as vault:
        vault.delete_oauth_token(tenants[0], "github")
        vault.add_api_token()

    outcome = command("verify", url, "sqlite:///other.db")

    assert outcome.code == 1
    header, *rows = outcome.out.splitlines()
    assert header.split() == ["DIFFERENCE", "KIND", "TENANT", "SERVICE", "TYPE", "HASH…", "SRC", "DST"]
    assert ["missing", "oauth", tenants[0][:16], "github", "2", "0"] in [row.split() for row in rows]
    assert len(rows) == 3
    assert outcome.err == "2 tenants of 5 differ: 2 extra, 1 missing.\n"


def test_conflicts_are_listed(command: Command, url: str, tenants: list[str]) -> None:
    command("copy", url, "sqlite:///other.db")
    with get_repository(url) as vault:
        vault.store_oauth_token(tenants[0], "github", OAuthTokenData("newer"))

    outcome = command("copy", url, "sqlite:///other.db", "--merge")

    assert outcome.code == 0
    header, row, last = outcome.out.splitlines()
    assert header.split() == ["KEPT", "KIND", "TENANT", "SERVICE", "TYPE", "HASH…", "STOOD", "CAME"]
    assert row.split() == ["incoming", "oauth", tenants[0][:16], "github", "2", "3"]
    assert ": 0 added, 2 replaced, 34 skipped, 1 conflict, in " in last
    assert command("verify", url, "sqlite:///other.db").code == 0


def test_a_destination_that_is_not_empty_is_10(command: Command, url: str, tenants: list[str]) -> None:
    with get_repository("sqlite:///other.db") as vault:
        vault.add_api_token()

    for arguments in (("copy", url, "sqlite:///other.db"), ("--url", "sqlite:///other.db", "restore", "vault.dump")):
        command("--url", url, "dump", "vault.dump")
        outcome = command(*arguments)
        assert (outcome.code, outcome.out) == (10, "")
        assert "holds records already" in outcome.err
    with get_repository("sqlite:///other.db") as vault:
        assert len(vault.list_tenants()) == 1


def test_the_same_store_twice_is_2(command: Command, url: str, tenants: list[str], tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(url.removeprefix("sqlite:///"))
    for other in (url, f"{url}?lock_timeout=1", "sqlite:///link.db"):
        outcome = command("copy", url, other, "--merge")
        assert outcome.code == 2
        assert "same store" in outcome.err


def test_a_source_that_is_not_there_is_3_and_makes_no_destination(command: Command, tmp_path: Path) -> None:
    assert command("copy", "sqlite:///nosuch.db", "sqlite:///other.db").code == 3
    assert command("verify", "sqlite:///nosuch.db", "sqlite:///other.db").code == 3
    assert command("--url", "sqlite:///nosuch.db", "dump", "x").code == 3
    assert command("--url", "sqlite:///other.db", "restore", "nosuch").code == 3
    assert list(tmp_path.iterdir()) == []


def test_urls_come_from_the_environment_too(
    command: Command, url: str, tenants: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD_VAULT", url)
    monkeypatch.setenv("NEW_VAULT", "sqlite:///other.db")
    assert command("copy", "env:OLD_VAULT", "env:NEW_VAULT").code == 0
    assert command("verify", "env:OLD_VAULT", "sqlite:///other.db").code == 0
    monkeypatch.setenv("EMPTY", "")
    for name in ("env:", "env:NOSUCH", "env:EMPTY", "env:A=B"):
        outcome = command("copy", name, "env:NEW_VAULT")
        assert outcome.code == 9
        assert "isn't set" in outcome.err


def test_a_password_on_the_command_line_is_never_shown_and_advised_against(command: Command) -> None:
    outcome = command("copy", f"sqlite://user:{SECRET}@host/vault", "sqlite:///other.db")

    assert outcome.code == 9
    assert "env:NAME" in outcome.err
    assert SECRET not in outcome.err


def test_a_global_url_does_not_go_with_two_stores(command: Command, url: str) -> None:
    for name in ("copy", "verify"):
        outcome = command("--url", url, name, url, "sqlite:///other.db")
        assert (outcome.code, outcome.out) == (2, "")
        assert "--url" in outcome.err


def test_a_store_is_dumped_and_restored(
    command: Command, cli: CLI, url: str, tenants: list[str], tmp_path: Path
) -> None:
    dumped = cli("dump", "vault.dump")
    assert (dumped.code, dumped.err) == (0, "")
    assert dumped.out.startswith("Dump written to vault.dump: 4 tenants with 36 records, in ")
    assert cli("dump", "vault.dump").code == 10

    restored = command("--url", "sqlite:///other.db", "restore", "vault.dump")

    assert (restored.code, restored.err) == (0, "")
    assert command("verify", url, "sqlite:///other.db").code == 0


def test_an_altered_dump_is_7_and_makes_no_store(
    command: Command, cli: CLI, tenants: list[str], tmp_path: Path
) -> None:
    cli("dump", "vault.dump")
    whole = Path("vault.dump").read_bytes()
    for altered in (whole[:-1], whole[: len(whole) // 2], whole + b"\0", whole[:99] + b"xx" + whole[101:]):
        Path("vault.dump").write_bytes(altered)
        outcome = command("--url", "sqlite:///other.db", "restore", "vault.dump")
        assert (outcome.code, outcome.out) == (7, "")
        assert SECRET not in outcome.err
    Path("vault.dump").write_bytes(b"rubbish")
    assert command("--url", "sqlite:///other.db", "restore", "vault.dump").code == 9
    assert not Path("other.db").exists()


def test_a_corrupt_record_is_7(command: Command, cli: CLI, url: str, tenants: list[str]) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE oauth_tokens SET payload = x'00' WHERE tenant_hash = ?", (SYSTEM_TENANT,))
        database.commit()
    for arguments in (("copy", url, "sqlite:///other.db"), ("--url", url, "dump", "vault.dump")):
        outcome = command(*arguments)
        assert (outcome.code, outcome.out) == (7, "")
    assert not Path("vault.dump").exists()


def test_progress_is_shown_with_rate_and_time_left_and_an_interrupted_copy_goes_on(
    tmp_path: Path, url: str, tenants: list[str]
) -> None:
    from tests.transfer.test_ring import fill

    fill(f"sqlite:///{tmp_path}/a.db", 3000)
    places = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    first = Terminal("copy", *places, columns=100)
    try:
        first.expect("/s")
        first.interrupt()
        code = first.finish()
    finally:
        first.kill()
    assert "Copying" in first.screen
    assert "/3001" in first.screen
    if code == 130:
        assert "Run it again" in first.screen
        again = Terminal("copy", *places, columns=100)
        assert again.finish() == 0
        assert "Went on where an earlier run had stopped." in again.screen
    else:
        pytest.fail("the copy was over before it was interrupted")
    assert run(["verify", *places]) == 0
