from __future__ import annotations

import re
import secrets
from hashlib import sha256
from zlib import crc32

import pytest

from fusion_store import ConfigError, get_repository
from fusion_store.backend import hash_token, new_api_token, new_auth_code

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def base62_value(text: str) -> int:
    value = 0
    for character in text:
        value = value * 62 + BASE62.index(character)
    return value


def test_a_plain_token_is_32_random_bytes_in_hex(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def token_bytes(count: int | None = None) -> bytes:
        asked.append(count)
        return bytes(range(32))

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)

    token, prefix = new_api_token(None)

    assert asked == [32]
    assert token == bytes(range(32)).hex()
    assert prefix == "00010203"


def test_a_prefixed_token_has_43_base62_characters_and_their_crc() -> None:
    token, prefix = new_api_token("acme")

    match = re.fullmatch("acme_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", token)
    assert match
    body, tail = match.groups()
    assert prefix == body[:8]
    assert base62_value(tail) == crc32(body.encode())
    assert base62_value(body) < 2**256


@pytest.mark.parametrize("value", [0, 1, 2**256 - 1, 0x0123456789ABCDEF << 192])
def test_a_prefixed_token_holds_all_of_its_32_random_bytes(monkeypatch: pytest.MonkeyPatch, value: int) -> None:
    monkeypatch.setattr(secrets, "token_bytes", lambda _count: value.to_bytes(32))

    token, _ = new_api_token("acme")

    assert base62_value(token[5:48]) == value


def test_an_auth_code_is_43_url_safe_characters() -> None:
    codes = {new_auth_code() for _ in range(100)}

    assert len(codes) == 100
    assert all(re.fullmatch("[A-Za-z0-9_-]{43}", code) for code in codes)


def test_what_can_be_a_token_is_hashed_with_sha256() -> None:
    assert hash_token("é") == sha256("é".encode()).hexdigest()
    for odd in ("", "\ud800", "x" * 4097, None, 5, b"x"):
        assert hash_token(odd) is None


@pytest.mark.parametrize("prefix", ["", "9a", "a_", "_a", "a" * 17, "a-b", "é", "a b", "a\n", 5])
def test_a_malformed_token_prefix_is_a_config_error(prefix: str) -> None:
    with pytest.raises(ConfigError, match="token_prefix"):
        get_repository("memory://", token_prefix=prefix)


@pytest.mark.parametrize("prefix", ["a", "acme", "A1_b", "a" * 16])
def test_a_token_prefix_may_hold_letters_digits_and_underscores(prefix: str) -> None:
    with get_repository("memory://", token_prefix=prefix) as repository:
        issued = repository.add_api_token()
        assert issued.token.startswith(f"{prefix}_")
        assert repository.validate_api_token(issued.token) is not None
