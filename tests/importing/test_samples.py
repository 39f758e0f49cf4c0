"""Files written by the Go programs come over exactly as their manifests say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store.importing import carry_out, plan_import
from tests.cli.conftest import CLI
from tests.importing.files import SAMPLES, manifest

ALL = pytest.mark.parametrize("name", SAMPLES)


def bring(vault: TokenRepository, path: Path, **options: Any) -> None:
    carry_out(vault, plan_import(vault, path, **options))


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def in_manifest(said: Mapping[str, Any]) -> Any:
    tokens = {
        service: (
            token["access_token"],
            token.get("refresh_token"),
            token["token_type"],
            moment(token.get("expires_at")),
            tuple(token.get("scope", ())),
            token.get("metadata", {}),
            moment(token["created_at"]),
            moment(token["updated_at"]),
        )
        for service, token in said["oauth"].items()
    }
    credentials = {
        (service, CredentialType(each["type"])): (each["data"], moment(each["created_at"]), moment(each["updated_at"]))
        for service, each in said.get("credentials", {}).items()
    }
    return said["prefix"], tokens, credentials


def in_vault(vault: TokenRepository, hash: str) -> Any:
    def of_token(t: OAuthTokenData) -> Any:
        fields = (t.access_token, t.refresh_token, t.token_type, t.expires_at, t.scope, dict(t.metadata))
        return (*fields, t.created_at, t.updated_at)

    def of_credential(c: ServiceCredentials) -> Any:
        return c.data, c.created_at, c.updated_at

    token = vault.get_api_token(hash)
    assert token is not None
    return (
        token.prefix,
        {service: of_token(each) for service, each in vault.list_oauth_tokens(hash).items()},
        {place: of_credential(each) for place, each in vault.list_credentials(hash).items()},
    )


@ALL
def test_a_sample_comes_over_exactly(vault: TokenRepository, name: str) -> None:
    bring(vault, SAMPLES[name])
    living = [said for said in manifest(name) if not said.get("deleted")]
    assert {tenant.tenant_hash for tenant in vault.list_tenants()} == {said["hash"] for said in living}
    assert {token.hash for token in vault.iter_api_tokens()} == {said["hash"] for said in living}
    for said in living:
        assert in_vault(vault, said["hash"]) == in_manifest(said)
        caller = vault.validate_api_token(said["token"])
        assert caller is not None
        assert caller.tenant_hash == said["hash"]
        assert caller.description.startswith("sample t")
        assert caller.description.endswith("— naïve ☂")
    assert vault.check().ok


@ALL
def test_times_keep_their_microseconds(vault: TokenRepository, name: str) -> None:
    bring(vault, SAMPLES[name])
    token = next(vault.iter_api_tokens())
    expected = {
        "plan": "2026-11-23T08:38:46.937423Z 2026-11-23T08:38:46.937424Z",
        "mcpfusion-1.1": "2026-11-23T08:38:47.516678Z 2026-11-23T08:38:47.516678Z",
    }
    assert [token.created_at, token.last_used] == [moment(text) for text in expected[name].split()]
    tenant = vault.get_tenant(token.hash)
    assert tenant is not None
    assert tenant.created_at == token.created_at


@ALL
def test_a_second_import_adds_nothing(vault: TokenRepository, name: str) -> None:
    bring(vault, SAMPLES[name])
    before = list(vault.export_records())
    plan = plan_import(vault, SAMPLES[name])
    assert plan.records == []
    assert plan.conflicts == []
    assert not +plan.coming
    assert plan.standing["tenants"] == len(vault.list_tenants())
    carry_out(vault, plan)
    assert list(vault.export_records()) == before


def test_what_deleted_tokens_left_behind_is_reported_and_stays(vault: TokenRepository) -> None:
    deleted = next(said for said in manifest("mcpfusion-1.1") if said.get("deleted"))
    plan = plan_import(vault, SAMPLES["mcpfusion-1.1"])
    assert [(found.kind, found.tenant_hash, found.service) for found in plan.orphans] == [
        ("oauth", deleted["hash"], "google")
    ]
    carry_out(vault, plan)
    assert vault.get_tenant(deleted["hash"]) is None
    assert vault.validate_api_token(deleted["token"]) is None


def test_what_has_no_place_is_counted(vault: TokenRepository) -> None:
    plan = plan_import(vault, SAMPLES["mcpfusion-1.1"])
    assert plan.left_out == {"auth codes": 1, "user descriptions": 2, "knowledge entries": 2}
    assert not plan_import(vault, SAMPLES["plan"]).left_out


@ALL
def test_an_imported_token_lives_on_as_any_other(vault: TokenRepository, name: str) -> None:
    bring(vault, SAMPLES[name])
    tenant = next(each.tenant_hash for each in vault.list_tenants() if vault.list_oauth_tokens(each.tenant_hash))
    assert vault.get_oauth_token(tenant, "microsoft365").version == 1  # type: ignore[union-attr]
    stored = vault.store_oauth_token(tenant, "microsoft365", OAuthTokenData("new"), expected_version=1)
    assert stored.version == 2


@ALL
def test_versions_go_on_after_an_imported_token_is_deleted(vault: TokenRepository, name: str) -> None:
    bring(vault, SAMPLES[name])
    tenant = next(each.tenant_hash for each in vault.list_tenants() if vault.list_oauth_tokens(each.tenant_hash))
    vault.delete_oauth_token(tenant, "microsoft365")
    assert vault.store_oauth_token(tenant, "microsoft365", OAuthTokenData("new")).version == 2


@ALL
def test_an_import_never_changes_the_file(cli: CLI, tmp_path: Path, name: str) -> None:
    file = tmp_path / "mcpfusion.db"
    file.write_bytes(SAMPLES[name].read_bytes())
    file.chmod(0o400)
    before = file.read_bytes(), file.stat().st_mtime_ns, sorted(tmp_path.iterdir())
    assert cli("import", str(file), "--dry-run").code == 0
    assert (file.read_bytes(), file.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before
    assert cli("import", str(file)).code == 0
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before[:2]
