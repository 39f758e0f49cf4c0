"""Making and hashing tokens and codes."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Final
from zlib import crc32

VISIBLE_CHARS: Final = 8
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES: Final = 32
_RANDOM_CHARS: Final = 43
_CRC_CHARS: Final = 6
_MAX_TOKEN_CHARS: Final = 4096


def new_api_token(token_prefix: str | None) -> tuple[str, str]:
    """A new token, and the first 8 characters of its random part.

    64 hex characters; or ``token_prefix``, ``_``, 43 base62 characters and their CRC-32 as 6 more.
    """
    random = secrets.token_bytes(_RANDOM_BYTES)
    if token_prefix is None:
        token = random.hex()
        return token, token[:VISIBLE_CHARS]
    body = base62(int.from_bytes(random), _RANDOM_CHARS)
    tail = base62(crc32(body.encode()), _CRC_CHARS)
    return f"{token_prefix}_{body}{tail}", body[:VISIBLE_CHARS]


def new_auth_code() -> str:
    """A new auth code: 43 url-safe characters."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def hash_token(token: object) -> str | None:
    """SHA-256 of a token or code as 64 hex characters; None for what can't be one."""
    if not isinstance(token, str) or not 1 <= len(token) <= _MAX_TOKEN_CHARS:
        return None
    try:
        return sha256(token.encode()).hexdigest()
    except UnicodeEncodeError:
        return None


def known_hash(token: str) -> str:
    """``hash_token`` of a token or code made here."""
    hash = hash_token(token)
    assert hash is not None
    return hash


def base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
