"""What is configured, what is connected, and codes for other programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fusion_store import OAuthTokenData, get_repository
from fusion_store.auth import REJECTED
from tests.cli.conftest import CLI

HOUR = timedelta(hours=1)


@pytest.fixture
def services(tmp_path: Path) -> Path:
    path = tmp_path / "services.json"
    oauth = {"type": "oauth2_external", "client_id": "c", "token_url": "https://provider.example/token"}
    path.write_text(json.dumps({"services": dict.fromkeys(("calendar", "github", "mail"), oauth)}))
    return path


@pytest.fixture
def files(services: Path, tmp_path: Path) -> dict[str, str]:
    """By the word for it: ``services``, and others that have no sign-in by OAuth, or one that can't work."""
    nowhere = "http://127.0.0.1:1"
    device = {
        "type": "oauth2_device",
        "client_id": "c",
        "device_authorization_url": f"{nowhere}/device",
        "token_url": f"{nowhere}/token",
    }
    others = tmp_path / "others.json"
    others.write_text(json.dumps({"services": {"weather": {"type": "api_key"}, "tv": device}}))
    return {"FILE": str(services), "OTHERS": str(others)}


def states(cli: CLI, services: Path | None, *arguments: str) -> dict[str, str]:
    options = ["--services", str(services)] if services else []
    return {row["service"]: row["state"] for row in cli.json("services", *arguments, *options)}


def test_each_connection_is_listed_with_its_state(cli: CLI, services: Path) -> None:
    with get_repository(cli.url) as repository:
        tenant = repository.add_api_token().hash
        now = datetime.now(UTC)
        tokens = {
            "github": OAuthTokenData("access", "refresh", expires_at=now + HOUR),
            "mail": OAuthTokenData("access", "refresh", expires_at=now - HOUR),
            "forgotten": OAuthTokenData("access"),
        }
        for service, token in tokens.items():
            repository.store_oauth_token(tenant, service, token)

        assert states(cli, services, "--tenant", tenant) == {
            "calendar": "not connected",
            "forgotten": "not configured",
            "github": "ok",
            "mail": "expiring",
        }
        repository.store_oauth_token(
            tenant, "mail", OAuthTokenData("access", "refresh", expires_at=now - HOUR, metadata={REJECTED: "1"})
        )
        repository.store_oauth_token(tenant, "github", OAuthTokenData("access", expires_at=now - HOUR))
        found = states(cli, services)
        assert (found["mail"], found["github"]) == ("needs reauth", "needs reauth")
        assert states(cli, None) == dict.fromkeys(("forgotten", "github", "mail"), "not configured")

    text = cli("services", "--services", str(services)).out
    assert tenant[:16] in text
    assert "access" not in text


def test_no_tenants_no_rows(cli: CLI) -> None:
    get_repository(cli.url).close()
    assert cli("services").out == "No services found.\n"


def test_an_auth_code_is_good_for_one_use_in_its_time(cli: CLI) -> None:
    with get_repository(cli.url) as repository:
        tenant = repository.add_api_token().hash
        made = cli.json("auth-code", "create", "mail", "--tenant", tenant[:12], "--expires-in", "5m")
        redeemed = repository.redeem_auth_code(made["code"])
        assert redeemed is not None
        assert (redeemed.tenant_hash, redeemed.service) == (tenant, "mail")
        assert timedelta(minutes=4) < redeemed.expires_at - datetime.now(UTC) <= timedelta(minutes=5)
        assert abs(redeemed.expires_at - datetime.fromisoformat(made["expires_at"])) < timedelta(seconds=10)
        assert repository.redeem_auth_code(made["code"]) is None
        plain = cli("auth-code", "create", "mail", "--tenant", tenant)
        assert repository.redeem_auth_code(plain.out.strip()) is not None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["connect", "mail", "--tenant", "TENANT"], 9, "FUSION_STORE_SERVICES"),
        (["connect", "nothing", "--tenant", "TENANT", "--services", "FILE"], 9, "calendar, github, mail"),
        (["connect", "mail", "--tenant", "ffffffff", "--services", "FILE"], 3, "tenant"),
        (["connect", "mail", "--tenant", "TENANT", "--services", "/nowhere.json"], 9, "nowhere"),
        (["connect", "mail", "--tenant", "TENANT", "--services", "FILE"], 2, "fusion-store auth-code create mail"),
        (["connect", "weather", "--tenant", "TENANT", "--services", "OTHERS"], 2, "credentials store weather"),
        (["connect", "tv", "--tenant", "TENANT", "--services", "OTHERS"], 12, "127.0.0.1"),
        (["auth-code", "create", "mail", "--tenant", "ffffffff"], 3, "tenant"),
        (["auth-code", "create", "mail", "--tenant", "TENANT", "--expires-in", "soon"], 2, "--expires-in"),
    ],
)
def test_what_cannot_be_done_is_said(
    cli: CLI, files: dict[str, str], arguments: list[str], code: int, words: str
) -> None:
    with get_repository(cli.url) as repository:
        tenant = repository.add_api_token().hash
    named = {"TENANT": tenant, **files}
    given = [named.get(argument, argument) for argument in arguments]

    outcome = cli(*given)

    assert (outcome.code, words in outcome.err) == (code, True), outcome
    assert "Traceback" not in outcome.err
    assert "--url" not in outcome.err
