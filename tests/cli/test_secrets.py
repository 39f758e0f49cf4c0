from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
import typer

from fusion_store.cli import _explain
from tests.cli.conftest import CLI

ANSWER = {
    "access_token": "SECRET-access",
    "refresh_token": "SECRET-refresh",
    "token_type": "bearer",
    "expires_in": 3600,
    "scope": "repo user:email",
    "metadata": {"account": "SECRET-account"},
}

UNUSABLE: list[dict[str, object]] = [
    {"refresh_token": 7},
    {"token_type": ["SECRET"]},
    {"expires_in": 0},
    {"expires_in": -1},
    {"expires_in": True},
    {"expires_in": "SECRET"},
    {"expires_in": 1e30},
    {"expires_at": "2030-01-02T03:04:05"},
    {"expires_at": "SECRET"},
    {"expires_at": 1e30},
    {"expires_at": []},
    {"scope": 7},
    {"scope": [7]},
    {"metadata": ["SECRET"]},
    {"metadata": {"SECRET": 1}},
]


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}"


@pytest.fixture
def tenant(cli: CLI) -> str:
    return str(cli.json("token", "add", "laptop")["tenant_id"])


def test_oauth_secrets_are_shown_only_with_reveal(cli: CLI, tenant: str) -> None:
    place = ("github", "--tenant", tenant)
    stored = cli("oauth", "store", *place, stdin=json.dumps(ANSWER))
    shown = [
        stored,
        cli("oauth", "list", "--tenant", tenant),
        cli("--json", "oauth", "list", "--tenant", tenant),
        cli("oauth", "show", *place),
        cli("--json", "oauth", "show", *place),
        cli("tenant", "show", tenant),
        cli("stats"),
    ]
    for outcome in shown:
        assert outcome.code == 0
        assert "SECRET" not in outcome.out + outcome.err
    revealed = cli.json("oauth", "show", *place, "--reveal")
    for name in ("access_token", "refresh_token", "metadata", "token_type"):
        assert revealed[name] == ANSWER[name]
    assert revealed["scope"] == ["repo", "user:email"]
    text = cli("oauth", "show", *place, "--reveal").out
    assert all(secret in text for secret in ("SECRET-access", "SECRET-refresh", "SECRET-account"))


def test_credentials_are_shown_only_with_reveal(cli: CLI, tenant: str) -> None:
    data = {"username": "SECRET-name", "password": "SECRET-word", "nested": {"deep": ["SECRET-deep"]}}
    place = ("jira", "--tenant", tenant, "--type", "basic_auth")
    shown = [
        cli("credentials", "store", *place, "--expires-in", "1d", stdin=json.dumps(data)),
        cli("credentials", "list", "--tenant", tenant),
        cli("--json", "credentials", "list", "--tenant", tenant),
        cli("credentials", "show", *place),
        cli("--json", "credentials", "show", *place),
    ]
    for outcome in shown:
        assert outcome.code == 0
        assert "SECRET" not in outcome.out + outcome.err
    assert cli.json("credentials", "show", *place, "--reveal")["data"] == data
    assert "SECRET-deep" in cli("credentials", "show", *place, "--reveal").out


@pytest.mark.parametrize(("kind", "field"), [("api_key", "api_key"), ("bearer", "token")])
def test_a_bare_secret_is_a_key_or_a_token(cli: CLI, tenant: str, kind: str, field: str) -> None:
    place = ("openai", "--tenant", tenant, "--type", kind)
    assert cli("credentials", "store", *place, stdin="sk-1 \r\n").code == 0
    assert cli.json("credentials", "show", *place, "--reveal")["data"] == {field: "sk-1"}


def test_a_bare_access_token(cli: CLI, tenant: str) -> None:
    place = ("github", "--tenant", tenant)
    assert cli("oauth", "store", *place, stdin="\ufeffgho_1\n").code == 0
    stored = cli.json("oauth", "show", *place, "--reveal")
    assert (stored["access_token"], stored["token_type"], stored["expires_at"]) == ("gho_1", "Bearer", None)


