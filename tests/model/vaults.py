"""Stores that are driven side by side, each with its own names for what chance makes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from fusion_store import (
    AmbiguousIdentifier,
    APITokenMetadata,
    FusionStoreError,
    InvalidInput,
    IssuedToken,
    RefreshClaim,
    TokenRepository,
    get_repository,
)
from fusion_store.backend import RecordRepository, hash_token
from fusion_store.layers import Key, Keyring
from tests.servers.databases import emptied_database

KEY: Final = Key(bytes(range(32)))


class Vault:
    """An open store of one kind, for example ``sqlite+encrypted``, and what its secrets are called.

    API tokens, hashes, prefixes and auth codes are random, and so differ from store to store: ``real`` knows them by
    the names that the stores have in common, ``named`` puts those names in their place.
    """

    repository: TokenRepository

    def __init__(self, kind: str, folder: Path, clock: Callable[[], datetime]) -> None:
        self.kind = kind
        self.backend, _, self.layer = kind.partition("+")
        self.claims: dict[str, RefreshClaim] = {}
        self.audit = False
        """Whether it is opened with the audit trail on, from the next time."""
        self._clock = clock
        self._folder = folder / kind
        self._generation = 0
        self._reals: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._url = self._place()
        self.repository = self._open()

    def _place(self) -> str:
        """Where an empty store of this kind is."""
        match self.backend:
            case "memory":
                return f"memory://{uuid4().hex}"
            case "sqlite" | "leveldb":
                shutil.copytree(_template(self.backend, self._folder.parent.parent), self._path)
                return self._file_url
            case _:
                return emptied_database(self.backend, self.layer)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._generation}"

    @property
    def _file_url(self) -> str:
        return f"{self.backend}:///{self._path}/vault"

    def _open(self) -> TokenRepository:
        keys = Keyring([KEY] if self.layer == "encrypted" else [])
        return get_repository(
            self._url,
            encryption_keys=keys,
            cache=self.layer == "cached",
            clock=self._clock,
            audit=self.audit,
        )

    @property
    def storage(self) -> RecordRepository:
        """The repository, as what turns the audit trail on and off, and verifies it."""
        assert isinstance(self.repository, RecordRepository)
        return self.repository

    def reopen(self) -> None:
        """Close the store and open it again."""
        self.repository.close()
        self.repository = self._open()

    def close(self) -> None:
        """Close the store for good."""
        self.repository.close()

    def crash(self) -> None:
        """Go on with what a killed process would have left.

        Of a store on disk that is a copy of its files, made while it is open and no call is under way; of any other
        one, what a second handle sees before the first is closed.
        """
        left = self.repository
        if self.backend in ("sqlite", "leveldb"):
            open_one = self._path
            self._generation += 1
            shutil.copytree(open_one, self._path)
            self._url = self._file_url
            left.close()
            shutil.rmtree(open_one)
            self.repository = self._open()
        else:
            self.repository = self._open()
            left.close()

    def real(self, name: str) -> str:
        """What a name stands for here; other strings stand for themselves."""
        return self._reals.get(name, name)

    def learn(self, name: str, real: str) -> None:
        """Give something a name."""
        self._reals[name] = real
        self._names[real] = name

    def learn_token(self, name: str, issued: IssuedToken) -> IssuedToken:
        """Give a token, its hash and its prefix their names."""
        self.learn(f"token {name}", issued.token)
        self.learn(f"hash {name}", issued.hash)
        self.learn(f"id {name}", issued.metadata.token_id)
        self.learn(f"prefix {name}", issued.metadata.prefix)
        return issued

    def learn_code(self, name: str, code: str) -> None:
        """Give an auth code and its hash their names."""
        self.learn(f"code {name}", code)
        self.learn(f"hash of code {name}", hash_token(code) or "")

    def outcome(self, operation: Callable[[Vault], object], hidden: frozenset[str]) -> object:
        """What an operation comes to: its result or its error, with names for what is random.

        ``hidden`` names the hashes of tokens whose last use isn't known.
        """
        try:
            result = operation(self)
        except FusionStoreError as error:
            field = error.field if isinstance(error, InvalidInput) else ""
            candidates = error.candidates if isinstance(error, AmbiguousIdentifier) else ()
            return type(error).__name__, field, sorted(self._names.get(hash, hash) for hash in candidates)
        return list(self.named(result, hidden).items()) if isinstance(result, dict) else self.named(result, hidden)

    def named(self, value: Any, hidden: frozenset[str] = frozenset()) -> Any:
        """A value as something that is the same for every store."""
        if isinstance(value, str):
            return self._names.get(value, str(value))
        if isinstance(value, Mapping):
            return {self.named(key): self.named(entry, hidden) for key, entry in value.items()}
        if isinstance(value, list | tuple) and not hasattr(value, "__struct_fields__"):
            # A tuple stays one: it may be the key of a mapping.
            return (tuple if isinstance(value, tuple) else list)(self.named(entry, hidden) for entry in value)
        if not hasattr(value, "__struct_fields__"):
            return value
        fields = {name: self.named(getattr(value, name), hidden) for name in value.__struct_fields__}
        if isinstance(value, APITokenMetadata) and fields["hash"] in hidden:
            fields["last_used"] = "unknown"
        return {"": type(value).__name__, **fields}


_templates: Final[dict[tuple[str, Path], Path]] = {}


def _template(backend: str, root: Path) -> Path:
    """The folder of an empty store, made once."""
    made = _templates.get((backend, root))
    if made is None:
        made = _templates[backend, root] = root / f"empty-{backend}"
        get_repository(f"{backend}:///{made}/vault", encryption_keys=Keyring()).close()
    return made
