from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

from fusion_store import CredentialType, InvalidInput, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store.testing.contract._making import CANARY, api_key, exported, new_tenant, oauth, refused_field

HOUR = timedelta(hours=1)
NAIVE = datetime(2030, 1, 1)  # noqa: DTZ001, RUF100 - a naive time is the point
EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
LATE = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=1)))


class Text(str):
    pass


class Number(int):
    pass


class Fraction(float):
    pass


def nested(depth: int) -> dict[str, Any]:
    value: Any = CANARY
    for level in range(depth - 1):
        value = [value] if level % 2 else {"k": value}
    return {"k": value}


def cycle() -> dict[str, Any]:
    value: dict[str, Any] = {"k": CANARY}
    value["self"] = value
    return value


API_TOKENS_BEYOND: list[tuple[str, dict[str, Any]]] = [
    ("description", {"description": CANARY + "x" * 247}),
    ("description", {"description": CANARY + "\0"}),
    ("description", {"description": CANARY + "\udfff"}),
    ("description", {"description": None}),
    ("description", {"description": b"bytes"}),
    ("scopes", {"scopes": [CANARY] * 65}),
    ("scopes", {"scopes": [CANARY + "x" * 119]}),
    ("scopes", {"scopes": [CANARY, ""]}),
    ("scopes", {"scopes": [CANARY + " b"]}),
    ("scopes", {"scopes": [CANARY + "\n"]}),
    ("scopes", {"scopes": [CANARY + "\0"]}),
    ("scopes", {"scopes": [CANARY + "\ud800"]}),
    ("scopes", {"scopes": [CANARY, 5]}),
    ("scopes", {"scopes": CANARY}),
    ("scopes", {"scopes": None}),
    ("scopes", {"scopes": {CANARY}}),
    ("scopes", {"scopes": 5}),
    ("expires_at", {"expires_at": NAIVE}),
    ("expires_at", {"expires_at": EARLY}),
    ("expires_at", {"expires_at": LATE}),
    ("expires_at", {"expires_at": "2030-01-01T00:00:00Z"}),
    ("expires_at", {"expires_at": 1_900_000_000}),
    ("tenant_hash", {"tenant_hash": 5}),
    ("tenant_hash", {"tenant_hash": CANARY + "\0"}),
    ("tenant_hash", {"tenant_hash": CANARY + "\ud800"}),
]


def test_an_api_token_beyond_its_limits_is_refused(repository: TokenRepository) -> None:
    before = exported(repository)

    for field, arguments in API_TOKENS_BEYOND:
        assert refused_field(partial(repository.add_api_token, **arguments)) == field, arguments

    assert exported(repository) == before


API_TOKENS_WITHIN: list[dict[str, Any]] = [
    {"description": "é" * 256},
    {"description": ""},
    {"scopes": ["😀" * 128]},
    {"scopes": ("a",) * 64},
    {"expires_at": datetime(1, 1, 1, tzinfo=UTC)},
    {"expires_at": datetime.max.replace(tzinfo=UTC)},
    {"expires_at": datetime(1, 1, 1, tzinfo=timezone(-timedelta(hours=1)))},
]


def test_an_api_token_at_its_limits_is_stored(repository: TokenRepository) -> None:
    for arguments in API_TOKENS_WITHIN:
        issued = repository.add_api_token(**arguments)
        known = repository.get_api_token(issued.hash)
        assert known is not None
        for name, value in arguments.items():
            assert getattr(known, name) == (tuple(value) if name == "scopes" else value)


OAUTH_BEYOND: list[tuple[str, Any]] = [
    ("token", CANARY),
    ("token", None),
    ("token", {"access_token": CANARY}),
    ("access_token", OAuthTokenData("")),
    ("access_token", OAuthTokenData(CANARY + "x" * (64 * 1024 - 9))),
    ("access_token", OAuthTokenData(CANARY + "\0")),
    ("access_token", OAuthTokenData(CANARY + "\ud800")),
    ("access_token", OAuthTokenData(None)),  # type: ignore[arg-type]
    ("access_token", OAuthTokenData(CANARY.encode())),  # type: ignore[arg-type]
    ("refresh_token", oauth(refresh_token="")),
    ("refresh_token", oauth(refresh_token="é" * (32 * 1024) + "x")),
    ("refresh_token", oauth(refresh_token=CANARY + "\0")),
    ("refresh_token", oauth(refresh_token=5)),  # type: ignore[arg-type]
    ("token_type", oauth(token_type="")),
    ("token_type", oauth(token_type=CANARY + "x" * 119)),
    ("token_type", oauth(token_type=None)),
    ("expires_at", oauth(expires_at=NAIVE)),
    ("expires_at", oauth(expires_at=EARLY)),
    ("expires_at", oauth(expires_at=3600)),
    ("scope", oauth(scope=(CANARY,) * 65)),
    ("scope", oauth(scope=("x" * 129,))),
    ("scope", oauth(scope=(CANARY + " b",))),
    ("scope", oauth(scope=CANARY)),
    ("scope", oauth(scope=None)),
    ("metadata", oauth(metadata=None)),
    ("metadata", oauth(metadata=[CANARY])),
    ("metadata", oauth(metadata={"k": 5})),
    ("metadata", oauth(metadata={5: CANARY})),
    ("metadata", oauth(metadata={"k": None})),
    ("metadata", oauth(metadata={"k": CANARY + "\0"})),
    ("metadata", oauth(metadata={CANARY + "\ud800": "v"})),
    ("metadata", oauth(metadata={"k": "x" * (16 * 1024 - 7)})),
]


