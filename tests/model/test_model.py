"""Whatever is done to it, every kind of store answers as the reference in memory does."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import SideBySide
from tests.model.surroundings import BACKENDS, LAYERS, RUNS, SEED, STEPS

KINDS = [backend if layer == "plain" else f"{backend}+{layer}" for backend in BACKENDS for layer in LAYERS]


# Two halves, which may run at a time.
@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.timeout(0)
def test_every_kind_of_store_answers_as_the_reference_does(place: Path, half: int) -> None:
    runs = (RUNS + half) // 2
    print(f"FUSION_STORE_TEST_SEED={SEED}: {runs} runs of up to {STEPS} steps on {', '.join(KINDS)}")  # noqa: T201 - how to see it again

    @seed(f"{SEED}/{half}")
    class Machine(SideBySide):
        kinds = KINDS
        root = place

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=False,
            phases=[Phase.generate, Phase.shrink],
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
