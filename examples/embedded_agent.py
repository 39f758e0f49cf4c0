"""An agent with the vault inside: its first run signs in at an API, later ones use the stored token.

``pip install 'fusion-store[auth]'``. ``AGENT_CLIENT_ID`` and ``AGENT_CLIENT_SECRET`` are the agent's own,
``AGENT_TOKEN_URL`` and ``AGENT_API_URL`` say where to. With ``FUSION_STORE_KEYS`` the vault is sealed.
"""

import os

import httpx2

from fusion_store import TokenRepository, get_repository
from fusion_store.auth import BlockingAuthManager, ServiceConfig
from fusion_store.integrations.httpx2 import FusionAuth

DESCRIPTION = "embedded agent"


def own_tenant(vault: TokenRepository) -> str:
    """The agent's tenant. Nobody else comes in, so the API token that opens it is thrown away."""
    for token in vault.iter_api_tokens():
        if token.description == DESCRIPTION:
            return token.tenant_hash
    return vault.add_api_token(DESCRIPTION).metadata.tenant_hash


def main() -> None:
    api = ServiceConfig(
        type="oauth2_client_credentials",
        client_id="env:AGENT_CLIENT_ID",
        client_secret="env:AGENT_CLIENT_SECRET",
        token_url=os.environ["AGENT_TOKEN_URL"],
    )
    with get_repository() as vault, BlockingAuthManager(vault, services={"api": api}) as manager:
        auth = FusionAuth(manager.tenant_of(own_tenant(vault)), "api")
        with httpx2.Client(auth=auth) as client:
            for task in client.get(os.environ["AGENT_API_URL"]).raise_for_status().json()["tasks"]:
                print("doing", task)


if __name__ == "__main__":
    main()
