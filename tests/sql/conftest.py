from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from fusion_store import CredentialType, OAuthTokenData, ServiceCredentials, TokenRepository, get_repository


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "vault.db"


@pytest.fixture
def repository(path: Path) -> Iterator[TokenRepository]:
    with get_repository(f"sqlite:///{path}") as opened:
        yield opened


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        yield connection


def run_at_once(code: str, *arguments: str, processes: int) -> list[str]:
    """What that many interpreters print, all of which have to succeed."""
    running = [
        subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=PIPE, stderr=PIPE, text=True)
        for _ in range(processes)
    ]
    outputs = [process.communicate() for process in running]
    assert not any(process.returncode for process in running), outputs
    return [output.strip() for output, _ in outputs]


def fill(repository: TokenRepository, tenants: int = 3) -> list[str]:
    """Some of everything under each of a few tenants."""
    hashes = []
    for number in range(tenants):
        tenant = repository.add_api_token(f"token {number}", scopes=["read"]).hash
        repository.add_api_token("second", tenant_hash=tenant)
        for service in ("github", "mail"):
            repository.store_oauth_token(
                tenant, service, OAuthTokenData(f"access-{number}-{service}", f"refresh-{number}-{service}")
            )
            data = {"key": f"credential-{number}-{service}"}
            repository.store_credentials(tenant, service, ServiceCredentials(CredentialType.API_KEY, data))
        hashes.append(tenant)
    return hashes
