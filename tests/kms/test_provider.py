"""Keys from a provider of the host's own, and what is refused before KMS is asked."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fusion_store import ConfigError, get_repository
from fusion_store.layers import AwsKmsKeyProvider, EncryptedTokenRepository, Key, KeyProvider, Keyring

WRAPPED = "aws-kms:" + base64.urlsafe_b64encode(bytes(range(100, 255))).decode()


class Given(KeyProvider):
    """Gives what it was given, and counts how often."""

    def __init__(self, keys: Any) -> None:
        self._keys = keys
        self.asked = 0

    def keys(self) -> Sequence[Key]:
        self.asked += 1
        answer: Sequence[Key] = self._keys
        return answer


def test_a_provider_is_asked_once_at_opening() -> None:
    keys = [Key.generate(), Key.generate()]
    provider = Given(keys)

    with get_repository("memory://", encryption_keys=provider) as repository:
        assert isinstance(repository, EncryptedTokenRepository)
        assert list(repository.keyring) == keys
        repository.add_api_token()
        repository.health()
    assert provider.asked == 1


@pytest.mark.parametrize("keys", [[], [Key.generate().reveal()]], ids=["none", "texts"])
def test_a_provider_that_gives_no_keys_is_a_config_error(keys: Any) -> None:
    with pytest.raises(ConfigError, match="provider"):
        get_repository("memory://", encryption_keys=Given(keys))


def test_a_provider_must_say_which_keys() -> None:
    with pytest.raises(TypeError, match="abstract"):
        KeyProvider()  # type: ignore[abstract]


@pytest.mark.parametrize(
    "text",
    [
        "aws-kms:",
        "aws-kms:====",
        "aws-kms: AAAA",
        "aws-kms:AAAA\n",
        "aws-kms:AAA",
        "aws-kms:AAAAA",
        "aws-kms:AA==AA==",
        "aws-kms:AAAA=",
        "aws-kms:AB==",
        "aws-kms:AAB=",
        "aws-kms:AA+/",
        "aws-kms:AAAÄ",
        "aws-kms:" + "AAAA" * 2049,
        "AWS-KMS:AAAA",
        " aws-kms:AAAA",
        "AAAA",
        b"aws-kms:AAAA",
        None,
    ],
)
def test_a_malformed_wrapped_key_is_a_config_error_before_kms_is_asked(text: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        AwsKmsKeyProvider([WRAPPED, text])
    assert "AAA" not in str(caught.value)
    with pytest.raises(ConfigError):
        Keyring([text])


def test_the_longest_wrapped_key_of_kms_is_taken() -> None:
    assert AwsKmsKeyProvider(["aws-kms:" + "AAAA" * 2048])


@pytest.mark.parametrize("wrapped", [[], WRAPPED], ids=["none", "one string"])
def test_wrapped_keys_are_a_sequence_of_at_least_one(wrapped: Any) -> None:
    with pytest.raises(ConfigError):
        AwsKmsKeyProvider(wrapped)


def test_a_malformed_plain_key_beside_a_wrapped_one_is_noticed_before_kms_is_asked() -> None:
    with pytest.raises(ConfigError, match="44 characters"):
        Keyring([WRAPPED, "nonsense"])


@pytest.mark.parametrize("context", ["[]", '"a"', '{"a": 1}', '{"a": null}', '{"a": "b"', "a=b", '{"a": {}}', "\udcff"])
def test_a_malformed_context_is_a_config_error(context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_STORE_KMS_CONTEXT", context)

    with pytest.raises(ConfigError, match="FUSION_STORE_KMS_CONTEXT must be a JSON object of strings"):
        Keyring([WRAPPED])


@pytest.mark.parametrize("context", [{"a": 1}, {1: "a"}, "a", ["a"], 5], ids=repr)
def test_a_context_of_something_else_than_strings_is_a_config_error(context: Any) -> None:
    with pytest.raises(ConfigError, match="encryption_context"):
        AwsKmsKeyProvider([WRAPPED], encryption_context=context)


def test_a_provider_neither_shows_nor_pickles_what_it_holds() -> None:
    provider = AwsKmsKeyProvider([WRAPPED, WRAPPED])

    assert repr(provider) == str(provider) == "AwsKmsKeyProvider(2 wrapped)"
    with pytest.raises(TypeError):
        pickle.dumps(provider)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )


def test_without_boto3_wrapped_keys_name_the_extra_to_install(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["boto3"] = None
from fusion_store import ConfigError, get_repository
try:
    get_repository("memory://")
except ConfigError as error:
    print(error)
"""
    answer = run(code, FUSION_STORE_KEYS=WRAPPED)

    assert "need boto3" in answer.stdout
    assert "pip install 'fusion-store[kms]'" in answer.stdout


def test_boto3_is_imported_for_wrapped_keys_only() -> None:
    code = """
import sys
import fusion_store.layers
from fusion_store import get_repository
get_repository("memory://").close()
fusion_store.layers.AwsKmsKeyProvider(["aws-kms:AAAA"])
print(sorted({"boto3", "botocore"} & set(sys.modules)))
"""
    assert run(code, FUSION_STORE_KEYS=Key.generate().reveal()).stdout.strip() == "[]"
