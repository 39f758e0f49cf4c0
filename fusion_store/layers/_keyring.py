"""Encryption keys: parsing, fingerprints, and the ring that seals with the first and opens with all."""

from __future__ import annotations

import base64
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from fusion_store._errors import ConfigError, PermissionDenied
from fusion_store.backend import KEY_ID_BYTES
from fusion_store.layers._provider import AWS_KMS_PREFIX, KeyProvider

KEY_BYTES: Final = 32
_KEY_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{43}=")
_MAX_FILE_BYTES: Final = 1024 * 1024


class Cipher(StrEnum):
    """How new payloads are sealed; every cipher's are opened."""

    FERNET = "fernet"
    AES_256_GCM = "aes-256-gcm"


class Key:
    """One key of 32 bytes. Neither ``repr`` nor pickling shows it; ``key_id`` is its public fingerprint."""

    __slots__ = ("_material", "key_id")

    def __init__(self, material: bytes) -> None:
        if len(material) != KEY_BYTES:
            raise ConfigError("an encryption key must have exactly 32 bytes")
        self._material = material
        self.key_id = sha256(b"fusion-store key id\0" + material).digest()[:KEY_ID_BYTES].hex()
        """16 hex characters."""

    @classmethod
    def parse(cls, text: str) -> Key:
        """A key written as 44 characters of url-safe base64, padding included; else ``ConfigError``."""
        if not isinstance(text, str) or not _KEY_TEXT.fullmatch(text):
            raise ConfigError(
                "an encryption key must be 32 bytes in url-safe base64 with padding (44 characters), "
                "as fusion-store key generate makes it"
            )
        material = base64.urlsafe_b64decode(text)
        if base64.urlsafe_b64encode(material).decode() != text:
            raise ConfigError("an encryption key isn't canonical base64: its last character holds stray bits")
        return cls(material)

    @classmethod
    def generate(cls) -> Key:
        """A new random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def reveal(self) -> str:
        """The key as text, for the one place where it is to be kept."""
        return base64.urlsafe_b64encode(self._material).decode()

    def material(self) -> bytes:
        """The key's 32 bytes."""
        return self._material

    def __repr__(self) -> str:
        return f"Key(key_id={self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key can't be pickled")


class Keyring:
    """The keys at hand: the first one seals, all of them open. Without any, nothing is sealed or opened.

    ``keys`` are ``Key`` objects, their texts (plain, or wrapped by AWS KMS) or a ``KeyProvider``; ``cipher`` is what
    new payloads are sealed with. A key given twice is ``ConfigError``; wrapped keys and providers raise what
    ``KeyProvider.keys`` does.
    """

    __slots__ = ("cipher", "keys")

    def __init__(self, keys: Iterable[Key | str] | KeyProvider = (), *, cipher: Cipher | str = Cipher.FERNET) -> None:
        self.keys = tuple(resolve_keys(keys))
        if len({key.key_id for key in self.keys}) != len(self.keys):
            raise ConfigError("an encryption key is given twice")
        try:
            self.cipher = Cipher(cipher)
        except ValueError:
            raise ConfigError(f"unknown cipher; known: {', '.join(Cipher)}") from None

    def __bool__(self) -> bool:
        return bool(self.keys)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys)

    def __repr__(self) -> str:
        return f"Keyring({[key.key_id for key in self.keys]}, cipher={self.cipher.value!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a keyring can't be pickled")


def resolve_keys(keys: Iterable[Key | str] | KeyProvider) -> list[Key]:
    """The keys that were given, written out, wrapped (``aws-kms:...``) or are a provider's, in their order.

    Only wrapped keys and providers are asked for over the network, after all that is written out was parsed.
    """
    if isinstance(keys, str):
        raise ConfigError("encryption keys must be a sequence of key strings, not one string")
    if isinstance(keys, KeyProvider):
        provided = list(keys.keys())
        if not provided or not all(isinstance(key, Key) for key in provided):
            raise ConfigError("the key provider gave no keys, or something else than keys")
        return provided
    wrapped: list[str] = []
    resolved: list[Key | None] = []
    for key in keys:
        if isinstance(key, str) and key.startswith(AWS_KMS_PREFIX):
            wrapped.append(key)
            resolved.append(None)
        else:
            resolved.append(key if isinstance(key, Key) else Key.parse(key))
    unwrapped = iter(_unwrapped(wrapped))
    return [next(unwrapped) if key is None else key for key in resolved]


def _unwrapped(wrapped: list[str]) -> Sequence[Key]:
    if not wrapped:
        return ()
    from fusion_store.layers._aws_kms import AwsKmsKeyProvider

    return AwsKmsKeyProvider(wrapped).keys()


def read_key_file(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a key file that hold keys; blank ones and those that begin with # are passed over.

    ``PermissionDenied`` when others than its owner can read or write it; ``ConfigError`` when it can't be read.
    """
    try:
        # A named pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        raise PermissionDenied("the key file can't be read") from None
    except OSError as error:
        raise ConfigError(f"the key file can't be read: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ConfigError("the key file isn't a file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_mode & 0o077:
            raise PermissionDenied(f"others can use the key file: chmod 600 {Path(path).name!r}")
        content = file.read(_MAX_FILE_BYTES + 1)
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError("the key file holds something else than keys") from None
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError("the key file is too long")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
