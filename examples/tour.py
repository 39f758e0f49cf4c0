"""The vault's main job from beginning to end, on the default vault; at the end nothing of it is left."""

from datetime import UTC, datetime, timedelta

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, get_repository


def main() -> None:
    with get_repository() as vault:
        issued = vault.add_api_token("tour", expires_at=datetime.now(UTC) + timedelta(days=90))
        print("issued an API token, prefix", issued.metadata.prefix)

        caller = vault.validate_api_token(issued.token)
        assert caller is not None
        print("validated it; it opens tenant", caller.tenant_id)

        upstream = OAuthTokenData("gho_example", "ghr_example", expires_at=datetime.now(UTC) + timedelta(hours=8))
        vault.store_oauth_token(caller.tenant_hash, "github", upstream)
        smtp = ServiceCredentials(CredentialType.BASIC_AUTH, {"username": "ada", "password": "example"})
        vault.store_credentials(caller.tenant_hash, "smtp", smtp)
        held = vault.get_tenant(caller.tenant_hash)
        assert held is not None
        print(f"stored {held.oauth_tokens} OAuth token and {held.credentials} credential under it")

        successor = vault.rotate_api_token(issued.hash)
        assert vault.validate_api_token(issued.token) is None
        assert vault.validate_api_token(successor.token) is not None
        print("rotated it: the old token is dead, the new one opens the same tenant")

        vault.delete_api_token(successor.hash)
        assert vault.get_tenant(caller.tenant_hash) is None
        print("deleted the tenant's last token, and with it everything of the tenant")


if __name__ == "__main__":
    main()
