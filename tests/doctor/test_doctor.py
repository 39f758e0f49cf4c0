"""The doctor finds what is planted, and nothing else."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from fusion_store import (
    CredentialType,
    OAuthTokenData,
    ServiceCredentials,
    StoreNotFound,
    TokenRepository,
    get_repository,
)
from fusion_store._registry import find_backend
from fusion_store.audit import AuditOptions
from fusion_store.auth import REJECTED
from fusion_store.backend import ENCRYPTION_MARK, RecordRepository
from fusion_store.doctor import Diagnosis, Finding, diagnose
from fusion_store.doctor._files import free_bytes, open_files
from fusion_store.layers import Key, Keyring
from fusion_store.layers._mark import new_mark
from fusion_store.layers._seal import Seal
from fusion_store.testing import ManualClock

FROZEN = Path(__file__).parents[1] / "frozen" / "stores"
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", *["leveldb"] * (find_spec("plyvel") is not None)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"leveldb:///{tmp_path}/vault" if request.param == "leveldb" else f"sqlite:///{tmp_path}/vault.db"


@pytest.fixture
def examine(url: str, clock: ManualClock) -> Callable[..., Diagnosis]:
    def run(*keys: Key) -> Diagnosis:
        backend, parsed = find_backend(url)
        micros = (clock.now - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND
        return diagnose(backend, parsed, keyring=Keyring(keys) if keys else None, now=lambda: micros)

    return run


def found(diagnosis: Diagnosis) -> dict[str, Finding]:
    return {finding.check: finding for finding in diagnosis.findings}


def test_nothing_is_wrong_with_a_sealed_store_in_use(
    url: str, clock: ManualClock, examine: Callable[..., Diagnosis]
) -> None:
    key = Key.generate()
    with get_repository(url, clock=clock, encryption_keys=[key.reveal()]) as vault:
        issued = vault.add_api_token("Ada", expires_at=clock.now + 365 * DAY)
        vault.store_oauth_token(issued.hash, "github", OAuthTokenData("a", "r", expires_at=clock.now + DAY))

    diagnosis = examine(key)

    assert diagnosis.ok
    assert diagnosis.findings == []
    assert diagnosis.not_examined == []
    assert diagnosis.records >= 3


def test_tokens_that_are_unused_endless_or_expired(
    url: str, clock: ManualClock, examine: Callable[..., Diagnosis]
) -> None:
    with get_repository(url, clock=clock) as vault:
        endless = vault.add_api_token("endless")
        expiring = vault.add_api_token("expiring", expires_at=clock.now + 10 * DAY)
        clock.advance(90 * DAY - MICROSECOND)
        used = vault.add_api_token("used", expires_at=clock.now + 900 * DAY)
        vault.validate_api_token(used.token)
    assert "unused_tokens" not in found(examine())

    clock.advance(MICROSECOND)
    findings = found(examine())

    assert findings["unused_tokens"].examples == (endless.metadata.token_id,)
    assert findings["endless_tokens"].examples == (endless.metadata.token_id,)
    assert findings["locked_out_tenants"].examples == (expiring.metadata.tenant_id,)
    assert not any(finding.problem for finding in findings.values())


def test_what_purging_leaves_is_not_said_to_be_purged(
    url: str, clock: ManualClock, examine: Callable[..., Diagnosis]
) -> None:
    with get_repository(url, clock=clock) as vault:
        locked_out = [vault.add_api_token(expires_at=clock.now + DAY) for _ in range(2)]
        vault.add_api_token(tenant_hash=locked_out[0].metadata.tenant_hash, expires_at=clock.now + DAY)
        open_ = vault.add_api_token(expires_at=clock.now + DAY).metadata
        vault.add_api_token(tenant_hash=open_.tenant_hash, expires_at=clock.now + 10 * DAY)
    clock.advance(DAY)
    before = found(examine())
    with get_repository(url, clock=clock) as vault:
        purged = vault.purge_expired()["api_tokens"]
    after = found(examine())

    assert purged == 2
    assert before["expired_tokens"].number == purged
    assert "expired_tokens" not in after
    assert sorted(after["locked_out_tenants"].examples) == sorted(t.metadata.tenant_id for t in locked_out)
    assert not after["locked_out_tenants"].problem


def test_oauth_tokens_that_were_rejected_are_a_problem_and_ended_ones_are_not(
    url: str, clock: ManualClock, examine: Callable[..., Diagnosis]
) -> None:
    with get_repository(url, clock=clock) as vault:
        tenant = vault.add_api_token().hash
        soon = clock.now + DAY
        vault.store_oauth_token(tenant, "rejected", OAuthTokenData("a", "r", metadata={REJECTED: "1"}))
        vault.store_oauth_token(tenant, "ended", OAuthTokenData("a", expires_at=soon))
        vault.store_oauth_token(tenant, "renewable", OAuthTokenData("a", "r", expires_at=soon))
        vault.store_oauth_token(tenant, "endless", OAuthTokenData("a"))
    clock.advance(DAY)

    findings = found(examine())

    dead, ended = findings["dead_refreshes"], findings["ended_oauth_tokens"]
    assert (dead.problem, dead.examples) == (True, (f"{tenant[:16]} rejected",))
    assert (ended.problem, ended.examples) == (False, (f"{tenant[:16]} ended",))


def test_secrets_in_plain_text_and_under_old_keys(url: str, examine: Callable[..., Diagnosis]) -> None:
    old, new = Key.generate(), Key.generate()
    with get_repository(url, encryption_keys=[old.reveal()]) as vault:
        tenant = vault.add_api_token().hash
        vault.store_oauth_token(tenant, "github", OAuthTokenData("a", metadata={REJECTED: "1"}))
    with get_repository(url, encryption_keys=[new.reveal(), old.reveal()]) as vault:
        vault.store_credentials(tenant, "weather", ServiceCredentials(CredentialType.API_KEY, {"key": "k"}))

    both = examine(new, old)
    without_keys = examine()

    assert found(both)["old_keys"].examples == (old.key_id,)
    assert found(both)["old_keys"].number == 1
    assert found(both)["dead_refreshes"].number == 1
    assert "dead_refreshes" not in found(without_keys)
    assert without_keys.not_examined == ["2 payloads: sealed, and no keys are at hand"]


def test_a_plain_store_is_advised_to_seal(url: str, examine: Callable[..., Diagnosis]) -> None:
    with get_repository(url) as vault:
        vault.store_oauth_token(vault.add_api_token().hash, "github", OAuthTokenData("a"))

    plain = found(examine())["plain_payloads"]

    assert (plain.number, plain.problem) == (1, False)
    assert "key convert" in plain.advice


def test_files_that_others_may_open(url: str, tmp_path: Path, examine: Callable[..., Diagnosis]) -> None:
    get_repository(url).close()
    assert "file_modes" not in found(examine())
    where = tmp_path / ("vault.db" if url.startswith("sqlite") else "vault/CURRENT")
    where.chmod(0o640)

    lax = found(examine())["file_modes"]

    assert lax.problem
    assert lax.examples == (where.name,)


def test_a_file_that_vanishes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    gone, lax = tmp_path / "vault.db-wal", tmp_path / "vault.db"
    lax.touch()
    lax.chmod(0o644)

    (finding,) = open_files([gone, lax])

    assert finding.examples == ("vault.db",)
    assert free_bytes([gone, lax])


def test_growth_is_told_by_what_is_new(url: str, clock: ManualClock, examine: Callable[..., Diagnosis]) -> None:
    with get_repository(url, clock=clock) as vault:
        for _ in range(10):
            vault.add_api_token()
        clock.advance(60 * DAY)
    resting = examine().growth
    with get_repository(url, clock=clock) as vault:
        for _ in range(10):
            vault.add_api_token()
    growing = examine().growth

    assert resting is not None
    assert growing is not None
    assert (resting.bytes_per_day, resting.full_in_days) == (0, None)
    assert growing.days == 30
    assert growing.free_bytes
    assert 0 < growing.bytes_per_day < growing.bytes_on_disk / 30
    assert growing.full_in_days == growing.free_bytes / growing.bytes_per_day


def test_a_store_that_is_new_as_a_whole_grows_by_all_it_holds(
    url: str, clock: ManualClock, examine: Callable[..., Diagnosis]
) -> None:
    get_repository(url, clock=clock).close()
    empty = examine().growth
    with get_repository(url, clock=clock) as vault:
        tenant = vault.add_api_token().hash
        for number in range(400):
            vault.store_oauth_token(tenant, f"service {number}", OAuthTokenData("a" * 2000))
            vault.create_auth_code(tenant, "service", ttl=60 * DAY)
    clock.advance(2 * DAY)
    full = examine().growth

    assert empty is not None
    assert full is not None
    grown = full.bytes_on_disk - empty.bytes_on_disk
    assert full.days == 2
    assert grown > 500_000
    assert grown / 2 <= full.bytes_per_day <= full.bytes_on_disk / 2


def test_growth_of_the_audit_trail_counts(url: str, clock: ManualClock, examine: Callable[..., Diagnosis]) -> None:
    with get_repository(url, clock=clock) as vault:
        tenant = vault.add_api_token().hash
        for number in range(200):
            vault.store_oauth_token(tenant, f"service {number}", OAuthTokenData("a" * 2000))
    clock.advance(60 * DAY)
    resting = examine().growth
    with get_repository(url, clock=clock, audit=True) as vault:
        for _ in range(1500):
            vault.store_oauth_token(tenant, "service 1", OAuthTokenData("a" * 2000))
    growing = examine().growth

    assert resting is not None
    assert growing is not None
    assert resting.bytes_per_day == 0
    grown = growing.bytes_on_disk - resting.bytes_on_disk
    assert grown > 300_000
    assert 0.5 <= growing.bytes_per_day * growing.days / grown <= 2


def test_an_audit_trail_that_is_purged_as_it_grows_does_not_count(
    url: str, clock: ManualClock, examine: Callable[..., Diagnosis]
) -> None:
    with get_repository(url, clock=clock, audit=AuditOptions(keep=20 * DAY)) as vault:
        tenant = vault.add_api_token().hash
        for _ in range(8):
            for _ in range(5):
                vault.store_oauth_token(tenant, "github", OAuthTokenData("a"))
            clock.advance(10 * DAY)
            vault.purge_expired()
        assert vault.audit_log()
    growth = examine().growth

    assert growth is not None
    assert (growth.days, growth.bytes_per_day) == (30, 0)


def test_growth_is_told_after_a_whole_day_only(url: str, clock: ManualClock, examine: Callable[..., Diagnosis]) -> None:
    with get_repository(url, clock=clock) as vault:
        for _ in range(10):
            vault.add_api_token()
    clock.advance(MICROSECOND)
    fresh = examine()
    clock.advance(DAY - 2 * MICROSECOND)
    young = examine()
    clock.advance(MICROSECOND)
    grown = examine()

    for diagnosis in (fresh, young):
        assert diagnosis.growth is not None
        assert diagnosis.growth.bytes_on_disk > 0
        assert (diagnosis.growth.bytes_per_day, diagnosis.growth.full_in_days) == (0, None)
        assert "disk_full_soon" not in found(diagnosis)
    assert grown.growth is not None
    assert grown.growth.days == 1
    assert 0 < grown.growth.bytes_per_day <= grown.growth.bytes_on_disk
    assert grown.growth.full_in_days


def test_where_there_is_no_store_none_is_made(url: str, tmp_path: Path, examine: Callable[..., Diagnosis]) -> None:
    with pytest.raises(StoreNotFound):
        examine()
    assert list(tmp_path.iterdir()) == []


def test_corrupt_records_are_a_problem(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    with get_repository(url) as vault:
        issued = vault.add_api_token("Ada", expires_at=datetime.now(UTC) + DAY)
        vault.store_oauth_token(issued.hash, "github", OAuthTokenData("a"))
    with closing(sqlite3.connect(tmp_path / "vault.db")) as raw, raw:
        raw.execute("UPDATE oauth_tokens SET payload = x'01000000007b7d'")
        raw.execute("UPDATE api_tokens SET description = 'Eve'")

    corrupt = found(diagnose(*find_backend(url)))["corrupt_records"]

    assert corrupt.problem
    assert corrupt.number == 2
    assert any("github" in example for example in corrupt.examples)


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("where", ["service_credentials", "auth_codes", "oauth_tokens", "audit_records"])
def test_whatever_check_finds_is_a_problem(tmp_path: Path, where: str, sealed: bool) -> None:
    path, key = tmp_path / "vault.db", Key.generate()
    url, keys = f"sqlite:///{path}", [key] if sealed else []

    def opened() -> TokenRepository:
        return get_repository(url, encryption_keys=[key.reveal()] if sealed else None, audit=True)

    with opened() as vault:
        tenant = vault.add_api_token(expires_at=datetime.now(UTC) + DAY).hash
        vault.store_credentials(tenant, "weather", ServiceCredentials(CredentialType.API_KEY, {"key": "k"}))
        vault.store_oauth_token(tenant, "github", OAuthTokenData("a", "r"))
        vault.create_auth_code(tenant, "github", ttl=DAY)
    with closing(sqlite3.connect(path)) as raw, raw:
        if where == "audit_records":
            raw.execute("DELETE FROM audit_records WHERE tenant_hash = ? AND sequence = 2", [tenant])
        else:
            ((payload,),) = raw.execute(f"SELECT payload FROM {where}").fetchall()
            raw.execute(f"UPDATE {where} SET payload = ?", [payload[:-3] + b"!" + payload[-2:]])

    diagnosis = diagnose(*find_backend(url), keyring=Keyring(keys) if sealed else None)
    with opened() as vault:
        report = vault.check()

    assert not diagnosis.ok
    assert found(diagnosis)["corrupt_records"].number == len(report.corrupt) > 0


def test_payloads_under_a_key_that_is_missing_are_a_problem(url: str, examine: Callable[..., Diagnosis]) -> None:
    lost, key = Key.generate(), Key.generate()
    with get_repository(url, encryption_keys=[lost.reveal()]) as vault:
        tenant = vault.add_api_token().hash
        vault.store_credentials(tenant, "weather", ServiceCredentials(CredentialType.API_KEY, {"key": "k"}))
    with get_repository(url, encryption_keys=[key.reveal(), lost.reveal()]) as vault:
        assert isinstance(vault, RecordRepository)
        vault.write_mark(ENCRYPTION_MARK, new_mark(Seal(Keyring([key]))))

    assert found(examine(key))["corrupt_records"].number == 1
    assert "corrupt_records" not in found(examine(key, lost))
    assert "corrupt_records" not in found(examine())


def test_an_older_schema_is_a_problem_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    path.write_bytes(gzip.decompress((FROZEN / "0001-plain.sqlite.gz").read_bytes()))
    path.chmod(0o600)
    before = path.read_bytes()

    diagnosis = diagnose(*find_backend(f"sqlite:///{path}"))

    (schema,) = diagnosis.findings
    assert (schema.check, schema.problem, schema.advice) == ("schema", True, "fusion-store schema upgrade")
    assert diagnosis.not_examined
    assert path.read_bytes() == before


def command(url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "fusion_store", "--url", url, *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_the_command_says_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    with get_repository(url) as vault:
        issued = vault.add_api_token("Ada's laptop")
        vault.store_oauth_token(issued.hash, "github", OAuthTokenData("gho_secret", metadata={REJECTED: "1"}))

    shown = command(url, "doctor")
    document = command(url, "--json", "doctor")

    assert (shown.returncode, shown.stderr) == (1, "")
    lines = shown.stdout.splitlines()
    assert (
        lines[0] == f"PROBLEM: OAuth tokens whose grant the provider rejected: 1 ({issued.metadata.tenant_id} github)"
    )
    assert "fusion-store connect" in lines[1]
    assert f"Advice: API tokens without expiry: 1 ({issued.metadata.token_id})" in lines
    assert document.returncode == 1
    told = json.loads(document.stdout)
    assert not told["ok"]
    assert [finding["check"] for finding in told["findings"]] == ["dead_refreshes", "plain_payloads", "endless_tokens"]
    assert told["growth"]["bytes_on_disk"] > 0
    for secret in ("gho_secret", issued.token, "laptop"):
        assert secret not in shown.stdout + document.stdout


def test_the_command_without_anything_to_say(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vault.db"
    get_repository(url).close()

    shown = command(url, "doctor")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Nothing found.\n")
    assert command(f"sqlite:///{tmp_path}/absent.db", "doctor").returncode == 3
    assert command(url, "doctor", "--unused-for", "soon").returncode == 2
