"""What a configuration may say, and how it is told what it may not."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import ConfigError, PermissionDenied
from fusion_store.auth import ServiceConfig, load_services
from fusion_store.auth._config import make_config
from fusion_store.auth._presets import PRESETS
from fusion_store.auth._strategies import find_strategies
from tests.auth.strategies.surroundings import patient

DEVICE = {
    "type": "oauth2_device",
    "client_id": "me",
    "token_url": "https://acme.example/token",
    "device_authorization_url": "https://acme.example/device",
}
CODE = {
    "type": "oauth2_authorization_code",
    "client_id": "me",
    "token_url": "https://acme.example/token",
    "authorization_url": "https://acme.example/authorize",
}


def toml(folder: Path, text: str) -> Path:
    file = folder / "services.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, settings: Mapping[str, Any]) -> str:
    file = folder / "services.json"
    file.write_text(json.dumps({"services": {"acme": settings}}))
    with pytest.raises(ConfigError) as caught:
        load_services(file)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    from_toml = load_services(
        toml(
            tmp_path,
            """
            [services.acme]
            type = "oauth2_device"
            client_id = "me"
            client_secret = "env:ACME_SECRET"
            scopes = ["a", "b"]
            token_url = "https://acme.example/token"
            device_authorization_url = "https://acme.example/device"
            token_parameters = { audience = "https://api.acme.example" }

            [services."two words"]
            type = "api_key"
            query = "key"
            """,
        )
    )
    file = tmp_path / "services.json"
    acme = {
        **DEVICE,
        "client_secret": "env:ACME_SECRET",
        "scopes": ["a", "b"],
        "token_parameters": {"audience": "https://api.acme.example"},
    }
    file.write_text(json.dumps({"services": {"acme": acme, "two words": {"type": "api_key", "query": "key"}}}))
    assert load_services(file) == from_toml
    assert from_toml["acme"].scopes == ("a", "b")
    assert from_toml["acme"].token_parameters == {"audience": "https://api.acme.example"}


def test_no_services_are_no_error(tmp_path: Path) -> None:
    assert load_services(toml(tmp_path, "")) == {}


@pytest.mark.parametrize(
    "name",
    [
        "issuer",
        "authorization_url",
        "device_authorization_url",
        "token_url",
        "revocation_url",
        "login_url",
        "refresh_url",
    ],
)
@pytest.mark.parametrize("value", ["http://canary.example/token", "canary", "https://u:p@canary.example"])
def test_a_url_that_can_t_be_called_is_named_by_its_path(tmp_path: Path, name: str, value: str) -> None:
    message = refused(tmp_path, {**DEVICE, name: value})
    assert message.startswith(f"services.acme.{name}: must ")
    assert "canary" not in message


def test_an_unknown_key_lists_the_known_ones(tmp_path: Path) -> None:
    message = refused(tmp_path, {**DEVICE, "client_sceret": "env:A"})
    assert message.startswith("services.acme.client_sceret: unknown; known: ")
    assert "client_secret" in message
    assert "preset" in message


def test_an_unknown_type_lists_the_known_ones(tmp_path: Path) -> None:
    message = refused(tmp_path, {"type": "oauth1"})
    assert message.startswith("services.acme.type: unknown; known: api_key, basic_auth, bearer, custom, oauth2_")


def test_a_missing_type(tmp_path: Path) -> None:
    assert refused(tmp_path, {}) == "services.acme.type: is missing"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"client_id": 5}, "services.acme.client_id: "),
        ({"scopes": "a b"}, "services.acme.scopes: "),
        ({"scopes": ["a", 5]}, "services.acme.scopes[1]: "),
        ({"scopes": ["a b"]}, "services.acme.scopes: "),
        ({"scopes": ["a"] * 65}, "services.acme.scopes: "),
        ({"token_parameters": {"a": 5}}, "services.acme.token_parameters[...]: "),
        ({"expires_in": "3600"}, "services.acme.expires_in: "),
        ({"expires_in": -1}, "services.acme.expires_in: "),
        ({"options": []}, "services.acme.options: "),
        ({"client_auth": "private_key_jwt"}, "services.acme.client_auth: must be one of"),
        ({"login_format": "xml"}, "services.acme.login_format: must be one of"),
        ({"scope_separator": ", "}, "services.acme.scope_separator: "),
        ({"header": "X-A", "cookie": "b"}, "services.acme.cookie: only one of"),
        ({"header": "X A"}, "services.acme.header: "),
        ({"header": "X:\r\nA"}, "services.acme.header: "),
        ({"prefix": "a\nb"}, "services.acme.prefix: "),
        ({"authorization_parameters": {"state": "x"}}, "services.acme.authorization_parameters: state "),
        ({"token_parameters": {"client_secret": "x"}}, "services.acme.token_parameters: client_secret "),
        ({"redirect_uri": "https://127.0.0.1/"}, "services.acme.redirect_uri: "),
        ({"redirect_uri": "http://acme.example/"}, "services.acme.redirect_uri: "),
        ({"redirect_uri": "http://127.0.0.1/?a=b"}, "services.acme.redirect_uri: "),
        ({"client_auth": "none", "client_secret": "env:A"}, "services.acme.client_auth: "),
        ({"client_auth": "client_secret_post"}, "services.acme.client_secret: "),
        ({"resource": "acme"}, "services.acme.resource: "),
        ({"resource": "https://acme.example/#a"}, "services.acme.resource: "),
        ({"preset": "gitlab"}, "services.acme.preset: unknown; known: microsoft365, google, github, oidc"),
        ({"directory": "contoso"}, "services.acme.directory: "),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    assert refused(tmp_path, {**DEVICE, **change}).startswith(place)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (DEVICE, "client_id"),
        (DEVICE, "token_url"),
        (DEVICE, "device_authorization_url"),
        (CODE, "client_id"),
        (CODE, "token_url"),
        (CODE, "authorization_url"),
        ({**DEVICE, "type": "oauth2_client_credentials", "client_secret": "env:A"}, "client_secret"),
        ({"type": "session_jwt", "login_url": "https://acme.example", "token_path": "t"}, "login_url"),
        ({"type": "session_jwt", "login_url": "https://acme.example", "token_path": "t"}, "token_path"),
    ],
)
def test_what_a_type_needs_is_asked_for(tmp_path: Path, settings: dict[str, Any], missing: str) -> None:
    make_config(settings)
    message = refused(tmp_path, {name: value for name, value in settings.items() if name != missing})
    assert message.startswith(f"services.acme.{missing}: {settings['type']} needs it")


def test_an_issuer_stands_for_its_endpoints() -> None:
    for kind in ("oauth2_device", "oauth2_authorization_code"):
        assert make_config({"type": kind, "client_id": "me", "issuer": "https://acme.example"}).token_url is None


# Secrets


@pytest.mark.parametrize("secret", ["canary", "env:", "env:1A", "env:A B", "file:", "ENV:A", "canary env:A"])
def test_a_secret_itself_is_refused_and_not_repeated(tmp_path: Path, secret: str) -> None:
    message = refused(tmp_path, {**DEVICE, "client_secret": secret})
    assert message == "services.acme.client_secret: must be env:NAME or file:PATH, never the secret itself"


def test_a_secret_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config({**DEVICE, "client_secret": "env:ACME_SECRET"})
    monkeypatch.delenv("ACME_SECRET", raising=False)
    with pytest.raises(ConfigError, match="client_secret: env:ACME_SECRET is empty or not set"):
        config.find_client_secret()
    for secret in ("one", "two"):
        monkeypatch.setenv("ACME_SECRET", secret)
        assert config.find_client_secret() == secret
    assert "two" not in repr(config)


def test_a_client_id_may_be_referred_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_ID", "me too")
    assert make_config({**DEVICE, "client_id": "env:ACME_ID"}).find_client_id() == "me too"
    assert make_config(DEVICE).find_client_id() == "me"
    assert make_config(DEVICE).find_client_secret() is None


def test_a_secret_s_file_is_found_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secrets" / "acme"
    secret.parent.mkdir()
    secret.write_text("hush\n")
    secret.chmod(0o640)
    lines = [f'{name} = "{value}"' for name, value in DEVICE.items()]
    file = toml(tmp_path, "\n".join(["[services.acme]", *lines, 'client_secret = "file:secrets/acme"']))
    monkeypatch.chdir("/")
    assert load_services(file)["acme"].find_client_secret() == "hush"


def with_secret(path: Path | str) -> ServiceConfig:
    return make_config({**DEVICE, "client_secret": f"file:{path}"})


def test_a_file_that_everybody_can_use_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("canary")
    for mode in (0o604, 0o602, 0o644):
        file.chmod(mode)
        with pytest.raises(PermissionDenied, match="chmod o= 'secret'") as caught:
            with_secret(file).find_client_secret()
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b" \n", b"canary\ncanary", b"canary \xc3\xa4", b"canary\0", b"x" * 65537])
def test_what_can_t_be_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="client_secret: file:") as caught:
        with_secret(file).find_client_secret()
    assert "canary" not in str(caught.value)


def test_a_secret_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        with_secret(tmp_path / "none").find_client_secret()
    with pytest.raises(ConfigError, match="isn't a file"):
        with_secret(tmp_path).find_client_secret()


# Files


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("s.yaml", b"", "the name must end in .json or .toml"),
        ("s.toml", b"[services.acme\ncanary = 1", "can't be read as TOML at line 1"),
        ("s.toml", b'[services.a]\ntype = "bearer"\n[services.a]', "can't be read as TOML at line 3"),
        ("s.json", b'{"services": canary}', "can't be read as JSON at line 1, column 14"),
        ("s.json", b"\xff", "since it isn't UTF-8"),
        ("s.json", b"[" * 100_000, "since it is nested too deeply"),
        ("s.json", b" " * (1024 * 1024 + 1), "has more than 1048576 bytes"),
        ("s.json", b'{"services": {"acme": {"type": "bearer", "type": "api_key"}}}', "type: stands twice"),
        ("s.json", b"[]", "must be a table"),
        ("s.json", b'{"services": []}', "services: must be a table"),
        ("s.json", b'{"services": {"acme": 5}}', "services.acme: must be a table"),
        ("s.json", b'{"service": {}}', "service: unknown; known: services"),
        ("s.json", b'{"services": {" a": {"type": "bearer"}}}', "services.' a': its name: must not begin"),
    ],
)
def test_a_file_that_can_t_be_read(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_services(tmp_path / name)
    assert reason in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_services(tmp_path / "none.toml")


@patient
@given(
    st.dictionaries(
        st.sampled_from(ServiceConfig.__struct_fields__),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.text(max_size=3), max_size=2)
        | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
    )
)
def test_any_settings_are_read_or_refused(settings: dict[str, Any]) -> None:
    try:
        config = make_config({**DEVICE, **settings})
    except ConfigError:
        return
    assert make_config(config_settings(config)) == config
    assert copy.deepcopy(config) == config


def config_settings(config: ServiceConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


# Presets


@pytest.mark.parametrize("kind", ["oauth2_device", "oauth2_authorization_code"])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_needs_only_a_client(name: str, kind: str) -> None:
    issuer = {"issuer": "https://acme.example"} if name == "oidc" else {}
    config = make_config({"preset": name, "type": kind, "client_id": "me", **issuer})
    assert config.type == kind
    assert config.client_auth is None


@pytest.mark.parametrize("name", ["microsoft365", "google", "github"])
def test_a_preset_s_secret_goes_into_the_form(name: str) -> None:
    config = make_config({"preset": name, "client_id": "me", "client_secret": "env:A"})
    assert config.client_auth == "client_secret_post"


def test_microsoft_s_directory() -> None:
    def token_url(**settings: str) -> str | None:
        return make_config({"preset": "microsoft365", "client_id": "me", **settings}).token_url

    assert token_url() == "https://login.microsoftonline.com/common/oauth2/v2.0/token"
    assert token_url(directory="contoso.com") == "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"
    assert token_url(directory="../x?") == "https://login.microsoftonline.com/..%2Fx%3F/oauth2/v2.0/token"


def test_own_settings_win_and_parameters_are_merged() -> None:
    config = make_config(
        {"preset": "google", "client_id": "me", "scopes": ["x"], "authorization_parameters": {"prompt": "none"}}
    )
    assert config.scopes == ("x",)
    assert config.authorization_parameters == {"access_type": "offline", "prompt": "none"}


def test_the_generic_preset_needs_an_issuer() -> None:
    with pytest.raises(ConfigError, match="authorization_url: oauth2_authorization_code needs it, or issuer"):
        make_config({"preset": "oidc", "client_id": "me"})


# Documentation

PAGE = Path(__file__).parents[3] / "docs" / "services.md"


def test_the_documented_services_can_be_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    services = load_services(toml(tmp_path, "\n".join(blocks)))
    assert set(services) == {"mail", "reports", "calendar", "github", "intranet"}


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert {*ServiceConfig.__struct_fields__} <= documented
    assert {*find_strategies()} <= documented
