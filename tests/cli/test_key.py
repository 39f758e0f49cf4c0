"""Keys on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fusion_store.layers import Key
from tests.cli.conftest import CLI


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """Two keys; the tests set which of them the commands are given."""
    monkeypatch.delenv("FUSION_STORE_KEYS", raising=False)
    return [Key.generate(), Key.generate()]


def give(monkeypatch: pytest.MonkeyPatch, *keys: Key) -> None:
    monkeypatch.setenv("FUSION_STORE_KEYS", ",".join(key.reveal() for key in keys))


def fill(cli: CLI) -> str:
    tenant: str = cli.json("token", "add")["tenant_hash"]
    for service in ("github", "mail"):
        assert cli("oauth", "store", service, "--tenant", tenant, stdin=f"secret-of-{service}").code == 0
    return tenant


def access_token(cli: CLI, tenant: str) -> str:
    shown: str = cli.json("oauth", "show", "github", "--tenant", tenant, "--reveal")["access_token"]
    return shown


def test_a_generated_key_is_printed_alone(cli: CLI) -> None:
    outcome = cli("key", "generate")
    assert outcome.code == 0
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}=\n", outcome.out)
    assert Key.parse(outcome.out.strip()).key_id in outcome.err
    document = cli.json("key", "generate")
    assert Key.parse(document["key"]).key_id == document["key_id"]


def test_a_store_is_sealed_rotated_and_opened_again(cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = keys
    tenant = fill(cli)
    assert cli.json("key", "status") == [{"key_id": None, "cipher": None, "payloads": 2, "at_hand": False}]

    give(monkeypatch, old)
    assert cli("key", "convert", "--to", "encrypted", "--yes").code == 0
    assert access_token(cli, tenant) == "secret-of-github"
    assert cli.json("key", "status") == [{"key_id": old.key_id, "cipher": "fernet", "payloads": 3, "at_hand": True}]

    give(monkeypatch, new, old)
    monkeypatch.setenv("FUSION_STORE_CIPHER", "aes-256-gcm")
    dry = cli.json("key", "rotate", "--dry-run")
    assert (dry["dry_run"], dry["changed"], dry["unneeded"]) == (True, 2, [])
    rotated = cli.json("key", "rotate")
    assert (rotated["changed"], rotated["failed"], rotated["unneeded"]) == (2, [], [old.key_id])

    give(monkeypatch, new)
    assert access_token(cli, tenant) == "secret-of-github"
    assert cli("key", "convert", "--to", "plain", "--yes").code == 0
    monkeypatch.delenv("FUSION_STORE_KEYS")
    assert access_token(cli, tenant) == "secret-of-github"


def test_the_steps_of_the_manual_convert_a_plain_store(
    cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tenant = fill(cli)
    give(monkeypatch, keys[0])
    assert "fusion-store --no-keys backup PATH" in cli("--json", "stats").error["hint"]
    page = (Path(__file__).parents[2] / "docs" / "encryption.md").read_text(encoding="utf-8")
    steps = re.search(r"```sh\n(.* backup .*)\n(.* convert .*)\n```", page)
    assert steps
    monkeypatch.chdir(tmp_path)
    for step in steps.groups():
        answer = ["--yes"] * ("convert" in step)
        assert cli(*step.split()[1:], *answer).code == 0, step
    assert access_token(cli, tenant) == "secret-of-github"
    monkeypatch.delenv("FUSION_STORE_KEYS")
    assert cli("oauth", "show", "github", "--tenant", tenant, url=f"sqlite:///{tmp_path}/before.db").code == 0


def test_rotation_says_in_words_which_keys_are_no_longer_needed(
    cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, keys[0])
    fill(cli)
    give(monkeypatch, keys[1], keys[0])
    assert cli("key", "rotate").out == f"Sealed or opened 2 payloads. No longer needed: {keys[0].key_id}.\n"


def test_what_can_not_be_opened_is_named_and_exits_8(
    cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, *keys)
    fill(cli)
    third = Key.generate()
    give(monkeypatch, third, *keys)
    assert cli("oauth", "store", "late", "--tenant", cli.json("tenant", "list")[0]["tenant_hash"], stdin="x").code == 0
    give(monkeypatch, *keys)
    outcome = cli("key", "rotate")
    assert outcome.code == 8
    assert third.key_id in outcome.err


def test_every_command_says_alike_which_keys_are_at_hand(
    cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, keys[0])
    fill(cli)
    documents = [
        cli.json("key", "status"),
        cli.json("key", "rotate", "--dry-run")["seals"],
        cli.json("key", "convert", "--to", "plain", "--dry-run")["seals"],
    ]
    for seals in documents:
        assert [(seal["key_id"], seal["at_hand"]) for seal in seals] == [(keys[0].key_id, True)]
    assert [seal["at_hand"] for seal in cli.json("--no-keys", "key", "status")] == [False]
    assert "--no-keys" in cli("--no-keys", "key", "rotate").err


def test_a_conversion_that_the_store_s_state_forbids_is_10(
    cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, keys[0])
    fill(cli)
    outcome = cli("key", "convert", "--to", "encrypted", "--yes")
    assert (outcome.code, "--url" in outcome.err) == (10, False)


def test_a_check_without_keys_says_what_it_left_out(cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, keys[0])
    fill(cli)
    whole = cli("check")
    assert (whole.err, "sound in form" in whole.out) == ("", False)
    assert cli.json("check")["payloads_opened"] is True
    for option in ([], ["--no-keys"]):
        if not option:
            monkeypatch.delenv("FUSION_STORE_KEYS")
        partly = cli(*option, "check")
        assert (partly.code, "sound in form" in partly.out, "weren't opened" in partly.err) == (0, True, True)
        assert cli.json(*option, "check")["payloads_opened"] is False


def test_keys_are_needed_to_rotate_and_convert(cli: CLI, keys: list[Key]) -> None:
    fill(cli)
    for command in (["rotate"], ["convert", "--to", "encrypted", "--yes"]):
        outcome = cli("key", *command)
        assert outcome.code == 8
        assert "FUSION_STORE_KEYS" in outcome.err


def test_converting_asks_first(cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = fill(cli)
    give(monkeypatch, keys[0])
    outcome = cli("key", "convert", "--to", "encrypted")
    assert outcome.code == 2
    assert "--yes" in outcome.err
    monkeypatch.delenv("FUSION_STORE_KEYS")
    assert access_token(cli, tenant) == "secret-of-github"


def test_an_absent_store_is_not_created(cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, keys[0])
    for command in (["status"], ["rotate"], ["convert", "--to", "encrypted", "--yes"]):
        assert cli("key", *command).code == 3


def test_no_key_is_ever_shown(cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, *keys)
    fill(cli)
    shown = ""
    for command in (["status"], ["rotate"], ["rotate", "--dry-run"], ["convert", "--to", "plain", "--yes"]):
        outcome = cli("--debug", "key", *command)
        shown += outcome.out + outcome.err
    monkeypatch.setenv("FUSION_STORE_KEYS", keys[0].reveal() + "rubbish")
    outcome = cli("--debug", "token", "list")
    assert outcome.code == 9
    shown += outcome.out + outcome.err
    assert all(key.reveal()[:20] not in shown for key in keys)


def test_without_keys_what_needs_none_works_and_the_rest_says_so(
    cli: CLI, keys: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, keys[0])
    tenant = fill(cli)
    monkeypatch.setenv("FUSION_STORE_KEYS", "aws-kms:" + "A" * 100)
    assert cli("token", "list").code == 9
    assert [token["hash"] for token in cli.json("--no-keys", "token", "list")] == [tenant]
    assert cli("--no-keys", "oauth", "show", "github", "--tenant", tenant).code == 8
    assert cli("--no-keys", "token", "delete", tenant, "--yes").code == 0
    assert cli.json("--no-keys", "tenant", "list") == []
