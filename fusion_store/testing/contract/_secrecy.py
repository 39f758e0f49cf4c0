from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from fusion_store import (
    CredentialType,
    FusionStoreError,
    OAuthTokenData,
    RefreshClaim,
    ServiceCredentials,
    TokenRepository,
)
from fusion_store.backend import AuthCodeRecord, SecretRecord
from fusion_store.testing.contract._making import UNKNOWN, exported

CANARY = "canary-5b1f"
HOUR = timedelta(hours=1)
TOKEN = OAuthTokenData(CANARY, CANARY, metadata={"note": CANARY})
CREDENTIAL = ServiceCredentials(CredentialType.CUSTOM, {"password": CANARY})


def test_no_error_shows_a_secret(repository: TokenRepository, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    issued = repository.add_api_token()
    tenant = issued.hash
    repository.store_oauth_token(tenant, "github", TOKEN)
    claim = repository.claim_refresh(tenant, "github", ttl=HOUR)
    assert claim is not None
    code = repository.create_auth_code(tenant, "github", ttl=HOUR, payload={"verifier": CANARY})
    repository.release_refresh(claim)
    records = exported(repository)
    secret = next(record for record in records if isinstance(record, SecretRecord))
    forged = RefreshClaim(UNKNOWN, "github", "me", 0, 1, claim.deadline)
    too_long = CANARY * 10_000

    failing: list[Callable[[], object]] = [
        lambda: repository.store_oauth_token(UNKNOWN, "github", TOKEN),
        lambda: repository.store_oauth_token(tenant, "github", TOKEN, expected_version=9),
        lambda: repository.store_oauth_token(tenant, "github", OAuthTokenData(too_long)),
        lambda: repository.store_oauth_token(tenant, "github", OAuthTokenData(CANARY + "\0")),
        lambda: repository.commit_refresh(claim, TOKEN),
        lambda: repository.commit_refresh(forged, TOKEN),
        lambda: repository.store_credentials(UNKNOWN, "github", CREDENTIAL),
        lambda: repository.store_credentials(tenant, "github", CREDENTIAL, expected_version=9),
        lambda: repository.store_credentials(tenant, "github", replace(CREDENTIAL, data={"k": too_long})),
        lambda: repository.store_credentials(tenant, "github", replace(CREDENTIAL, data={CANARY: object()})),
        lambda: repository.create_auth_code(UNKNOWN, "github", ttl=HOUR, payload={"verifier": CANARY}),
        lambda: repository.create_auth_code(tenant, "github", ttl=HOUR, payload={"verifier": too_long}),
        lambda: repository.add_api_token(too_long),
        lambda: repository.add_api_token(scopes=[CANARY + " "]),
        lambda: repository.resolve_api_token(CANARY),
        lambda: repository.resolve_tenant(CANARY),
        lambda: repository.list_api_tokens(after=CANARY),
        lambda: repository.get_oauth_token(tenant, CANARY + " "),
        lambda: repository.import_records([replace(secret, version=9)]),
        lambda: repository.import_records([replace(secret, payload=CANARY.encode())]),
        lambda: repository.import_records([replace(secret, version=CANARY)]),
        lambda: repository.import_records([CANARY]),  # type: ignore[list-item]
    ]
    for operation in failing:
        with pytest.raises(FusionStoreError) as caught:
            operation()
        # Python's own lines quote this file, not values.
        shown = "".join(traceback.format_exception_only(caught.value))
        assert CANARY not in shown + str(caught.value) + repr(caught.value) + repr(caught.value.args)
        for chained in (caught.value.__cause__, caught.value.__context__):
            assert CANARY not in f"{chained!r} {chained}"
    redeemed = repository.redeem_auth_code(code)

    repository.validate_api_token(issued.token)
    repository.flush()
    for answer in (repository, redeemed, repository.list_oauth_tokens(tenant), records, issued, TOKEN, CREDENTIAL):
        assert CANARY not in f"{answer!r} {answer}"
        assert issued.token not in f"{answer!r} {answer}"
    assert CANARY not in caplog.text
    assert issued.token not in caplog.text
    assert code not in caplog.text


def test_an_api_token_is_stored_as_its_hash_alone(repository: TokenRepository) -> None:
    issued = repository.add_api_token()
    repository.validate_api_token(issued.token)

    for record in exported(repository):
        assert issued.token not in repr(record)
        assert not any(issued.token in str(getattr(record, name)) for name in record.__struct_fields__)


def test_records_show_no_payload(repository: TokenRepository) -> None:
    tenant = repository.add_api_token().hash
    repository.store_oauth_token(tenant, "github", TOKEN)
    repository.store_credentials(tenant, "github", CREDENTIAL)
    repository.create_auth_code(tenant, "github", ttl=HOUR, payload={"verifier": CANARY})

    secrets = [record for record in exported(repository) if isinstance(record, SecretRecord | AuthCodeRecord)]

    assert len(secrets) == 3
    for record in secrets:
        assert "[redacted]" in repr(record)
        assert CANARY not in f"{record!r} {record}"
