"""The file cache that MCPFusion kept before it had a database: one JSON object of keys to tokens.

``tenant:{hash}:token:{service}`` or ``token:{service}`` leads to ``{"value": …, "expires_at": …}``, whose value is an
OAuth token. It has no API tokens, so its tenants stand in the store already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from fusion_store._errors import InvalidInput
from fusion_store._records import Kind
from fusion_store.importing._draft import Draft
from fusion_store.importing._fields import RecordReader

_SOURCE: Final = "file cache (JSON)"
_read_key: Final = re.compile(r"(?:tenant:([^:]*):)?token:(.*)", re.DOTALL).fullmatch

FindTenant = Callable[[str], str | None]
"""The tenant of that hash, or that an API token of that hash opens; None when there is none."""


class _Entry(msgspec.Struct):
    value: dict[str, Any]
    expires_at: str | None = None
    created_at: str | None = None


def draft_of(document: object, time: int, *, tenant_hash: str | None, find_tenant: FindTenant) -> Draft:
    """The records in a file cache; what names no tenant goes into ``tenant_hash``."""
    if not isinstance(document, dict):
        raise InvalidInput("file", "isn't a file cache: it must be a JSON object")
    draft, reader = Draft(_SOURCE), RecordReader(time)
    for key, entry in document.items():
        match = _read_key(key)
        if match is None:
            draft.leave_out("entries that hold no token")
            continue
        named, service = match[1], match[2]
        if named is None and tenant_hash is None:
            raise InvalidInput("tenant", "must be named: the file has tokens of no tenant")
        under = tenant_hash if named is None else named
        assert under is not None
        with draft.listing(Kind.OAUTH, under, service):
            found = find_tenant(under)
            if found is None:
                raise InvalidInput("tenant", "isn't in this store")
            draft.add_secret(reader.oauth_token(_token(entry), found, service), under)
    draft.leave_out("unknown fields", reader.unknown)
    return draft


def _token(entry: object) -> dict[str, Any]:
    """The token in an entry; what it doesn't say itself, the entry says."""
    try:
        fields = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as error:
        reason = str(error)
    else:
        around = {"expires_at": fields.expires_at, "created_at": fields.created_at, "updated_at": fields.created_at}
        return around | {name: value for name, value in fields.value.items() if value is not None}
    raise InvalidInput("record", reason)
