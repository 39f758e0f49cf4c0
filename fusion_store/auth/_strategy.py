"""What a way of authenticating has to do, and what it is given to do it with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from fusion_store._errors import AuthError, NeedsReauth
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials, Value

if TYPE_CHECKING:
    from fusion_store.auth._config import ServiceConfig
    from fusion_store.auth._http import HTTP


class GrantRejected(AuthError):
    """The provider refuses the grant itself (``invalid_grant``, RFC 6749 section 5.2): trying again can't help."""


class DevicePrompt(Value, frozen=True):
    """What the user of a device flow is shown (RFC 8628 section 3.2)."""

    service: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: datetime


class BrowserPrompt(Value, frozen=True):
    """Where the user's browser has to go (RFC 6749 section 4.1.1)."""

    service: str
    authorization_url: str


Prompt = DevicePrompt | BrowserPrompt
ShowPrompt = Callable[[Prompt], Awaitable[None]]
"""Shows a prompt to the user; returns at once."""

Secret = OAuthTokenData | ServiceCredentials
"""What is put into a request."""


@dataclass
class RequestAuth:
    """What a secret adds to a request, wherever the service wants it. Never shown in ``repr``."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    query: dict[str, str] = field(default_factory=dict, repr=False)
    cookies: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class AuthContext:
    """What a strategy may use: the network, the time, the user, and the tenant's credentials."""

    service: str
    http: HTTP
    clock: Callable[[], datetime]
    """The present, an aware datetime."""
    sleep: Callable[[float], Awaitable[None]]
    """Waits for seconds."""
    credentials: Callable[[CredentialType], Awaitable[ServiceCredentials | None]]
    """The tenant's service credentials of a type."""
    show: ShowPrompt | None = None
    """None where no user can be asked."""

    async def prompt(self, prompt: Prompt) -> None:
        """Show a prompt; ``NeedsReauth`` where no user can be asked."""
        if self.show is None:
            raise NeedsReauth(f"{self.service}: the user has to consent first: run fusion-store connect")
        await self.show(prompt)


class Strategy(ABC):
    """One way of authenticating at a service.

    Every method raises ``RefreshFailed`` (``retryable`` for 429, 5xx and network errors, with the ``retry_after`` that
    the provider asked for), ``GrantRejected`` for ``invalid_grant``, and ``ConfigError`` for a configuration that
    can't work. No message holds a secret.
    """

    type: ClassVar[str]
    """What a service's configuration calls it."""
    supports_refresh: ClassVar[bool] = False
    """Whether ``refresh`` turns a refresh token into a new token."""
    unattended: ClassVar[bool] = False
    """Whether ``authenticate`` needs no user."""
    credential_type: ClassVar[CredentialType | None] = None
    """The type of the service credentials that are the secret; None: an OAuth token is."""

    @abstractmethod
    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:
        """Get a first token; ``NeedsReauth`` when the user has to act and can't be asked."""

    async def refresh(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> OAuthTokenData:  # noqa: ARG002
        """A new token for a standing one.

        What the answer leaves out (refresh token, scope, metadata) is taken from ``token``; its expiry is absolute.
        """
        raise AuthError(f"{self.type} has no refresh")

    async def revoke(self, config: ServiceConfig, token: OAuthTokenData, context: AuthContext) -> bool:  # noqa: ARG002
        """Revoke a token at the provider (RFC 7009); False where that can't be done there."""
        return False

    @abstractmethod
    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        """Where the secret goes in a request."""
