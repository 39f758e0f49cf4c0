"""Secrets that a tenant has stored as service credentials; there is nothing to sign in to."""

from __future__ import annotations

from abc import abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, ClassVar

from fusion_store._errors import AuthError, NeedsReauth
from fusion_store._values import CredentialType, OAuthTokenData, ServiceCredentials
from fusion_store.auth._config import ServiceConfig
from fusion_store.auth._placement import AUTHORIZATION, cookie_value, header_name, header_value, place
from fusion_store.auth._strategy import AuthContext, RequestAuth, Secret, Strategy


class _Credentials(Strategy):
    credential_type: ClassVar[CredentialType]

    async def authenticate(self, config: ServiceConfig, context: AuthContext) -> OAuthTokenData:  # noqa: ARG002
        """``NeedsReauth``: credentials are stored, not fetched."""
        raise NeedsReauth(f"{context.service}: store {self.credential_type} credentials for this tenant")

    def apply(self, config: ServiceConfig, secret: Secret) -> RequestAuth:
        """``AuthError`` naming the member that is missing, or can't stand where it belongs."""
        assert isinstance(secret, ServiceCredentials)
        return self._apply(config, secret.data)

    @abstractmethod
    def _apply(self, config: ServiceConfig, data: Mapping[str, Any]) -> RequestAuth:
        """Where the members of a credential belong; ``AuthError`` as ``apply`` says."""


class Bearer(_Credentials):
    """``bearer``: ``{"token": …}`` as ``Authorization: Bearer`` (RFC 6750), or where the configuration says."""

    type = "bearer"
    credential_type = CredentialType.BEARER

    def _apply(self, config: ServiceConfig, data: Mapping[str, Any]) -> RequestAuth:
        return place(config, _member(data, "token"))


class APIKey(_Credentials):
    """``api_key``: ``{"api_key": …}`` in the header ``X-API-Key``, or where the configuration says."""

    type = "api_key"
    credential_type = CredentialType.API_KEY

    def _apply(self, config: ServiceConfig, data: Mapping[str, Any]) -> RequestAuth:
        return place(config, _member(data, "api_key"), header="X-API-Key")


class BasicAuth(_Credentials):
    """``basic_auth``: ``{"username": …, "password": …}`` as ``Authorization: Basic``, in UTF-8 (RFC 7617)."""

    type = "basic_auth"
    credential_type = CredentialType.BASIC_AUTH

    def _apply(self, config: ServiceConfig, data: Mapping[str, Any]) -> RequestAuth:
        name, password = _login(data)
        encoded = b64encode(f"{name}:{password}".encode()).decode()
        return RequestAuth(headers={config.header or AUTHORIZATION: f"Basic {encoded}"})


class Custom(_Credentials):
    """``custom``: ``{"headers": {…}, "query": {…}, "cookies": {…}}``, each as it is; all may be left out but one."""

    type = "custom"
    credential_type = CredentialType.CUSTOM

    def _apply(self, config: ServiceConfig, data: Mapping[str, Any]) -> RequestAuth:  # noqa: ARG002
        headers, query, cookies = (_texts(data, name) for name in ("headers", "query", "cookies"))
        if not (headers or query or cookies):
            raise AuthError("the credential has no headers, query or cookies")
        return RequestAuth(
            headers={header_name(name): header_value(name, value) for name, value in headers.items()},
            query=query,
            cookies={header_name(name): cookie_value(name, value) for name, value in cookies.items()},
        )


def check_credentials(credentials: ServiceCredentials) -> None:
    """``AuthError`` naming what no service could do without; where it goes is the configuration's business."""
    data = credentials.data
    match credentials.type:
        case CredentialType.BEARER:
            _member(data, "token")
        case CredentialType.API_KEY:
            _member(data, "api_key")
        case CredentialType.BASIC_AUTH:
            _login(data)
        case CredentialType.CUSTOM:
            # Anything may be a field of a login.
            if not data:
                raise AuthError("the credential is empty")


def _login(data: Mapping[str, Any]) -> tuple[str, str]:
    name, password = _member(data, "username"), data.get("password")
    if password is None:
        raise AuthError("the credential has no password; it may be empty text")
    if ":" in name or not isinstance(password, str):
        raise AuthError("the credential's username has a colon, or its password is no text")
    return name, password


def _member(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value:
        raise AuthError(f"the credential has no {name}")
    return value


def _texts(data: Mapping[str, Any], name: str) -> dict[str, str]:
    value = data.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise AuthError(f"the credential's {name} must be an object of texts")
    return dict(value)
