"""How another program brings a token (``oauth2_external``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_store._errors import AuthError
from fusion_store._values import OAuthTokenData
from fusion_store.backend import _limits as limits

if TYPE_CHECKING:
    from fusion_store._async import AsyncTokenRepository


async def push_token(repository: AsyncTokenRepository, code: str, token: OAuthTokenData) -> OAuthTokenData:
    """Store ``token`` where a single-use code of ``create_auth_code`` says, in place of a standing one.

    Answers the token as stored. Raises ``InvalidInput`` for a token over a limit, which leaves the code as it is, and
    ``AuthError`` for a code that isn't live: unknown, taken or expired. When storing fails after that, another code
    is needed.
    """
    limits.oauth_token(token)
    redeemed = await repository.redeem_auth_code(code)
    if redeemed is None:
        raise AuthError("the code isn't live: unknown, used already, or expired")
    return await repository.store_oauth_token(redeemed.tenant_hash, redeemed.service, token)
