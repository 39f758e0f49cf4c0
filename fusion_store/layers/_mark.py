"""The mark of a sealed store: its mode, vouched for by a seal of its own."""

from __future__ import annotations

from typing import Final

from fusion_store._errors import Tampered
from fusion_store._records import Binding
from fusion_store.backend import ENCRYPTION_MARK, Mode
from fusion_store.layers._seal import Seal, SealName, is_sealed, seal_of

_PREFIX: Final = f"{Mode.SEALED}:".encode()
_BINDING: Final = Binding("", "mark", ENCRYPTION_MARK, "", None)
_CONTENT: Final = b"sealed"


def new_mark(seal: Seal) -> bytes:
    """A mark sealed with the first key; ``WrongKey`` without keys."""
    return _PREFIX + seal.seal(_CONTENT, _BINDING)


def verify_mark(seal: Seal, mark: bytes) -> None:
    """Raise ``WrongKey`` when no key at hand opens the mark, ``Tampered`` when it was altered."""
    envelope = mark.removeprefix(_PREFIX)
    if envelope == mark or not is_sealed(envelope):
        raise Tampered("the store's encryption mark was altered")
    seal.open(envelope, _BINDING)


def seal_of_mark(mark: bytes) -> SealName | None:
    """Which key and cipher a sealed store's mark names; None when it is damaged."""
    return seal_of(mark.removeprefix(_PREFIX))
