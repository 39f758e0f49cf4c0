"""One state machine that drives every kind of store, and holds each against the reference in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count, groupby, pairwise
from pathlib import Path
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, multiple, rule
from msgspec.structs import replace

from fusion_store import (
    SYSTEM_TENANT,
    APITokenMetadata,
    AuditRecord,
    CredentialType,
    OAuthTokenData,
    ServiceCredentials,
    StoreClosed,
    TenantInfo,
    acting_as,
)
from fusion_store.audit import disable, enable, verify
from fusion_store.backend import APITokenRecord, ExportedRecord, MarkRecord, TenantRecord, hash_token
from fusion_store.testing import ManualClock
from tests.model.vaults import Vault

_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

_SERVICES: Final = ["a", "A", "ab", "a%", "é", "ﬀ", "😀", "z" * 255]
_BAD_SERVICES: Final = ["", "a ", "a\0b", "e\u0301", "z" * 256, "\ud800"]
_NOBODY: Final = ["f" * 64, "F" * 64, "nobody", "\ud800"]

services = st.sampled_from([*["a"] * 20, *_SERVICES, *_BAD_SERVICES])
spans = st.sampled_from([-60, 0, 1, 60, 3600]).map(lambda seconds: timedelta(seconds=seconds))
lifetimes = st.none() | spans
versions = st.sampled_from([None, None, None, 0, 1, 2, 3, "current", -1, True])
texts = st.sampled_from([*["secret", "other"] * 10, "ü😀", "x" * 65536, "x" * 65537, "", "\ud800", "\0"])
metadata = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
objects = st.sampled_from([{}, {"key": "value"}, {"é": [1, 2.5, None, {"a": True}]}]) | st.dictionaries(
    st.text(max_size=3), plain_json, max_size=3
)
limits = st.sampled_from([1, 2, 3, 100])


class SideBySide(RuleBasedStateMachine):
    """Each rule is an operation; whatever the reference answers, all others have to."""

    kinds: ClassVar[list[str]]
    root: ClassVar[Path]

    tokens = Bundle("tokens")
    codes = Bundle("codes")
    claims = Bundle("claims")

    _known = tokens.map("hash {}".format)
    _first = st.sampled_from(["hash 1", "hash 2"])
    tenants = st.one_of(_first, _first, _first, _known, st.just(SYSTEM_TENANT), st.sampled_from(_NOBODY))
    hashes = st.one_of(_first, _known, _known, _known, st.sampled_from(_NOBODY))

    _runs: ClassVar = count()

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.folder = self.root / f"run-{next(self._runs)}"
        self.vaults = [Vault(kind, self.folder, self.clock) for kind in self.kinds]
        self.number = count(1)
        self.steps = 0
        self.births: set[datetime] = set()
        self.moments: list[datetime] = []
        self.used: set[str] = set()
        self.unknown: frozenset[str] = frozenset()

    def everywhere(self, operation: Callable[[Vault], object]) -> object:
        """Do the same to every store; what comes of it has to be the same."""
        reference, *others = self.vaults
        self.steps += 1
        with acting_as(f"step {self.steps}"):
            outcomes = [vault.outcome(operation, self.unknown) for vault in (reference, *others)]
        expected = outcomes[0]
        for vault, found in zip(others, outcomes[1:], strict=True):
            assert found == expected, f"{vault.kind}: {found!r}\n{reference.kind}: {expected!r}"
        return expected

    def born(self) -> None:
        """Move on where a token was made at this very moment: which of two comes first is then for chance to say."""
        while self.clock.now in self.births:
            self.clock.advance(_MICROSECOND)
        self.births.add(self.clock.now)

    def moment(self, span: timedelta | None) -> datetime | None:
        """A moment that far from now, which the clock may be set to later."""
        if span is None:
            return None
        self.moments.append(self.clock.now + span)
        return self.moments[-1]

    @staticmethod
    def standing(expected: Any, version: Callable[[], int | None]) -> Any:
        """``expected``, or the version that stands there now."""
        return version() if expected == "current" else expected

    # API tokens and tenants

    @initialize(target=tokens)
    def begin(self) -> MultipleResults[str]:
        return multiple(*[name for _ in range(2) for name in self.issue("", (), None, None)])

    @rule(target=tokens, description=st.text(max_size=4), scopes=st.lists(st.sampled_from("ab "), max_size=2))
    def add(self, description: str, scopes: list[str]) -> MultipleResults[str]:
        return multiple(*self.issue(description, scopes, None, None))

    @rule(target=tokens, tenant=tenants, lifetime=lifetimes)
    def add_to_tenant(self, tenant: str, lifetime: timedelta | None) -> MultipleResults[str]:
        return multiple(*self.issue("more", ["read"], tenant, self.moment(lifetime)))

    def issue(self, description: str, scopes: Any, tenant: str | None, expires_at: datetime | None) -> list[str]:
        self.born()
        name = f"{next(self.number)}"

        def add(vault: Vault) -> APITokenMetadata:
            tenant_hash = None if tenant is None else vault.real(tenant)
            issued = vault.repository.add_api_token(
                description, tenant_hash=tenant_hash, scopes=scopes, expires_at=expires_at
            )
            return vault.learn_token(name, issued).metadata

        return [name] if isinstance(self.everywhere(add), dict) else []

    @rule(target=tokens, hash=hashes, grace=spans)
    def rotate(self, hash: str, grace: timedelta) -> MultipleResults[str]:
        self.born()
        self.moment(grace)
        name = f"{next(self.number)}"

        def rotate(vault: Vault) -> APITokenMetadata:
            issued = vault.repository.rotate_api_token(vault.real(hash), grace=grace)
            return vault.learn_token(name, issued).metadata

        return multiple(name) if isinstance(self.everywhere(rotate), dict) else multiple()

    @rule(token=tokens.map("token {}".format) | st.sampled_from(["", "é", "ab" * 32, "\ud800", "\0"]))
    def validate(self, token: str) -> None:
        if isinstance(found := self.everywhere(lambda v: v.repository.validate_api_token(v.real(token))), dict):
            self.used.add(found["hash"])

    @rule(hash=hashes)
    def look_up(self, hash: str) -> None:
        self.everywhere(lambda v: v.repository.get_api_token(v.real(hash)))
        self.everywhere(lambda v: v.repository.get_tenant(v.real(hash)))

    @rule(name=tokens, length=st.sampled_from([3, 14, 64]))
    def find(self, name: str, length: int) -> None:
        self.everywhere(lambda v: v.repository.find_api_tokens(v.real(f"hash {name}")[:length]))
        self.everywhere(lambda v: v.repository.resolve_api_token(v.real(f"hash {name}")[:length]))
        self.everywhere(lambda v: v.repository.resolve_tenant(v.real(f"hash {name}")[:length]))
        self.everywhere(lambda v: v.repository.find_api_tokens(v.real(f"prefix {name}")))

    @rule(prefix=st.sampled_from(["feed", "feedbee0", "FEED", "fee%", "no such"]))
    def find_by_prefix(self, prefix: str) -> None:
        self.everywhere(lambda v: v.repository.find_api_tokens(prefix))
        self.everywhere(lambda v: v.repository.resolve_api_token(prefix))

    @rule(tenant=st.none() | tenants, limit=limits)
    def list_tokens(self, tenant: str | None, limit: int) -> None:
        def pages(vault: Vault) -> list[APITokenMetadata]:
            listed: list[APITokenMetadata] = []
            of = None if tenant is None else vault.real(tenant)
            while page := vault.repository.list_api_tokens(
                tenant_hash=of, after=listed[-1].cursor if listed else None, limit=limit
            ):
                assert len(page) <= limit
                listed += page
            assert listed == sorted(listed, key=lambda token: (token.created_at, token.hash))
            if tenant is None:
                assert listed == list(vault.repository.iter_api_tokens())
            return listed

        self.everywhere(pages)

    @rule(limit=limits)
    def list_tenants(self, limit: int) -> None:
        def pages(vault: Vault) -> list[Any]:
            listed: list[TenantInfo] = []
            while page := vault.repository.list_tenants(after=listed[-1].cursor if listed else None, limit=limit):
                assert len(page) <= limit
                listed += page
            assert listed == sorted(listed, key=lambda tenant: tenant.tenant_hash)
            return sorted((vault.named(tenant) for tenant in listed), key=lambda tenant: str(tenant["tenant_hash"]))

        self.everywhere(pages)

    @rule(hash=hashes)
    def delete_token(self, hash: str) -> None:
        self.everywhere(lambda v: v.repository.delete_api_token(v.real(hash)))

    @rule(tenant=tenants)
    def delete_tenant(self, tenant: str) -> None:
        self.everywhere(lambda v: v.repository.delete_tenant(v.real(tenant)))

    # OAuth tokens

    @rule(
        tenant=tenants,
        service=services,
        access=texts,
        refresh=st.none() | texts,
        metadata=metadata,
        lifetime=lifetimes,
        expected=versions,
    )
    def store_oauth(
        self,
        *,
        tenant: str,
        service: str,
        access: str,
        refresh: str | None,
        metadata: dict[str, str],
        lifetime: timedelta | None,
        expected: Any,
    ) -> None:
        token = OAuthTokenData(access, refresh, expires_at=self.moment(lifetime), scope=("a",), metadata=metadata)
        self.everywhere(
            lambda v: v.repository.store_oauth_token(
                v.real(tenant), service, token, expected_version=self.oauth_version(v, tenant, service, expected)
            )
        )

    @rule(tenant=tenants, service=services, expected=versions)
    def delete_oauth(self, tenant: str, service: str, expected: Any) -> None:
        self.everywhere(
            lambda v: v.repository.delete_oauth_token(
                v.real(tenant), service, expected_version=self.oauth_version(v, tenant, service, expected)
            )
        )

    def oauth_version(self, vault: Vault, tenant: str, service: str, expected: Any) -> Any:
        def standing() -> int:
            found = vault.repository.get_oauth_token(vault.real(tenant), service)
            return found.version if found else 0

        return self.standing(expected, standing)

    @rule(tenant=tenants, service=services)
    def read_oauth(self, tenant: str, service: str) -> None:
        self.everywhere(lambda v: v.repository.get_oauth_token(v.real(tenant), service))
        self.everywhere(lambda v: v.repository.list_oauth_tokens(v.real(tenant)))

    @rule(target=claims, tenant=tenants, service=services, ttl=spans | st.just(timedelta.max))
    def claim(self, tenant: str, service: str, ttl: timedelta) -> MultipleResults[str]:
        name = f"{next(self.number)}"
        if ttl < timedelta.max:
            self.moment(ttl)

        def claim(vault: Vault) -> object:
            taken = vault.repository.claim_refresh(vault.real(tenant), service, ttl=ttl, owner="o" if ttl else None)
            if taken is not None:
                vault.claims[name] = taken
            return taken

        return multiple(name) if isinstance(self.everywhere(claim), dict) else multiple()

    @rule(name=claims, access=texts)
    def commit(self, name: str, access: str) -> None:
        self.everywhere(lambda v: v.repository.commit_refresh(v.claims[name], OAuthTokenData(access)))

    @rule(name=claims)
    def release(self, name: str) -> None:
        self.everywhere(lambda v: v.repository.release_refresh(v.claims[name]))

    @rule(target=codes, tenant=tenants, service=services, ttl=spans, payload=st.none() | objects)
    def create_code(
        self, tenant: str, service: str, ttl: timedelta, payload: dict[str, Any] | None
    ) -> MultipleResults[str]:
        name = f"{next(self.number)}"
        self.moment(ttl)

        def create(vault: Vault) -> bool:
            code = vault.repository.create_auth_code(vault.real(tenant), service, ttl=ttl, payload=payload)
            vault.learn_code(name, code)
            return True

        return multiple(name) if self.everywhere(create) is True else multiple()

    @rule(code=codes.map("code {}".format) | st.sampled_from(["", "x" * 43, "\0"]))
    def redeem(self, code: str) -> None:
        self.everywhere(lambda v: v.repository.redeem_auth_code(v.real(code)))

    # Credentials

    @rule(
        tenant=tenants,
        service=services,
        type=st.sampled_from(CredentialType),
        data=objects,
        lifetime=lifetimes,
        expected=versions,
    )
    def store_credentials(
        self,
        *,
        tenant: str,
        service: str,
        type: CredentialType,
        data: dict[str, Any],
        lifetime: timedelta | None,
        expected: Any,
    ) -> None:
        credentials = ServiceCredentials(type, data, self.moment(lifetime))

        def store(vault: Vault) -> ServiceCredentials:
            def standing() -> int:
                found = vault.repository.get_credentials(vault.real(tenant), service, type)
                return found.version if found else 0

            return vault.repository.store_credentials(
                vault.real(tenant), service, credentials, expected_version=self.standing(expected, standing)
            )

        self.everywhere(store)

    @rule(tenant=tenants, service=services, type=st.sampled_from([*CredentialType, "basic_auth", "no such"]))
    def delete_credentials(self, tenant: str, service: str, type: Any) -> None:
        self.everywhere(lambda v: v.repository.delete_credentials(v.real(tenant), service, type))

    @rule(tenant=tenants, service=services, type=st.sampled_from(CredentialType), all=st.booleans())
    def read_credentials(self, tenant: str, service: str, type: CredentialType, all: bool) -> None:
        self.everywhere(lambda v: v.repository.get_credentials(v.real(tenant), service, type))
        self.everywhere(lambda v: v.repository.list_credentials(v.real(tenant), credential_type=None if all else type))

    # The store as a whole

    @rule()
    def purge(self) -> None:
        self.everywhere(lambda v: v.repository.purge_expired())

    @rule()
    def count(self) -> None:
        def counted(vault: Vault) -> object:
            stats = vault.repository.stats()
            return replace(stats, bytes_on_disk=0, schema_version="")

        self.everywhere(counted)

    @rule()
    def check(self) -> None:
        self.everywhere(lambda v: v.repository.check())
        self.everywhere(lambda v: verify(v.storage).faults)
        self.everywhere(lambda v: v.repository.health().ok)

    @rule()
    def export(self) -> None:
        self.everywhere(self.exported)
        self.used.clear()

    def exported(self, vault: Vault) -> list[str]:
        lines = []
        for record in vault.repository.export_records():
            if isinstance(record, MarkRecord):
                continue
            fields = vault.named(record)
            fields.pop("payload", None)
            if isinstance(record, APITokenRecord) and fields["hash"] in self.unknown:
                fields["last_used"] = "unknown"
            lines.append(str(fields))
        return sorted(lines)

    @rule()
    def import_what_stands(self) -> None:
        self.everywhere(lambda v: v.repository.import_records(list(v.repository.export_records())))
        self.used.clear()

    @rule(target=tokens, number=st.integers(1, 4), of=st.none() | hashes, description=st.sampled_from(["", "other"]))
    def import_tokens(self, number: int, of: str | None, description: str) -> MultipleResults[str]:
        """Records that are the same everywhere: tokens of one age, prefixes that collide, tenants in one order."""
        names = [f"imported {each}" for each in range(number)]
        born = (self.clock.now - _EPOCH) // _MICROSECOND // 10**9 * 10**9
        token = {name: name.ljust(64, "0") for name in names}
        hash = {name: hash_token(text) or "" for name, text in token.items()}

        def bring(vault: Vault) -> int:
            records: list[ExportedRecord] = []
            for name in names:
                tenant = hash[name] if of is None else vault.real(of)
                records += [TenantRecord(tenant, born)] if of is None else []
                records.append(
                    APITokenRecord(hash[name], f"feedbee{len(name) % 2}", tenant, description, (), born, None, None)
                )
            return vault.repository.import_records(records)

        if not isinstance(self.everywhere(bring), int):
            return multiple()
        for vault in self.vaults:
            for name in names:
                vault.learn(f"token {name}", token[name])
                vault.learn(f"hash {name}", hash[name])
        return multiple(*names)

    @rule(tenant=tenants | st.just(""), limit=limits)
    def read_audit(self, tenant: str, limit: int) -> None:
        def recorded(vault: Vault) -> list[Any]:
            listed: list[AuditRecord] = []
            while page := vault.repository.audit_log(
                tenant_hash=vault.real(tenant), after=listed[-1].cursor if listed else None, limit=limit
            ):
                assert len(page) <= limit
                listed += page
            assert all(after.previous == before.hash for before, after in pairwise(listed))
            steps = groupby(listed, key=lambda record: (record.recorded_at, record.action.endswith(".purge")))
            # Which of two records is purged first is for chance to say.
            return [step for (_, purged), group in steps for step in in_order(vault, group, purged)]

        def in_order(vault: Vault, records: Iterable[AuditRecord], purged: bool) -> list[Any]:
            plain = [
                vault.named(replace(record, hash="", previous="", key_id="", sequence=0 if purged else record.sequence))
                for record in records
            ]
            return sorted(plain, key=str) if purged else plain

        self.everywhere(recorded)

    # What happens to a store

    @rule()
    def begin_an_audit(self) -> None:
        for vault in self.vaults:
            vault.audit = True
        self.reopen()

    @rule(seconds=st.sampled_from([None, 1, 60, 3600]))
    def keep_the_audit(self, seconds: int | None) -> None:
        keep = None if seconds is None else timedelta(seconds=seconds)
        self.everywhere(lambda v: enable(v.storage, keep=keep))

    @rule()
    def end_the_audit(self) -> None:
        for vault in self.vaults:
            vault.audit = False
        self.everywhere(lambda v: disable(v.storage))

    @rule(span=spans)
    def wait(self, span: timedelta) -> None:
        self.clock.advance(span)

    @rule(choice=st.integers(0, 1000), early=st.booleans())
    def wait_for_a_moment(self, choice: int, early: bool) -> None:
        if self.moments:
            self.clock.now = self.moments[choice % len(self.moments)] - early * _MICROSECOND

    @rule()
    def flush(self) -> None:
        self.everywhere(lambda v: v.repository.flush())
        self.used.clear()

    @rule()
    def close_and_open(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        for vault in self.vaults:
            vault.repository.close()
            assert vault.outcome(lambda v: v.repository.list_tenants(), self.unknown) == (StoreClosed.__name__, "", [])
            vault.reopen()
        self.used.clear()

    @rule()
    def crash(self) -> None:
        for vault in self.vaults:
            vault.crash()
        self.unknown |= self.used
        self.used.clear()

    def teardown(self) -> None:
        try:
            self.list_tokens(None, 2)
            self.list_tenants(2)
            self.export()
            self.check()
            for tenant in ["", SYSTEM_TENANT, "hash 1", "hash 2", "hash 3"]:
                self.read_audit(tenant, 100)
        finally:
            for vault in self.vaults:
                vault.close()
            shutil.rmtree(self.folder, ignore_errors=True)