def test_an_oauth_token_beyond_its_limits_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    claim = repository.claim_refresh(tenant, "slack", ttl=HOUR)
    assert claim is not None
    before = exported(repository)

    for number, (field, token) in enumerate(OAUTH_BEYOND):
        assert refused_field(partial(repository.store_oauth_token, tenant, "github", token)) == field, (number, token)
        assert refused_field(partial(repository.commit_refresh, claim, token)) == field, (number, token)

    assert exported(repository) == before


OAUTH_WITHIN: list[OAuthTokenData] = [
    OAuthTokenData("x"),
    OAuthTokenData("x" * (64 * 1024)),
    oauth(refresh_token="é" * (32 * 1024)),
    oauth(token_type="x" * 128),
    oauth(scope=("x" * 128,) * 64),
    oauth(metadata={"k": "x" * (16 * 1024 - 8)}),
    oauth(expires_at=datetime.max.replace(tzinfo=UTC)),
]


def test_an_oauth_token_at_its_limits_is_stored(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)

    for token in OAUTH_WITHIN:
        stored = repository.store_oauth_token(tenant, "github", token)
        assert repository.get_oauth_token(tenant, "github") == stored
        for name in ("access_token", "refresh_token", "token_type", "scope", "metadata", "expires_at"):
            assert getattr(stored, name) == getattr(token, name)


DATA_BEYOND: list[Any] = [
    None,
    [CANARY],
    CANARY,
    {5: CANARY},
    {None: CANARY},
    {"k": math.nan},
    {"k": math.inf},
    {"k": [-math.inf]},
    {"k": 2**63},
    {"k": -(2**63) - 1},
    {"k": CANARY.encode()},
    {"k": (CANARY,)},
    {"k": {CANARY}},
    {"k": datetime.max.replace(tzinfo=UTC)},
    {"k": object()},
    {"k": CANARY + "\0"},
    {"k": [{"k": CANARY + "\ud800"}]},
    {CANARY + "\0": 1},
    {"k": {"\ud800": 1}},
    nested(17),
    cycle(),
    {"k": "x" * (64 * 1024 - 7)},
]


def test_credential_data_beyond_its_limits_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)

    for number, data in enumerate(DATA_BEYOND):
        credentials = ServiceCredentials(CredentialType.CUSTOM, data)
        assert refused_field(partial(repository.store_credentials, tenant, "github", credentials)) == "data", number

    assert exported(repository) == before


DATA_WITHIN: list[dict[str, Any]] = [
    {},
    nested(16),
    {"k": "x" * (64 * 1024 - 8)},
    {"k": [2**63 - 1, -(2**63)]},
    {"k": "é" * (32 * 1024 - 4)},
]


def test_credential_data_at_its_limits_is_stored(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)

    for data in DATA_WITHIN:
        repository.store_credentials(tenant, "github", ServiceCredentials(CredentialType.CUSTOM, data))
        read = repository.get_credentials(tenant, "github", CredentialType.CUSTOM)
        assert read is not None
        assert read.data == data


CREDENTIALS_BEYOND: list[tuple[str, Any]] = [
    ("credentials", None),
    ("credentials", {"type": "api_key", "data": {"key": CANARY}}),
    ("expires_at", api_key(CANARY, expires_at=NAIVE)),
    ("expires_at", api_key(CANARY, expires_at=LATE)),
    ("expires_at", ServiceCredentials(CredentialType.API_KEY, {"key": CANARY}, 5)),  # type: ignore[arg-type]
]


def test_a_credential_beyond_its_limits_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)

    for field, credentials in CREDENTIALS_BEYOND:
        refused = refused_field(partial(repository.store_credentials, tenant, "github", credentials))
        assert refused == field, credentials

    assert exported(repository) == before


PAYLOADS_BEYOND: list[Any] = [
    [CANARY],
    CANARY,
    5,
    {5: CANARY},
    {"k": math.nan},
    {"k": 2**63},
    {"k": CANARY + "\0"},
    nested(17),
    {"k": "x" * (16 * 1024 - 7)},
]


def test_a_codes_payload_beyond_its_limits_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    before = exported(repository)

    for number, payload in enumerate(PAYLOADS_BEYOND):
        create = partial(repository.create_auth_code, tenant, "github", ttl=HOUR, payload=payload)
        assert refused_field(create) == "payload", number

    assert exported(repository) == before


