"""What a memory vault holds."""

from __future__ import annotations

import threading

from fusion_store import SYSTEM_TENANT
from fusion_store.backend import (
    APITokenRecord,
    AuditChain,
    AuditRecord,
    AuthCodeRecord,
    CounterRecord,
    Place,
    SecretRecord,
    TenantRecord,
)


class State:
    """Plain dicts and one lock, which is held by whoever reads or changes them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.signal = 0
        self.marks: dict[str, bytes] = {}
        self.tenants: dict[str, TenantRecord] = {SYSTEM_TENANT: TenantRecord(SYSTEM_TENANT, 0)}
        self.tokens: dict[str, APITokenRecord] = {}
        self.secrets: dict[Place, SecretRecord] = {}
        self.counters: dict[Place, CounterRecord] = {}
        self.codes: dict[str, AuthCodeRecord] = {}
        self.chains: dict[str, AuditChain] = {}
        self.audit: dict[tuple[str, int], AuditRecord] = {}
