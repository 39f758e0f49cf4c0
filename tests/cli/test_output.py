from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from fusion_store import get_repository
from fusion_store.backend import APITokenRecord
from tests.cli.conftest import CLI, PROGRAM, Outcome, Terminal

HOSTILE = "[red]x[/red]\x1b[2J\x1b]0;title\x07\r\n\t\x9b31m\u202eevil\u2028"


def test_the_token_alone_is_on_stdout(program: Callable[..., Outcome]) -> None:
    outcome = program("token", "add", "x")
    assert len(outcome.out) == 65
    assert outcome.out.endswith("\n")
    assert "can't be shown again" in outcome.err


def test_the_new_token_as_json(cli: CLI) -> None:
    issued = cli.json("token", "add", "my laptop", "--scope", "read", "--scope", "write", "--expires-in", "90d")
    assert set(issued) == {
        "token",
        "hash",
        "prefix",
        "tenant_hash",
        "tenant_id",
        "token_id",
        "description",
        "scopes",
        "created_at",
        "last_used",
        "expires_at",
    }
    assert issued["token"].startswith(issued["prefix"])
    assert issued["hash"].startswith(issued["token_id"])
    assert issued["tenant_hash"].startswith(issued["tenant_id"])
    assert (issued["description"], issued["scopes"], issued["last_used"]) == ("my laptop", ["read", "write"], None)
    created, expires = (datetime.fromisoformat(issued[name]) for name in ("created_at", "expires_at"))
    assert issued["created_at"].endswith("Z")
    assert abs(expires - created - timedelta(days=90)) < timedelta(minutes=1)


def test_every_command_prints_one_json_document(cli: CLI, tmp_path: Path) -> None:
    issued = cli.json("token", "add", "x")
    tenant = issued["tenant_id"]
    oauth = ("github", "--tenant", tenant)
    credential = ("openai", "--tenant", tenant, "--type", "api_key")
    assert cli.json("oauth", "store", *oauth, stdin="gho_1")["version"] == 1
    assert cli.json("credentials", "store", *credential, stdin="sk-1")["type"] == "api_key"
    documents = {
        ("token", "list"): list,
        ("token", "show", tenant): dict,
        ("tenant", "list"): list,
        ("tenant", "show", tenant): dict,
        ("oauth", "list", "--tenant", tenant): list,
        ("oauth", "show", *oauth): dict,
        ("credentials", "list", "--tenant", tenant): list,
        ("credentials", "show", *credential): dict,
        ("stats",): dict,
        ("check",): dict,
        ("health",): dict,
        ("doctor",): dict,
        ("backup", str(tmp_path / "copy.db")): dict,
        ("purge",): dict,
        ("backends",): list,
        ("schema", "current"): dict,
        ("schema", "upgrade"): dict,
        ("oauth", "delete", *oauth): dict,
        ("credentials", "delete", *credential): dict,
        ("token", "rotate", tenant): dict,
        ("tenant", "delete", tenant, "--yes"): dict,
    }
    for arguments, kind in documents.items():
        assert isinstance(cli.json(*arguments), kind), arguments
    assert cli.json("token", "list") == []


def test_a_table_is_plain_and_whole_where_there_is_no_terminal(program: Callable[..., Outcome]) -> None:
    description = "a long description " * 10
    program("token", "add", description)
    outcome = program("token", "list", COLUMNS="40", FORCE_COLOR="1")
    header, row = outcome.out.splitlines()
    assert header.split("  ")[0] == "PREFIX"
    assert [name in header for name in ("HASH…", "CREATED", "LAST USED", "EXPIRES", "DESCRIPTION")] == [True] * 5
    assert row.endswith(description.rstrip())
    assert row.index("never") == header.index("LAST USED")
    assert row.index("a long") == header.index("DESCRIPTION")
    assert outcome.out.isascii() is False
    assert "\x1b" not in outcome.out


def test_a_list_of_any_length_is_paged_through(cli: CLI) -> None:
    with get_repository(cli.url) as repository:
        first = repository.add_api_token("pattern")
        pattern = next(r for r in repository.export_records() if isinstance(r, APITokenRecord))
        copies = [
            msgspec.structs.replace(pattern, hash=f"{number:064x}", description=f"number {number}")
            for number in range(1234)
        ]
        repository.import_records(copies)
    tokens = cli.json("token", "list")
    assert len({token["hash"] for token in tokens}) == 1235
    lines = cli("token", "list").out.splitlines()
    assert len(lines) == 1236
    assert sum("PREFIX" in line for line in lines) == 1
    assert len(cli.json("token", "list", "--tenant", first.hash)) == 1235


