"""File caches: their tokens go to tenants that stand already."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fusion_store import SYSTEM_TENANT, InvalidInput, TokenRepository
from fusion_store.importing import carry_out, plan_import
from tests.importing.files import BORN

EXPIRY = "2027-03-04T05:06:07.123456789-05:00"
EXPIRES = datetime(2027, 3, 4, 10, 6, 7, 123456, tzinfo=UTC)


def entry(access_token: str = "secret-access", expires_at: str | None = EXPIRY, **fields: object) -> dict[str, Any]:
    return {"value": {"access_token": access_token, **fields}, "expires_at": expires_at}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache.json"


def write(file: Path, content: object) -> Path:
    file.write_text(json.dumps(content))
    return file


def test_tokens_go_to_the_tenants_that_their_keys_name(vault: TokenRepository, file: Path) -> None:
    ada, bob = vault.add_api_token().hash, vault.add_api_token().hash
    full = entry(
        "a",
        refresh_token="r",
        token_type="mac",
        scope=["read", "write"],
        metadata={"tokenLocation": "header"},
    )
    full["value"]["expires_at"] = "2028-01-01T00:00:00Z"
    unsaid = entry("c")
    unsaid["value"]["expires_at"] = None
    content = {f"tenant:{ada}:token:github": full, f"tenant:{bob}:token:git:hub": entry("b"), "token:mail": unsaid}
    carry_out(vault, plan_import(vault, write(file, content), tenant_hash=bob))
    token = vault.get_oauth_token(ada, "github")
    assert token is not None
    assert (token.access_token, token.refresh_token, token.token_type) == ("a", "r", "mac")
    assert (token.scope, dict(token.metadata)) == (("read", "write"), {"tokenLocation": "header"})
    assert token.expires_at == datetime(2028, 1, 1, tzinfo=UTC)
    bobs = vault.list_oauth_tokens(bob)
    assert {service: each.access_token for service, each in bobs.items()} == {"git:hub": "b", "mail": "c"}
    assert {each.expires_at for each in bobs.values()} == {EXPIRES}


def test_a_second_import_adds_nothing(vault: TokenRepository, file: Path) -> None:
    tenant = vault.add_api_token().hash
    write(file, {"token:github": entry(), f"tenant:{tenant}:token:mail": {**entry(), "created_at": BORN}})
    carry_out(vault, plan_import(vault, file, tenant_hash=tenant))
    before = list(vault.export_records())
    plan = plan_import(vault, file, tenant_hash=tenant)
    assert plan.records == []
    assert plan.standing == {"oauth_tokens": 2}
    carry_out(vault, plan)
    assert list(vault.export_records()) == before
    mail = vault.get_oauth_token(tenant, "mail")
    assert mail is not None
    assert mail.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_a_key_may_name_any_api_token_of_the_tenant(vault: TokenRepository, file: Path) -> None:
    tenant = vault.add_api_token().hash
    second = vault.add_api_token(tenant_hash=tenant).hash
    carry_out(vault, plan_import(vault, write(file, {f"tenant:{second}:token:github": entry("a")})))
    assert vault.get_oauth_token(tenant, "github").access_token == "a"  # type: ignore[union-attr]


def test_the_hosts_own_tenant_may_be_named(vault: TokenRepository, file: Path) -> None:
    carry_out(vault, plan_import(vault, write(file, {"token:github": entry("a")}), tenant_hash=SYSTEM_TENANT))
    assert vault.get_oauth_token(SYSTEM_TENANT, "github").access_token == "a"  # type: ignore[union-attr]


def test_a_place_that_was_claimed_before_keeps_its_counters(vault: TokenRepository, file: Path) -> None:
    tenant = vault.add_api_token().hash
    claim = vault.claim_refresh(tenant, "github", ttl=timedelta(seconds=30))
    assert claim is not None
    vault.release_refresh(claim)
    carry_out(vault, plan_import(vault, write(file, {"token:github": entry("a")}), tenant_hash=tenant))
    assert vault.get_oauth_token(tenant, "github").access_token == "a"  # type: ignore[union-attr]
    assert vault.claim_refresh(tenant, "github", ttl=timedelta(seconds=30)).fence == 2  # type: ignore[union-attr]


def test_tokens_of_no_tenant_need_one_named(vault: TokenRepository, file: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan_import(vault, write(file, {"token:github": entry()}))
    assert caught.value.field == "tenant"


@pytest.mark.parametrize("named", ["ab" * 32, "short", "", "\ud800"])
def test_tokens_of_unknown_tenants_are_invalid(vault: TokenRepository, file: Path, named: str) -> None:
    tenant = vault.add_api_token().hash
    content = {f"tenant:{named}:token:github": entry(), f"tenant:{tenant}:token:github": entry()}
    plan = plan_import(vault, write(file, content))
    (found,) = plan.invalid
    assert (found.tenant_hash, found.service) == (named, "github")
    with pytest.raises(InvalidInput):
        carry_out(vault, plan)
    carry_out(vault, plan, skip_invalid=True)
    assert set(vault.list_oauth_tokens(tenant)) == {"github"}


def test_what_is_no_token_is_left_out(vault: TokenRepository, file: Path) -> None:
    tenant = vault.add_api_token().hash
    write(file, {"http:cached": {"value": 5}, "token:github": entry(), "device:code": None})
    plan = plan_import(vault, file, tenant_hash=tenant)
    assert plan.left_out == {"entries that hold no token": 2}
    assert plan.coming == {"oauth_tokens": 1}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "secret",
        {},
        {"value": "secret"},
        {"value": {}},
        entry(""),
        entry("x" * 70_000),
        entry(expires_at="secret"),
        entry(scope="secret"),
    ],
    ids=repr,
)
def test_an_invalid_entry_is_listed(vault: TokenRepository, file: Path, bad: object) -> None:
    tenant = vault.add_api_token().hash
    plan = plan_import(vault, write(file, {"token:bad": bad, "token:good": entry()}), tenant_hash=tenant)
    (found,) = plan.invalid
    assert found.service == "bad"
    assert "secret" not in found.reason
    carry_out(vault, plan, skip_invalid=True)
    assert set(vault.list_oauth_tokens(tenant)) == {"good"}


TOKEN = b'{"value": {"access_token": "secret"}, "expires_at": null}'
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a key twice": (b'{"token:a": %s, "token:a": %s}' % (TOKEN, TOKEN), "twice"),
    "a key twice further in": (b'{"token:a": {"value": {"access_token": "secret", "access_token": "b"}}}', "twice"),
    "NaN": (b'{"token:a": {"value": NaN}}', "NaN"),
    "infinity": (b'{"token:a": {"value": -Infinity}}', "infinite"),
    "a number beyond all numbers": (b'{"a": 1e400}', "infinite"),
    "a cut": (b'{"token:a": %s' % TOKEN, "isn't JSON"),
    "a tail": (b'{"token:a": %s} secret' % TOKEN, "isn't JSON"),
    "nesting": (b'{"a": ' + b"[" * 2_000_000, "nested too deeply"),
    "nested objects": (b'{"a": ' * 500_000, "nested too deeply"),
    "an array": (b"[%s]" % TOKEN, "must be a JSON object"),
    "no UTF-8": (b'{"token:\xff": %s}' % TOKEN, "UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "neither"),
    "nothing": (b"", "neither"),
    "something else": (b"SQLite format 3\0", "neither"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(vault: TokenRepository, file: Path, name: str) -> None:
    content, why = HOSTILE[name]
    file.write_bytes(content)
    tenant = vault.add_api_token().hash
    with pytest.raises(InvalidInput, match=why) as caught:
        plan_import(vault, file, tenant_hash=tenant)
    assert caught.value.field == "file"
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_gigabyte_is_refused_unread(vault: TokenRepository, file: Path) -> None:
    file.write_bytes(b'{"a": ' + b"[" * 1000)
    os.truncate(file, 2**30)
    with pytest.raises(InvalidInput, match="more than 16777216 bytes"):
        plan_import(vault, file)


def test_of_two_tokens_for_one_place_the_newer_comes(vault: TokenRepository, file: Path) -> None:
    tenant = vault.add_api_token().hash
    content = {
        "token:github": {**entry("new"), "created_at": "2026-02-01T00:00:00Z"},
        f"tenant:{tenant}:token:github": {**entry("old"), "created_at": "2026-01-01T00:00:00Z"},
    }
    plan = plan_import(vault, write(file, content), tenant_hash=tenant)
    assert [found.service for found in plan.superseded] == ["github"]
    carry_out(vault, plan)
    assert vault.get_oauth_token(tenant, "github").access_token == "new"  # type: ignore[union-attr]
