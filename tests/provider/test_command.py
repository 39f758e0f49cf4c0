"""``fusion-store connect`` and ``services``, as a person or a script runs them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from fusion_store import NeedsReauth
from tests.cli.conftest import PROGRAM, Terminal
from tests.provider.browser import Browser
from tests.provider.conftest import CODE_LIFE, SERVICE, TOKEN_LIFE, Host, Provider


class Command:
    """The program, running; what it asks of the user is read from its stderr."""

    def __init__(self, host: Host, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "--url", host.url, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """The next line on stderr, once it is there."""
        return _of(self.process.stderr).readline()

    def field(self, name: str) -> str:
        """What the next line on stderr says, which has to begin with ``name``."""
        match = re.fullmatch(rf"{name} +(\S+)\n", line := self.line())
        assert match, line + _of(self.process.stderr).read()
        return match[1]

    def finish(self) -> tuple[int, str, str]:
        """Exit code, stdout, and what is left of stderr."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


Connect = Callable[..., Command]


@pytest.fixture
def start(host: Host) -> Iterator[Connect]:
    """Starts commands against the host's vault."""
    started: list[Command] = []

    def start(*arguments: str) -> Command:
        started.append(Command(host, *arguments))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
        command.process.communicate()


@pytest.fixture
def connect(host: Host, start: Connect, services_file: Path) -> Connect:
    """Starts ``connect`` for the host's tenant."""

    def connect(*global_options: str, service: str = SERVICE) -> Command:
        tenant = host.issued.metadata.tenant_id
        return start(*global_options, "connect", service, "--tenant", tenant, "--services", str(services_file))

    return connect


def nothing_is_left(host: Host, service: str = SERVICE) -> bool:
    """Neither a token nor a claim that keeps others from getting one."""
    tenant_hash = host.issued.metadata.tenant_hash
    claim = host.repository.claim_refresh(tenant_hash, service, ttl=timedelta(seconds=1))
    return claim is not None and host.repository.get_oauth_token(tenant_hash, service) is None


def test_device_flow(host: Host, provider: Provider, connect: Connect) -> None:
    command = connect()
    address, code = command.field("Open"), command.field("Code")
    assert address == f"{provider.issuer}/device"
    assert "Sign-in Success" in Browser().consent(address, code)
    assert command.finish() == (0, f"Connected {SERVICE}, version 1.\n", "")
    token = host.stored
    assert token is not None
    assert token.refresh_token
    assert provider.user_of(token) == "alice"
    host.pass_time(TOKEN_LIFE)
    assert provider.user_of(host.get()) == "alice"


def test_device_flow_for_a_script(host: Host, provider: Provider, connect: Connect) -> None:
    command = connect("--json")
    prompt = json.loads(command.line())
    assert prompt.keys() == {"user_code", "verification_uri", "verification_uri_complete", "expires_at"}
    Browser().consent(prompt["verification_uri_complete"])
    code, out, err = command.finish()
    assert (code, err) == (0, "")
    token = host.stored
    assert token is not None
    assert token.expires_at is not None
    assert json.loads(out) == {
        "service": SERVICE,
        "tenant_hash": host.issued.metadata.tenant_hash,
        "version": 1,
        "expires_at": token.expires_at.isoformat().replace("+00:00", "Z"),
        "scope": ["openid", "offline_access"],
    }
    assert token.access_token not in out
    assert provider.user_of(token) == "alice"


def test_authorization_code(host: Host, provider: Provider, connect: Connect) -> None:
    command = connect(service="browser")
    assert "You can close this window" in Browser().consent(command.field("Open"))
    assert command.finish() == (0, "Connected browser, version 1.\n", "")
    token = host.repository.get_oauth_token(host.issued.metadata.tenant_hash, "browser")
    assert token is not None
    assert token.refresh_token
    assert provider.user_of(token) == "alice"