def test_stored_text_can_not_reach_the_terminal(cli: CLI, terminal: Callable[..., Terminal]) -> None:
    issued = cli.json("token", "add", HOSTILE)
    tenant, service = issued["tenant_id"], "evil\u202e[bold]\U000e0001"
    assert issued["description"] == HOSTILE
    answer = {"access_token": "gho_1", "scope": ["[red]s"], "token_type": HOSTILE, "metadata": {HOSTILE: HOSTILE}}
    assert cli("oauth", "store", service, "--tenant", tenant, stdin=json.dumps(answer)).code == 0
    data = {HOSTILE: HOSTILE, "n": [HOSTILE]}
    place = (service, "--tenant", tenant, "--type", "custom")
    assert cli("credentials", "store", *place, stdin=json.dumps(data)).code == 0
    shown = [
        ("token", "list"),
        ("token", "show", tenant),
        ("token", "delete", tenant),
        ("tenant", "delete", tenant),
        ("oauth", "list", "--tenant", tenant),
        ("oauth", "show", service, "--tenant", tenant, "--reveal"),
        ("credentials", "list", "--tenant", tenant),
        ("credentials", "show", *place, "--reveal"),
        ("stats",),
    ]
    for option in ((), ("--json",)):
        for arguments in shown:
            outcome = cli(*option, *arguments)
            printed = (outcome.out + outcome.err).replace("\n", "")
            assert printed.replace("…", "").isprintable(), arguments
    assert r"[red]x[/red]\x1b[2J\x1b]0;title\x07\r\n\t\x9b31m\u202eevil\u2028" in cli("token", "list").out

    screen = terminal("token", "list", columns=200, NO_COLOR="1")
    assert screen.finish() == 0
    assert r"[red]x[/red]\x1b[2J" in screen.screen
    assert "\x1b[2J" not in screen.screen
    assert "\x07" not in screen.screen
    screen = terminal("token", "show", tenant, columns=200, NO_COLOR="1")
    assert screen.finish() == 0
    assert r"[red]x[/red]\x1b[2J" in screen.screen


def test_a_reader_that_stops_is_no_error(program: Callable[..., Outcome], url: str) -> None:
    with get_repository(url) as repository:
        repository.add_api_token("pattern")
        pattern = next(r for r in repository.export_records() if isinstance(r, APITokenRecord))
        copies = [msgspec.structs.replace(pattern, hash=f"{n:064x}", description="d" * 250) for n in range(600)]
        repository.import_records(copies)
    for options in ("", "--json"):
        command = f"{' '.join(PROGRAM)} --url {url} {options} token list"
        script = f"set -o pipefail; {command} | head -n 1"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (141, "")
        assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["--version", "--json --version", "--help", "token --help", "audit export"])
def test_a_reader_that_has_gone_is_141(url: str, arguments: str) -> None:
    with get_repository(url, audit=True) as repository:
        repository.add_api_token("recorded")
    # The reader is gone before anything is written.
    script = f"set -o pipefail; (exec 3>&1; sleep 0.1; exec {' '.join(PROGRAM)} --url {url} {arguments}) | exec true"
    if "version" in arguments:
        script = script.replace(f"--url {url} ", "")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["--json", "--version"], ["--help"], ["audit", "export"]])
def test_nothing_is_lost_in_silence(url: str, arguments: list[str]) -> None:
    with get_repository(url, audit=True) as repository:
        repository.add_api_token("recorded")
    environment = {**os.environ, "FUSION_STORE_URL": url}
    command = [*PROGRAM, *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=-1, text=True, env=environment, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (74, False)
    closed = ["bash", "-c", f"exec {' '.join(command)} >&-"]
    done = subprocess.run(closed, stderr=-1, text=True, env=environment, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (74, False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_can_not_be_written_is_74(url: str) -> None:
    get_repository(url).close()
    with Path("/dev/full").open("w") as full:
        listed = subprocess.run(
            [*PROGRAM, "--url", url, "token", "list"], stdout=full, stderr=-1, text=True, check=False
        )
        added = subprocess.run([*PROGRAM, "--url", url, "token", "add"], stdout=full, stderr=-1, text=True, check=False)
    assert (listed.returncode, listed.stderr) == (74, "Error: the output can't be written: No space left on device\n")
    assert added.returncode == 74
    with get_repository(url) as repository:
        (issued,) = repository.list_api_tokens()
    assert f"fusion-store token rotate {issued.token_id}" in added.stderr


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_breaks_nothing(url: str, closed: int) -> None:
    get_repository(url).close()
    arguments = [*PROGRAM, "--url", url, "token", "validate"]
    command = (
        f"exec {closed}<&-; exec {' '.join(arguments)}" if closed == 0 else f"exec {' '.join(arguments)} {closed}>&-"
    )
    done = subprocess.run(
        ["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == (74 if closed == 1 else 1)
    assert "Traceback" not in done.stderr


def test_another_encoding_is_no_error(url: str, program: Callable[..., Outcome]) -> None:
    program("token", "add", "Grüße 你好")
    outcome = program("token", "list", PYTHONIOENCODING="ascii")
    assert outcome.code == 0
    assert r"Gr\xfc\xdfe" in outcome.out


def test_a_description_that_is_no_text_is_2(url: str) -> None:
    done = subprocess.run(
        [*PROGRAM, "--url", url, "token", "add", os.fsdecode(b"\xff")], capture_output=True, check=False
    )
    assert done.returncode == 2
