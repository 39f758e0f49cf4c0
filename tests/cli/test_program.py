"""The program as a whole: version, help, completion, where the store is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fusion_store import __version__
from fusion_store.cli import ExitCode, _build, run
from fusion_store.cli._errors import MEANINGS
from tests.cli.conftest import CLI, PROGRAM


def test_the_version_is_answered_before_anything_heavy_loads() -> None:
    code = (
        "import sys; sys.argv = ['fusion-store', '--version']; from fusion_store.__main__ import main;"
        "code = main();"
        "print(code, sorted({'typer', 'click', 'rich', 'sqlalchemy', 'alembic', 'plyvel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"fusion-store {__version__}\n0 []\n"


def test_the_version_after_another_option(cli: CLI) -> None:
    assert cli("--version") == (0, f"fusion-store {__version__}\n", "")


def test_the_version_and_a_missing_command_under_json(cli: CLI) -> None:
    assert cli.json("--version") == {"version": __version__}
    missing = cli("--json", "token")
    assert (missing.code, missing.out, missing.error["exit_code"]) == (2, "", 2)
    assert "fusion-store token --help" in missing.error["hint"]


def test_help_loads_no_database() -> None:
    code = "import sys; from fusion_store.cli import run; run(['--help']); print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, (*path, name))


COMMANDS = list(_commands(typer.main.get_command(_build())))


def test_all_commands_are_there() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "",
        "token",
        *(f"token {name}" for name in ("add", "list", "show", "validate", "rotate", "delete")),
        "tenant",
        *(f"tenant {name}" for name in ("list", "show", "delete")),
        "oauth",
        *(f"oauth {name}" for name in ("list", "show", "store", "delete")),
        "credentials",
        *(f"credentials {name}" for name in ("list", "show", "store", "delete")),
        "key",
        *(f"key {name}" for name in ("generate", "status", "rotate", "convert")),
        "schema",
        *(f"schema {name}" for name in ("current", "upgrade", "downgrade")),
        "audit",
        *(f"audit {name}" for name in ("status", "enable", "disable", "list", "export", "verify", "anchor")),
        *("stats", "check", "health", "doctor", "backup", "purge", "backends"),
        *("copy", "verify", "dump", "restore", "import"),
        *("connect", "services", "auth-code", "auth-code create"),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_text_renders(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: {' '.join(('fusion-store', *path))} ")
    assert shown.err == ""
    assert ("Exit" in shown.out) or path in {
        (name,) for name in ("token", "tenant", "oauth", "credentials", "key", "schema", "audit", "auth-code")
    }


def test_every_command_is_in_the_manual() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    for path in COMMANDS:
        assert f"fusion-store {' '.join(path)}".strip() in manual
    for code in ExitCode:
        assert f"| {int(code)} | {MEANINGS[code]}" in manual


@pytest.mark.parametrize("path", [(), ("token",), ("schema",)])
def test_a_group_alone_shows_its_commands(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(path) == (2 if path else 0)
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    environment = {**os.environ, "_FUSION_STORE_COMPLETE": f"source_{shell}"}
    done = subprocess.run([*PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, "_FUSION_STORE_COMPLETE" in done.stdout) == (0, True)


def test_completion_knows_commands_and_types() -> None:
    for words, expected in (
        ("fusion-store tok", "token"),
        ("fusion-store token r", "rotate"),
        ("fusion-store credentials store x --type b", "bearer"),
    ):
        environment = {
            **os.environ,
            "_FUSION_STORE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run([*PROGRAM], capture_output=True, text=True, env=environment, check=False)
        assert expected in done.stdout.split()


def test_a_new_store_is_private_under_any_umask(tmp_path: Path) -> None:
    for mask in (0, 0o22, 0o77):
        folder = tmp_path / f"{mask:o}"
        done = subprocess.run(
            [*PROGRAM, "--data-dir", str(folder), "token", "add"],
            capture_output=True,
            text=True,
            umask=mask,
            check=False,
        )
        assert done.returncode == 0
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_data_directory_and_the_environment_lead_to_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a folder ü#?%"
    assert run(["--data-dir", str(folder), "token", "add", "x"]) == 0
    monkeypatch.setenv("FUSION_STORE_DATA_DIR", str(folder))
    capsys.readouterr()
    assert run(["--json", "token", "list"]) == 0
    assert [token["description"] for token in json.loads(capsys.readouterr().out)] == ["x"]
    monkeypatch.setenv("FUSION_STORE_URL", f"sqlite:///{tmp_path}/other.db")
    assert run(["--json", "token", "list"]) == 3
    capsys.readouterr()
    assert run(["--data-dir", str(folder), "--json", "token", "list"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_url_and_data_directory_exclude_each_other(cli: CLI, tmp_path: Path) -> None:
    outcome = cli("--data-dir", str(tmp_path), "token", "list")
    assert (outcome.code, "exclude each other" in outcome.err) == (2, True)
    assert run(["--data-dir", "", "token", "list"]) == 2
    assert run(["--data-dir", os.fsdecode(b"\xff"), "token", "list"]) == 2


def test_the_store_is_opened_only_when_a_command_needs_it(cli: CLI, tmp_path: Path) -> None:
    for arguments in (
        ("backends",),
        ("token", "--help"),
        ("token", "add", "--expires-in", "soon"),
        ("schema", "current"),
    ):
        cli(*arguments)
    assert not (tmp_path / "vault").exists()


def test_the_backends(cli: CLI) -> None:
    found = {each["scheme"]: each for each in cli.json("backends")}
    assert found["memory"] == {"scheme": "memory", "driver": None, "installed": True, "extra": None}
    assert (found["leveldb"]["driver"], found["leveldb"]["extra"]) == ("plyvel", "leveldb")
    assert "pip install 'fusion-store[leveldb]'" in cli("backends").out


def test_the_schema(cli: CLI) -> None:
    cli("token", "add", "x")
    current = cli.json("schema", "current")
    assert current["up_to_date"]
    assert cli.json("schema", "upgrade") == {"before": current["current"], "current": current["current"]}
    refused = cli("schema", "downgrade", "0000")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    unknown = cli("schema", "downgrade", "nope", "--yes")
    assert (unknown.code, current["newest"] in unknown.err) == (2, True)
    assert cli("schema", "downgrade", current["newest"], "--yes").code == 0
    assert len(cli.json("token", "list")) == 1


def test_statistics_and_health(cli: CLI) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    cli("oauth", "store", "github", "--tenant", tenant, stdin="x")
    stats = cli.json("stats")
    assert (stats["tenants"], stats["api_tokens"], stats["oauth_tokens"]) == (1, 1, {"github": 1})
    assert stats["bytes_on_disk"] > 0
    health = cli.json("health")
    assert (health["ok"], health["backend"], health["encryption"], health["error"]) == (True, "sqlite", "plain", None)


def test_a_backup_opens_as_a_store(cli: CLI, tmp_path: Path) -> None:
    cli("token", "add", "x")
    assert cli.json("backup", str(tmp_path / "copy.db")) == {"path": str(tmp_path / "copy.db")}
    copy = cli("--json", "token", "list", url=f"sqlite:///{tmp_path}/copy.db")
    assert [token["description"] for token in copy.json] == ["x"]


@pytest.mark.parametrize("command", ["backup", "dump"])
def test_what_has_to_be_a_file_is_not_written_to_stdout(
    cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    cli("token", "add", "x")
    monkeypatch.chdir(tmp_path)
    refused = cli(command, "-")
    assert (refused.code, "stdout" in refused.err, Path("-").exists()) == (2, True, False)
    assert cli(command, "./-").code == 2


def test_purging(cli: CLI) -> None:
    cli("token", "add")
    assert cli.json("purge") == {"codes": 0, "claims": 0, "credentials": 0, "api_tokens": 0}


@pytest.mark.parametrize("module", ["msgspec", "typer", "fusion_store.cli._output"])
def test_ctrl_c_while_it_starts_is_130_without_a_word(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "class Pressing:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressing)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['fusion-store', 'backends']\n"
        "from fusion_store_command import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
