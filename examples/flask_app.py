"""A Flask application whose callers are tenants, each calling an upstream API with a token of its own.

``pip install 'fusion-store[httpx]' flask``. The vault is ``FUSION_STORE_URL``'s; ``FUSION_STORE_SERVICES`` names the
file that says how the service ``upstream`` is authenticated at, ``UPSTREAM_URL`` where it is.
"""

import os

import httpx
from flask import Flask
from werkzeug.serving import make_server

from fusion_store import NeedsReauth, TokenRepository, get_repository
from fusion_store.auth import BlockingAuthManager, load_services
from fusion_store.http import BearerAuthWSGI, current_tenant
from fusion_store.integrations.httpx import FusionAuth


def make_app(vault: TokenRepository, manager: BlockingAuthManager, upstream: httpx.Client) -> Flask:
    app = Flask(__name__)

    @app.get("/me")
    def me() -> dict[str, str]:
        tenant = current_tenant()
        assert tenant is not None
        return {"tenant": tenant.tenant_id, "description": tenant.description}

    @app.get("/profile")
    def profile() -> tuple[str, int]:
        tenant = current_tenant()
        assert tenant is not None
        auth = FusionAuth(manager.tenant_of(tenant.tenant_hash), "upstream")
        try:
            answer = upstream.get("/profile", auth=auth)
        except NeedsReauth:
            return "Connect your account first: fusion-store connect upstream\n", 409
        return str(answer.raise_for_status().json()["name"]), 200

    app.wsgi_app = BearerAuthWSGI(app.wsgi_app, vault)  # type: ignore[method-assign]  # as Flask's documentation says
    return app


def main() -> None:
    services = load_services(os.environ["FUSION_STORE_SERVICES"])
    with (
        get_repository() as vault,
        BlockingAuthManager(vault, services=services) as manager,
        httpx.Client(base_url=os.environ["UPSTREAM_URL"]) as upstream,
    ):
        app = make_app(vault, manager, upstream)
        server = make_server("127.0.0.1", int(os.environ.get("PORT", "5000")), app, threaded=True)
        print(f"running on http://127.0.0.1:{server.port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
