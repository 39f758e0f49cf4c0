"""What is broken off at each of its system calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from fusion_store import SYSTEM_TENANT, CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store._registry import find_backend, get_repository
from fusion_store.backend import ENCRYPTION_MARK, Mode, OpenOptions, RecordRepository, mode_of
from fusion_store.layers import Keyring, Layer
from fusion_store.layers.rekey import convert, rotate_keys
from fusion_store.testing import ManualClock
from tests.crash.stores import AUDITED, BACKENDS, KEYS, KINDS, Store

HOUR: Final = timedelta(hours=1)
LATER: Final = ManualClock().now + HOUR
EARLIER: Final = ManualClock().now - HOUR

OLDEST_SCHEMA: Final = "0001"
AFTERWARDS: Final = "afterwards"
"""The service that is stored when an operation is over."""

Act = Callable[[], object]


@dataclass
class Facts:
    """What stands in a furnished store: ``doomed`` has two tokens, ``kept`` is left alone."""

    doomed: str
    token: str
    second: str
    kept: str
    code: str

    def names(self) -> dict[str, str]:
        """The hashes, by the roles that they have."""
        return {self.doomed: "doomed", self.second: "second", self.kept: "kept", SYSTEM_TENANT: "system"}


def furnish(vault: TokenRepository) -> Facts:
    """Some of everything."""
    doomed, kept = vault.add_api_token("doomed", scopes=["a"], expires_at=LATER), vault.add_api_token("kept")
    second = vault.add_api_token("second", tenant_hash=doomed.hash)
    for tenant in (doomed.hash, kept.hash, SYSTEM_TENANT):
        for service in ("github", "mail"):
            vault.store_oauth_token(tenant, service, OAuthTokenData("before", "before", expires_at=LATER))
        vault.store_credentials(tenant, "github", ServiceCredentials(CredentialType.API_KEY, {"key": "before"}))
        expired = ServiceCredentials(CredentialType.CUSTOM, {"key": "before"}, expires_at=EARLIER)
        vault.store_credentials(tenant, "github", expired)
        vault.claim_refresh(tenant, "mail", ttl=HOUR)
        vault.create_auth_code(tenant, "login", ttl=HOUR, payload={"to": "somebody"})
    code = vault.create_auth_code(doomed.hash, "login", ttl=HOUR)
    return Facts(doomed.hash, doomed.token, second.hash, kept.hash, code)


class Scene(NamedTuple):
    """A store that waits for an operation: what stands in it, and how it is opened."""

    store: Store
    facts: Facts
    opens: Callable[[], TokenRepository]


@dataclass(frozen=True)
class Operation:
    """``prepare`` opens the store and answers the act; ``finish`` opens it after that was broken off."""

    prepare: Callable[[Scene], Act]
    kinds: tuple[str, ...] = tuple(BACKENDS)
    """Of stores. What an audited store keeps of an operation is part of what is compared."""
    finish: Callable[[Store], TokenRepository] = Store.open
    begins_empty: bool = False
    is_one_step: bool = True
    """Whether an error that says so has changed nothing."""


def _on_vault(make: Callable[[TokenRepository, Facts], Act]) -> Operation:
    return Operation(lambda scene: make(scene.opens(), scene.facts), kinds=(*BACKENDS, *AUDITED))


def _refresh(vault: TokenRepository, facts: Facts) -> Act:
    claim = vault.claim_refresh(facts.doomed, "github", ttl=HOUR)
    assert claim is not None
    return lambda: vault.commit_refresh(claim, OAuthTokenData("after", "after"))


def _use(vault: TokenRepository, facts: Facts) -> Act:
    vault.validate_api_token(facts.token)
    return vault.flush


def _move_in(vault: TokenRepository, facts: Facts) -> Act:
    with get_repository("memory://", clock=ManualClock()) as other:
        for number in range(10):
            other.store_oauth_token(other.add_api_token(f"moved {number}").hash, "github", OAuthTokenData("moved"))
        records = list(other.export_records())
    return lambda: vault.import_records(records)


def below(vault: TokenRepository) -> RecordRepository:
    """The repository without its layers."""
    while isinstance(vault, Layer):
        vault = vault.inner
    assert isinstance(vault, RecordRepository)
    return vault


def _raw(store: Store) -> RecordRepository:
    backend, url = find_backend(store.url)
    return backend.open(url, OpenOptions(create=False, clock=ManualClock()))


def _change_keys(scene: Scene) -> Act:
    return partial(rotate_keys, below(scene.opens()), Keyring(KEYS[::-1]))


def _seal(scene: Scene) -> Act:
    return partial(convert, below(scene.opens()), Keyring(KEYS), to=Mode.SEALED)


def _finish_sealing(store: Store) -> TokenRepository:
    with closing(_raw(store)) as storage:
        mark = mode_of(storage.read_mark(ENCRYPTION_MARK))
        if mark is Mode.CONVERTING:
            assert not convert(storage, Keyring(KEYS), to=Mode.SEALED).failed
    return store.open(keys=None if mark is Mode.PLAIN else KEYS[:1])


def _migrate(scene: Scene) -> Act:
    backend, url = find_backend(scene.store.url)
    backend.downgrade_schema(url, OLDEST_SCHEMA)
    return partial(backend.upgrade_schema, url)


def _finish_migrating(store: Store) -> TokenRepository:
    backend, url = find_backend(store.url)
    backend.upgrade_schema(url)
    return store.open()


def _finish_purging(store: Store) -> TokenRepository:
    vault = store.open()
    vault.purge_expired()
    return vault


OPERATIONS: Final[dict[str, Operation]] = {
    "create": Operation(
        lambda scene: scene.opens,
        finish=lambda store: store.open(create=True),
        begins_empty=True,
        is_one_step=False,
    ),
    "open": Operation(lambda scene: scene.opens),
    "add": _on_vault(lambda vault, _: partial(vault.add_api_token, "new", scopes=["b"])),
    "store": _on_vault(
        lambda vault, facts: partial(vault.store_oauth_token, facts.doomed, "github", OAuthTokenData("after"))
    ),
    "store credentials": _on_vault(
        lambda vault, facts: partial(
            vault.store_credentials,
            facts.doomed,
            "new",
            ServiceCredentials(CredentialType.BEARER, {"key": "after" * 2_000}),
        )
    ),
    "delete a record": _on_vault(lambda vault, facts: partial(vault.delete_oauth_token, facts.doomed, "github")),
    "delete a token": _on_vault(lambda vault, facts: partial(vault.delete_api_token, facts.doomed)),
    "delete a tenant": _on_vault(lambda vault, facts: partial(vault.delete_tenant, facts.doomed)),
    "delete a tenant's last token": _on_vault(lambda vault, facts: partial(vault.delete_api_token, facts.kept)),
    "rotate": _on_vault(lambda vault, facts: partial(vault.rotate_api_token, facts.doomed)),
    "rotate with grace": _on_vault(lambda vault, facts: partial(vault.rotate_api_token, facts.doomed, grace=HOUR / 2)),
    "claim": _on_vault(lambda vault, facts: partial(vault.claim_refresh, facts.doomed, "github", ttl=HOUR)),
    "refresh": _on_vault(_refresh),
    "create a code": _on_vault(lambda vault, facts: partial(vault.create_auth_code, facts.kept, "x", ttl=HOUR)),
    "redeem": _on_vault(lambda vault, facts: partial(vault.redeem_auth_code, facts.code)),
    "last use": Operation(lambda scene: _use(scene.opens(), scene.facts), is_one_step=False),
    "import": _on_vault(_move_in),
    "purge": Operation(lambda scene: scene.opens().purge_expired, finish=_finish_purging, is_one_step=False),
    "close": _on_vault(lambda vault, _: vault.close),
    "migrate": Operation(_migrate, finish=_finish_migrating, is_one_step=False),
    "change keys": Operation(
        _change_keys,
        kinds=tuple(kind for kind in KINDS if kind.endswith("sealed")),
        finish=lambda store: store.open(keys=KEYS),
        is_one_step=False,
    ),
    "seal": Operation(_seal, finish=_finish_sealing, is_one_step=False),
}


def go_on(vault: TokenRepository) -> object:
    """A write that has nothing to do with what was broken off."""
    return vault.store_oauth_token(SYSTEM_TENANT, AFTERWARDS, OAuthTokenData("x"))
