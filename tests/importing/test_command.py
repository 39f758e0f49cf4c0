"""``fusion-store import``."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from fusion_store.layers import Key
from tests.cli.conftest import CLI
from tests.importing.files import ADA, BOB, SAMPLES, Tree, api_token, as_json, hash_of, oauth, shipped, write

SAMPLE = str(SAMPLES["mcpfusion-1.1"])
NEW = {"tenants": 7, "api_tokens": 7, "oauth_tokens": 11, "credentials": 4}
NOTHING = dict.fromkeys(NEW, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def held(**tokens: bytes) -> dict[bytes, dict[bytes, bytes]]:
    return {b"oauth_tokens": {service.encode(): token for service, token in tokens.items()}}


def test_an_import_says_what_came_and_what_did_not(cli: CLI) -> None:
    outcome = cli("import", SAMPLE)
    assert outcome.code == 0
    assert "Imported:          7 tenants, 7 API tokens, 11 OAuth tokens, 4 credentials" in outcome.out
    assert "Has no place here: auth codes: 1, user descriptions: 2, knowledge entries: 2" in outcome.out
    assert outcome.err == (
        "Not imported: OAuth token under c8ec9da4d8005fba, service google: left behind by a deleted API token\n"
    )
    assert len(cli.json("tenant", "list")) == 7


def test_json_is_one_document(cli: CLI) -> None:
    document = cli.json("import", SAMPLE)
    assert document["new"] == NEW
    assert document["standing"] == NOTHING
    assert (document["written"], document["dry_run"]) == (True, False)
    assert [found["service"] for found in document["orphans"]] == ["google"]
    assert document["invalid"] == document["conflicts"] == document["superseded"] == document["revoked"] == []
    again = cli.json("import", SAMPLE)
    assert (again["new"], again["standing"]) == (NOTHING, NEW)


def test_a_dry_run_changes_nothing_and_makes_no_store(cli: CLI, tmp_path: Path) -> None:
    document = cli.json("import", SAMPLE, "--dry-run")
    assert (document["new"], document["written"], document["dry_run"]) == (NEW, False, True)
    assert not (tmp_path / "vault").exists()
    assert "Would be new" in cli("import", SAMPLE, "--dry-run").out
    cli("token", "add")
    cli("import", SAMPLE, "--dry-run")
    assert len(cli.json("tenant", "list")) == 1


def test_all_invalid_records_are_listed_and_nothing_is_written(cli: CLI, file: Path, tmp_path: Path) -> None:
    bad = oauth("secret" * 20_000)
    write(file, shipped({ADA: held(x=bad, y=oauth()), BOB: held(x=bad)}))
    outcome = cli("import", str(file))
    assert outcome.code == 2
    for name in (ADA, BOB):
        assert f"Not imported: OAuth token under {hash_of(name)[:16]}, service x: access_token: " in outcome.err
    assert not (tmp_path / "vault").exists()

    outcome = cli("--json", "import", str(file))
    assert outcome.code == 2
    assert outcome.error["exit_code"] == 2
    assert sorted(found["tenant_hash"] for found in outcome.json["invalid"]) == sorted([hash_of(ADA), hash_of(BOB)])
    assert outcome.json["written"] is False
    assert "secret" not in outcome.out + outcome.err

    skipped = cli("--json", "import", str(file), "--skip-invalid")
    assert skipped.code == 0
    assert skipped.json["new"] == {"tenants": 2, "api_tokens": 2, "oauth_tokens": 1, "credentials": 0}


def test_users_are_merged_when_asked(cli: CLI, file: Path) -> None:
    write(file, shipped({ADA: {b"token": api_token(ADA)}, BOB: {}}, {"user": [ADA, BOB]}))
    assert cli.json("import", str(file), "--dry-run")["new"]["tenants"] == 2
    assert cli.json("import", str(file), "--merge-users")["new"]["tenants"] == 1
    assert [tenant["api_tokens"] for tenant in cli.json("tenant", "list")] == [2]


def test_a_conflict_has_an_exit_code_of_its_own(cli: CLI) -> None:
    cli("import", SAMPLE)
    tenant = "d44dccdae45cd551"
    assert cli("oauth", "store", "microsoft365", "--tenant", tenant, stdin="refreshed").code == 0
    outcome = cli("--json", "import", SAMPLE)
    assert outcome.code == 10
    assert [found["service"] for found in outcome.json["conflicts"]] == ["microsoft365"]
    assert outcome.json["written"] is False


def test_a_file_cache_goes_into_the_tenant_that_is_named(cli: CLI, file: Path) -> None:
    tenant = cli.json("token", "add")["tenant_hash"]
    file.write_text(json.dumps({"token:github": {"value": {"access_token": "a"}, "expires_at": None}}))
    assert cli("import", str(file)).code == 2
    assert cli("import", str(file), "--tenant", "ffff").code == 3
    assert cli.json("import", str(file), "--tenant", tenant[:10])["new"]["oauth_tokens"] == 1
    assert cli.json("oauth", "show", "github", "--tenant", tenant, "--reveal")["access_token"] == "a"


def test_a_tenant_for_a_boltdb_file_is_refused(cli: CLI) -> None:
    tenant = cli.json("token", "add")["tenant_hash"]
    outcome = cli("import", SAMPLE, "--tenant", tenant)
    assert outcome.code == 2
    assert len(cli.json("tenant", "list")) == 1


def test_a_tenant_without_a_store_is_not_found(cli: CLI) -> None:
    assert cli("import", SAMPLE, "--tenant", "abcd").code == 3


def test_a_file_in_use_is_refused(cli: CLI, file: Path) -> None:
    file.write_bytes(SAMPLES["plan"].read_bytes())
    with file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        outcome = cli("import", str(file))
        assert outcome.code == 5
        assert "MCPFusion" in outcome.err
        fcntl.flock(other, fcntl.LOCK_SH)
        assert cli("import", str(file), "--dry-run").code == 0


def test_what_is_no_file_is_refused(cli: CLI, file: Path, tmp_path: Path) -> None:
    assert "no such file" in cli("import", str(file)).err
    assert "must be a regular file" in cli("import", str(tmp_path)).err
    os.mkfifo(file)
    outcome = cli("import", str(file))
    assert outcome.code == 2
    assert "must be a regular file" in outcome.err
    assert not (tmp_path / "vault").exists()


def test_no_secret_is_ever_shown(cli: CLI, file: Path) -> None:
    broken = b'{"access_token": "secret", "access_token": "secret"}'
    write(file, shipped({ADA: held(x=broken, y=as_json({"access_token": ["secret"]}), z=oauth("secret"))}))
    shown = ""
    for options in ([], ["--json"], ["--debug"]):
        for more in ([], ["--dry-run"], ["--skip-invalid"]):
            outcome = cli(*options, "import", str(file), *more)
            shown += outcome.out + outcome.err
    assert "secret" not in shown


def test_names_from_the_file_can_not_take_over_the_terminal(cli: CLI, file: Path) -> None:
    tree = shipped({ADA: {b"oauth_tokens": {b"\x1b[2J\xff": oauth()}}})
    outcome = cli("import", str(write(file, tree)))
    assert outcome.code == 2
    assert "\x1b" not in outcome.out + outcome.err


def test_a_sealed_store_gets_sealed_records(cli: CLI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = Key.generate()
    monkeypatch.setenv("FUSION_STORE_KEYS", key.reveal())
    assert cli.json("import", SAMPLE)["new"] == NEW
    assert cli.json("import", SAMPLE)["standing"] == NEW
    assert [seal["key_id"] for seal in cli.json("key", "status")] == [key.key_id]
    assert b"sample-at" not in b"".join(path.read_bytes() for path in (tmp_path / "vault").iterdir())


def test_without_keys_nothing_comes_into_a_sealed_store(cli: CLI, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("FUSION_STORE_KEYS", Key.generate().reveal())
    cli("token", "add")
    # More than one batch, and nothing to be sealed among the first of the file.
    bare: dict[str, Tree] = {f"{i:064x}": {} for i in range(600)}
    write(file, shipped({**bare, ADA: held(github=oauth())}))
    assert cli("--no-keys", "import", str(file)).code == 8
    monkeypatch.delenv("FUSION_STORE_KEYS")
    assert cli("import", SAMPLE).code == 8
    assert len(cli.json("--no-keys", "tenant", "list")) == 1
