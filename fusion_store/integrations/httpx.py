"""httpx: requests with a tenant's secret for a service."""

from __future__ import annotations

from fusion_store.integrations._extras import missing
from fusion_store.integrations._http_auth import AuthFlow

try:
    import httpx
except ImportError as error:
    raise missing("httpx", "httpx") from error

__all__ = ["FusionAuth"]


class FusionAuth(AuthFlow[httpx.Request, httpx.Response], httpx.Auth):
    """``auth=`` of a client or a request: the tenant's secret, put where the service wants it.

    - ``tenant``: a handle of ``AuthManager`` for an ``AsyncClient``, of ``BlockingAuthManager`` for a ``Client``; the
      other one is ``ConfigError`` at the first request.
    - ``config``: the service's; by default the one that the handle or its manager knows.

    Before each request the token is fetched, and refreshed where it is about to expire. After a 401 of the service it
    is refreshed under a claim, so once for all who were refused it, and the request is sent once more; a second 401
    is the answer. Service credentials can't be refreshed: a 401 is the answer. A body that streams is read first,
    since it may have to be sent twice.

    A service that refuses every token costs one refresh a minute: until then its 401 is the answer. So it is after a
    redirect that took the secret off: to another host, and with a secret in a cookie or the query to any address.

    A request raises what ``Tenant.get_token`` does: ``NeedsReauth`` when the user has to consent, ``RefreshFailed``
    when the provider failed. At a redirect to another host the client takes off ``Authorization`` and cookies, and no
    other header: don't follow redirects where the secret has a header of its own.
    """
