"""The contract of ``TokenRepository``: every backend passes exactly these tests.

``from fusion_store.testing.contract import *`` in a test module brings all of them, and the fixtures they use. The
module defines one fixture of its own, ``contract_store``, which answers a new ``ContractStore``.
"""

from types import ModuleType

from fusion_store.testing.contract import (
    _api_tokens,
    _async,
    _audit,
    _auth_codes,
    _claims,
    _concurrency,
    _credentials,
    _identifiers,
    _last_used,
    _lifecycle,
    _limits,
    _oauth,
    _processes,
    _rotation,
    _secrecy,
    _storage,
    _system,
    _tenants,
    _transfer,
)
from fusion_store.testing.contract._fixtures import (
    audited,
    clock,
    handles,
    open_store,
    reference,
    reopen,
    repository,
    storage,
)

GROUPS: tuple[ModuleType, ...] = (
    _api_tokens,
    _rotation,
    _last_used,
    _tenants,
    _oauth,
    _claims,
    _auth_codes,
    _credentials,
    _system,
    _transfer,
    _limits,
    _identifiers,
    _secrecy,
    _concurrency,
    _processes,
    _lifecycle,
    _async,
    _audit,
    _storage,
)

# Computed, so that a test can't be forgotten here.
__all__ = ["audited", "clock", "handles", "open_store", "reference", "reopen", "repository", "storage"]  # noqa: PLE0604, RUF100
for _group in GROUPS:
    for _name, _value in vars(_group).items():
        if _name.startswith("test_"):
            if _name in globals():
                raise ImportError(f"two contract tests are called {_name}")
            globals()[_name] = _value
            __all__ += [_name]  # noqa: PLE0604, RUF100
