from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from fusion_store import get_repository
from fusion_store.backend import APITokenRecord, TenantRecord
from tests.cli.conftest import CLI

TWINS = ("abcd1234" + "0" * 56, "abcd1234" + "1" * 56)


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}"


@pytest.fixture
def twins(cli: CLI) -> tuple[str, str]:
    """Two tenants, each with one token, whose hashes begin alike."""
    now = int(datetime.now(UTC).timestamp()) * 1_000_000
    with get_repository(cli.url) as repository:
        issued = repository.add_api_token("pattern")
        pattern = next(r for r in repository.export_records() if isinstance(r, APITokenRecord))
        repository.delete_api_token(issued.hash)
        for number, hash in enumerate(TWINS):
            token = msgspec.structs.replace(
                pattern, hash=hash, tenant_hash=hash, prefix=f"feed000{number}", description=f"twin {number}"
            )
            repository.import_records([TenantRecord(hash, now), token])
    return TWINS


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "show", "abcd1234"),
        ("token", "show", "feed"),
        ("token", "rotate", "abcd"),
        ("token", "delete", "abcd", "--yes"),
        ("token", "add", "--tenant", "abcd"),
        ("token", "list", "--tenant", "feed000"),
        ("tenant", "show", "abcd"),
        ("tenant", "delete", "feed", "--yes"),
        ("oauth", "list", "--tenant", "abcd1234"),
    ],
)
def test_an_ambiguous_id_is_4_lists_its_candidates_and_changes_nothing(
    cli: CLI, twins: tuple[str, str], arguments: tuple[str, ...]
) -> None:
    before = cli("--json", "token", "list").out
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (4, "")
    for number, hash in enumerate(twins):
        assert f"  {hash}  feed000{number}" in outcome.err
        assert f"twin {number}" in outcome.err
    error = cli("--json", *arguments).error
    assert [candidate["hash"] for candidate in error["candidates"]] == list(twins)
    assert set(error["candidates"][0]) == {"hash", "prefix", "created_at", "description"}
    assert cli("--json", "token", "list").out == before


def test_an_id_that_fits_one_only_is_enough(cli: CLI, twins: tuple[str, str]) -> None:
    for identifier in (twins[0], twins[0][:9], "feed0000", f" {twins[0][:16]}… "):
        assert cli.json("token", "show", identifier)["hash"] == twins[0]
        assert cli.json("tenant", "show", identifier)["tenant_hash"] == twins[0]


def test_an_id_of_one_tenant_and_of_another_ones_token_is_ambiguous(cli: CLI, twins: tuple[str, str]) -> None:
    with get_repository(cli.url) as repository:
        pattern = next(r for r in repository.export_records() if isinstance(r, APITokenRecord) and r.hash == twins[1])
        repository.import_records([msgspec.structs.replace(pattern, hash="f" * 64, prefix=twins[0][:9][:8])])
    assert cli("tenant", "delete", twins[0][:8], "--yes").code == 4
    assert cli("tenant", "delete", twins[0][:10], "--yes").code == 0


def test_many_candidates_are_cut_off(cli: CLI, twins: tuple[str, str]) -> None:
    with get_repository(cli.url) as repository:
        pattern = next(r for r in repository.export_records() if isinstance(r, APITokenRecord))
        copies = [
            msgspec.structs.replace(pattern, hash=f"dcba{number:060}", prefix=f"{number:08}") for number in range(30)
        ]
        repository.import_records(copies)
    outcome = cli("token", "delete", "dcba", "--yes")
    assert outcome.code == 4
    assert "fits 30 API tokens, of which these are 20" in outcome.err
    assert len(outcome.err.splitlines()) == 22
    assert len(cli.json("token", "list")) == 32


@pytest.mark.parametrize("token_prefix", [None, "acme"])
def test_a_token_itself_is_refused_and_not_repeated(cli: CLI, token_prefix: str | None) -> None:
    with get_repository(cli.url, token_prefix=token_prefix) as repository:
        issued = repository.add_api_token()
    commands = (
        ("token", "show"),
        ("token", "rotate"),
        ("token", "delete", "--yes"),
        ("tenant", "show"),
        ("oauth", "list", "--tenant"),
    )
    for command in commands:
        outcome = cli(*command, issued.token)
        assert outcome.code == 2
        assert "an API token itself" in outcome.err
        assert f"token rotate {issued.metadata.token_id}" in outcome.err
        assert issued.token not in outcome.out + outcome.err
    assert len(cli.json("token", "list")) == 1


def test_an_expired_token_is_not_rotated_and_said_to_have_expired(cli: CLI) -> None:
    with get_repository(cli.url) as repository:
        issued = repository.add_api_token(expires_at=datetime.now(UTC) + timedelta(milliseconds=1))
    assert issued.metadata.expires_at is not None
    while datetime.now(UTC) <= issued.metadata.expires_at:
        pass
    outcome = cli("token", "rotate", issued.metadata.token_id)
    assert (outcome.code, "has expired" in outcome.err) == (3, True)
    assert cli("token", "show", issued.metadata.token_id).code == 0
