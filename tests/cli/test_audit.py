"""The audit trail from the command line."""

from __future__ import annotations

import getpass
import json
import sqlite3
import stat
from pathlib import Path

import pytest

from fusion_store import get_repository
from fusion_store.backend import TenantRecord
from fusion_store.cli import run
from fusion_store.layers import Key
from tests.cli.conftest import CLI


@pytest.fixture
def audited(cli: CLI) -> CLI:
    """A store that records its changes, with a tenant whose only token was deleted."""
    cli.json("token", "add", "first")
    cli.json("audit", "enable")
    issued = cli.json("token", "add", "second")
    cli.json("token", "delete", issued["hash"], "--yes")
    return cli


def test_it_is_off_until_it_is_turned_on_and_until_it_is_turned_off(cli: CLI) -> None:
    assert cli("audit", "status").code == 3
    cli.json("token", "add")
    assert cli.json("audit", "status") == {"enabled": False, "keep_seconds": None}
    assert cli("audit", "list").out == "No audit records found.\n"
    assert cli.json("audit", "enable", "--keep", "365d") == {"enabled": True, "keep_seconds": 365 * 86400}
    assert "31536000 seconds" in cli("audit", "status").out
    assert cli.json("audit", "enable") == {"enabled": True, "keep_seconds": None}
    assert cli("audit", "enable", "--keep", "soon").code == 2
    assert cli("audit", "disable").code == 2
    assert cli.json("audit", "disable", "--yes") == {"enabled": False, "keep_seconds": None}
    assert [record["action"] for record in cli.json("audit", "list")] == ["audit.enable"] * 2 + ["audit.disable"]


