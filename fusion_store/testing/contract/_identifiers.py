from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from fusion_store import CredentialType, TokenRepository
from fusion_store.testing.contract._making import api_key, exported, few_examples, new_tenant, oauth, refused_field

MINUTE = timedelta(minutes=1)

HOSTILE: Final = [
    "github",
    "GitHub",
    "GITHUB",
    "straße",
    "strasse",
    "STRASSE",
    "İ",
    "i",
    "I",
    "\u0131",
    "a",
    "ab",
    "abc",
    "a b",
    "a  b",
    "a\u00a0b",
    "á",
    "A",
    "\uff41",
    "\u0430",
    "\u0391",
    "a\u200b",
    "a\u200d",
    "a\ufeffb",
    "ﬁ",
    "fi",
    "/",
    "a/b",
    "../../etc/passwd",
    "a:b",
    "a::b",
    ":",
    "a|b",
    "a.b",
    "a-b",
    "a_b",
    "a%b",
    "%",
    "_",
    "*",
    "?",
    "[a-z]",
    "'; DROP TABLE tenants; --",
    '"',
    "\\",
    "\\0",
    "%00",
    "$1",
    ":name",
    "null",
    "None",
    "0",
    "00",
    "1e3",
    "1000",
    "😀",
    "😀😀",
    "👩‍👩‍👧",
    "👩",
    "\U0010ffff",
    "\uffff",
    "\ue000",
    "x" * 254,
    "x" * 255,
    "x" * 254 + "y",
    "é" * 127,
    "😀" * 63 + "abc",
    "f" * 64,
    "oauth",
    "api_key",
    "github\u2028x",
]

REFUSED: Final[list[Any]] = [
    "",
    " ",
    "github ",
    " github",
    "github\u00a0",
    "\u3000github",
    "github\n",
    "git\thub",
    "git\nhub",
    "git\x1fhub",
    "git\x7fhub",
    "git\x85hub",
    "git\x9fhub",
    "\0",
    "github\0",
    "git\0hub",
    "\ud800",
    "git\udfffhub",
    "e\u0301",
    "A\u030a",
    "\u212b",
    "\u1100\u1161",
    "x" * 256,
    "é" * 128,
    "😀" * 64,
    None,
    5,
    b"github",
    ["github"],
    True,
]

valid_names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)
    .map(lambda text: unicodedata.normalize("NFC", text).strip())
    .filter(lambda text: 1 <= len(text.encode()) <= 255)
)


def test_hostile_names_are_kept_apart_byte_for_byte(
    repository: TokenRepository, reopen: Callable[[], TokenRepository]
) -> None:
    assert len(set(HOSTILE)) == len(HOSTILE)
    tenant, other = new_tenant(repository), new_tenant(repository)
    for name in HOSTILE:
        assert repository.get_oauth_token(tenant, name) is None, name
        stored = repository.store_oauth_token(tenant, name, oauth(name), expected_version=0)
        assert stored.version == 1, name
        assert repository.store_credentials(tenant, name, api_key(name), expected_version=0).version == 1, name
    repository.store_oauth_token(other, "github", oauth())

    again = reopen()

    assert list(again.list_oauth_tokens(tenant)) == sorted(HOSTILE, key=str.encode)
    assert {name: token.access_token for name, token in again.list_oauth_tokens(tenant).items()} == {
        name: name for name in HOSTILE
    }
    assert {name: stored.data["key"] for (name, _), stored in again.list_credentials(tenant).items()} == {
        name: name for name in HOSTILE
    }
    for name in HOSTILE:
        token = again.get_oauth_token(tenant, name)
        assert token is not None, name
        assert token.access_token == name
        credential = again.get_credentials(tenant, name, CredentialType.API_KEY)
        assert credential is not None, name
        assert credential.data == {"key": name}
    assert again.stats().oauth_tokens == {name: 1 + (name == "github") for name in HOSTILE}
    assert again.check().ok


def test_deleting_a_hostile_name_deletes_no_other(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    for name in HOSTILE:
        repository.store_oauth_token(tenant, name, oauth(name))
        repository.store_credentials(tenant, name, api_key(name))
    left = set(HOSTILE)

    for name in HOSTILE[::2]:
        assert repository.delete_oauth_token(tenant, name) is True, name
        assert repository.delete_credentials(tenant, name, CredentialType.API_KEY) is True, name
        left.discard(name)
    assert repository.list_oauth_tokens(tenant).keys() == left
    assert {service for service, _ in repository.list_credentials(tenant)} == left


def test_claims_and_codes_keep_hostile_names_apart(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    claims, codes = {}, {}
    for name in HOSTILE[::3]:
        claims[name] = repository.claim_refresh(tenant, name, ttl=MINUTE)
        codes[name] = repository.create_auth_code(tenant, name, ttl=MINUTE)

    for name, claim in claims.items():
        assert claim is not None
        assert (claim.service, claim.fence) == (name, 1)
        assert repository.commit_refresh(claim, oauth(name)).version == 1
        redeemed = repository.redeem_auth_code(codes[name])
        assert redeemed is not None
        assert redeemed.service == name


def test_a_service_name_that_could_be_confused_is_refused(repository: TokenRepository) -> None:
    tenant = new_tenant(repository)
    repository.store_oauth_token(tenant, "github", oauth())
    before = exported(repository)
    kind = CredentialType.API_KEY

    for service in REFUSED:
        operations: list[Callable[[], object]] = [
            partial(repository.store_oauth_token, tenant, service, oauth()),
            partial(repository.get_oauth_token, tenant, service),
            partial(repository.delete_oauth_token, tenant, service),
            partial(repository.claim_refresh, tenant, service, ttl=MINUTE),
            partial(repository.create_auth_code, tenant, service, ttl=MINUTE),
            partial(repository.store_credentials, tenant, service, api_key()),
            partial(repository.get_credentials, tenant, service, kind),
            partial(repository.delete_credentials, tenant, service, kind),
        ]
        assert [refused_field(operation) for operation in operations] == ["service"] * 8, ascii(service)

    assert exported(repository) == before


@few_examples
@given(names=st.lists(valid_names, min_size=1, max_size=4, unique=True))
def test_any_valid_names_are_kept_apart(repository: TokenRepository, names: list[str]) -> None:
    tenant = new_tenant(repository)

    for name in names:
        repository.store_oauth_token(tenant, name, oauth(f"token of {name}"))

    listed = repository.list_oauth_tokens(tenant)
    assert list(listed) == sorted(names, key=str.encode)
    for name in names:
        assert listed[name].access_token == f"token of {name}"
        assert repository.get_oauth_token(tenant, name) == listed[name]