def test_authorization_code_at_a_terminal(host: Host, services_file: Path) -> None:
    """The address is longer than the screen is wide, and can be opened as it stands."""
    tenant = host.issued.metadata.tenant_id
    terminal = Terminal(
        "--url", host.url, "connect", "browser", "--tenant", tenant, "--services", str(services_file), columns=60
    )
    try:
        terminal.expect("Waiting for consent")
        address = re.search(r"Open +(\S+)", terminal.screen)
        assert address
        assert "You can close this window" in Browser().consent(address[1])
        assert terminal.finish() == 0
    finally:
        terminal.kill()
    assert "Connected browser, version 1." in terminal.screen


def test_authorization_code_for_a_script(host: Host, connect: Connect) -> None:
    command = connect("--json", service="browser")
    prompt = json.loads(command.line())
    Browser().consent(prompt["authorization_url"])
    code, out, err = command.finish()
    assert (code, err) == (0, "")
    assert json.loads(out)["service"] == "browser"


def test_user_refuses_on_another_device(host: Host, connect: Connect) -> None:
    command = connect()
    Browser().refuse(command.field("Open"), command.field("Code"))
    code, out, err = command.finish()
    assert (code, out) == (12, "")
    assert err.startswith(f"Error: {SERVICE}: the user refused\nHint: ")
    assert nothing_is_left(host)


def test_user_refuses_in_the_browser(host: Host, connect: Connect) -> None:
    command = connect("--json", service="browser")
    Browser().refuse(json.loads(command.line())["authorization_url"])
    code, out, err = command.finish()
    assert (code, out) == (12, "")
    problem = json.loads(err)
    assert (problem["error"], problem["message"]) == ("AuthError", "browser: the user refused")
    assert nothing_is_left(host, "browser")


def test_code_that_expired(host: Host, provider: Provider, connect: Connect) -> None:
    command = connect("--json")
    command.line()
    provider.shift(CODE_LIFE)
    code, out, err = command.finish()
    assert (code, out) == (12, "")
    assert "the code expired" in json.loads(err)["message"]
    assert nothing_is_left(host)


@pytest.mark.parametrize("service", [SERVICE, "browser"])
def test_interrupted(host: Host, services_file: Path, service: str) -> None:
    arguments = ("connect", service, "--tenant", host.issued.metadata.tenant_id, "--services", str(services_file))
    terminal = Terminal("--url", host.url, *arguments)
    try:
        terminal.expect("Waiting for consent")
        terminal.send("\x03")
        assert terminal.finish() == 130
    finally:
        terminal.kill()
    assert "Traceback" not in terminal.screen
    assert nothing_is_left(host, service)


def test_terminated(host: Host, connect: Connect) -> None:
    command = connect()
    command.field("Open")
    command.process.send_signal(signal.SIGTERM)
    assert command.finish()[0] != 0
    assert nothing_is_left(host)


def test_services_shows_what_is_connected(host: Host, provider: Provider, start: Connect, tmp_path: Path) -> None:
    services = ("fresh", "late", "gone", "never")
    file = tmp_path / "four.json"
    file.write_text(json.dumps({"services": {name: provider.settings() for name in services}}))
    host.connect(service="fresh")
    host.ahead = timedelta(minutes=2) - TOKEN_LIFE
    late = host.connect(service="late")
    host.ahead = timedelta(minutes=-1) - TOKEN_LIFE
    host.connect("bob", "gone")
    provider.withdraw("bob")
    host.ahead = timedelta()
    with pytest.raises(NeedsReauth):
        host.get("gone")

    code, out, err = start("--json", "services", "--services", str(file)).finish()
    assert (code, err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(out)
    assert {row["service"]: row["state"] for row in rows} == {
        "fresh": "ok",
        "late": "expiring",
        "gone": "needs reauth",
        "never": "not connected",
    }
    assert {row["tenant_hash"] for row in rows} == {host.issued.metadata.tenant_hash}
    assert late.expires_at is not None

    code, out, err = start("services", "--services", str(file), "--tenant", host.issued.metadata.tenant_id).finish()
    assert (code, err) == (0, "")
    for service, state in (("fresh", "ok"), ("late", "expiring"), ("gone", "needs reauth"), ("never", "not connected")):
        assert re.search(rf"^{service}\b.*\b{state}\b", out, re.MULTILINE)