def test_list_names_who_did_what(audited: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    records = audited.json("audit", "list", "--store")
    assert [(record["action"], record["actor"]) for record in records] == [("audit.enable", f"cli:{getpass.getuser()}")]
    monkeypatch.setenv("FUSION_STORE_ACTOR", "deploy@example")
    audited.json("token", "add")
    shown = audited("audit", "list").out
    assert shown.startswith("TIME ")
    assert "deploy@example" in shown
    everything = audited.json("audit", "list")
    assert {"at", "sequence", "hash", "previous", "detail", "key_id"} <= set(everything[0])
    deleted = next(record["tenant_hash"] for record in everything if record["action"] == "tenant.delete")
    for identifier in (deleted, deleted[:12]):
        found = audited.json("audit", "list", "--tenant", identifier)
        assert [record["action"] for record in found][-1] == "tenant.delete"
    assert audited("audit", "list", "--tenant", "feedfeed").code == 3
    assert audited("audit", "list", "--tenant", deleted, "--store").code == 2


def test_a_tenant_is_named_by_its_own_hash_or_by_a_prefix_that_no_other_one_has(cli: CLI) -> None:
    hashes = ["abcd" + "0" * 60, "abcd" + "1" * 60, "abce" + "0" * 60]
    with get_repository(cli.url, audit=True) as repository:
        repository.import_records(TenantRecord(hash, 0) for hash in hashes)
        repository.delete_tenant(hashes[0])
    for hash, identifiers in ((hashes[0], ("abcd0",)), (hashes[1], ("abcd1",)), (hashes[2], ("abce", "abce0000…"))):
        for identifier in (hash, *identifiers):
            assert {r["tenant_hash"] for r in cli.json("audit", "list", "--tenant", identifier)} == {hash}
    for unknown in ("f" * 64, "x" * 64, "feedfeed", "abcd0" * 13):
        assert cli("audit", "list", "--tenant", unknown).code == 3
    ambiguous = cli("--json", "audit", "list", "--tenant", "abcd")
    assert (ambiguous.code, ambiguous.out) == (4, "")
    assert [candidate["hash"] for candidate in ambiguous.error["candidates"]] == hashes[:2]
    assert [candidate["description"] for candidate in ambiguous.error["candidates"]] == ["deleted", ""]
    assert cli("audit", "list", "--tenant", "abc").code == 2


def test_a_tenant_without_a_trail_has_an_empty_one(cli: CLI) -> None:
    tenant = cli.json("token", "add")["tenant_hash"]
    assert cli.json("audit", "list", "--tenant", tenant) == []


def test_export_writes_every_chain(audited: CLI, tmp_path: Path) -> None:
    piped = audited("audit", "export").out
    file = tmp_path / "trail.jsonl"
    document = audited.json("audit", "export", str(file))
    records = [json.loads(line) for line in piped.splitlines()]
    assert document == {"path": str(file), "records": len(records)}
    assert file.read_text() == piped
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [r["tenant_hash"] for r in records] == sorted(r["tenant_hash"] for r in records)
    assert audited("audit", "export", str(file)).code == 10
    assert audited("audit", "export", str(tmp_path / "none" / "file")).code == 74


def test_verify_says_which_record_it_is(audited: CLI, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor"
    assert audited.json("audit", "anchor", str(anchor)) == {"path": str(anchor), "chains": 2}
    assert audited("audit", "anchor", str(anchor)).code == 10
    assert audited("audit", "verify").out == "5 audit records in 2 chains, all sound.\n"
    assert audited("audit", "verify", "--anchor", str(anchor)).code == 0
    assert audited("audit", "verify", "--anchor", str(tmp_path / "none")).code == 2
    with sqlite3.connect(audited.url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE audit_records SET actor = 'nobody' WHERE action = 'api_token.delete'")
    connection.close()

    found = audited("audit", "verify")
    document = audited("--json", "audit", "verify")

    assert found.code == document.code == 7
    assert "record 3 was altered" in found.out
    assert document.json["ok"] is False
    assert [fault["sequence"] for fault in document.json["faults"]] == [3]
    assert audited("check").code == 7
    assert audited("audit", "list").code == 7


def test_purge_says_how_many_records_it_cut_off(cli: CLI) -> None:
    cli.json("token", "add")
    assert "audit_records" not in cli.json("purge")
    cli.json("audit", "enable", "--keep", "365d")
    assert cli.json("purge")["audit_records"] == 0
    assert "Audit records:  0" in cli("purge").out


@pytest.mark.parametrize(
    ("arguments", "action"),
    [
        (("audit", "enable", "--keep", "30d"), "audit.enable"),
        (("audit", "disable", "--yes"), "audit.disable"),
        (("key", "convert", "--to", "encrypted", "--yes"), "key.reseal"),
        (("key", "rotate"), "key.reseal"),
        (("restore", "--merge", "DUMP"), "records.import"),
        (("copy", "--merge", "OTHER", "STORE"), "records.import"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_command_changes_anything_past_the_sink(
    cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], action: str
) -> None:
    tenant = cli.json("token", "add")["tenant_hash"]
    cli("oauth", "store", "github", "--tenant", tenant, stdin="gho_secret")
    dump, other = str(tmp_path / "dump"), f"sqlite:///{tmp_path}/other.db"
    assert cli("token", "add", url=other).code == cli("dump", dump, url=other).code == 0
    monkeypatch.setenv("FUSION_STORE_KEYS", (old := Key.generate()).reveal())
    if arguments == ("key", "rotate"):
        cli.json("key", "convert", "--to", "encrypted", "--yes")
        monkeypatch.setenv("FUSION_STORE_KEYS", f"{Key.generate().reveal()},{old.reveal()}")
    cli.json("audit", "enable")
    before = cli("audit", "export").out
    words = [{"DUMP": dump, "OTHER": other, "STORE": cli.url}.get(word, word) for word in arguments]
    given = ["--json", *words] if arguments[0] == "copy" else ["--json", "--url", cli.url, *words]
    sink = tmp_path / "sink" / "changes"
    monkeypatch.setenv("FUSION_STORE_AUDIT_SINK", str(sink))

    refused = run(given)
    after_refusal = cli("audit", "export").out
    sink.parent.mkdir()
    made = run(given)

    assert (refused, made) == (5, 0)
    assert after_refusal == before
    told = sink.read_text().splitlines()
    assert action in {json.loads(line)["action"] for line in told}
    assert sorted(told) == sorted(set(cli("audit", "export").out.splitlines()) - set(before.splitlines()))


def test_the_environment_turns_it_on_in_what_a_command_fills_and_nowhere_else(
    cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.json("token", "add")
    monkeypatch.setenv("FUSION_STORE_AUDIT", "on")
    restored, copied = (f"sqlite:///{tmp_path}/{name}.db" for name in ("restored", "copied"))

    assert cli("dump", str(tmp_path / "dump")).code == 0
    assert cli("restore", str(tmp_path / "dump"), url=restored).code == 0
    assert run(["copy", cli.url, copied]) == 0
    assert run(["verify", cli.url, copied]) == 0

    for url, enabled in ((cli.url, False), (restored, True), (copied, True)):
        assert json.loads(cli("--json", "audit", "status", url=url).out)["enabled"] is enabled
    assert json.loads(cli("audit", "export", url=restored).out.splitlines()[-1])["action"] == "records.import"
