"""The layout of MCPFusion's plan, schema 1.0: each API token's bucket holds all that is its tenant's.

``api_tokens/{hash}/metadata``, ``…/oauth_tokens/{service}``, ``…/service_credentials/{service}`` or
``…/service_credentials/{api_keys,bearer_tokens,basic_auth}/{service}``. ``token_index`` repeats it, ``system`` holds
the schema's version and statistics.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from fusion_store.importing._bolt import Bucket
from fusion_store.importing._contents import Contents, Holding

_ROOT: Final = {b"api_tokens", b"token_index", b"system"}
_HOLDING: Final = {b"metadata", b"oauth_tokens", b"service_credentials"}


def read_layout(root: Bucket) -> Contents:
    """The contents of a file in this layout."""
    left_out = Counter({"unknown entries": len(root.keys() - _ROOT)})
    holdings = {}
    for hash, held in root.bucket(b"api_tokens").items():
        if not isinstance(held, Bucket):
            holdings[hash] = Holding(held)
            continue
        left_out["unknown entries"] += len(held.keys() - _HOLDING)
        holdings[hash] = Holding(
            held.get(b"metadata"), held.bucket(b"oauth_tokens"), held.bucket(b"service_credentials")
        )
    return Contents("MCPFusion, as planned (schema 1.0)", holdings, {}, left_out)
