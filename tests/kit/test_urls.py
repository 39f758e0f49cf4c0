from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion_store import ConfigError, get_repository, redact_url
from fusion_store.backend import StoreURL

PASSWORD = "hunter2hunter2"


def test_a_url_is_taken_apart_and_decoded() -> None:
    url = StoreURL.parse("postgresql://us%40er:p%2Fw%C3%A9@db.example:5433/va%20ult?sslmode=require&a=%26")

    assert url.scheme == "postgresql"
    assert (url.username, url.password) == ("us@er", "p/wé")
    assert (url.host, url.port) == ("db.example", 5433)
    assert url.path == "/va ult"
    assert dict(url.query) == {"sslmode": "require", "a": "&"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///vault.db", "vault.db"),
        ("sqlite:////srv/vault.db", "/srv/vault.db"),
        ("sqlite:///a%20b%23c%3F.db", "a b#c?.db"),
        ("leveldb:///../x", "../x"),
    ],
)
def test_three_slashes_lead_to_a_relative_path_and_four_to_an_absolute_one(text: str, path: str) -> None:
    assert StoreURL.parse(text).file_path() == path


@pytest.mark.parametrize(
    "text", ["sqlite://", "sqlite:///", "sqlite://vault.db", "sqlite://host/vault.db", "sqlite://:1/x"]
)
def test_a_file_url_without_a_path_or_with_a_host_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="sqlite"):
        StoreURL.parse(text).file_path()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault.db",
        "sqlite",
        "sqlite:",
        "sqlite:/vault.db",
        "://x",
        "SQLITE:///x",
        "1sqlite:///x",
        "sqlite:///a\0b",
        "sqlite:///a%00b",
        "sqlite:///a\nb",
        "sqlite:///\ud800",
        "sqlite:///a%ffb",
        "sqlite:///a#b",
        "sqlite:///a?b",
        "sqlite:///a?b=1&b=2",
        "postgresql://host:port/x",
        "postgresql://host:99999/x",
        "postgresql://[::1/x",
        "sqlite:///" + "x" * 5000,
        None,
        5,
        b"sqlite:///x",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        StoreURL.parse(text)
    with pytest.raises(ConfigError):
        get_repository(text if text is not None else "")


urls = st.one_of(
    st.text(),
    st.builds("{}://{}".format, st.sampled_from(["memory", "sqlite", "x+y", "postgresql"]), st.text()),
    st.builds(
        "{}://{}:{}@{}:{}/{}?{}".format,
        st.sampled_from(["memory", "postgresql", "x"]),
        *[st.text("ab/?#@:%[]é\0 =&1", max_size=6)] * 6,
    ),
)


@given(urls)
def test_parsing_raises_nothing_but_config_errors(text: str) -> None:
    with contextlib.suppress(ConfigError):
        StoreURL.parse(text)
    assert isinstance(redact_url(text), str)


@given(before=st.text("ab01/?#@:%[]&=", max_size=5), after=st.text("ab01/?#@:%[]&=", max_size=5))
def test_a_password_is_never_shown_however_it_was_written(before: str, after: str) -> None:
    text = f"postgresql://user:{before}{PASSWORD}{after}@db.example/vault?sslmode={PASSWORD}"

    assert PASSWORD not in redact_url(text)


def test_a_password_with_an_unescaped_slash_is_not_taken_for_a_path() -> None:
    for before in ("12/", "/", "12/34/"):
        assert PASSWORD not in redact_url(f"postgresql://user:{before}{PASSWORD}@db.example/vault")


@pytest.mark.parametrize("rest", ["host:port/x", "host/x?a", "host/x#y", "host/x?a=1&a=2", "[::1/x", "host/%00"])
def test_no_error_shows_a_password(rest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StoreURL.parse(f"postgresql://user:{PASSWORD}@{rest}")

    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_redacted_url_shows_the_rest() -> None:
    redacted = redact_url(f"postgresql://user:{PASSWORD}@db.example:5433/vault?sslmode={PASSWORD}")

    assert redacted == "postgresql://user:***@db.example:5433/vault?sslmode=***"
    assert redact_url("sqlite:////srv/vault.db") == "sqlite:////srv/vault.db"
    assert redact_url("memory://") == "memory://"


def test_unknown_parameters_are_refused_and_known_ones_listed() -> None:
    url = StoreURL.parse(f"sqlite:///x?lock_timeout=1&init_command={PASSWORD}")

    with pytest.raises(ConfigError, match=r"init_command.*known: lock_timeout, synchronous") as caught:
        url.allow_parameters(["synchronous", "lock_timeout"])

    assert PASSWORD not in str(caught.value)
    url.allow_parameters(["lock_timeout", "init_command"])
    with pytest.raises(ConfigError, match="known: none"):
        url.allow_parameters([])


@pytest.mark.parametrize("scheme", ["memory://", "sqlite:///never-made.db", "leveldb:///never-made"])
def test_each_backend_refuses_unknown_parameters(
    scheme: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(folder)
    if scheme.startswith("leveldb"):
        pytest.importorskip("plyvel")

    with pytest.raises(ConfigError, match=r"unknown parameter.*known:"):
        get_repository(f"{scheme}?init_command={PASSWORD}")

    assert list(folder.iterdir()) == []


def test_a_number_of_seconds_has_bounds() -> None:
    url = StoreURL.parse("x:///x?a=2.5&b=-1&c=nan&d=soon&e=86401&f=0")

    assert url.seconds("a", 5) == 2.5
    assert url.seconds("f", 5) == 0
    assert url.seconds("missing", 5) == 5
    for name in "bcde":
        with pytest.raises(ConfigError, match=name):
            url.seconds(name, 5)
