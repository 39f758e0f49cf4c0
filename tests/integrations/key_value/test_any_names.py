"""Whatever the names and values are, the store does what a dictionary does."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from fusion_store import get_repository
from fusion_store.integrations.key_value import FusionKeyValueStore
from fusion_store.testing import ManualClock

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.text("a:1\0é ", max_size=3)
NAMES = TEXT | st.builds(lambda text, times: text * times, TEXT, st.integers(1, 500))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VALUES = st.dictionaries(TEXT, JSON, max_size=3)
COLLECTIONS = NAMES.filter(bool)
"""py-key-value takes an empty one for its default."""


class LikeADictionary(RuleBasedStateMachine):
    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.vault = get_repository("memory://", clock=self.clock)
        self.store = FusionKeyValueStore(self.vault)
        self.model: dict[tuple[str, str], tuple[Any, Any]] = {}

    def teardown(self) -> None:
        self.vault.close()

    def drop_ended(self) -> None:
        self.model = {
            place: (value, end) for place, (value, end) in self.model.items() if end is None or end > self.clock()
        }

    @rule(target=names, collection=COLLECTIONS, key=NAMES)
    def name(self, collection: str, key: str) -> tuple[str, str]:
        return collection, key

    @rule(target=names, place=names)
    def name_cut_elsewhere(self, place: tuple[str, str]) -> tuple[str, str]:
        collection, key = place
        return collection + key[:1], key[1:]

    @rule(place=names, value=VALUES, seconds=st.none() | st.integers(1, 100))
    def put(self, place: tuple[str, str], value: dict[str, Any], seconds: int | None) -> None:
        collection, key = place
        asyncio.run(self.store.put(key, value, collection=collection, ttl=seconds))
        end = None if seconds is None else self.clock() + timedelta(seconds=seconds)
        self.model[place] = (value, end)

    @rule(place=names)
    def delete(self, place: tuple[str, str]) -> None:
        collection, key = place
        assert asyncio.run(self.store.delete(key, collection=collection)) == (place in self.model)
        self.model.pop(place, None)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))
        self.drop_ended()

    @rule(place=names)
    def look(self, place: tuple[str, str]) -> None:
        collection, key = place
        value, end = self.model.get(place, (None, None))
        left = None if end is None else (end - self.clock()).total_seconds()
        assert asyncio.run(self.store.ttl(key, collection=collection)) == (value, left)

    @invariant()
    def every_entry_is_there(self) -> None:
        for (collection, key), (value, _) in self.model.items():
            assert asyncio.run(self.store.get(key, collection=collection)) == value


TestLikeADictionary = LikeADictionary.TestCase
TestLikeADictionary.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
