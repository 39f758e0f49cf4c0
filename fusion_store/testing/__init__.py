"""What a backend's tests need: the contract suite, and a clock that stands still until it is moved.

``docs/contract.md`` shows how a backend runs the contract. Needs pytest and Hypothesis.
"""

import pytest

pytest.register_assert_rewrite("fusion_store.testing.contract")

from fusion_store.testing._clock import ManualClock  # noqa: E402 - asserts are rewritten in what is imported later
from fusion_store.testing._store import ContractStore  # noqa: E402

__all__ = ["ContractStore", "ManualClock"]