def test_a_form_encoded_answer(cli: CLI, tenant: str) -> None:
    place = ("github", "--tenant", tenant)
    token = "access_token=gho_1%2B&expires_in=3600&refresh_token=ghr_1"
    answer = f"{token}&scope=repo+gist&token_type=bearer&id_token=SECRET"
    stored = cli("oauth", "store", *place, stdin=answer)
    assert (stored.code, "id_token" in stored.err, "SECRET" in stored.err) == (0, True, False)
    shown = cli.json("oauth", "show", *place, "--reveal")
    assert (shown["access_token"], shown["refresh_token"], shown["token_type"]) == ("gho_1+", "ghr_1", "bearer")
    assert shown["scope"] == ["repo", "gist"]
    assert shown["expires_at"] is not None


@pytest.mark.parametrize("token", ["c2VjcmV0=", "c2VjcmV0LW9mLTI==", "12345", "a=b", "x&y"])
def test_whatever_else_may_be_a_token(cli: CLI, tenant: str, token: str) -> None:
    place = ("github", "--tenant", tenant)
    assert cli("oauth", "store", *place, stdin=token).code == 0
    assert cli.json("oauth", "show", *place, "--reveal")["access_token"] == token


@pytest.mark.parametrize(
    "answer",
    ['{"error": "invalid_grant"}', "error=invalid_grant&error_description=SECRET", '{"error": {"SECRET": 1}}'],
)
def test_an_answer_that_is_an_error_says_so(cli: CLI, tenant: str, answer: str) -> None:
    outcome = cli("oauth", "store", "github", "--tenant", tenant, stdin=answer)
    assert outcome.code == 2
    assert "the answer is an error" in outcome.err
    assert ("invalid_grant" in outcome.err) == ("invalid_grant" in answer)
    assert "SECRET" not in outcome.err


def test_secrets_come_from_a_file_too(cli: CLI, tenant: str, tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(ANSWER))
    place = ("github", "--tenant", tenant)
    assert cli("oauth", "store", *place, "--from-file", str(path)).code == 0
    assert cli.json("oauth", "show", *place, "--reveal")["access_token"] == "SECRET-access"
    assert cli("oauth", "store", *place, "--from-file", "-", stdin="other").code == 0
    assert cli.json("oauth", "show", *place, "--reveal")["access_token"] == "other"
    for bad in (tmp_path, tmp_path / "SECRET-missing", "SECRET\0"):
        outcome = cli("oauth", "store", *place, "--from-file", str(bad))
        assert outcome.code == 2
        assert "SECRET" not in outcome.err


@pytest.mark.parametrize(
    ("change", "expires_at"),
    [
        ({"expires_in": None, "expires_at": "2030-01-02T03:04:05Z"}, "2030-01-02T03:04:05Z"),
        ({"expires_in": None, "expires_at": "2030-01-02T04:04:05+01:00"}, "2030-01-02T03:04:05Z"),
        ({"expires_at": 1_893_553_445}, "2030-01-02T03:04:05Z"),
        ({"expires_at": "1893553445"}, "2030-01-02T03:04:05Z"),
        ({"expires_in": None}, None),
    ],
)
def test_expiry_as_providers_write_it(cli: CLI, tenant: str, change: dict[str, object], expires_at: str | None) -> None:
    place = ("github", "--tenant", tenant)
    assert cli("oauth", "store", *place, stdin=json.dumps(ANSWER | change)).code == 0
    assert cli.json("oauth", "show", *place)["expires_at"] == expires_at


@pytest.mark.parametrize(
    "given",
    [
        "",
        "  \n",
        "null",
        '"SECRET-quoted"',
        "{",
        '{"access_token": "SECRET',
        "{}",
        '{"access_token": 1}',
        '{"access_token": ""}',
        '{"access_token": NaN}',
        "SECRET-one\nSECRET-two",
        "SECRET one",
        "Bearer SECRET",
        "[1]",
        "true",
        '{"access_token": "SECRET one"}',
        '{"access_token": "SECRET-1", "access_token": "SECRET-2"}',
        "scope=repo&token_type=bearer",
        "access_token=SECRET&access_token=SECRET2",
        "access_token=SECRET&scope=%ff",
        "access_token=SECRET&&scope",
        "SECRET\x1b[200~",
        '{"a":' * 100_000,
        "x" * 1_100_000,
        "SECRET" * 20_000,
        *(json.dumps(ANSWER | change) for change in UNUSABLE),
    ],
    ids=lambda given: given[:40],
)
def test_what_can_not_be_used_is_2_stores_nothing_and_is_not_repeated(cli: CLI, tenant: str, given: str) -> None:
    outcome = cli("oauth", "store", "github", "--tenant", tenant, stdin=given)
    assert (outcome.code, outcome.out) == (2, "")
    assert "SECRET" not in outcome.err
    assert len(outcome.err.splitlines()) == 2
    assert cli.json("oauth", "list", "--tenant", tenant) == []


