from __future__ import annotations

import doctest

import fusion_store


def test_the_packages_first_example_runs() -> None:
    failed, attempted = doctest.testmod(fusion_store)

    assert failed == 0
    assert attempted > 0
