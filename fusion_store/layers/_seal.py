"""The envelope of a sealed payload.

    magic (4 bytes) | key id (8) | cipher (1) | body

What the payload is bound to (tenant, kind, service, credential type, expiry and, of an auth code, its hash) is sealed
with it and compared when it is opened. Fernet has no associated data, so there it lies inside, before the payload;
for AES-256-GCM it is the associated data.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import Final, NamedTuple, NoReturn, TypedDict

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fusion_store._errors import EncryptionError, NotEncrypted, Tampered, WrongKey
from fusion_store._records import Binding
from fusion_store.backend import KEY_ID_BYTES
from fusion_store.backend import SEALED_MAGIC as MAGIC
from fusion_store.layers._keyring import Cipher, Key, Keyring

_KEY_ID_END: Final = len(MAGIC) + KEY_ID_BYTES
_HEADER_END: Final = _KEY_ID_END + 1
_NONCE_BYTES: Final = 12
_FERNET_BYTES: Final = 1 + 8 + 16 + 32
"""Version, time, initialization vector and HMAC of a Fernet token."""

_LOW_FOUR_BITS_ZERO: Final = b"AQgw"
_LOW_TWO_BITS_ZERO: Final = b"AEIMQUYcgkosw048"
"""Base64's characters for such numbers: what may stand last before padding."""

_encode_binding: Final = msgspec.msgpack.Encoder().encode


class _Place(TypedDict):
    tenant_hash: str
    kind: str
    service: str


class _Sealer(ABC):
    """One cipher with one key."""

    code: bytes

    @abstractmethod
    def __init__(self, key: Key) -> None: ...

    @abstractmethod
    def seal(self, payload: bytes, bound: bytes) -> bytes:
        """The body of an envelope."""

    @abstractmethod
    def open(self, body: bytes, bound: bytes) -> bytes | None:
        """The payload; None when the body was altered or is bound to something else."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sealer holds a key and can't be pickled")


class _FernetSealer(_Sealer):
    code = b"\x01"

    def __init__(self, key: Key) -> None:
        self._fernet = Fernet(key.reveal())

    def seal(self, payload: bytes, bound: bytes) -> bytes:
        return self._fernet.encrypt(b"".join((len(bound).to_bytes(2), bound, payload)))

    def open(self, body: bytes, bound: bytes) -> bytes | None:
        try:
            content = self._fernet.decrypt(body)
        except InvalidToken:
            return None
        if not _is_canonical(body, len(content)):
            return None
        end = 2 + int.from_bytes(content[:2])
        return content[end:] if content[2:end] == bound else None


def _is_canonical(token: bytes, content_bytes: int) -> bool:
    """Whether a Fernet token that opened is the one that was made: its base64 lets others through that mean the same.

    They have characters that aren't of the alphabet, which are passed over, or stray bits in the last one.
    """
    ciphertext_bytes = (content_bytes // 16 + 1) * 16
    expected = (_FERNET_BYTES + ciphertext_bytes + 2) // 3 * 4
    if len(token) != expected or b"+" in token or b"/" in token:
        return False
    if token.endswith(b"=="):
        return token[-3] in _LOW_FOUR_BITS_ZERO
    return not token.endswith(b"=") or token[-2] in _LOW_TWO_BITS_ZERO


class _GCMSealer(_Sealer):
    code = b"\x02"

    def __init__(self, key: Key) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"fusion-store aes-256-gcm").derive(key.material())
        self._cipher = AESGCM(derived)

    def seal(self, payload: bytes, bound: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, payload, bound)

    def open(self, body: bytes, bound: bytes) -> bytes | None:
        try:
            return self._cipher.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            return None


_SEALERS: Final[dict[Cipher, type[_Sealer]]] = {Cipher.FERNET: _FernetSealer, Cipher.AES_256_GCM: _GCMSealer}
_CIPHERS: Final = {sealer.code: cipher for cipher, sealer in _SEALERS.items()}


class SealName(NamedTuple):
    """What an envelope says of itself, unverified."""

    key_id: str
    cipher: Cipher


class Seal:
    """Seals and opens payloads with a keyring's keys."""

    def __init__(self, keyring: Keyring) -> None:
        self._key_ids = {bytes.fromhex(key.key_id) for key in keyring}
        self._sealers = {
            MAGIC + bytes.fromhex(key.key_id) + make.code: make(key) for key in keyring for make in _SEALERS.values()
        }
        self.primary: SealName | None = None
        if keyring:
            first = keyring.keys[0].key_id
            self.primary = SealName(first, keyring.cipher)
            self._header = MAGIC + bytes.fromhex(first) + _SEALERS[keyring.cipher].code

    def seal(self, payload: bytes, binding: Binding) -> bytes:
        """The envelope of a payload; ``WrongKey`` without keys."""
        if self.primary is None:
            raise WrongKey("the vault is sealed and no key is at hand")
        return self._header + self._sealers[self._header].seal(payload, _encode_binding(binding))

    def open(self, envelope: bytes, binding: Binding) -> bytes:
        """The payload in an envelope; ``NotEncrypted``, ``WrongKey`` or ``Tampered``."""
        sealer = self._sealers.get(envelope[:_HEADER_END])
        if sealer is not None:
            payload = sealer.open(envelope[_HEADER_END:], _encode_binding(binding))
            if payload is not None:
                return payload
        raise self._refusal(envelope, binding)

    def _refusal(self, envelope: bytes, binding: Binding) -> EncryptionError:
        key_id, _, _ = split(envelope, binding)
        if key_id in self._key_ids:
            return Tampered(f"the {_describe(binding)} was altered, or sealed for another place", **_place(binding))
        return WrongKey(
            f"no key at hand opens the {_describe(binding)}: it needs {key_id.hex()}", key_id.hex(), **_place(binding)
        )


def split(envelope: bytes, binding: Binding) -> tuple[bytes, bytes, bytes]:
    """An envelope's key id, cipher code and body; ``NotEncrypted`` or ``Tampered`` when it isn't one."""
    if envelope[: len(MAGIC)] != MAGIC:
        raise NotEncrypted(f"the {_describe(binding)} isn't sealed", **_place(binding))
    if len(envelope) < _HEADER_END:
        raise Tampered(f"the {_describe(binding)} is cut short", **_place(binding))
    return envelope[len(MAGIC) : _KEY_ID_END], envelope[_KEY_ID_END:_HEADER_END], envelope[_HEADER_END:]


def is_sealed(payload: bytes) -> bool:
    """Whether a payload is an envelope, by its first bytes."""
    return payload[: len(MAGIC)] == MAGIC


def seal_of(envelope: bytes) -> SealName | None:
    """Which key and cipher an envelope names; None for a plain payload, or an envelope that is damaged."""
    cipher = _CIPHERS.get(envelope[_KEY_ID_END:_HEADER_END])
    if not is_sealed(envelope) or cipher is None:
        return None
    return SealName(envelope[len(MAGIC) : _KEY_ID_END].hex(), cipher)


def _describe(binding: Binding) -> str:
    if not binding.tenant_hash:
        return f"store's {binding.service} mark"
    return f"{binding.kind} record (tenant {binding.tenant_hash[:16]}, service {binding.service!r})"


def _place(binding: Binding) -> _Place:
    return {"tenant_hash": binding.tenant_hash, "kind": binding.kind, "service": binding.service}
