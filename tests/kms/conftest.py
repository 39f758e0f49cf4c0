"""KMS as moto serves it, on loopback; nothing here can reach AWS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

CLOSED_PORT = "http://127.0.0.1:1"
REGION = "eu-central-1"

MakeKey = Callable[[], str]


@pytest.fixture(scope="package", autouse=True)
def loopback_only() -> Iterator[None]:
    """No profile, proxy, instance role or endpoint of this machine's is used."""
    with pytest.MonkeyPatch.context() as patch:
        for name in map(str.upper, list(os.environ)):
            if name.startswith(("AWS_", "FUSION_STORE_KEY", "FUSION_STORE_KMS")) or name.endswith("_PROXY"):
                patch.delenv(name, raising=False)
                patch.delenv(name.lower(), raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", CLOSED_PORT)
        patch.setenv("AWS_REGION", REGION)
        yield


@pytest.fixture(scope="session")
def moto_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a moto_server of this run's own."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _announced_address(server, log)
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _announced_address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < deadline:
        address = re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())
        if address:
            return address[1]
        time.sleep(0.05)
    raise AssertionError(f"moto_server didn't start: {log.read_text()}")


@pytest.fixture
def kms(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client of the served KMS, where the environment leads too."""
    from boto3.session import Session

    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", moto_url)
    with closing(Session().client("kms", region_name=REGION)) as client:
        yield client


@pytest.fixture
def make_key(kms: Any) -> MakeKey:
    """Makes a KMS key and answers its id."""

    def make() -> str:
        key_id: str = kms.create_key()["KeyMetadata"]["KeyId"]
        return key_id

    return make
