"""What a BoltDB file of MCPFusion holds, in whichever layout, and what of it becomes our records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from fusion_store._errors import InvalidInput
from fusion_store._records import APITokenRecord, Kind
from fusion_store._values import CredentialType
from fusion_store.importing._bolt import Bucket
from fusion_store.importing._draft import API_TOKEN, Draft, Finding, readable
from fusion_store.importing._fields import RecordReader
from fusion_store.importing._strict_json import read_json

_MAX_RECORD_BYTES: Final = 1024 * 1024
_FOLDERS: Final = {
    b"api_keys": CredentialType.API_KEY,
    b"bearer_tokens": CredentialType.BEARER,
    b"basic_auth": CredentialType.BASIC_AUTH,
}
"""Buckets that a bucket of credentials may be divided into."""


@dataclass
class Holding:
    """What stands under the hash of one API token; ``metadata`` is None when the token itself is gone."""

    metadata: bytes | Bucket | None = None
    oauth_tokens: Bucket = field(default_factory=Bucket)
    credentials: Bucket = field(default_factory=Bucket)


@dataclass
class Contents:
    """A file's contents. ``users`` leads from API tokens' hashes to users; ``left_out`` counts what isn't read."""

    layout: str
    holdings: dict[bytes, Holding]
    users: dict[bytes, bytes]
    left_out: Counter[str]


def draft_of(contents: Contents, time: int, *, merge_users: bool) -> Draft:
    """The records that the contents become; with ``merge_users`` one tenant a user, made by the oldest API token."""
    draft = Draft(contents.layout)
    draft.left_out.update(contents.left_out)
    reader = RecordReader(time)
    tokens = _read_api_tokens(contents, reader, draft)
    tenants = _tenants(tokens, contents.users if merge_users else {})
    for token in tokens:
        draft.add_api_token(token, tenants[token.hash])
    for key, holding in contents.holdings.items():
        _read_secrets(readable(key), holding, tenants, reader, draft)
    draft.leave_out("unknown fields", reader.unknown)
    return draft


def _read_api_tokens(contents: Contents, reader: RecordReader, draft: Draft) -> list[APITokenRecord]:
    """The API tokens, oldest first."""
    tokens = []
    for key, holding in contents.holdings.items():
        hash = readable(key)
        if holding.metadata is not None:
            with draft.listing(API_TOKEN, hash):
                tokens.append(reader.api_token(_document(holding.metadata), hash))
    return sorted(tokens, key=lambda token: (token.created_at, token.hash))


def _tenants(tokens: list[APITokenRecord], users: dict[bytes, bytes]) -> dict[str, str]:
    """The tenant of each API token: its own, or that of its user's oldest one."""
    oldest: dict[bytes, str] = {}
    tenants = {}
    for token in tokens:
        user = users.get(token.hash.encode())
        tenants[token.hash] = token.hash if user is None else oldest.setdefault(user, token.hash)
    return tenants


def _read_secrets(hash: str, holding: Holding, tenants: dict[str, str], reader: RecordReader, draft: Draft) -> None:
    tenant_hash = tenants.get(hash, "")
    for service, value in holding.oauth_tokens.items():
        if tenant_hash:
            with draft.listing(Kind.OAUTH, hash, readable(service)):
                draft.add_secret(reader.oauth_token(_document(value), tenant_hash, _name(service)), hash)
        else:
            _strand(Kind.OAUTH, hash, service, holding, draft)
    for folder, service, value in _unfolded(holding.credentials):
        if tenant_hash:
            with draft.listing(Kind.CREDENTIAL, hash, readable(service)):
                draft.add_secret(reader.credential(_document(value), tenant_hash, _name(service), folder), hash)
        else:
            _strand(Kind.CREDENTIAL, hash, service, holding, draft)


def _strand(kind: Kind, hash: str, service: bytes, holding: Holding, draft: Draft) -> None:
    """A secret whose API token doesn't come along doesn't either."""
    if holding.metadata is None:
        draft.orphans.append(Finding(kind, hash, readable(service), "left behind by a deleted API token"))
    else:
        draft.invalid.append(Finding(kind, hash, readable(service), "its API token is invalid"))


def _unfolded(credentials: Bucket) -> list[tuple[CredentialType | None, bytes, bytes | Bucket]]:
    found: list[tuple[CredentialType | None, bytes, bytes | Bucket]] = []
    for name, value in credentials.items():
        if isinstance(value, Bucket) and name in _FOLDERS:
            found += [(_FOLDERS[name], service, each) for service, each in value.items()]
        else:
            found.append((None, name, value))
    return found


def _document(value: bytes | Bucket) -> Any:
    if isinstance(value, Bucket):
        raise InvalidInput("record", "is a bucket")
    return read_json(value, "record", _MAX_RECORD_BYTES)


def _name(service: bytes) -> str:
    try:
        return service.decode()
    except UnicodeDecodeError:
        pass
    raise InvalidInput("service", "isn't UTF-8")
