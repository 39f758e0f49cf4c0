"""Requests for authorization, on their way through the user's browser to the host's consent page and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.fernet import Fernet, InvalidToken
from mcp.server.auth.provider import AuthorizationParams
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import BaseModel

from fusion_store._async import AsyncTokenRepository
from fusion_store._errors import VersionConflict
from fusion_store._values import SYSTEM_TENANT, CredentialType, ServiceCredentials

_KEY: Final = "mcp.consent-key"


@dataclass(frozen=True)
class ConsentRequest:
    """What a user is asked: may this client act for them, with these scopes? All but ``ticket`` is for showing.

    ``client_name`` and ``client_uri`` are what the client says of itself; ``redirect_uri`` is where the answer goes.
    """

    ticket: str = field(repr=False)
    """For ``approve`` or ``deny``; it says nothing to who reads it, and is good for a while only."""
    client_id: str
    client_name: str | None
    client_uri: str | None
    redirect_uri: str
    scopes: tuple[str, ...]
    resource: str | None


class Asked(BaseModel):
    """What a ticket holds."""

    client_id: str
    params: AuthorizationParams


class Tickets:
    """Requests sealed into tickets, so that nobody who only asks leaves anything in the store.

    The key is the store's own, made when it is first needed: every process opens what another one sealed.
    """

    def __init__(self, vault: AsyncTokenRepository, clock: Callable[[], datetime], lifetime: timedelta) -> None:
        self._vault = vault
        self._clock = clock
        self._seconds = int(lifetime.total_seconds())
        self._fernet: Fernet | None = None

    async def seal(self, asked: Asked) -> str:
        """A ticket for a request."""
        fernet = await self._sealer()
        return fernet.encrypt_at_time(asked.model_dump_json().encode(), self._now()).decode()

    async def open(self, ticket: str) -> Asked | None:
        """The request of a ticket; None where that is forged, malformed or too old."""
        fernet = await self._sealer()
        try:
            return Asked.model_validate_json(fernet.decrypt_at_time(ticket, self._seconds, self._now()))
        except (InvalidToken, ValueError):
            return None

    def _now(self) -> int:
        return int(self._clock().timestamp())

    async def _sealer(self) -> Fernet:
        if self._fernet is None:
            self._fernet = Fernet(await self._key())
        return self._fernet

    async def _key(self) -> str:
        while True:
            standing = await self._vault.get_credentials(SYSTEM_TENANT, _KEY, CredentialType.CUSTOM)
            if standing is not None:
                return str(standing.data["key"])
            made = ServiceCredentials(CredentialType.CUSTOM, {"key": Fernet.generate_key().decode()})
            try:
                await self._vault.store_credentials(SYSTEM_TENANT, _KEY, made, expected_version=0)
            except VersionConflict:
                continue  # another process has made it


def consent_request(ticket: str, client: OAuthClientInformationFull, params: AuthorizationParams) -> ConsentRequest:
    """What the host is told of a request."""
    return ConsentRequest(
        ticket=ticket,
        client_id=client.client_id,
        client_name=client.client_name,
        client_uri=None if client.client_uri is None else str(client.client_uri),
        redirect_uri=str(params.redirect_uri),
        scopes=asked_scopes(client, params),
        resource=params.resource,
    )


def asked_scopes(client: OAuthClientInformationFull, params: AuthorizationParams) -> tuple[str, ...]:
    """The scopes that a request is for: where it names none, those that the client registered with."""
    return tuple(dict.fromkeys((client.scope or "").split() if params.scopes is None else params.scopes))
