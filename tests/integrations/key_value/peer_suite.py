"""py-key-value's own tests of a store, on a vault. ``test_peer`` runs this away from here: both projects call their
tests ``tests``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from fusion_store import get_repository
from fusion_store.integrations.key_value import FusionKeyValueStore
from tests.stores.base import BaseStoreTests  # type: ignore[import-untyped]  # untyped, and in the checkout only


class TestFusionKeyValueStore(BaseStoreTests):  # type: ignore[misc]  # Any, where there is no checkout
    @pytest.fixture
    async def store(self) -> AsyncIterator[FusionKeyValueStore]:
        with get_repository(os.environ["FUSION_STORE_URL"]) as vault:
            yield FusionKeyValueStore(vault, tenant_hash=vault.add_api_token().hash)

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    # It puts 1,000 entries and wants the first one lost. The vault loses none.
    test_not_unbounded = None
