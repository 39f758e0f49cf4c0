"""The kit for backend authors.

A backend subclasses ``RecordRepository`` and implements the storage operations of ``Storage``; the typed
operations, limits and rules come with it. A ``Backend`` object, registered under the entry-point group
``fusion_store.backends`` with the URL scheme as its name, opens it.
"""

from fusion_store._records import (
    APITokenRecord,
    AuthCodeRecord,
    CounterRecord,
    ExportedRecord,
    Kind,
    MarkRecord,
    Place,
    Record,
    SecretRecord,
    TenantRecord,
)
from fusion_store._urls import StoreURL, redact_url
from fusion_store._values import CorruptPlace
from fusion_store.backend._backend import Backend, OpenOptions
from fusion_store.backend._check import check_record
from fusion_store.backend._dump import Dump, read_dump, write_dump
from fusion_store.backend._guard import InFlightGuard
from fusion_store.backend._last_used import LastUsedCoalescer, TokenUse
from fusion_store.backend._modes import ENCRYPTION_MARK, PLAIN_MARK, Mode, holds_records, mode_of, refusal, settle_mode
from fusion_store.backend._payloads import SEALED_MAGIC, VouchedPayload, read_oauth_token
from fusion_store.backend._repository import RecordRepository
from fusion_store.backend._rules import Change, Resolve, SecretState, refuse_conflict, same_content
from fusion_store.backend._storage import RecordPage, Storage, TenantCounts
from fusion_store.backend._tokens import hash_token, new_api_token, new_auth_code

__all__ = [
    "ENCRYPTION_MARK",
    "PLAIN_MARK",
    "SEALED_MAGIC",
    "APITokenRecord",
    "AuthCodeRecord",
    "Backend",
    "Change",
    "CorruptPlace",
    "CounterRecord",
    "Dump",
    "ExportedRecord",
    "InFlightGuard",
    "Kind",
    "LastUsedCoalescer",
    "MarkRecord",
    "Mode",
    "OpenOptions",
    "Place",
    "Record",
    "RecordPage",
    "RecordRepository",
    "Resolve",
    "SecretRecord",
    "SecretState",
    "Storage",
    "StoreURL",
    "TenantCounts",
    "TenantRecord",
    "TokenUse",
    "VouchedPayload",
    "check_record",
    "hash_token",
    "holds_records",
    "mode_of",
    "new_api_token",
    "new_auth_code",
    "read_dump",
    "read_oauth_token",
    "redact_url",
    "refusal",
    "refuse_conflict",
    "same_content",
    "settle_mode",
    "write_dump",
]
