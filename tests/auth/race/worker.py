"""A process of a host whose threads all want the same token at once.

The store is named by the environment. For each line on stdin, a round: every thread asks, and what each was given is
printed as one line of JSON. The arguments: how many threads, the token endpoint, and the lease in seconds.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

from fusion_store import AuthError, get_repository
from fusion_store.auth import BlockingAuthManager, BlockingTenant, ServiceConfig, Timing


def main(threads: int, token_url: str, lease_seconds: float) -> None:
    config = ServiceConfig(
        type="oauth2_device", client_id="client", token_url=token_url, device_authorization_url=token_url
    )
    timing = Timing(lease=timedelta(seconds=lease_seconds))
    with (
        get_repository(create=False) as repository,
        ThreadPoolExecutor(threads) as pool,
        BlockingAuthManager(repository, timing=timing) as manager,
    ):
        tell("ready")
        for line in sys.stdin:
            tenant = manager.tenant(line.strip())
            tell(json.dumps(list(pool.map(partial(access_token, tenant, config), range(threads)))))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def access_token(tenant: BlockingTenant, config: ServiceConfig, _: int) -> str:
    """The token that one thread is given, or the name of the error."""
    try:
        return tenant.get_token("race", config).access_token
    except AuthError as error:
        return type(error).__name__


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
