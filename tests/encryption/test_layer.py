"""A layer forwards every operation of the storage it stands on, the end included."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from fusion_store import OAuthTokenData, StoreClosed, TokenRepository
from fusion_store.backend import RecordRepository, Storage
from fusion_store.layers import CachedTokenRepository, EncryptedTokenRepository, Layer
from tests.encryption.vaults import Vault, storage

STORAGE_OPERATIONS = {
    name
    for name, member in inspect.getmembers(Storage, inspect.isfunction)
    if not name.startswith("_") and not hasattr(TokenRepository, name)
}
CHECKS = {"check_payload", "check_outgoing", "check_incoming"}


def test_the_storage_operations_are_those_that_are_known() -> None:
    assert {name for name in Storage.__abstractmethods__ if name not in TokenRepository.__abstractmethods__} <= (
        STORAGE_OPERATIONS
    )
    assert {"find_damage", "after_fork", "close_storage", "replace_payloads", "backup_storage"} <= STORAGE_OPERATIONS


def test_a_layer_defines_every_storage_operation_itself() -> None:
    defined = {name for name, member in vars(Layer).items() if inspect.isfunction(member) and name[0] != "_"}
    assert defined == STORAGE_OPERATIONS | CHECKS


@pytest.mark.parametrize("layered", [Layer, CachedTokenRepository])
@pytest.mark.parametrize("operation", sorted(STORAGE_OPERATIONS - {"after_fork", "close_storage"} | CHECKS))
def test_a_layer_hands_arguments_down_and_answers_up(
    operation: str, layered: Callable[[RecordRepository], Layer]
) -> None:
    class Recorded:
        clock, token_prefix, guard, backend_name = None, None, None, "recorded"

        def __getattr__(self, name: str) -> Callable[..., object]:
            def answers(*arguments: object, **named: object) -> object:
                seen.append((name, (*arguments, *named.items())))
                return answer

            return answers

    seen: list[tuple[str, tuple[object, ...]]] = []
    answer = object()
    layer = layered(Recorded())  # type: ignore[arg-type]
    signature = inspect.signature(getattr(RecordRepository, operation))
    parameters = list(signature.parameters.values())[1:]
    named = {parameter.name: object() for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    arguments = tuple(object() for parameter in parameters if parameter.name not in named)
    found = getattr(layer, operation)(*arguments, **named)
    assert seen == [(operation, (*arguments, *named.items()))]
    assert found is (None if signature.return_annotation == "None" else answer)


def test_a_layer_has_the_signatures_of_the_storage() -> None:
    for operation in STORAGE_OPERATIONS:
        assert inspect.signature(getattr(Layer, operation)) == inspect.signature(getattr(Storage, operation))


@pytest.mark.parametrize("layered", [Layer, lambda inner: EncryptedTokenRepository(inner, ())])
def test_closing_a_layer_closes_what_is_below(vault: Vault, layered: type[Layer]) -> None:
    with vault.sealed() as repository:
        tenant = repository.add_api_token().hash
        repository.store_oauth_token(tenant, "github", OAuthTokenData("access"))
    inner = storage(vault.open())
    outer = layered(inner)
    stream = inner.export_records()
    next(stream)
    outer.close()
    for repository in (outer, inner):
        with pytest.raises(StoreClosed):
            repository.get_oauth_token(tenant, "github")
        with pytest.raises(StoreClosed):
            repository.export_records()
        repository.close()
    with pytest.raises(StoreClosed):
        next(stream)
    if vault.backend == "leveldb":
        # What was closed has let go of its folder.
        vault.sealed()


def test_closing_what_is_below_closes_the_layer(vault: Vault) -> None:
    repository = vault.sealed()
    tenant = repository.add_api_token().hash
    storage(repository).close()
    with pytest.raises(StoreClosed):
        repository.get_oauth_token(tenant, "github")
    repository.close()


def test_last_used_times_that_a_layer_collected_are_written_when_it_is_closed(vault: Vault) -> None:
    with vault.sealed() as repository:
        issued = repository.add_api_token()
        assert repository.validate_api_token(issued.token) is not None
    found = vault.open().get_api_token(issued.hash)
    assert found is not None
    assert found.last_used == vault.clock.now


def test_a_layer_is_a_repository_like_any_other() -> None:
    assert issubclass(Layer, RecordRepository)
    assert not Layer.__abstractmethods__
