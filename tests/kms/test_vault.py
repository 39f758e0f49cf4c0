"""A vault whose keys AWS KMS wraps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest

from fusion_store import ConfigError, OAuthTokenData, PermissionDenied, Unavailable, WrongKey, get_repository
from fusion_store._registry import find_keyring
from fusion_store.layers import (
    AwsKmsKeyProvider,
    EncryptedTokenRepository,
    Key,
    KeyProvider,
    Keyring,
    generate_wrapped_key,
)
from fusion_store.layers.rekey import rotate_keys

from .conftest import CLOSED_PORT, MakeKey

TOKEN = OAuthTokenData("at-canary")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/vault.db"


def filled(url: str, keys: Sequence[str] | KeyProvider | None = None) -> str:
    """A new vault's one tenant, with one OAuth token."""
    with get_repository(url, encryption_keys=keys) as repository:
        tenant = repository.add_api_token().hash
        repository.store_oauth_token(tenant, "github", TOKEN)
    return tenant


def stored_token(url: str, tenant: str, keys: Sequence[str] | KeyProvider | None = None) -> str:
    with get_repository(url, create=False, encryption_keys=keys) as repository:
        token = repository.get_oauth_token(tenant, "github")
        assert token is not None
        return token.access_token


def test_a_vault_is_sealed_and_opened_again_with_a_wrapped_key(url: str, tmp_path: Path, make_key: MakeKey) -> None:
    wrapped = generate_wrapped_key(make_key())
    tenant = filled(url, AwsKmsKeyProvider([wrapped]))

    assert stored_token(url, tenant, AwsKmsKeyProvider([wrapped])) == "at-canary"
    assert stored_token(url, tenant, [wrapped]) == "at-canary"
    assert all(b"at-canary" not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_vault_is_not_opened_with_another_wrapped_key(url: str, make_key: MakeKey) -> None:
    key_id = make_key()
    filled(url, [generate_wrapped_key(key_id)])

    with pytest.raises(WrongKey):
        get_repository(url, encryption_keys=[generate_wrapped_key(key_id)])


def test_the_same_wrapped_key_is_the_same_key_each_time(kms: Any, make_key: MakeKey) -> None:
    wrapped = generate_wrapped_key(make_key(), client=kms)
    provider = AwsKmsKeyProvider([wrapped], client=kms)

    assert [key.key_id for key in Keyring(provider)] == [key.key_id for key in Keyring([wrapped])]


def test_keys_are_rotated_between_two_wrapped_ones(url: str, make_key: MakeKey) -> None:
    old, new = generate_wrapped_key(make_key()), generate_wrapped_key(make_key())
    tenant = filled(url, [old])
    assert stored_token(url, tenant, [new, old]) == "at-canary"
    with pytest.raises(WrongKey):
        stored_token(url, tenant, [new])

    with get_repository(url, encryption_keys=[new, old]) as repository:
        assert isinstance(repository, EncryptedTokenRepository)
        outcome = rotate_keys(repository.inner, repository.keyring)

    assert outcome.unneeded == [Keyring([old]).keys[0].key_id]
    assert stored_token(url, tenant, [new]) == "at-canary"
    with pytest.raises(WrongKey):
        stored_token(url, tenant, [old])


def test_the_environment_mixes_wrapped_and_plain_keys_in_order(
    make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [Key.generate() for _ in range(2)]
    wrapped = [generate_wrapped_key(make_key()) for _ in range(2)]
    expected = [wrapped[0], plain[0].reveal(), wrapped[1], plain[1].reveal()]
    monkeypatch.setenv("FUSION_STORE_KEYS", ",".join(expected))

    keyring = find_keyring()

    assert keyring is not None
    unwrapped = [key.key_id for key in Keyring(wrapped)]
    assert [key.key_id for key in keyring] == [unwrapped[0], plain[0].key_id, unwrapped[1], plain[1].key_id]


def test_a_key_file_mixes_wrapped_and_plain_keys_in_order(
    make_key: MakeKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, wrapped = Key.generate(), generate_wrapped_key(make_key())
    file = tmp_path / "keys"
    file.touch(mode=0o600)
    file.write_text(f"# old\n{plain.reveal()}\n\n# new\n{wrapped}\n")
    monkeypatch.setenv("FUSION_STORE_KEY_FILE", str(file))

    keyring = find_keyring()

    assert keyring is not None
    assert [key.key_id for key in keyring] == [plain.key_id, Keyring([wrapped]).keys[0].key_id]


def test_a_wrapped_key_given_twice_is_a_config_error(make_key: MakeKey) -> None:
    wrapped = generate_wrapped_key(make_key())

    with pytest.raises(ConfigError, match="twice"):
        Keyring([wrapped, wrapped])


def test_another_encryption_context_does_not_open_a_wrapped_key(make_key: MakeKey) -> None:
    wrapped = generate_wrapped_key(make_key(), encryption_context={"application": "fusion-store", "stage": "live"})

    assert AwsKmsKeyProvider([wrapped], encryption_context={"stage": "live", "application": "fusion-store"}).keys()
    with pytest.raises(WrongKey, match=r"^wrapped key 1: .*encryption context"):
        AwsKmsKeyProvider([wrapped]).keys()


def test_the_encryption_context_comes_from_the_environment(make_key: MakeKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_STORE_KMS_CONTEXT", '{"stage": "live"}')
    wrapped = generate_wrapped_key(make_key())
    assert Keyring([wrapped])

    monkeypatch.delenv("FUSION_STORE_KMS_CONTEXT")
    with pytest.raises(WrongKey):
        Keyring([wrapped])
    assert AwsKmsKeyProvider([wrapped], encryption_context={"stage": "live"}).keys()


def test_an_altered_wrapped_key_is_not_opened(make_key: MakeKey) -> None:
    sound = generate_wrapped_key(make_key())
    altered = sound[:-8] + ("AAAAAAA=" if sound.endswith("=") else "AAAAAAAA")

    with pytest.raises(WrongKey, match=r"^wrapped key 2: "):
        Keyring([sound, altered])


def test_a_key_of_another_region_is_not_allowed(make_key: MakeKey) -> None:
    wrapped = generate_wrapped_key(make_key())

    with pytest.raises(PermissionDenied, match="check region"):
        AwsKmsKeyProvider([wrapped], region="us-west-2").keys()


def test_a_missing_kms_key_is_a_config_error(kms: Any) -> None:
    with pytest.raises(ConfigError, match="no such KMS key"):
        generate_wrapped_key("00000000-0000-4000-8000-000000000000")
    with pytest.raises(ConfigError, match="id, ARN or alias"):
        generate_wrapped_key("")


def test_only_opening_needs_kms(url: str, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = generate_wrapped_key(make_key())
    tenant = filled(url, [wrapped])

    with get_repository(url, encryption_keys=[wrapped]) as repository:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", CLOSED_PORT)
        assert repository.get_oauth_token(tenant, "github") is not None
        repository.store_oauth_token(tenant, "gitlab", TOKEN)
        with pytest.raises(Unavailable):
            get_repository(url, encryption_keys=[wrapped])

    with get_repository(url) as keyless:
        assert [token.hash for token in keyless.list_api_tokens()] == [tenant]
        assert keyless.delete_tenant(tenant)


def test_the_callers_client_stays_open(kms: Any, make_key: MakeKey) -> None:
    provider = AwsKmsKeyProvider([generate_wrapped_key(make_key(), client=kms)], client=kms, region="nowhere")

    assert [key.key_id for key in Keyring(provider)] == [key.key_id for key in Keyring(provider)]


def test_the_region_comes_from_either_variable_of_aws(make_key: MakeKey, monkeypatch: pytest.MonkeyPatch) -> None:
    key_id = make_key()
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(ConfigError, match="AWS_REGION"):
        generate_wrapped_key(key_id)

    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert generate_wrapped_key(key_id)
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    with pytest.raises(ConfigError, match="no such KMS key"):
        generate_wrapped_key(key_id)
    assert generate_wrapped_key(key_id, region="eu-central-1")


def test_an_endpoint_may_be_given(moto_url: str) -> None:
    with closing(boto3.session.Session().client("kms", region_name="eu-west-1", endpoint_url=moto_url)) as client:
        key_id = client.create_key()["KeyMetadata"]["KeyId"]

    wrapped = generate_wrapped_key(key_id, region="eu-west-1", endpoint_url=moto_url)

    assert AwsKmsKeyProvider([wrapped], region="eu-west-1", endpoint_url=moto_url).keys()
