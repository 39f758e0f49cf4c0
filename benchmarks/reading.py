"""Validating API tokens, and reading OAuth tokens, plain and sealed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from typing import Any, Final

from cryptography.fernet import Fernet

from benchmarks import tenants
from benchmarks.floors import PAYLOAD_HEADER, decode_token, raw
from benchmarks.measuring import Comparison, Work, each
from benchmarks.stores import Store, Stores
from fusion_store import get_repository
from fusion_store.backend._payloads import pack_oauth
from fusion_store.layers import Cipher

_VALIDATION: Final = {
    "leveldb": ("sha256 + get + decode", 1.6),
    "sqlite": ("raw SELECT", 1.5),
    "postgresql": ("prepared psycopg", 1.8),
    "mariadb": ("raw PyMySQL", None),
}
_ROUNDS: Final = {"leveldb": 500, "sqlite": 300, "postgresql": 150, "mariadb": 100}


def validation(stores: Stores) -> Iterator[Comparison]:
    """API tokens: cached, uncached and unknown."""
    yield from _cached()
    for scheme in stores.schemes:
        store = stores.get(scheme)
        what, ratio = _VALIDATION[scheme]
        validate = each(store.vault.validate_api_token, store.sample(tenants.api_token, 1))
        unknown = each(store.vault.validate_api_token, [secrets.token_hex(32) for _ in range(10_000)])
        rounds = _ROUNDS[scheme]
        yield Comparison(
            f"{scheme}: validate, uncached / {what}", validate, raw(store).validation(2), ratio, rounds=rounds
        )
        yield Comparison(
            f"{scheme}: unknown token / known token",
            unknown,
            each(store.vault.validate_api_token, store.sample(tenants.api_token, 3)),
            0.5 if scheme == "leveldb" else None,
            rounds=rounds,
        )


def _cached() -> Iterator[Comparison]:
    with closing(get_repository("memory://", cache=True)) as vault:
        token = vault.add_api_token().token
        vault.validate_api_token(token)
        cached: Work = each(vault.validate_api_token, [token])
        floor = each(lambda text: sha256(text.encode()).hexdigest(), [token])
        yield Comparison("validate, cached / sha256", cached, floor, ratio=3, calls=200, rounds=300)
        yield Comparison("validate, cached: 400,000 a second / sha256", cached, floor, most=2.5, calls=200, rounds=300)


def oauth_tokens(stores: Stores) -> Iterator[Comparison]:
    """OAuth tokens of 1.5 KB, plain and sealed."""
    for scheme in stores.schemes:
        rounds = _ROUNDS[scheme]
        plain = stores.get(scheme)
        yield Comparison(
            f"{scheme}: get OAuth token, plain / (get + decode)",
            _get(plain, 1),
            raw(plain).get_oauth_token(2),
            1.5,
            rounds=rounds,
        )
        sealed = stores.get(scheme, Cipher.FERNET)
        yield Comparison(
            f"{scheme}: get OAuth token, Fernet / (get + decrypt + decode)",
            _get(sealed, 1),
            _decrypting(sealed, 2),
            1.3,
            rounds=rounds,
        )
        yield Comparison(
            f"{scheme}: get OAuth token, AES-GCM / plain",
            _get(stores.get(scheme, Cipher.AES_256_GCM), 1),
            _get(plain, 2),
            extra=6,
            rounds=rounds,
        )


def _get(store: Store, seed: int) -> Work:
    vault = store.vault
    return each(lambda hash: vault.get_oauth_token(hash, tenants.SERVICE), store.sample(tenants.tenant_hash, seed))


def _decrypting(store: Store, seed: int) -> Work:
    """Reads the record, decrypts as much as one holds, and decodes that."""
    fernet = Fernet(Fernet.generate_key())
    sealed = fernet.encrypt(pack_oauth(tenants.place(0).binding(None), tenants.oauth_token(0))[PAYLOAD_HEADER:])
    driver = raw(store)
    read = driver.secret_reader()

    def get(key: Any) -> None:
        read(key)
        decode_token(fernet.decrypt(sealed))

    return each(get, store.sample(driver.secret_key, seed))