def test_a_codes_payload_at_its_limits_is_stored(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)

    for payload in (nested(16), {"k": "x" * (16 * 1024 - 8)}):
        code = repository.create_auth_code(tenant, "github", ttl=HOUR, payload=payload)
        redeemed = repository.redeem_auth_code(code)
        assert redeemed is not None
        assert redeemed.payload == payload


def test_an_owner_beyond_its_limits_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    owners: list[Any] = ["", CANARY + "x" * 119, CANARY + "\0", CANARY + "\ud800", 5, b"me"]
    before = exported(repository)

    for owner in owners:
        claim = partial(repository.claim_refresh, tenant, "github", ttl=HOUR, owner=owner)
        assert refused_field(claim) == "owner", owner

    assert exported(repository) == before
    assert repository.claim_refresh(tenant, "github", ttl=HOUR, owner="é" * 128) is not None


def test_a_page_has_one_to_a_million_entries(repository: TokenRepository) -> None:
    new_tenant(repository)
    limits: list[Any] = [0, -1, 1_000_001, 2**63, 1.0, "1", True, None]

    for limit in limits:
        assert refused_field(partial(repository.list_api_tokens, limit=limit)) == "limit", limit
        assert refused_field(partial(repository.list_tenants, limit=limit)) == "limit", limit
    assert len(repository.list_api_tokens(limit=1_000_000)) == len(repository.list_tenants(limit=1_000_000)) == 1


def test_a_made_up_cursor_is_refused(repository: TokenRepository) -> None:
    cursors: list[Any] = ["", CANARY, "1.", f"1.{'A' * 64}", f"1.{'a' * 63}", f"x.{'a' * 64}", f" 1.{'a' * 64}"]
    cursors += ["\0", CANARY + "\ud800", 5, f"1.{'a' * 64}\n"]

    for cursor in cursors:
        assert refused_field(partial(repository.list_api_tokens, after=cursor)) == "after", cursor
        assert refused_field(partial(repository.list_tenants, after=cursor)) == "after", cursor


def test_a_token_hash_is_clean_text(repository: TokenRepository) -> None:
    hashes: list[Any] = [None, 5, b"a" * 64, "\0", CANARY + "\ud800"]

    for hash in hashes:
        for operation in (repository.get_api_token, repository.delete_api_token, repository.rotate_api_token):
            assert refused_field(partial(operation, hash)) == "hash", hash


JSON_SUBCLASSES: list[dict[str, Any]] = [
    {"k": Text("text")},
    {"k": Number(7)},
    {"k": Fraction(1.5)},
    {Text("k"): 1},
    {"k": CredentialType.BEARER},
    {"k": [Text("text"), {"k": Number(7)}]},
]


def test_a_subclass_of_a_json_type_is_stored_as_that_type_or_refused(repository: TokenRepository) -> None:
    for data in JSON_SUBCLASSES:
        tenant = new_tenant(repository)
        store = partial(repository.store_credentials, tenant, "github", ServiceCredentials(CredentialType.CUSTOM, data))
        refused = refused_field(store) == "data"
        read = repository.get_credentials(tenant, "github", CredentialType.CUSTOM)
        assert read is None if refused else read is not None and read.data == data


TOKEN_SUBCLASSES: list[OAuthTokenData] = [
    OAuthTokenData(Text("access")),
    oauth(refresh_token=Text("refresh")),
    oauth(token_type=Text("Bearer")),
    oauth(scope=(Text("scope"),)),
    oauth(metadata={Text("k"): Text("v")}),
]


def test_a_subclass_of_str_in_a_token_is_stored_as_text_or_refused(repository: TokenRepository) -> None:
    names = ("access_token", "refresh_token", "token_type", "scope", "metadata")
    for token in TOKEN_SUBCLASSES:
        tenant = new_tenant(repository)
        refused = refused_field(partial(repository.store_oauth_token, tenant, "github", token)) in names
        read = repository.get_oauth_token(tenant, "github")
        assert (read is None) == refused
        for name in names:
            assert read is None or getattr(read, name) == getattr(token, name)


def test_a_subclass_of_str_is_taken_as_text_or_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)

    for operation in (
        lambda: repository.add_api_token(Text("description"), scopes=[Text("scope")]),
        lambda: repository.store_oauth_token(tenant, Text("github"), oauth()),
        lambda: repository.claim_refresh(Text(tenant), Text("github"), ttl=HOUR, owner=Text("me")),
        lambda: repository.create_auth_code(tenant, Text("github"), ttl=HOUR, payload={Text("k"): Text("v")}),
        lambda: repository.list_oauth_tokens(Text(tenant)),
        lambda: repository.validate_api_token(Text("token")),
    ):
        with suppress(InvalidInput):
            operation()
    assert repository.check().ok
