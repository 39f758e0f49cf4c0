from __future__ import annotations

import copy
import inspect
import logging
import pickle
import pprint
import sys
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from _pytest._io.saferepr import saferepr
from rich.console import Console
from rich.pretty import pretty_repr

import fusion_store
from fusion_store import (
    SYSTEM_TENANT,
    APITokenMetadata,
    AuditRecord,
    AuthCode,
    CheckReport,
    CorruptPlace,
    CredentialType,
    Health,
    InvalidInput,
    IssuedToken,
    OAuthTokenData,
    RefreshClaim,
    ServiceCredentials,
    StoreStats,
    TenantInfo,
)
from fusion_store.backend import (
    AuditChain,
    AuditFault,
    AuthCodeRecord,
    AuthenticationAttempt,
    CounterRecord,
    Kind,
    Place,
    SecretRecord,
    TenantRecord,
)

CANARY = "canary-93c1"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HASH = "ab" * 32
METADATA = APITokenMetadata(HASH, "abcd1234", HASH, "laptop", ("read",), NOW, None, None)
PLACE = Place(HASH, Kind.OAUTH, "github")

SECRET: list[Any] = [
    IssuedToken(CANARY, METADATA),
    OAuthTokenData(CANARY, CANARY, metadata={CANARY: CANARY}),
    ServiceCredentials(CredentialType.CUSTOM, {CANARY: [CANARY]}),
    AuthCode(HASH, "github", NOW, {"verifier": CANARY}),
    SecretRecord(PLACE, CANARY.encode(), None, 0, 0, 1),
    AuthCodeRecord(HASH, Place(HASH, Kind.AUTH_CODE, "github"), CANARY.encode(), 0),
]
PLAIN: list[Any] = [
    METADATA,
    TenantInfo(HASH, NOW, 1, 2, 3),
    RefreshClaim(HASH, "github", "me", 1, 1, NOW),
    StoreStats(1, 1, {"github": 1}, {CredentialType.BEARER: 1}, 0, "1"),
    Health(True, "memory", 0.1, "1", "plain"),
    CorruptPlace("oauth", HASH, "github", "unreadable"),
    CheckReport(1, ()),
    PLACE,
    TenantRecord(HASH, 0),
    CounterRecord(PLACE),
    AuditRecord(action="oauth.store", recorded_at=0, sequence=1, previous="", hash=HASH, detail={"version": 1}),
    AuditChain(HASH),
    AuditFault(HASH, 1, "record 1 is missing"),
    AuthenticationAttempt(0, "accepted"),
]


def name_of(value: object) -> str:
    return type(value).__name__


def test_every_public_value_is_tested_here() -> None:
    base = METADATA.__class__.__mro__[1]
    public = {
        name
        for name in fusion_store.__all__
        if inspect.isclass(v := getattr(fusion_store, name)) and issubclass(v, base)
    }

    assert public <= {name_of(value) for value in [*SECRET, *PLAIN]}


@pytest.mark.parametrize("value", SECRET, ids=name_of)
def test_a_secret_is_shown_nowhere(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    console = Console(width=200, record=True, file=None, quiet=True)
    console.print(value, [value])
    caplog.set_level(logging.DEBUG)
    logging.getLogger("host").info("stored %s %r", value, [value])
    try:
        raise ValueError(value)
    except ValueError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    for text in (
        repr(value),
        str(value),
        f"{value}",
        f"{[value]}",
        pprint.pformat([value]),
        pretty_repr(value),
        saferepr(value),
        console.export_text(),
        caplog.text,
        shown,
    ):
        assert CANARY not in text
    assert "[redacted]" in repr(value)


@pytest.mark.parametrize("value", SECRET, ids=name_of)
def test_a_value_with_a_secret_can_not_be_pickled(value: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickle") as caught:
            pickle.dumps([value], protocol)
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize("value", PLAIN, ids=name_of)
def test_a_value_without_secrets_can_be_pickled(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("value", [*SECRET, *PLAIN], ids=name_of)
def test_a_value_is_frozen_and_slotted(value: Any) -> None:
    for field in value.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(value, field, None)
    with pytest.raises(AttributeError):
        value.further = 1
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("value", [*SECRET, *PLAIN], ids=name_of)
def test_a_value_can_be_copied(value: Any) -> None:
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value


def test_a_missing_secret_is_told_from_a_hidden_one() -> None:
    assert "refresh_token=None" in repr(OAuthTokenData("access"))
    assert "refresh_token='[redacted]'" in repr(OAuthTokenData("access", "refresh"))


def test_an_issued_token_knows_its_hash() -> None:
    assert IssuedToken("token", METADATA).hash == HASH


def test_short_ids_are_sixteen_characters() -> None:
    metadata = APITokenMetadata("ab" * 32, "abcd1234", "cd" * 32, "", (), NOW, None, None)

    assert (metadata.token_id, metadata.tenant_id) == ("ab" * 8, "cd" * 8)
    assert TenantInfo("cd" * 32, NOW, 0, 0, 0).tenant_id == "cd" * 8


def test_a_token_is_expired_from_its_expiry_on() -> None:
    token = OAuthTokenData("access", expires_at=NOW)

    assert not token.is_expired(now=NOW - timedelta(microseconds=1))
    assert token.is_expired(now=NOW)
    assert token.is_expired(now=NOW + HOUR)


def test_a_buffer_brings_the_expiry_forward() -> None:
    token = OAuthTokenData("access", expires_at=NOW)

    assert token.is_expired(HOUR, now=NOW - HOUR)
    assert not token.is_expired(HOUR, now=NOW - HOUR - timedelta(microseconds=1))
    assert not OAuthTokenData("access").is_expired(HOUR, now=NOW)


def test_without_a_given_time_the_systems_counts() -> None:
    present = datetime.now(UTC)

    assert OAuthTokenData("access", expires_at=present - HOUR).is_expired()
    assert not OAuthTokenData("access", expires_at=present + HOUR).is_expired()


def test_a_naive_time_is_refused() -> None:
    naive = NOW.replace(tzinfo=None)

    with pytest.raises(InvalidInput) as caught:
        OAuthTokenData("access", expires_at=NOW).is_expired(now=naive)
    assert caught.value.field == "now"
    with pytest.raises(InvalidInput) as caught:
        OAuthTokenData("access", expires_at=naive).is_expired(now=NOW)
    assert caught.value.field == "expires_at"
    with pytest.raises(InvalidInput) as caught:
        OAuthTokenData("access").is_expired(now=naive)
    assert caught.value.field == "now"


def test_values_made_without_metadata_share_none() -> None:
    first, second = OAuthTokenData("a"), OAuthTokenData("b")

    assert first.metadata == second.metadata == {}
    assert first.metadata is not second.metadata
    assert (first.version, first.token_type, first.scope) == (0, "Bearer", ())


def test_a_report_is_ok_when_nothing_is_corrupt() -> None:
    assert CheckReport(1, ()).ok
    assert not CheckReport(1, (CorruptPlace("oauth", HASH, "github", "unreadable"),)).ok


def test_the_system_tenants_hash_is_fixed() -> None:
    assert SYSTEM_TENANT == "0" * 64
    assert [str(kind) for kind in CredentialType] == ["api_key", "bearer", "basic_auth", "custom"]


def test_rich_does_not_have_to_be_there() -> None:
    assert "rich" not in sys.modules[OAuthTokenData.__module__].__dict__
