"""What is mutated, and the fastest tests that hold it: tests that wait, kill or start processes are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Group(NamedTuple):
    mutated: tuple[str, ...]
    tests: tuple[str, ...]
    backends: str = "memory"
    left_out: tuple[str, ...] = ()
    decorators: Mapping[str, tuple[str, ...]] = {}

    def selection(self) -> list[str]:
        """The arguments by which pytest finds the tests."""
        words = " or ".join((*_EVERYWHERE_LEFT_OUT, *self.left_out))
        return [*self.tests, "-k", f"not ({words})"]


# By a word of their names: slow ones, ones that start processes or storms of threads, and those that list methods.
_EVERYWHERE_LEFT_OUT = (
    "sqlite",
    "postgresql",
    "mariadb",
    "test_processes",
    "test_fork",
    "test_frozen",
    "a_process_is_let_in",
    "processes_of_eight_threads",
    "several_processes",
    "_forked",
    "_killed",
    "sixteen",
    "a_hundred_threads",
    "at_once_never",
    "validating_never_raises_whatever",
    "any_json_object_comes_back",
    "a_thousand_tenants",
)

_CONTRACT = "tests/test_contract.py"


def _kit(*modules: str) -> tuple[str, ...]:
    return tuple(f"fusion_store/backend/{module}.py" for module in modules)


GROUPS = {
    "claims": Group(
        mutated=(
            "fusion_store/backend/_oauth.py",
            "fusion_store/backend/_rules.py",
            "fusion_store/backend/_secrets.py",
        ),
        tests=(_CONTRACT, "tests/kit/test_typed_operations.py", "tests/kit/test_moments.py"),
    ),
    "layers": Group(
        mutated=(
            "fusion_store/layers/_seal.py",
            "fusion_store/layers/_keyring.py",
            "fusion_store/layers/_encrypted.py",
            "fusion_store/layers/_cached.py",
            "fusion_store/layers/_live_tokens.py",
            "fusion_store/layers/_signal_watch.py",
            "fusion_store/layers/_mark.py",
            "fusion_store/layers/_observed.py",
            "fusion_store/layers/_layer.py",
            "fusion_store/layers/_provider.py",
        ),
        tests=(
            "tests/audit/test_attempts.py",
            "tests/cache",
            "tests/encryption",
            "tests/monitoring",
            "tests/rekey/test_rekey.py",
            "tests/transfer/test_merge.py",
        ),
        left_out=("leveldb", "test_emergency", "test_costs", "defines_every_storage_operation"),
        decorators={
            "fusion_store.layers._cached.x__from_memory": (
                "tests/cache/test_cached.py",
                "tests/audit/test_attempts.py",
            ),
            "fusion_store.layers._observed.x__observed": ("tests/monitoring/",),
        },
    ),
    "keys": Group(
        mutated=("fusion_store_leveldb/_keys.py",),
        tests=(_CONTRACT, "tests/leveldb/test_records.py", "tests/leveldb/test_audit_values.py"),
        backends="leveldb",
    ),
    "kit": Group(
        mutated=_kit(
            "_api_tokens",
            "_credentials",
            "_guard",
            "_last_used",
            "_limits",
            "_modes",
            "_operations",
            "_payloads",
            "_probe",
            "_tokens",
        ),
        tests=(
            _CONTRACT,
            "tests/kit",
            "tests/audit/test_attempts.py",
            "tests/cache/test_cached.py",
            "tests/encryption/test_modes.py",
        ),
        decorators={"fusion_store.backend._operations.x_operation": ("tests/kit/test_typed_operations.py",)},
        left_out=("contract_kit", "test_config", "test_imports", "test_docstrings", "test_async_names"),
    ),
    "store": Group(
        mutated=_kit("_attempts", "_audit", "_audit_log", "_check", "_dump", "_system"),
        tests=(
            _CONTRACT,
            "tests/kit/test_check.py",
            "tests/kit/test_health.py",
            "tests/kit/test_imported.py",
            "tests/kit/test_typed_operations.py",
            "tests/audit",
            "tests/encryption/test_modes.py",
            "tests/transfer/test_dump.py",
        ),
    ),
    "manager": Group(
        mutated=tuple(
            f"fusion_store/auth/{name}.py" for name in ("_manager", "_renewal", "_blocking", "_cache", "_sign_in")
        ),
        tests=("tests/auth/manager", "tests/auth/strategies"),
        left_out=("documented",),
    ),
}
