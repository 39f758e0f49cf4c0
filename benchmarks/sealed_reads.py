"""Reading a 1.5 KB OAuth token: plain, and sealed with each cipher, on LevelDB and SQLite.

The floor of a sealed read is what nobody can do without: the backend's own read of the record, one raw decryption of
a ciphertext of that size, and decoding the JSON inside.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fusion_store import OAuthTokenData, TokenRepository
from fusion_store._registry import find_backend
from fusion_store.backend import Kind, OpenOptions, Place, RecordRepository
from fusion_store.layers import Cipher, EncryptedTokenRepository, Key, Keyring

SERVICE: Final = "github"
TOKEN: Final = OAuthTokenData("a" * 1000, "r" * 400, scope=("read", "write"), metadata={"account": "ada"})
BACKENDS: Final = ("sqlite", "leveldb") if find_spec("plyvel") else ("sqlite",)
KINDS: Final = ("plain", *Cipher)


class Bench:
    """A filled store for each backend, plain and sealed with each cipher."""

    def __init__(self, folder: Path) -> None:
        self._opened = ExitStack()
        self.tenants: dict[str, str] = {}
        self.stores: dict[str, RecordRepository] = {}
        self.vaults: dict[str, TokenRepository] = {}
        for scheme in BACKENDS:
            for kind in KINDS:
                self._fill(f"{scheme} {kind}", f"{scheme}:///{folder}/{scheme}-{kind}", kind)
        body = msgspec.json.encode(TOKEN)
        self._decode = msgspec.json.Decoder(OAuthTokenData).decode
        self._fernet = Fernet(Fernet.generate_key())
        self._token = self._fernet.encrypt(body)
        self._gcm, self._nonce = AESGCM(secrets.token_bytes(32)), secrets.token_bytes(12)
        self._ciphertext = self._gcm.encrypt(self._nonce, body, b"place")

    def _fill(self, name: str, url: str, kind: str) -> None:
        backend, parsed = find_backend(url)
        store = self._opened.enter_context(backend.open(parsed, OpenOptions()))
        vault = store if kind == "plain" else EncryptedTokenRepository(store, Keyring([Key.generate()], cipher=kind))
        tenant = vault.add_api_token().hash
        vault.store_oauth_token(tenant, SERVICE, TOKEN)
        self.tenants[name], self.stores[name], self.vaults[name] = tenant, store, vault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    def get(self, name: str) -> None:
        """The vault's whole operation."""
        self.vaults[name].get_oauth_token(self.tenants[name], SERVICE)

    def get_raw(self, name: str) -> None:
        """The backend's read, undecoded."""
        self.stores[name].read_secret(Place(self.tenants[name], Kind.OAUTH, SERVICE))

    def floor(self, name: str, cipher: str) -> None:
        """The backend's read, a raw decryption and decoding."""
        self.get_raw(name)
        if cipher == Cipher.FERNET:
            self._decode(self._fernet.decrypt(self._token))
        else:
            self._decode(self._gcm.decrypt(self._nonce, self._ciphertext, b"place"))


def _against_decryption(name: str, cipher: str) -> tuple[Callable[[Bench], None], Callable[[Bench], None]]:
    return lambda bench: bench.get(name), lambda bench: bench.floor(name, cipher)


def _against_plain(name: str, plain: str) -> tuple[Callable[[Bench], None], Callable[[Bench], None]]:
    return lambda bench: bench.get(name), lambda bench: bench.get(plain)


MEASURES: Final = {
    **{
        f"{scheme}: get sealed with {cipher} / (raw get + raw decrypt + decode)": _against_decryption(
            f"{scheme} {cipher}", cipher
        )
        for scheme in BACKENDS
        for cipher in Cipher
    },
    **{
        f"{scheme}: get sealed with {cipher} / get plain": _against_plain(f"{scheme} {cipher}", f"{scheme} plain")
        for scheme in BACKENDS
        for cipher in Cipher
    },
}
