"""The kit for backend authors.

A backend subclasses ``RecordRepository`` and implements the storage operations of ``Storage``; the typed
operations, limits and rules come with it. A ``Backend`` object, registered under the entry-point group
``fusion_store.backends`` with the URL scheme as its name, opens it.
"""

from fusion_store._audit import AuditChain, AuditEntry, AuditFault, AuditRecord, AuthenticationAttempt
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
from fusion_store.backend._attempts import QUEUE_SIZE as ATTEMPT_QUEUE_SIZE
from fusion_store.backend._attempts import AttemptRecorder
from fusion_store.backend._audit import (
    AUDIT_MARK,
    AuditSettings,
    encode_settings,
    extend_chains,
    find_faults,
    of_change,
    of_code,
    of_new_token,
    of_purged_place,
    of_purged_token,
    of_removed_token,
    of_rotation,
    of_store,
    of_written,
    settings_of,
    tenant_of,
)
from fusion_store.backend._backend import Backend, OpenOptions
from fusion_store.backend._check import check_record
from fusion_store.backend._dump import Dump, read_dump, write_dump
from fusion_store.backend._fork import background_work
from fusion_store.backend._guard import InFlightGuard
from fusion_store.backend._last_used import LastUsedCoalescer, TokenUse
from fusion_store.backend._limits import is_moment
from fusion_store.backend._modes import ENCRYPTION_MARK, PLAIN_MARK, Mode, holds_records, mode_of, refusal, settle_mode
from fusion_store.backend._payloads import KEY_ID_BYTES, SEALED_MAGIC, VouchedPayload, read_oauth_token
from fusion_store.backend._probe import Probe
from fusion_store.backend._repository import RecordRepository
from fusion_store.backend._rules import Change, Resolve, SecretState, refuse_conflict, same_content
from fusion_store.backend._storage import RecordPage, Storage, TenantCounts
from fusion_store.backend._tokens import hash_token, new_api_token, new_auth_code

__all__ = [
    "ATTEMPT_QUEUE_SIZE",
    "AUDIT_MARK",
    "ENCRYPTION_MARK",
    "KEY_ID_BYTES",
    "PLAIN_MARK",
    "SEALED_MAGIC",
    "APITokenRecord",
    "AttemptRecorder",
    "AuditChain",
    "AuditEntry",
    "AuditFault",
    "AuditRecord",
    "AuditSettings",
    "AuthCodeRecord",
    "AuthenticationAttempt",
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
    "Probe",
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
    "background_work",
    "check_record",
    "encode_settings",
    "extend_chains",
    "find_faults",
    "hash_token",
    "holds_records",
    "is_moment",
    "mode_of",
    "new_api_token",
    "new_auth_code",
    "of_change",
    "of_code",
    "of_new_token",
    "of_purged_place",
    "of_purged_token",
    "of_removed_token",
    "of_rotation",
    "of_store",
    "of_written",
    "read_dump",
    "read_oauth_token",
    "redact_url",
    "refusal",
    "refuse_conflict",
    "same_content",
    "settings_of",
    "settle_mode",
    "tenant_of",
    "write_dump",
]
