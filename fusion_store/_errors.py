"""Every error of the vault, under one root.

FusionStoreError
├ ConfigError
├ InvalidInput (field)
├ NotFound: TenantNotFound, TokenNotFound
├ Conflict: AlreadyExists, VersionConflict, ClaimLost, AmbiguousIdentifier (candidates)
├ StoreError (retryable): StoreLocked, StoreClosed, StoreNotFound, StorageFull, StorageIO, ReadOnly,
│   PermissionDenied, Busy, Unavailable, OutcomeUnknown, SchemaOutOfDate, SchemaTooNew, CorruptStore,
│   CorruptRecord (tenant_hash, kind, service), ForkedHandle
├ EncryptionError: WrongKey (key_id), NotEncrypted, Tampered
└ AuthError: NeedsReauth, RefreshFailed (retryable), RefreshTimeout

A message never holds a token, a key, a payload or a caller's value: it names the field or the place.
"""

from __future__ import annotations

from typing import Any, ClassVar


class FusionStoreError(Exception):
    """The root: whatever the vault raises on purpose is one of these."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[FusionStoreError], args: tuple[Any, ...], attributes: dict[str, Any]) -> FusionStoreError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigError(FusionStoreError):
    """A URL, a setting or an environment variable can't be used as it stands."""


class InvalidInput(FusionStoreError):
    """An argument is over a limit, of the wrong type or malformed; nothing was written.

    ``field`` names the argument. The value is never in the message.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class NotFound(FusionStoreError):
    """What the operation acts on doesn't exist."""


class TenantNotFound(NotFound):
    """No such tenant: it was never there, or it was deleted."""

    def __init__(self, message: str = "no such tenant") -> None:
        super().__init__(message)


class TokenNotFound(NotFound):
    """No such API token: never issued, deleted, or no longer live where a live one is needed."""

    def __init__(self, message: str = "no such API token") -> None:
        super().__init__(message)


class Conflict(FusionStoreError):
    """The store's state doesn't allow the change; nothing was changed."""


class AlreadyExists(Conflict):
    """A record of that place stands already, with other content."""


class VersionConflict(Conflict):
    """The record's version isn't the expected one: somebody else stored or deleted it."""

    def __init__(self, message: str = "the record was changed since that version was read") -> None:
        super().__init__(message)


class ClaimLost(Conflict):
    """The refresh claim has ended: released, overtaken by a newer one, or its token was stored or deleted."""

    def __init__(self, message: str = "the refresh claim is no longer held") -> None:
        super().__init__(message)


class AmbiguousIdentifier(Conflict):
    """A prefix fits more than one record; ``candidates`` holds their full hashes."""

    def __init__(self, message: str, candidates: tuple[str, ...]) -> None:
        super().__init__(message)
        self.candidates = candidates


class StoreError(FusionStoreError):
    """The storage can't do its work.

    ``retryable``: the same call may succeed later, and repeating it is safe, since this one changed nothing.
    """

    retryable: ClassVar[bool] = False


class StoreLocked(StoreError):
    """Another process or handle holds the store."""

    retryable = True


class StoreClosed(StoreError):
    """The repository was closed."""

    def __init__(self, message: str = "the repository is closed") -> None:
        super().__init__(message)


class StoreNotFound(StoreError):
    """There is no store at that place, and none may be created."""


class StorageFull(StoreError):
    """No room is left where the store lies; nothing was changed."""

    retryable = True


class StorageIO(StoreError):
    """Reading or writing the storage failed; nothing was changed."""


class ReadOnly(StoreError):
    """The store can be read but not written."""


class PermissionDenied(StoreError):
    """The operating system or the server refuses access."""


class Busy(StoreError):
    """The store was busy for longer than the lock timeout; nothing was changed."""

    retryable = True


class Unavailable(StoreError):
    """The store can't be reached; nothing was changed."""

    retryable = True


class OutcomeUnknown(StoreError):
    """The change may or may not have been made: read before repeating it."""


class SchemaOutOfDate(StoreError):
    """The store's schema is older than this release needs; nothing was changed."""


class SchemaTooNew(StoreError):
    """The store's schema comes from a newer release; nothing was changed."""


class CorruptStore(StoreError):
    """The store as a whole can't be read."""


class CorruptRecord(StoreError):
    """One record can't be read as what was written.

    ``tenant_hash``, ``kind`` and ``service`` say which, as far as they are known (else empty).
    """

    def __init__(self, kind: str, *, tenant_hash: str = "", service: str = "", reason: str = "unreadable") -> None:
        place = [f"tenant {tenant_hash[:16]}"] if tenant_hash else []
        place += [f"service {service!r}"] if service else []
        super().__init__(f"corrupt {kind} record ({', '.join([*place, reason])})")
        self.kind = kind
        self.tenant_hash = tenant_hash
        self.service = service
        self.reason = reason


class ForkedHandle(StoreError):
    """The repository was opened before a fork; open it anew in the child."""

    def __init__(self, message: str = "opened before a fork: open the repository anew in this process") -> None:
        super().__init__(message)


class EncryptionError(FusionStoreError):
    """A payload can't be sealed or opened.

    ``tenant_hash``, ``kind`` and ``service`` say which; they are empty where the store as a whole is meant.
    """

    def __init__(self, message: str, *, tenant_hash: str = "", kind: str = "", service: str = "") -> None:
        super().__init__(message)
        self.tenant_hash = tenant_hash
        self.kind = kind
        self.service = service


class WrongKey(EncryptionError):
    """No key at hand opens the payload; ``key_id`` is the fingerprint of the one that would, else empty."""

    def __init__(
        self, message: str, key_id: str = "", *, tenant_hash: str = "", kind: str = "", service: str = ""
    ) -> None:
        super().__init__(message, tenant_hash=tenant_hash, kind=kind, service=service)
        self.key_id = key_id


class NotEncrypted(EncryptionError):
    """A plain payload stands where only sealed ones may."""


class Tampered(EncryptionError):
    """A sealed payload was altered, or moved from the place it was sealed for."""


class AuthError(FusionStoreError):
    """A caller or an upstream service could not be authenticated."""


class NeedsReauth(AuthError):
    """The upstream grant is gone: the user has to consent again."""


class RefreshFailed(AuthError):
    """The upstream token could not be refreshed.

    ``retryable`` says whether trying later may help, ``retry_after`` how many seconds to wait, where that is known.
    """

    def __init__(self, message: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after


class RefreshTimeout(AuthError):
    """Another caller's refresh did not end in time."""
