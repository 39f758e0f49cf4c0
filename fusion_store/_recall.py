"""What a repository knows by heart."""

from __future__ import annotations

from collections.abc import Callable

from fusion_store._interface import TokenRepository
from fusion_store._values import APITokenMetadata


def recall_of(repository: TokenRepository) -> Callable[[str], APITokenMetadata | None]:
    """Validates an API token without waiting for anything; None where the repository itself has to be asked.

    That is ``recall_api_token`` of a repository that has it, as ``CachedTokenRepository`` does.
    """
    recall: Callable[[str], APITokenMetadata | None] = getattr(repository, "recall_api_token", _nothing)
    return recall


def _nothing(token: str) -> None:  # noqa: ARG001
    return None
