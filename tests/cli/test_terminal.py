from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.cli.conftest import CLI, Terminal

Start = Callable[..., Terminal]


def test_a_new_token_is_laid_out_on_one_line_with_the_warning(terminal: Start, cli: CLI) -> None:
    screen = terminal("token", "add", "my laptop", columns=50, NO_COLOR="1")
    assert screen.finish() == 0
    lines = [_without_styles(line) for line in screen.screen.splitlines()]
    (token,) = (line.split()[1] for line in lines if line.startswith("Token:"))
    assert len(token) == 64
    assert "can't be shown again" in screen.screen
    assert cli.json("token", "validate", stdin=token)["description"] == "my laptop"


def test_a_token_to_validate_is_typed_unseen(terminal: Start, cli: CLI) -> None:
    token = cli.json("token", "add", "my laptop")["token"]
    screen = terminal("token", "validate")
    screen.expect("API token (not shown): ")
    screen.send(f"{token}\n")
    assert screen.finish() == 0
    assert "my laptop" in screen.screen
    assert token not in screen.screen


def test_an_oauth_token_is_typed_unseen(terminal: Start, cli: CLI) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    screen = terminal("oauth", "store", "github", "--tenant", tenant)
    screen.expect("(not shown): ")
    screen.send("gho_secret\n")
    assert screen.finish() == 0
    assert "gho_secret" not in screen.screen
    assert cli.json("oauth", "show", "github", "--tenant", tenant, "--reveal")["access_token"] == "gho_secret"


@pytest.mark.parametrize(
    ("typed", "stored"), [("\n", False), ("\x04", False), ("x" * 4094 + "\n", True), ("x" * 6000 + "\n", False)]
)
def test_nothing_or_a_cut_line_is_not_stored(terminal: Start, cli: CLI, typed: str, stored: bool) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    screen = terminal("oauth", "store", "github", "--tenant", tenant)
    screen.expect("(not shown): ")
    for start in range(0, len(typed), 1000):
        screen.send(typed[start : start + 1000])
    assert screen.finish() == (0 if stored else 2)
    assert len(cli.json("oauth", "list", "--tenant", tenant)) == stored


@pytest.mark.parametrize(
    ("kind", "answer", "code"),
    [("token", "y\n", 0), ("tenant", "YES\n", 0), ("token", "\n", 1), ("tenant", "\x04", 1), ("token", "what\n", 1)],
)
def test_deleting_shows_what_goes_and_asks(terminal: Start, cli: CLI, kind: str, answer: str, code: int) -> None:
    tenant = cli.json("token", "add", "my laptop")["tenant_id"]
    cli("oauth", "store", "github", "--tenant", tenant, stdin="gho_1")
    screen = terminal(kind, "delete", tenant)
    screen.expect("[y/N] ")
    assert "my laptop" in screen.screen
    assert f"tenant {tenant} with 1 API token, 1 OAuth token and 0 credentials" in screen.screen
    assert len(cli.json("token", "list")) == 1
    screen.send(answer)
    assert screen.finish() == code
    assert len(cli.json("token", "list")) == code


@pytest.mark.parametrize("command", [("token", "validate"), ("token", "delete")])
def test_ctrl_c_is_130_without_a_traceback(terminal: Start, cli: CLI, command: tuple[str, ...]) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    screen = terminal(*command, *([tenant] if command[1] == "delete" else []))
    screen.expect(": " if command[1] == "validate" else "[y/N] ")
    screen.send("\x03")
    assert screen.finish() == 130
    assert "Traceback" not in screen.screen
    assert len(cli.json("token", "list")) == 1


def test_a_list_is_a_table_in_colour_unless_refused(terminal: Start, cli: CLI) -> None:
    cli("token", "add", "my laptop")
    coloured, plain, dumb = (
        terminal("token", "list"),
        terminal("token", "list", NO_COLOR="1"),
        terminal("token", "list", TERM="dumb"),
    )
    assert [screen.finish() for screen in (coloured, plain, dumb)] == [0, 0, 0]
    assert "\x1b[" in coloured.screen
    assert "─" in plain.screen
    assert "\x1b[3" not in plain.screen
    assert "─" not in dumb.screen
    assert "\x1b" not in dumb.screen
    for screen in (coloured, plain, dumb):
        assert "my laptop" in screen.screen


def test_a_narrow_terminal_keeps_what_has_to_be_copied(terminal: Start, cli: CLI) -> None:
    issued = cli.json("token", "add", "a description that is rather long " * 3)
    screen = terminal("token", "list", columns=80, NO_COLOR="1")
    assert screen.finish() == 0
    assert issued["prefix"] in screen.screen
    assert issued["token_id"] in screen.screen


def test_json_at_a_terminal_is_json_alone(terminal: Start) -> None:
    screen = terminal("--json", "check")
    assert screen.finish() == 3
    assert screen.screen.startswith("{")
    assert "\x1b" not in screen.screen


def test_json_never_asks(terminal: Start, cli: CLI) -> None:
    tenant = cli.json("token", "add")["tenant_id"]
    screen = terminal("--json", "tenant", "delete", tenant)
    assert screen.finish() == 2
    assert '"exit_code": 2' in screen.screen
    assert len(cli.json("token", "list")) == 1


def test_help_renders_on_a_terminal(terminal: Start) -> None:
    screen = terminal("--help", NO_COLOR="1", columns=100)
    assert screen.finish() == 0
    assert "\b" not in screen.screen
    assert "─" not in screen.screen
    assert "  7  the store or a record in it is corrupt" in screen.screen


def test_an_interrupt_from_elsewhere_is_130(terminal: Start, cli: CLI) -> None:
    cli("token", "add")
    screen = terminal("token", "validate")
    screen.expect(": ")
    screen.interrupt()
    assert screen.finish() == 130


def _without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
