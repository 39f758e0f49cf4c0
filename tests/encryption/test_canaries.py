"""No secret reaches a file, an error, a log or a pickle, whatever is done and whatever fails."""

from __future__ import annotations

import base64
import copy
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from fusion_store import (
    AuthCode,
    CredentialType,
    FusionStoreError,
    OAuthTokenData,
    ServiceCredentials,
    TokenRepository,
)
from fusion_store.backend import Kind
from fusion_store.layers import Key
from tests.encryption.raw import Raw
from tests.encryption.vaults import ON_DISK, TTL, Contents, Vault, all_records, fill, storage

OpenRaw = Callable[[TokenRepository], Raw]

CANARY = "Zq7canary"
LARGE = f"{CANARY}-large-" + "x" * 3000

TOKEN = OAuthTokenData(
    f"{CANARY}-access",
    f"{CANARY}-refresh",
    token_type=f"{CANARY}-type",
    scope=(f"{CANARY}:scope",),
    metadata={f"{CANARY}-name": f"{CANARY}-value"},
)
CREDENTIALS = ServiceCredentials(CredentialType.CUSTOM, {f"{CANARY}-key": [{"deep": f"{CANARY}-value"}], "l": LARGE})
PAYLOAD = {f"{CANARY}-key": f"{CANARY}-verifier"}


