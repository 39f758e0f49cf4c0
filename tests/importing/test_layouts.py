"""What becomes of MCPFusion's records, in both layouts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fusion_store import Conflict, CredentialType, InvalidInput, OAuthTokenData, TokenRepository
from fusion_store.importing import ImportPlan, carry_out, plan_import
from tests.importing.files import (
    ADA,
    BOB,
    Tree,
    api_token,
    as_json,
    credential,
    hash_of,
    key_of,
    oauth,
    planned,
    shipped,
    write,
)

LAYOUTS = pytest.mark.parametrize("layout", [planned, shipped], ids=["plan", "mcpfusion-1.1"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mcpfusion.db"


def bring(vault: TokenRepository, file: Path, tree: Tree, *, skip_invalid: bool = False, **options: Any) -> ImportPlan:
    plan = plan_import(vault, write(file, tree), **options)
    carry_out(vault, plan, skip_invalid=skip_invalid)
    return plan


def holding(**tokens: bytes) -> Tree:
    return {b"oauth_tokens": {service.encode(): token for service, token in tokens.items()}}


@LAYOUTS
def test_services_stand_under_their_tenants_only(vault: TokenRepository, file: Path, layout: Any) -> None:
    bring(vault, file, layout({ADA: holding(github=oauth("a")), BOB: holding(github=oauth("b"), mail=oauth("c"))}))
    ada, bob = hash_of(ADA), hash_of(BOB)
    assert {service: token.access_token for service, token in vault.list_oauth_tokens(ada).items()} == {"github": "a"}
    bobs = {service: token.access_token for service, token in vault.list_oauth_tokens(bob).items()}
    assert bobs == {"github": "b", "mail": "c"}
    assert vault.validate_api_token(ADA).tenant_hash == ada  # type: ignore[union-attr]


@LAYOUTS
def test_many_tenants_come_over_under_branch_pages(vault: TokenRepository, file: Path, layout: Any) -> None:
    names = [f"{i:08d}" * 4 for i in range(300)]
    bring(vault, file, layout({name: holding(github=oauth(name)) for name in names}))
    assert len(vault.list_tenants(limit=1000)) == 300
    for name in names[::17]:
        assert vault.get_oauth_token(hash_of(name), "github").access_token == name  # type: ignore[union-attr]


@LAYOUTS
def test_each_type_of_credential_has_its_counterpart(vault: TokenRepository, file: Path, layout: Any) -> None:
    types = ("api_key", "bearer", "basic", "basic_auth", "custom")
    held = {type.encode(): credential(type, data={"secret": type}) for type in types}
    bring(vault, file, layout({ADA: {b"service_credentials": held}}))
    found = {(service, type): each.data for (service, type), each in vault.list_credentials(hash_of(ADA)).items()}
    assert found == {
        ("api_key", CredentialType.API_KEY): {"secret": "api_key"},
        ("bearer", CredentialType.BEARER): {"secret": "bearer"},
        ("basic", CredentialType.BASIC_AUTH): {"secret": "basic"},
        ("basic_auth", CredentialType.BASIC_AUTH): {"secret": "basic_auth"},
        ("custom", CredentialType.CUSTOM): {"secret": "custom"},
    }


def test_credentials_come_out_of_the_buckets_of_their_types(vault: TokenRepository, file: Path) -> None:
    folders: Tree = {
        b"api_keys": {b"jira": credential("api_key"), b"wiki": credential("")},
        b"bearer_tokens": {b"jira": credential("bearer")},
        b"basic_auth": {b"jira": credential("basic")},
        b"basic": credential("custom"),
    }
    bring(vault, file, planned({ADA: {b"service_credentials": folders}}))
    assert set(vault.list_credentials(hash_of(ADA))) == {
        ("jira", CredentialType.API_KEY),
        ("wiki", CredentialType.API_KEY),
        ("jira", CredentialType.BEARER),
        ("jira", CredentialType.BASIC_AUTH),
        ("basic", CredentialType.CUSTOM),
    }


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.5+02:00", datetime(2026, 1, 2, 1, 4, 5, 500_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.000001999-11:30", datetime(2026, 1, 2, 14, 34, 5, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        (None, None),
    ],
)
def test_times_are_what_go_wrote(vault: TokenRepository, file: Path, written: str, meant: datetime | None) -> None:
    token = oauth(expires_at=written)
    bring(vault, file, shipped({ADA: {b"token": api_token(ADA, last_used=written), **holding(github=token)}}))
    assert vault.get_oauth_token(hash_of(ADA), "github").expires_at == meant  # type: ignore[union-attr]
    assert vault.get_api_token(hash_of(ADA)).last_used == meant  # type: ignore[union-attr]


def test_records_without_times_come_once(vault: TokenRepository, file: Path) -> None:
    zero = {"created_at": "0001-01-01T00:00:00Z", "updated_at": "0001-01-01T00:00:00Z"}
    token = api_token(ADA, created_at=zero["created_at"], last_used=zero["created_at"])
    tree = shipped({ADA: {b"token": token, **holding(github=oauth(**zero))}})
    before = datetime.now(UTC)
    bring(vault, file, tree)
    stored = vault.get_oauth_token(hash_of(ADA), "github")
    assert stored is not None
    assert before <= stored.created_at == stored.updated_at <= datetime.now(UTC)
    assert bring(vault, file, tree).records == []


def test_what_go_leaves_empty_is_none(vault: TokenRepository, file: Path) -> None:
    token = oauth(refresh_token="", token_type="", scope=[""], metadata=None)
    bring(vault, file, shipped({ADA: holding(github=token)}))
    stored = vault.get_oauth_token(hash_of(ADA), "github")
    assert stored is not None
    assert (stored.refresh_token, stored.token_type, stored.scope, stored.metadata) == (None, "Bearer", (), {})


LONG = "x" * 70_000
INVALID: dict[str, tuple[str, bytes]] = {
    "an access token over the limit": ("access_token", oauth(LONG)),
    "an empty access token": ("access_token", oauth("")),
    "a missing access token": ("access_token", as_json({"token_type": "Bearer"})),
    "a refresh token over the limit": ("refresh_token", oauth(refresh_token=LONG)),
    "too many scopes": ("scope", oauth(scope=["s"] * 65)),
    "a scope with a space": ("scope", oauth(scope=["a b"])),
    "metadata over the limit": ("metadata", oauth(metadata={"k": "v" * 17_000})),
    "metadata of another type": ("metadata", oauth(metadata={"k": 1})),
    "NUL": ("access_token", oauth("a\0b")),
    "a surrogate": ("access_token", b'{"access_token": "secret-\\ud800"}'),
    "a time that is none": ("expires_at", oauth(expires_at="tomorrow")),
    "a day that is none": ("expires_at", oauth(expires_at="2026-02-30T00:00:00Z")),
    "a time without a zone": ("expires_at", oauth(expires_at="2026-02-03T00:00:00")),
    "a time before the year 1": ("expires_at", oauth(expires_at="0001-01-01T00:00:00+01:00")),
    "a number for a time": ("expires_at", oauth(expires_at=5)),
    "no JSON": ("record", b"secret-rubbish"),
    "JSON of another type": ("record", b'["secret-rubbish"]'),
    "a key twice": ("record", b'{"access_token": "secret-1", "access_token": "secret-2"}'),
    "a key twice further in": ("record", b'{"access_token": "secret-1", "metadata": {"a": "1", "a": "2"}}'),
    "NaN": ("record", b'{"access_token": "secret-1", "more": NaN}'),
    "an infinite number": ("record", b'{"access_token": "secret-1", "more": [1e999]}'),
    "an endless integer": ("record", b'{"access_token": "secret-1", "more": %s}' % (b"1" * 5000)),
    "deep nesting": ("record", b'{"access_token": "secret-1", "more": %s}' % (b"[" * 300_000)),
    "no UTF-8": ("record", b'{"access_token": "secret-\xff"}'),
    "a record of a megabyte": ("record", oauth("secret", more="x" * 1_100_000)),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_record_keeps_everything_out_unless_skipped(vault: TokenRepository, file: Path, name: str) -> None:
    field, record = INVALID[name]
    tree = shipped({ADA: holding(bad=record, good=oauth()), BOB: holding(bad=record)})
    plan = plan_import(vault, write(file, tree))
    assert [(found.kind, found.tenant_hash, found.service) for found in sorted(plan.invalid, key=str)] == sorted(
        ("oauth", hash_of(name), "bad") for name in (ADA, BOB)
    )
    assert all(field in found.reason for found in plan.invalid)
    assert all("secret" not in found.reason and "xxxx" not in found.reason for found in plan.invalid)
    with pytest.raises(InvalidInput, match="2"):
        carry_out(vault, plan)
    assert vault.list_tenants() == []

    carry_out(vault, plan, skip_invalid=True)
    assert set(vault.list_oauth_tokens(hash_of(ADA))) == {"good"}
    assert vault.list_oauth_tokens(hash_of(BOB)) == {}


BAD_CREDENTIALS: dict[str, tuple[str, bytes]] = {
    "too much data": ("data", credential(data={"key": LONG})),
    "too deep data": ("data", credential(data={"key": eval("[" * 16 + "]" * 16)})),
    "much too deep data": ("", b'{"type": "api_key", "data": {"key": %s1%s}}' % (b"[" * 900, b"]" * 900)),
    "an integer over 64 bits": ("data", credential(data={"key": 2**64})),
    "data of another type": ("data", credential(data=["secret"])),
    "no data": ("data", as_json({"type": "api_key"})),
    "an unknown type": ("type", credential("secret-type")),
    "no type": ("type", credential("")),
}


@pytest.mark.parametrize("name", BAD_CREDENTIALS)
def test_an_invalid_credential_is_listed(vault: TokenRepository, file: Path, name: str) -> None:
    field, record = BAD_CREDENTIALS[name]
    plan = plan_import(vault, write(file, shipped({ADA: {b"service_credentials": {b"jira": record}}})))
    (found,) = plan.invalid
    assert (found.kind, found.tenant_hash, found.service) == ("credential", hash_of(ADA), "jira")
    assert field in found.reason
    assert "secret" not in found.reason


def test_a_credential_in_the_bucket_of_another_type_is_listed(vault: TokenRepository, file: Path) -> None:
    folders = {b"api_keys": {b"jira": credential("bearer")}, b"other": {b"jira": credential()}}
    plan = plan_import(vault, write(file, planned({ADA: {b"service_credentials": folders}})))
    assert sorted(found.service for found in plan.invalid) == ["jira", "other"]


@pytest.mark.parametrize(
    "service", [b"a" * 256, b" outer", b"line\nbreak", "e\u0301".encode(), b"\xff\xfe"], ids=lambda service: service[:8]
)
def test_a_service_name_over_our_limits_is_listed(vault: TokenRepository, file: Path, service: bytes) -> None:
    plan = plan_import(vault, write(file, shipped({ADA: {b"oauth_tokens": {service: oauth()}}})))
    (found,) = plan.invalid
    assert found.reason.startswith("service")


BAD_TOKENS: dict[str, bytes] = {
    "another hash": api_token(ADA, hash=hash_of(BOB)),
    "no prefix": as_json({"hash": hash_of(ADA)}),
    "a long prefix": api_token(ADA, prefix="123456789"),
    "a long description": api_token(ADA, description="x" * 257),
    "a strange time": api_token(ADA, created_at="once"),
    "no JSON": b"{",
}


@pytest.mark.parametrize("name", BAD_TOKENS)
@LAYOUTS
def test_an_invalid_api_token_and_what_it_opens_are_listed(
    vault: TokenRepository, file: Path, layout: Any, name: str
) -> None:
    key = b"metadata" if layout is planned else b"token"
    tree = layout({ADA: {key: BAD_TOKENS[name], **holding(github=oauth())}, BOB: holding(github=oauth())})
    plan = plan_import(vault, write(file, tree))
    assert [(found.kind, found.tenant_hash) for found in plan.invalid] == [
        ("api_token", hash_of(ADA)),
        ("oauth", hash_of(ADA)),
    ]
    assert plan.orphans == []
    carry_out(vault, plan, skip_invalid=True)
    assert [tenant.tenant_hash for tenant in vault.list_tenants()] == [hash_of(BOB)]


def test_a_key_that_is_no_hash_is_listed(vault: TokenRepository, file: Path) -> None:
    root = shipped({}, api_tokens={b"short": api_token(ADA, hash="short"), key_of(BOB): {}})
    plan = plan_import(vault, write(file, root))
    assert sorted(found.tenant_hash for found in plan.invalid) == sorted(["short", hash_of(BOB)])


def test_secrets_of_deleted_tokens_stay_behind(vault: TokenRepository, file: Path) -> None:
    left: Tree = {b"token": b"", **holding(github=oauth()), b"service_credentials": {b"jira": credential()}}
    plan = bring(vault, file, shipped({ADA: left, BOB: holding(github=oauth())}))
    assert [(found.kind, found.tenant_hash, found.service) for found in plan.orphans] == [
        ("oauth", hash_of(ADA), "github"),
        ("credential", hash_of(ADA), "jira"),
    ]
    assert [tenant.tenant_hash for tenant in vault.list_tenants()] == [hash_of(BOB)]


USERS = {"user-1": [ADA, BOB], "user-2": ["eve"]}
KEYS: dict[str, Tree] = {
    ADA: {b"token": api_token(ADA, created_at="2026-02-01T00:00:00Z"), **holding(a=oauth("of ada"))},
    BOB: {b"token": api_token(BOB, created_at="2026-01-01T00:00:00Z"), **holding(b=oauth("of bob"))},
    "eve": holding(github=oauth("of eve")),
    "zoe": holding(github=oauth("of zoe")),
}


def test_users_stay_apart_unless_merging_is_asked_for(vault: TokenRepository, file: Path) -> None:
    bring(vault, file, shipped(KEYS, USERS))
    assert {token.hash: token.tenant_hash for token in vault.iter_api_tokens()} == {
        hash_of(name): hash_of(name) for name in KEYS
    }


def test_a_merged_user_is_one_tenant_with_several_tokens(vault: TokenRepository, file: Path) -> None:
    plan = bring(vault, file, shipped(KEYS, USERS), merge_users=True)
    assert {token.hash: token.tenant_hash for token in vault.iter_api_tokens()} == {
        hash_of(ADA): hash_of(BOB),
        hash_of(BOB): hash_of(BOB),
        hash_of("eve"): hash_of("eve"),
        hash_of("zoe"): hash_of("zoe"),
    }
    merged = {service: token.access_token for service, token in vault.list_oauth_tokens(hash_of(BOB)).items()}
    assert merged == {"a": "of ada", "b": "of bob"}
    assert vault.validate_api_token(ADA).tenant_hash == hash_of(BOB)  # type: ignore[union-attr]
    assert vault.get_tenant(hash_of(BOB)).created_at == datetime(2026, 1, 1, tzinfo=UTC)  # type: ignore[union-attr]
    assert plan.superseded == []
    assert bring(vault, file, shipped(KEYS, USERS), merge_users=True).records == []


def test_of_a_merged_users_rivals_the_newest_comes(vault: TokenRepository, file: Path) -> None:
    old, new = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"
    keys: dict[str, Tree] = {
        ADA: holding(x=oauth("new x", updated_at=new), y=oauth("old y", updated_at=old), z=oauth("same")),
        BOB: holding(x=oauth("old x", updated_at=old), y=oauth("new y", updated_at=new), z=oauth("same")),
    }
    plan = bring(vault, file, shipped(keys, {"user": [ADA, BOB]}), merge_users=True)
    tenant = vault.get_api_token(hash_of(ADA)).tenant_hash  # type: ignore[union-attr]
    assert {service: token.access_token for service, token in vault.list_oauth_tokens(tenant).items()} == {
        "x": "new x",
        "y": "new y",
        "z": "same",
    }
    assert {(found.tenant_hash, found.service) for found in plan.superseded} == {
        (hash_of(BOB), "x"),
        (hash_of(ADA), "y"),
    }


def test_keys_of_users_that_are_gone_are_not_merged(vault: TokenRepository, file: Path) -> None:
    tree = {**shipped(KEYS, USERS), b"users": {}}
    bring(vault, file, tree, merge_users=True)
    assert len(vault.list_tenants()) == len(KEYS)


def test_a_record_that_stands_with_other_content_keeps_everything_out(vault: TokenRepository, file: Path) -> None:
    bring(vault, file, shipped({ADA: holding(github=oauth(), mail=oauth())}))
    vault.store_oauth_token(hash_of(ADA), "github", OAuthTokenData("refreshed since"))
    plan = plan_import(vault, write(file, shipped({ADA: holding(github=oauth(), mail=oauth()), BOB: {}})))
    assert [(found.kind, found.tenant_hash, found.service) for found in plan.conflicts] == [
        ("oauth", hash_of(ADA), "github")
    ]
    before = list(vault.export_records())
    for skip_invalid in (False, True):
        with pytest.raises(Conflict):
            carry_out(vault, plan, skip_invalid=skip_invalid)
    assert list(vault.export_records()) == before


def test_a_token_that_opens_another_tenant_already_is_a_conflict(vault: TokenRepository, file: Path) -> None:
    bring(vault, file, shipped(KEYS, USERS), merge_users=True)
    plan = plan_import(vault, write(file, shipped(KEYS, USERS)))
    assert (("api_token", hash_of(ADA)) in [(found.kind, found.tenant_hash) for found in plan.conflicts]) is True
    with pytest.raises(Conflict):
        carry_out(vault, plan)


def test_what_came_later_is_added(vault: TokenRepository, file: Path) -> None:
    bring(vault, file, shipped({ADA: holding(github=oauth())}))
    later: dict[str, Tree] = {ADA: holding(github=oauth(), mail=oauth()), BOB: holding(github=oauth())}
    plan = bring(vault, file, shipped(later))
    assert plan.coming == {"tenants": 1, "api_tokens": 1, "oauth_tokens": 2}
    assert plan.standing == {"tenants": 1, "api_tokens": 1, "oauth_tokens": 1}
    assert set(vault.list_oauth_tokens(hash_of(ADA))) == {"github", "mail"}


def test_a_token_revoked_since_stays_dead(vault: TokenRepository, file: Path) -> None:
    tree = shipped({ADA: holding(github=oauth())})
    bring(vault, file, tree)
    vault.rotate_api_token(hash_of(ADA))
    plan = bring(vault, file, tree)
    assert [found.tenant_hash for found in plan.revoked] == [hash_of(ADA)]
    assert vault.validate_api_token(ADA) is None


def test_an_import_cut_short_anywhere_is_finished_by_the_next(vault: TokenRepository, file: Path) -> None:
    records = plan_import(vault, write(file, shipped({ADA: holding(github=oauth()), BOB: {}}))).records
    for cut in range(1, len(records)):
        vault.import_records(records[:cut])
        plan = plan_import(vault, file)
        assert plan.revoked == plan.conflicts == []
        carry_out(vault, plan)
        assert vault.validate_api_token(ADA) is not None
        assert vault.validate_api_token(BOB) is not None
        assert vault.get_oauth_token(hash_of(ADA), "github") is not None
        assert plan_import(vault, file).records == []
        vault.delete_tenant(hash_of(ADA))
        vault.delete_tenant(hash_of(BOB))


def test_what_the_vault_has_no_place_for_is_counted(vault: TokenRepository, file: Path) -> None:
    tree = shipped(
        {ADA: {b"metadata": b"{}", b"strange": {}, **holding(github=oauth(id_token="x", more=1))}},
        surprise={b"a": b"b"},
    )
    plan = bring(vault, file, tree)
    assert plan.left_out == {"unknown entries": 2, "tenant descriptions": 1, "unknown fields": 2}


@pytest.mark.parametrize(
    ("tree", "why"),
    [
        ({b"widgets": {}}, "not of MCPFusion"),
        ({b"api_tokens": b"{}"}, "not of MCPFusion"),
        ({}, "not of MCPFusion"),
        (shipped({}, system={b"schema_version": b"2.0"}), "schema"),
    ],
)
def test_other_files_of_bbolt_are_refused(vault: TokenRepository, file: Path, tree: Tree, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        plan_import(vault, write(file, tree))


@pytest.mark.parametrize(
    "tree",
    [
        shipped({ADA: {b"oauth_tokens": oauth()}}),
        shipped({}, tenants={key_of(ADA): oauth()}),
        planned({ADA: {b"service_credentials": oauth()}}),
    ],
    ids=["oauth_tokens", "tenants", "service_credentials"],
)
def test_a_value_in_a_buckets_place_is_refused(vault: TokenRepository, file: Path, tree: Tree) -> None:
    with pytest.raises(InvalidInput, match="where a bucket is expected"):
        plan_import(vault, write(file, tree))


def test_an_empty_file_of_mcpfusion_brings_nothing(vault: TokenRepository, file: Path) -> None:
    assert bring(vault, file, shipped({})).records == []
    assert bring(vault, file, {b"api_tokens": {}}).records == []