@pytest.mark.parametrize("kind", ["basic_auth", "custom"])
def test_credentials_without_a_bare_form_need_an_object(cli: CLI, tenant: str, kind: str) -> None:
    outcome = cli("credentials", "store", "jira", "--tenant", tenant, "--type", kind, stdin="SECRET")
    assert outcome.code == 2
    assert "SECRET" not in outcome.err


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("basic_auth", {"username": "SECRET"}, "no password"),
        ("basic_auth", {"password": "SECRET"}, "no username"),
        ("api_key", {"key": "SECRET"}, "no api_key"),
        ("bearer", {"token": ""}, "no token"),
        ("custom", {}, "is empty"),
    ],
)
def test_a_credential_that_lacks_a_field_is_refused(
    cli: CLI, tenant: str, kind: str, data: dict[str, str], said: str
) -> None:
    outcome = cli("credentials", "store", "jira", "--tenant", tenant, "--type", kind, stdin=json.dumps(data))
    assert (outcome.code, said in outcome.err, "SECRET" in outcome.err) == (2, True, False)
    assert cli.json("credentials", "list", "--tenant", tenant) == []


@pytest.mark.parametrize(
    ("kind", "data"),
    [("basic_auth", {"username": "key", "password": ""}), ("custom", {"email": "a@b.c", "pin": 1})],
)
def test_a_credential_for_any_login_is_stored(cli: CLI, tenant: str, kind: str, data: dict[str, object]) -> None:
    place = ("jira", "--tenant", tenant, "--type", kind)
    assert cli("credentials", "store", *place, stdin=json.dumps(data)).code == 0
    assert cli.json("credentials", "show", *place, "--reveal")["data"] == data


def test_what_an_oauth_answer_has_beyond_the_standard_is_named_by_key(cli: CLI, tenant: str) -> None:
    given = json.dumps(ANSWER | {"id_token": "SECRET-id", "evil\x1b[2J": 1})
    outcome = cli("oauth", "store", "github", "--tenant", tenant, stdin=given)
    assert outcome.code == 0
    assert "id_token" in outcome.err
    assert "SECRET" not in outcome.err
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "validate", "SECRET"),
        ("oauth", "store", "github", "SECRET", "--tenant", "abcd"),
        ("oauth", "store", "github", "--tenant", "abcd", "--access-token=SECRET"),
        ("credentials", "store", "github", "--tenant", "abcd", "--type", "SECRET-long-enough-to-be-one"),
        ("SECRET-long-enough-to-be-one",),
        ("token", "SECRET-long-enough-to-be-one"),
        ("token", "show", "SECRET-as-an-id"),
        ("tenant", "show", "SECRET-as-an-id"),
        ("oauth", "list", "--tenant", "SECRET-as-an-id"),
        ("token", "add", "--expires-in", "SECRET"),
    ],
)
@pytest.mark.parametrize("option", ["--json", "--debug"])
def test_a_secret_on_the_command_line_is_not_repeated(cli: CLI, option: str, arguments: tuple[str, ...]) -> None:
    outcome = cli(option, *arguments)
    assert outcome.code in (2, 3)
    assert "SECRET" not in outcome.out + outcome.err
    assert "SECRET" not in cli(*arguments).err


def test_a_password_in_the_url_is_not_repeated(cli: CLI) -> None:
    urls = ("postgresql://u:SECRET@127.0.0.1:1/db", "sqlite://u:SECRET@h/db", "sqlite:///x?password=SECRET", "SECRET")
    for url in urls:
        for option in ("--json", "--debug"):
            outcome = cli(option, "token", "list", url=url)
            # 5: there is a driver, and no server.
            assert outcome.code in (5, 9)
            assert "SECRET" not in outcome.out + outcome.err


def test_a_path_that_stands_is_repeated_and_any_other_long_word_not(tmp_path: Path) -> None:
    for word, shown in ((str(tmp_path), True), (f"{tmp_path}-SECRET", False)):
        problem = typer.BadParameter(f"Path '{word}' is not readable.")
        assert (word in str(_explain(problem, ["import", word]))) is shown