def spellings(text: str) -> set[bytes]:
    """What a text looks like in files and messages: as it is, and in the usual encodings."""
    raw = text.encode()
    return {
        raw,
        raw.hex().encode(),
        text.encode("utf-16-le"),
        # Base64 of whole groups, wherever in a longer text they begin.
        *(base64.urlsafe_b64encode(raw[start : start + (len(raw) - start) // 3 * 3]) for start in range(3)),
    }


def secrets_of(vault: Vault) -> set[bytes]:
    """What is looked for: the canary, and the key in its forms."""
    material = vault.key.material()
    return {
        *spellings(CANARY),
        vault.key.reveal().encode(),
        material,
        material[:16],
        material[16:],
        material.hex().encode(),
    }


def files_of(vault: Vault) -> Iterator[tuple[str, bytes]]:
    for path in sorted(vault.folder.rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()


def assert_clean(vault: Vault) -> set[str]:
    """No file of the store holds a secret; answers the names of those that were searched."""
    names = set()
    for name, content in files_of(vault):
        assert not any(secret in content for secret in secrets_of(vault)), name
        names.add(name)
    return names


def use(repository: TokenRepository) -> None:
    """Everything that writes a payload: new, over an old one, through a claim, and taken away again."""
    tenants = [repository.add_api_token(f"tenant {number}").hash for number in range(2)]
    for tenant in tenants:
        for service in ("github", "mail", "drive"):
            for _ in range(2):
                repository.store_oauth_token(tenant, service, TOKEN)
                repository.store_credentials(tenant, service, CREDENTIALS)
            claim = repository.claim_refresh(tenant, service, ttl=TTL)
            assert claim is not None
            repository.commit_refresh(claim, TOKEN)
            repository.redeem_auth_code(repository.create_auth_code(tenant, service, ttl=TTL, payload=PAYLOAD))
            repository.create_auth_code(tenant, service, ttl=TTL, payload=PAYLOAD)
        repository.delete_oauth_token(tenant, "mail")
        repository.delete_credentials(tenant, "mail", CredentialType.CUSTOM)
        assert repository.list_oauth_tokens(tenant)["github"].access_token == TOKEN.access_token
        assert repository.list_credentials(tenant)["github", CredentialType.CUSTOM].data == CREDENTIALS.data
    repository.delete_tenant(tenants[1])


@pytest.mark.parametrize("backend", ON_DISK)
def test_no_file_of_a_store_holds_a_secret(vault: Vault) -> None:
    repository = vault.sealed()
    use(repository)
    names = assert_clean(vault)
    assert names & {"vault.db-wal", "CURRENT"}
    assert any(name == "vault.db-wal" or name.endswith(".log") for name in names)
    repository.backup(vault.folder / "backup")
    vault.close()
    assert_clean(vault)
    assert vault.sealed().check().ok
    assert_clean(vault)


@pytest.mark.parametrize("backend", ON_DISK)
def test_the_search_finds_what_a_plain_store_holds(vault: Vault) -> None:
    use(vault.open())
    with pytest.raises(AssertionError):
        assert_clean(vault)


@pytest.mark.parametrize("backend", ON_DISK)
def test_plain_records_leave_no_trace_when_they_are_imported(vault: Vault) -> None:
    source = vault.elsewhere("../source").open()
    use(source)
    vault.sealed().import_records(source.export_records())
    assert_clean(vault)
    vault.close()
    assert_clean(vault)


def altered(vault: Vault, open_raw: OpenRaw, alter: Callable[[bytes], bytes]) -> tuple[TokenRepository, Contents]:
    repository = vault.sealed()
    contents = fill(repository, vault.clock.now, secret=CANARY)
    database = open_raw(repository)
    for row in contents.rows:
        database.set_payload(row, alter(database.payload(row)))
    return repository, contents


def plain(_: bytes) -> bytes:
    return b"\x01\0\0\0\0" + f'{{"access_token":"{CANARY}"}}'.encode()


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "altered": lambda payload: payload[:-1] + bytes([payload[-1] ^ 1]),
    "cut": lambda payload: payload[:12],
    "of another key": lambda payload: payload[:4] + b"\0" * 8 + payload[12:],
    "of an unknown cipher": lambda payload: payload[:12] + b"\xff" + payload[13:],
    "plain": plain,
}


def failures(repository: TokenRepository, contents: Contents) -> Iterator[Callable[[], object]]:
    """Every operation that meets a payload, and some that are refused before."""
    tenant = contents.rows[0].place.tenant_hash
    for row in contents.rows:
        yield partial(contents.read, repository, row)
        if not row.hash:
            yield partial(contents.list_beside, repository, row)
    yield lambda: list(repository.export_records())
    yield partial(repository.import_records, all_records(storage(repository)))
    yield partial(repository.store_oauth_token, tenant, "github", TOKEN, expected_version=77)
    yield partial(repository.store_oauth_token, "ab" * 32, "github", TOKEN)
    yield partial(repository.store_oauth_token, tenant, "gith\0ub", TOKEN)
    yield partial(repository.store_oauth_token, tenant, "github", OAuthTokenData(CANARY + "\0"))
    yield partial(repository.store_oauth_token, tenant, "github", OAuthTokenData(CANARY * 65536))
    yield partial(repository.store_oauth_token, tenant, "github", OAuthTokenData(CANARY, metadata={CANARY: LARGE * 6}))
    yield partial(repository.store_credentials, "ab" * 32, "github", CREDENTIALS)
    yield partial(
        repository.store_credentials,
        tenant,
        "github",
        ServiceCredentials(CredentialType.CUSTOM, {CANARY: CANARY * 65536}),
    )
    yield partial(repository.create_auth_code, "ab" * 32, "github", ttl=TTL, payload=PAYLOAD)
    yield partial(repository.create_auth_code, tenant, "github", ttl=timedelta(0), payload=PAYLOAD)
    yield partial(repository.create_auth_code, tenant, "github", ttl=TTL, payload={CANARY: LARGE * 6})


def texts_of(error: BaseException) -> Iterator[str]:
    """All that an error can show of itself, and of what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), repr(seen.args), repr(vars(seen)))
        seen = seen.__cause__ or seen.__context__
    yield "".join(traceback.format_exception(error))
    yield repr(pickle.dumps(error))


def assert_unseen(vault: Vault, texts: list[str]) -> None:
    for text in texts:
        assert not any(secret in text.encode(errors="replace") for secret in secrets_of(vault)), text


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_no_error_shows_a_secret(vault: Vault, raw: OpenRaw, alteration: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    repository, contents = altered(vault, raw, ALTERATIONS[alteration])
    texts: list[str] = []
    failed = 0
    calls = list(failures(repository, contents))
    for call in calls:
        try:
            call()
        except FusionStoreError as error:
            failed += 1
            texts += texts_of(error)
    texts += [repr(repository.check()), repr(repository.health()), repr(repository), repr(vars(repository))]
    repository.close()
    for call in calls:
        with pytest.raises(FusionStoreError) as caught:
            call()
        texts += texts_of(caught.value)
    assert failed > len(contents.rows)
    assert_unseen(vault, texts + [logged(record) for record in caplog.records])


def logged(record: logging.LogRecord) -> str:
    return f"{record.getMessage()} {vars(record)!r}"


def test_opening_with_the_wrong_keys_shows_none(vault: Vault, raw: OpenRaw, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    fill(vault.sealed(), vault.clock.now, secret=CANARY)
    vault.close()
    texts: list[str] = []
    with pytest.raises(FusionStoreError) as caught:
        vault.open(Key.generate())
    texts += texts_of(caught.value)
    raw(repository := vault.open()).set_mark(b"plain")
    repository.close()
    with pytest.raises(FusionStoreError) as caught:
        vault.sealed()
    texts += texts_of(caught.value)
    assert_unseen(vault, texts + [logged(record) for record in caplog.records])


def test_what_was_read_is_shown_and_pickled_without_its_secrets(vault: Vault) -> None:
    repository = vault.sealed()
    tenant = repository.add_api_token().hash
    # A value shows its token type and scope, which are sealed all the same.
    shown = replace(TOKEN, token_type="Bearer", scope=())
    token = repository.store_oauth_token(tenant, "github", shown)
    repository.store_credentials(tenant, "github", CREDENTIALS)
    code = repository.create_auth_code(tenant, "github", ttl=TTL, payload=PAYLOAD)
    redeemed = repository.redeem_auth_code(code)
    assert isinstance(redeemed, AuthCode)
    read = [
        token,
        repository.get_oauth_token(tenant, "github"),
        repository.list_oauth_tokens(tenant),
        repository.get_credentials(tenant, "github", CredentialType.CUSTOM),
        repository.list_credentials(tenant),
        redeemed,
        *storage(repository).scan_secrets(tenant, Kind.OAUTH),
    ]
    texts: list[str] = []
    for value in read:
        texts += [str(value), repr(value), f"{value}"]
        with pytest.raises(TypeError) as caught:
            pickle.dumps(value)
        texts += ["".join(traceback.format_exception(caught.value))]
    for holder in (repository, copy.copy(repository)):
        with pytest.raises(TypeError) as caught:
            pickle.dumps(holder)
        texts += ["".join(traceback.format_exception(caught.value))]
    assert_unseen(vault, texts)
