"""The audit trail: turning it on, what else is told of changes and authentication attempts, and verifying it."""

from fusion_store._audit import AuditEntry, AuditFault, AuditRecord, AuthenticationAttempt, acting_as, current_actor
from fusion_store.audit._anchor import AnchoredChain, read_anchor, write_anchor
from fusion_store.audit._documents import JSONLinesFile, document, line
from fusion_store.audit._options import AuditOptions
from fusion_store.audit._switch import disable, enable, settings
from fusion_store.audit._verify import AuditReport, verify
from fusion_store.backend import AuditSettings

__all__ = [
    "AnchoredChain",
    "AuditEntry",
    "AuditFault",
    "AuditOptions",
    "AuditRecord",
    "AuditReport",
    "AuditSettings",
    "AuthenticationAttempt",
    "JSONLinesFile",
    "acting_as",
    "current_actor",
    "disable",
    "document",
    "enable",
    "line",
    "read_anchor",
    "settings",
    "verify",
    "write_anchor",
]
