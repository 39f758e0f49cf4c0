"""What an import would change in a store, and the change itself."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from msgspec.structs import replace

from fusion_store._errors import Conflict, FusionStoreError, InvalidInput
from fusion_store._interface import TokenRepository
from fusion_store._records import APITokenRecord, CounterRecord, Kind, Record, SecretRecord
from fusion_store._values import OAuthTokenData, ServiceCredentials, TenantInfo
from fusion_store.backend import _payloads as payloads
from fusion_store.importing._draft import API_TOKEN, Draft, Finding, FoundSecret, Group
from fusion_store.importing._source import read_source

Progress = Callable[[int], None]
"""Called with how many records were handed to the store since the last call."""

COUNTED: Final = ("tenants", "api_tokens", "oauth_tokens", "credentials")
"""What a plan counts."""

_PLURALS: Final = {Kind.OAUTH: "oauth_tokens", Kind.CREDENTIAL: "credentials"}


@dataclass
class ImportPlan:
    """What a file would bring into a store.

    ``coming`` and ``standing`` count, by the names in ``COUNTED``, what is new and what the store has already.
    ``conflicts`` stand in the store with other content; they, and ``invalid`` records unless these are left out,
    keep everything from coming. Never coming are ``orphans``, the secrets of deleted API tokens; ``superseded``
    secrets, of which the file has a newer one for the same place; and ``revoked`` API tokens, which this store had and
    has no more. ``left_out`` counts what the vault has no place for.
    """

    source: str
    records: list[Record] = field(default_factory=list)
    coming: Counter[str] = field(default_factory=Counter)
    standing: Counter[str] = field(default_factory=Counter)
    invalid: list[Finding] = field(default_factory=list)
    conflicts: list[Finding] = field(default_factory=list)
    orphans: list[Finding] = field(default_factory=list)
    superseded: list[Finding] = field(default_factory=list)
    revoked: list[Finding] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def refusal(self, *, skip_invalid: bool = False) -> FusionStoreError | None:
        """Why nothing of it may come: ``InvalidInput`` or ``Conflict``; None when all is well."""
        if self.invalid and not skip_invalid:
            return InvalidInput("file", f"has invalid records ({len(self.invalid)}), so nothing was imported")
        if self.conflicts:
            count = len(self.conflicts)
            return Conflict(f"the store has other content for records of the file ({count})")
        return None


def plan_import(
    repository: TokenRepository | None,
    path: str | os.PathLike[str],
    *,
    tenant_hash: str | None = None,
    merge_users: bool = False,
) -> ImportPlan:
    """Read a file whole and compare it with the store; changes neither. Without a repository all is new.

    The file is a BoltDB file of MCPFusion or a file cache. ``tenant_hash`` takes the tokens of a file cache that name
    no tenant. ``merge_users`` makes one tenant of each user of MCPFusion, with the user's API tokens.

    ``InvalidInput`` when the file can't be read as one of these as a whole, ``StoreLocked`` when it is in use.
    """

    @cache
    def find_tenant(hash: str) -> str | None:
        if repository is None:
            return None
        token = repository.get_api_token(hash)
        tenant = None if token else repository.get_tenant(hash)
        return token.tenant_hash if token else tenant.tenant_hash if tenant else None

    draft = read_source(path, tenant_hash=tenant_hash, merge_users=merge_users, find_tenant=find_tenant)
    return _Comparison(draft, repository).plan


def carry_out(
    repository: TokenRepository, plan: ImportPlan, *, skip_invalid: bool = False, progress: Progress | None = None
) -> None:
    """Write what is new, in batches, each atomic. Cut short, it can be planned and carried out again.

    Raises ``ImportPlan.refusal``, and has written nothing then.
    """
    refusal = plan.refusal(skip_invalid=skip_invalid)
    if refusal is not None:
        raise refusal
    repository.import_records(_reporting(plan.records, progress))


def _reporting(records: list[Record], progress: Progress | None) -> Iterator[Record]:
    for record in records:
        yield record
        if progress is not None:
            progress(1)


class _Comparison:
    def __init__(self, draft: Draft, repository: TokenRepository | None) -> None:
        self._repository = repository
        self.plan = ImportPlan(
            draft.source,
            invalid=draft.invalid,
            orphans=draft.orphans,
            superseded=draft.superseded,
            left_out=+draft.left_out,
        )
        # Tenants with secrets first: a store without keys then refuses the first batch, and nothing has come.
        for tenant_hash, group in sorted(draft.groups.items(), key=lambda item: not item[1].secrets):
            self._compare(tenant_hash, group)

    def _compare(self, tenant_hash: str, group: Group) -> None:
        standing = self._repository.get_tenant(tenant_hash) if self._repository else None
        if group.tenant is not None:
            self._count("tenants", [] if standing else [group.tenant])
        for token in group.api_tokens:
            self._compare_api_token(token, standing)
        secrets = self._standing_secrets(tenant_hash) if standing else {}
        for secret in group.secrets.values():
            self._compare_secret(secret, secrets, in_new_tenant=standing is None)

    def _compare_api_token(self, token: APITokenRecord, tenant: TenantInfo | None) -> None:
        found = self._repository.get_api_token(token.hash) if self._repository else None
        if found is not None and found.tenant_hash != token.tenant_hash:
            self._list(self.plan.conflicts, API_TOKEN, token.hash, "", "opens another tenant in this store")
        elif found is None and tenant is not None and tenant.api_tokens and token.hash == token.tenant_hash:
            # The token that made the tenant came with it: it was rotated or deleted since, and stays dead.
            self._list(self.plan.revoked, API_TOKEN, token.hash, "", "was deleted or rotated in this store")
        else:
            self._count("api_tokens", [] if found else [token])

    def _standing_secrets(self, tenant_hash: str) -> dict[tuple[Kind, str, str], OAuthTokenData | ServiceCredentials]:
        assert self._repository is not None
        tokens = self._repository.list_oauth_tokens(tenant_hash)
        credentials = self._repository.list_credentials(tenant_hash)
        return {
            **{(Kind.OAUTH, service, ""): token for service, token in tokens.items()},
            **{(Kind.CREDENTIAL, service, type): each for (service, type), each in credentials.items()},
        }

    def _compare_secret(
        self,
        found: FoundSecret,
        standing: dict[tuple[Kind, str, str], OAuthTokenData | ServiceCredentials],
        *,
        in_new_tenant: bool,
    ) -> None:
        place = found.record.place
        there = standing.get((place.kind, place.service, place.credential_type))
        if there is not None and not _same(there, found.record):
            self._list(self.plan.conflicts, place.kind, found.under, place.service, "stands with other content")
            return
        # In a standing tenant the place's counters are the store's own.
        counter = [CounterRecord(place, found.record.version)] if in_new_tenant else []
        self._count(_PLURALS[place.kind], [] if there else [found.record, *counter])

    def _count(self, what: str, records: list[Record]) -> None:
        self.plan.records += records
        (self.plan.coming if records else self.plan.standing)[what] += 1

    def _list(self, findings: list[Finding], kind: str, hash: str, service: str, reason: str) -> None:
        findings.append(Finding(kind, hash, service, reason))


def _same(standing: OAuthTokenData | ServiceCredentials, record: SecretRecord) -> bool:
    """Whether a record says what stands already, be it stored at other times or as another version."""
    read = payloads.read_oauth_token if record.place.kind is Kind.OAUTH else payloads.read_credentials
    coming = read(record)
    times = {"created_at": coming.created_at, "updated_at": coming.updated_at, "version": coming.version}
    return replace(standing, **times) == coming
