"""Changes an audited store until it is killed, and says so for each round: ``python -m tests.audit.changing URL``."""

from __future__ import annotations

import os
import random
import sys
from datetime import timedelta

from fusion_store import OAuthTokenData, get_repository


def main(url: str) -> None:
    chance = random.Random()
    repository = get_repository(url, audit=True)
    while True:
        tenant = repository.add_api_token().hash
        for _ in range(8):
            service = chance.choice("ab")
            repository.store_oauth_token(tenant, service, OAuthTokenData("a"))
            claim = repository.claim_refresh(tenant, service, ttl=timedelta(hours=1))
            if claim is not None:
                repository.commit_refresh(claim, OAuthTokenData("b"))
            os.write(1, b".")
        if chance.random() < 0.5:
            repository.delete_tenant(tenant)


if __name__ == "__main__":
    main(sys.argv[1])
