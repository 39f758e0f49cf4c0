"""What many contract tests make or look at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Barrier
from typing import Any, Final

from hypothesis import HealthCheck, settings

from fusion_store import CredentialType, InvalidInput, OAuthTokenData, ServiceCredentials, TokenRepository
from fusion_store.backend import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    ExportedRecord,
    MarkRecord,
    Record,
    SecretRecord,
    TenantRecord,
)

CANARY: Final = "canary7f3a"
"""Part of values that must not be shown."""

UNKNOWN: Final = "f" * 63 + "0"
"""A tenant or token hash that no test stores anything under."""

_KINDS: Final[list[Any]] = [TenantRecord, APITokenRecord, SecretRecord, CounterRecord, AuthCodeRecord]

few_examples: Final = settings(
    max_examples=30,
    deadline=None,
    database=None,
    # Each example makes a tenant or a name of its own, so that a store shared by examples does no harm.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def new_tenant(repository: TokenRepository) -> str:
    return repository.add_api_token().metadata.tenant_hash


def oauth(access_token: str = "access", refresh_token: str | None = "refresh", **fields: Any) -> OAuthTokenData:
    return OAuthTokenData(access_token, refresh_token, **fields)


def api_key(
    key: str = "key", type: CredentialType = CredentialType.API_KEY, expires_at: datetime | None = None
) -> ServiceCredentials:
    return ServiceCredentials(type, {"key": key}, expires_at)


def exported(repository: TokenRepository) -> list[Record]:
    """All records, in an order that doesn't depend on the backend."""
    return in_order(without_mark(repository.export_records()))


def without_mark(records: Iterable[ExportedRecord]) -> list[Record]:
    """An export without the mark that leads a sealed store's."""
    return [record for record in records if not isinstance(record, MarkRecord)]


def in_order(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (tenant_of(record), _KINDS.index(type(record)), _key(record)))


def _key(record: Record) -> tuple[str, ...]:
    match record:
        case SecretRecord() | CounterRecord():
            return record.place.kind, record.place.service, record.place.credential_type
        case APITokenRecord() | AuthCodeRecord():
            return (record.hash,)
        case TenantRecord():
            return ()


def tenant_of(record: Record) -> str:
    match record:
        case TenantRecord() | APITokenRecord():
            return record.tenant_hash
        case SecretRecord() | CounterRecord() | AuthCodeRecord():
            return record.place.tenant_hash


def micros(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def crafted_hash(number: int, head: str = "") -> str:
    return (head + sha256(str(number).encode()).hexdigest())[:64]


def crafted_token(
    number: int,
    tenant_hash: str | None = None,
    *,
    head: str = "",
    prefix: str = "crafted0",
    created_at: int = 0,
    expires_at: int | None = None,
) -> APITokenRecord:
    hash = crafted_hash(number, head)
    return APITokenRecord(
        hash=hash,
        prefix=prefix,
        tenant_hash=tenant_hash or hash,
        description=f"token {number}",
        scopes=(),
        created_at=created_at,
        last_used=None,
        expires_at=expires_at,
    )


def crafted_tenant(number: int, *, head: str = "", prefix: str = "crafted0", created_at: int = 0) -> list[Record]:
    token = crafted_token(number, head=head, prefix=prefix, created_at=created_at)
    return [TenantRecord(token.tenant_hash, created_at), token]


def refused_field(operation: Callable[[], object]) -> object:
    """The field that ``InvalidInput`` names; what was answered instead, when it wasn't raised."""
    try:
        return "answered", operation()
    except InvalidInput as error:
        shown = f"{error} {error!r} {error.args!r}"
        return "shows the value" if CANARY in shown else error.field


def outcomes(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each job answers or raises, all begun at once, a thread each."""
    start = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        start.wait(30)
        try:
            return job()
        except Exception as error:
            return error

    interval = sys.getswitchinterval()
    # Threads that change places often meet in more ways.
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(jobs)) as threads:
            return list(threads.map(run, jobs))
    finally:
        sys.setswitchinterval(interval)


def at_once(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each job answers, all begun at once; raises what the first failed one raised."""
    answers = outcomes(jobs)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
