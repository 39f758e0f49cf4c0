"""From a URL to a repository: the built-in schemes from a table, others through entry points."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

from fusion_store._config import (
    AUDIT_ATTEMPTS_VARIABLE,
    AUDIT_SAMPLE_VARIABLE,
    AUDIT_SINK_VARIABLE,
    AUDIT_VARIABLE,
    CIPHER_VARIABLE,
    KEY_FILE_VARIABLE,
    KEYS_VARIABLE,
    default_url,
)
from fusion_store._errors import ConfigError
from fusion_store._interface import TokenRepository
from fusion_store._urls import StoreURL

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from fusion_store.audit import AuditOptions
    from fusion_store.backend import Backend, OpenOptions, RecordRepository
    from fusion_store.layers import CacheOptions, KeyProvider, Keyring

ENTRY_POINT_GROUP: Final = "fusion_store.backends"


class _BuiltIn(NamedTuple):
    module: str
    driver: str | None
    extra: str | None


_BUILT_IN: Final = {
    "memory": _BuiltIn("fusion_store_memory", None, None),
    "sqlite": _BuiltIn("fusion_store_sql", "sqlalchemy", None),
    "postgresql": _BuiltIn("fusion_store_sql", "psycopg", "postgresql"),
    "mysql": _BuiltIn("fusion_store_sql", "pymysql", "mysql"),
    "mariadb": _BuiltIn("fusion_store_sql", "pymysql", "mysql"),
    "leveldb": _BuiltIn("fusion_store_leveldb", "plyvel", "leveldb"),
}


class BackendStatus(NamedTuple):
    """A URL scheme, and whether it can be used here."""

    scheme: str
    driver: str | None
    """The import name of the library it needs; None: none but this package, or not known."""
    installed: bool
    extra: str | None
    """The extra of this package that brings the driver."""


def get_repository(
    url: str | None = None,
    *,
    create: bool = True,
    encryption_keys: Sequence[str] | Keyring | KeyProvider | None = None,
    cache: bool | CacheOptions = False,
    token_prefix: str | None = None,
    clock: Callable[[], datetime] | None = None,
    audit: bool | AuditOptions | None = None,
) -> TokenRepository:
    """Open the vault at ``url``.

    - ``url``: by default ``FUSION_STORE_URL``, else SQLite in the data directory. Schemes: ``memory``,
      ``sqlite``, ``leveldb``, ``postgresql``, ``mysql``, ``mariadb``, and what is registered under the
      entry-point group ``fusion_store.backends``.
    - ``create``: whether an empty location gets a new vault; else it is ``StoreNotFound``.
    - ``encryption_keys``: keys to seal payloads with, the first, and to open them with, all; as strings, a
      ``Keyring`` or a ``KeyProvider``. By default ``FUSION_STORE_KEYS`` (separated by commas) or
      ``FUSION_STORE_KEY_FILE`` (one a line, mode 0600); without any, a sealed store still lists and revokes.
    - ``cache``: True, or ``fusion_store.layers.CacheOptions``, answers repeated validations from memory; a token that
      another process revokes may then be answered for one second more, or for as long as the options say.
    - ``token_prefix``: new API tokens are ``PREFIX_`` and 49 base62 characters, the form secret scanners know;
      by default 64 hex characters.
    - ``clock``: answers the present as an aware datetime; by default the system's.
    - ``audit``: ``True`` or ``AuditOptions`` make the store record each change from now on, whoever makes it; by
      default ``FUSION_STORE_AUDIT`` (``on`` or ``off``). Otherwise the store stays as it is:
      ``fusion-store audit disable`` ends it. ``FUSION_STORE_AUDIT_SINK`` and ``FUSION_STORE_AUDIT_ATTEMPTS`` name
      files to which this process appends its changes and the authentication attempts, unless options are given.

    Raises ``ConfigError`` for a URL or key that can't be used, naming what is known or the extra to install, a
    ``StoreError`` when the store can't be opened or its keys can't be had, and an ``EncryptionError`` when it isn't
    sealed, or not with these keys. The caller closes the repository.
    """
    from fusion_store.backend import OpenOptions

    keyring = find_keyring(encryption_keys)
    options = _find_audit_options(audit)
    backend, parsed = find_backend(url)
    repository = _open(backend, parsed, OpenOptions(create, token_prefix, clock), options)
    try:
        outermost = _cached(encrypted(repository, keyring), cache)
        if options is not None:
            outermost.attempts = options.recorder()
        return outermost
    except BaseException:
        repository.close()
        raise


def open_storage(
    backend: Backend, url: StoreURL, *, create: bool = False, start_audit: bool = False
) -> RecordRepository:
    """Open the repository below all layers, for what works on records as they are stored.

    Its changes go to the sink that the environment names. ``start_audit``: the store begins to record them, where
    ``FUSION_STORE_AUDIT`` is ``on``; leave it out where nothing is to be changed. Raises as ``get_repository``.
    """
    from fusion_store.backend import OpenOptions

    options = _find_audit_options(None)
    if options is not None and not start_audit:
        options = options._replace(enable=False)
    return _open(backend, url, OpenOptions(create), options)


def _open(backend: Backend, url: StoreURL, options: OpenOptions, audit: AuditOptions | None) -> RecordRepository:
    repository = backend.open(url, options)
    try:
        if audit is not None:
            audit.apply(repository)
    except BaseException:
        repository.close()
        raise
    return repository


def encrypted(repository: RecordRepository, keyring: Keyring | None) -> RecordRepository:
    """The repository as ``get_repository`` wraps it for these keys, or for none; raises as it does."""
    from fusion_store.backend import ENCRYPTION_MARK, Mode, holds_records, mode_of

    if keyring is None:
        sealed = mode_of(repository.read_mark(ENCRYPTION_MARK)) is Mode.SEALED
        if not sealed or not holds_records(repository):
            return repository
    from fusion_store.layers import EncryptedTokenRepository

    return EncryptedTokenRepository(repository, keyring or ())


def _cached(repository: RecordRepository, cache: bool | CacheOptions) -> RecordRepository:
    if cache is False:
        return repository
    from fusion_store.layers import CachedTokenRepository, CacheOptions

    if cache is not True and not isinstance(cache, CacheOptions):
        raise ConfigError("cache: must be True, False or CacheOptions")
    return CachedTokenRepository(repository, CacheOptions() if cache is True else cache)


def _find_audit_options(audit: bool | AuditOptions | None) -> AuditOptions | None:
    """What was asked for, and what the environment says; None leaves the store as it is."""
    if audit is not None and not isinstance(audit, bool):
        from fusion_store.audit import AuditOptions

        if not isinstance(audit, AuditOptions):
            raise ConfigError("audit: must be True, False or AuditOptions")
        return audit
    value = os.environ.get(AUDIT_VARIABLE, "off") if audit is None else "on" if audit else "off"
    if value not in ("on", "off"):
        raise ConfigError(f"{AUDIT_VARIABLE} must be on or off")
    sink, attempts = os.environ.get(AUDIT_SINK_VARIABLE), os.environ.get(AUDIT_ATTEMPTS_VARIABLE)
    if value == "off" and not sink and not attempts:
        return None
    from fusion_store.audit import AuditOptions, JSONLinesFile

    try:
        sample = float(os.environ.get(AUDIT_SAMPLE_VARIABLE, "1"))
    except ValueError:
        raise ConfigError(f"{AUDIT_SAMPLE_VARIABLE} must be a number from 0 to 1") from None
    return AuditOptions(
        enable=value == "on",
        sink=JSONLinesFile(sink) if sink else None,
        attempts=JSONLinesFile(attempts) if attempts else None,
        sample=sample,
    )


def find_keyring(keys: Sequence[str] | Keyring | KeyProvider | None = None) -> Keyring | None:
    """The given keys, or those that the environment names; None when there are none.

    Keys that were meant to be given and are missing are ``ConfigError``, or a vault would be plain by mistake: only an
    empty ``Keyring`` asks for none.
    """
    environment = {name: os.environ[name] for name in (KEYS_VARIABLE, KEY_FILE_VARIABLE) if name in os.environ}
    if keys is None and not environment:
        return None
    from fusion_store.layers import Cipher, Keyring, read_key_file

    if isinstance(keys, Keyring):
        return keys if keys else None
    if keys is None:
        if len(environment) > 1:
            raise ConfigError(f"both {KEYS_VARIABLE} and {KEY_FILE_VARIABLE} are set: use one")
        ((name, value),) = environment.items()
        if not value.strip():
            raise ConfigError(f"{name} is set and empty: unset it to open the vault without keys")
        keys = value.split(",") if name == KEYS_VARIABLE else read_key_file(value)
    keyring = Keyring(keys, cipher=os.environ.get(CIPHER_VARIABLE) or Cipher.FERNET)
    if not keyring:
        raise ConfigError("no encryption key among those given; an empty Keyring opens the vault without keys")
    return keyring


def find_backend(url: str | None) -> tuple[Backend, StoreURL]:
    """The backend of a URL (None: the default one) and the URL, taken apart."""
    parsed = StoreURL.parse(default_url() if url is None else url)
    built_in = _BUILT_IN.get(parsed.scheme)
    if built_in is not None:
        return _load_built_in(parsed.scheme, built_in), parsed
    entry_point = next((e for e in _entry_points() if e.name == parsed.scheme), None)
    if entry_point is None:
        known = sorted({*_BUILT_IN, *(e.name for e in _entry_points())})
        raise ConfigError(f"unknown scheme {parsed.scheme!r}; known: {', '.join(known)}")
    return _load_entry_point(entry_point), parsed


def list_backends() -> list[BackendStatus]:
    """All schemes that are known here."""
    statuses = [
        BackendStatus(scheme, entry.driver, entry.driver is None or find_spec(entry.driver) is not None, entry.extra)
        for scheme, entry in _BUILT_IN.items()
    ]
    for entry_point in _entry_points():
        module = entry_point.module.partition(".")[0]
        statuses.append(BackendStatus(entry_point.name, module, find_spec(module) is not None, None))
    return statuses


def _entry_points() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points

    return (e for e in entry_points(group=ENTRY_POINT_GROUP) if e.name not in _BUILT_IN)


def _load_built_in(scheme: str, entry: _BuiltIn) -> Backend:
    from fusion_store.backend import Backend

    if entry.driver is not None and find_spec(entry.driver) is None:
        wanted = f"fusion-store[{entry.extra}]" if entry.extra else entry.driver
        raise ConfigError(f"{scheme} needs {entry.driver}, which isn't installed: pip install '{wanted}'")
    backend = import_module(entry.module).backend
    assert isinstance(backend, Backend)
    return backend


def _load_entry_point(entry_point: EntryPoint) -> Backend:
    from fusion_store.backend import Backend

    try:
        backend = entry_point.load()
    except Exception as error:
        raise ConfigError(
            f"the backend {entry_point.value!r} of scheme {entry_point.name!r} can't be loaded: {type(error).__name__}"
        ) from error
    if not isinstance(backend, Backend):
        raise ConfigError(
            f"{entry_point.value!r}, registered for {entry_point.name!r}, is no fusion_store.backend.Backend"
        )
    return backend
