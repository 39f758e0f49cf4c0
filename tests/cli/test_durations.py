from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from fusion_store import InvalidInput
from fusion_store.cli._input import duration, from_now
from tests.cli.conftest import CLI


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("45s", timedelta(seconds=45)),
        ("2w", timedelta(weeks=2)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("1w2d3h4m5s", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert duration("--expires-in", text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "90",
        "d",
        "-1d",
        "+1d",
        "1.5d",
        "1y",
        "90D",
        "1h1d",
        "1d1d",
        "1d 2h",
        "1d,2h",
        "٣d",
        "1d\n",
        "9" * 30 + "d",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--expires-in"):
        duration("--expires-in", text)


def test_a_lifetime_is_positive_and_a_grace_may_be_none() -> None:
    with pytest.raises(InvalidInput, match="longer than 0"):
        duration("--expires-in", "0s")
    assert duration("--grace", "0s", least=timedelta(0)) == timedelta(0)


def test_nothing_ends_after_the_year_9999() -> None:
    with pytest.raises(InvalidInput, match="9999"):
        from_now("--expires-in", timedelta(days=3_000_000))


@pytest.mark.parametrize("text", ["soon", "0d", "9999999d", "99999999999999999999d"])
def test_a_bad_lifetime_names_the_option_and_issues_nothing(cli: CLI, text: str) -> None:
    outcome = cli("token", "add", "--expires-in", text)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--expires-in" in outcome.err
    assert cli("token", "list").code == 3


def test_the_format_is_named(cli: CLI) -> None:
    assert "such as 90d, 12h, 30m, 45s, 2w or 1d12h" in cli("token", "add", "--expires-in", "soon").err


def test_a_lifetime_begins_now(cli: CLI) -> None:
    expires = datetime.fromisoformat(cli.json("token", "add", "--expires-in", "1d12h")["expires_at"])
    assert abs(expires - datetime.now(UTC) - timedelta(hours=36)) < timedelta(seconds=30)


@pytest.mark.parametrize("command", [("token", "rotate", "0123abcd", "--grace", "x")])
def test_other_options_that_take_durations(cli: CLI, command: tuple[str, ...]) -> None:
    assert cli(*command).code == 2
