"""A certified OpenID provider on loopback, and a host program that signs its tenants in there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import pytest

from fusion_store import IssuedToken, OAuthTokenData, get_repository
from fusion_store.auth import AuthManager, DevicePrompt, Prompt, ServiceConfig, Tenant
from tests.provider.browser import Browser

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

SERVICE: Final = "upstream"
TOKEN_LIFE: Final = timedelta(hours=1)
CODE_LIFE: Final = timedelta(minutes=10)
CLIENT_SECRET: Final = "a b+c%d:e/f&g=h_0123456789abcdef"
"""Characters that form encoding, and basic authentication, change."""
CLIENTS_WITH_A_SECRET: Final = [("basic", "client_secret_basic"), ("post", "client_secret_post")]

_HERE: Final = Path(__file__).parent
_REUSED: Final = "refresh token already used"


class Provider:
    """The running provider, as a tester sees it."""

    def __init__(self, issuer: str, client: httpx2.Client) -> None:
        self.issuer = issuer
        self._client = client
        self.reuses_meant = 0

    def settings(self, kind: str = "oauth2_device", **more: Any) -> dict[str, Any]:
        """The configuration of a client there."""
        return {
            "type": kind,
            "client_id": "public",
            "issuer": self.issuer,
            "scopes": ["openid", "offline_access"],
            # Without it offline_access is dropped in silence (OpenID Connect Core section 11).
            "authorization_parameters": {"prompt": "consent"},
            **more,
        }

    def config(self, kind: str = "oauth2_device", **more: Any) -> ServiceConfig:
        settings = self.settings(kind, **more)
        return ServiceConfig(**{**settings, "scopes": tuple(settings["scopes"])})

    def shift(self, duration: timedelta) -> None:
        """Move the provider's clock forward."""
        self._command("shift", seconds=str(duration / timedelta(seconds=1)))

    def withdraw(self, account: str) -> None:
        """The user takes their consent back."""
        self._command("withdraw", account=account)

    def reset(self) -> None:
        """The system's time again, and nothing counted."""
        self._command("reset")
        self.reuses_meant = 0

    @property
    def refreshes(self) -> int:
        """How many refresh tokens were exchanged for new ones."""
        return int(self._command("counts")["granted"].get("refresh_token", 0))

    @property
    def refusals(self) -> dict[str, int]:
        """How often token requests were refused, by reason."""
        return dict(self._command("counts")["refused"])

    @property
    def reuses(self) -> int:
        """How often a refresh token came a second time."""
        return self.refusals.get(_REUSED, 0)

    def post(self, path: str, **form: str) -> httpx2.Response:
        """What any other program with the client's name may ask."""
        return self._send("POST", path, data={"client_id": "public", **form})

    def refresh(self, token: OAuthTokenData) -> httpx2.Response:
        """Another program's use of a refresh token."""
        assert token.refresh_token is not None
        return self.post("/token", grant_type="refresh_token", refresh_token=token.refresh_token)

    def user_of(self, token: OAuthTokenData) -> str | None:
        """Whose access token it is; None when it isn't good."""
        answer = self._send("GET", "/me", headers={"Authorization": f"Bearer {token.access_token}"})
        return None if answer.status_code == 401 else str(answer.raise_for_status().json()["sub"])

    def _command(self, name: str, **parameters: str) -> Any:
        return self._send("GET", f"/test/{name}", params=parameters).raise_for_status().json()

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return self._client.request(method, self.issuer + path, **options)


class Host:
    """A program with a vault, one tenant, and a clock that tests move on."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.provider = provider
        self.ahead = timedelta()
        self.url = f"sqlite:///{folder}/vault.db"
        self.repository = get_repository(self.url, clock=self.clock)
        self.issued = self.repository.add_api_token()

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def pass_time(self, duration: timedelta) -> None:
        """Here and at the provider."""
        self.ahead += duration
        self.provider.shift(duration)

    def run(
        self,
        work: Callable[[Tenant], Awaitable[T]],
        *,
        sleep: Sleep = asyncio.sleep,
        issued: IssuedToken | None = None,
    ) -> T:
        """What a manager of its own does for the tenant, or another one."""

        async def main() -> T:
            services = {SERVICE: self.provider.config()}
            async with AuthManager(self.repository, services=services, clock=self.clock, sleep=sleep) as manager:
                return await work(await manager.tenant((issued or self.issued).token))

        return asyncio.run(main())

    def connect(
        self, login: str = "alice", service: str = SERVICE, issued: IssuedToken | None = None
    ) -> OAuthTokenData:
        """A token by the device flow, whose user consents before the first poll."""

        async def show(prompt: Prompt) -> None:
            assert isinstance(prompt, DevicePrompt)
            await asyncio.to_thread(Browser(login).consent, str(prompt.verification_uri_complete))

        async def no_wait(seconds: float) -> None:
            pass

        config = self.provider.config()
        return self.run(lambda t: t.authenticate(service, config, show=show), sleep=no_wait, issued=issued)

    def get(self, service: str = SERVICE, issued: IssuedToken | None = None) -> OAuthTokenData:
        return self.run(lambda tenant: tenant.get_token(service, self.provider.config()), issued=issued)

    @property
    def stored(self) -> OAuthTokenData | None:
        return self.repository.get_oauth_token(self.issued.metadata.tenant_hash, SERVICE)


@pytest.fixture(scope="session")
def running_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    folder = _installed(tmp_path_factory)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(["node", "provider.mjs"], cwd=folder, stdout=subprocess.PIPE, stderr=log)
        try:
            assert server.stdout is not None
            announced = server.stdout.readline().decode()
            assert announced.startswith("listening on "), (folder / "log").read_text()
            with httpx2.Client(trust_env=False) as client:
                yield Provider(announced.split()[-1], client)
        finally:
            server.kill()
            server.communicate()


def _installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the provider and its packages, outside of the checkout."""
    folder = tmp_path_factory.mktemp("provider")
    for name in ("package.json", "package-lock.json", "provider.mjs"):
        shutil.copy(_HERE / name, folder)
    if (_HERE / "node_modules").is_dir():
        (folder / "node_modules").symlink_to(_HERE / "node_modules")
    else:
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
        done = subprocess.run(["npm", "ci", *options], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def provider(running_provider: Provider) -> Iterator[Provider]:
    """The provider, whose reuse detection must not fire but where a test means it to."""
    running_provider.reset()
    yield running_provider
    assert running_provider.reuses == running_provider.reuses_meant


@pytest.fixture
def host(provider: Provider, tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, provider)
    with made.repository:
        yield made


@pytest.fixture
def services_file(provider: Provider, tmp_path: Path) -> Path:
    """One service of each flow."""
    file = tmp_path / "services.json"
    services = {SERVICE: provider.settings(), "browser": provider.settings("oauth2_authorization_code")}
    file.write_text(json.dumps({"services": services}))
    return file


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("FUSION_STORE_") and not name.startswith("FUSION_STORE_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
