"""A sealed store whose keys are lost or out of reach: what an emergency takes works on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fusion_store import IssuedToken
from fusion_store.layers import Cipher
from tests.encryption.vaults import Vault, fill, place_vault

PROGRAM = (sys.executable, "-m", "fusion_store")
SECRET = "canary-0f8a"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with ExitStack() as opened:
        yield place_vault("sqlite", tmp_path / "store", Cipher.FERNET, opened)


@pytest.fixture
def issued(vault: Vault) -> IssuedToken:
    with vault.sealed() as repository:
        fill(repository, vault.clock.now, secret=SECRET)
        return repository.add_api_token("stolen")


@pytest.fixture
def run(vault: Vault, tmp_path: Path, issued: IssuedToken) -> Run:
    """Runs the program against the sealed store, without keys."""

    def runs(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, "--url", vault.url, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(tmp_path), **environment},
            timeout=60,
            check=False,
        )
        assert SECRET not in done.stdout + done.stderr
        assert vault.key.reveal() not in done.stdout + done.stderr
        return done

    return runs


def document(done: subprocess.CompletedProcess[str]) -> Any:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_stolen_token_is_found_rotated_and_revoked(vault: Vault, run: Run, issued: IssuedToken) -> None:
    assert issued.metadata.token_id in run("token", "list").stdout
    assert document(run("--json", "token", "show", issued.metadata.token_id))["hash"] == issued.hash
    rotated = run("token", "rotate", issued.metadata.token_id)
    assert rotated.returncode == 0
    assert vault.sealed().validate_api_token(issued.token) is None
    vault.close()
    [newer] = [t.hash for t in vault.sealed().list_api_tokens() if t.description == "stolen"]
    vault.close()
    assert run("token", "delete", "--yes", newer).returncode == 0
    assert vault.sealed().get_api_token(newer) is None


def test_a_tenant_is_found_and_deleted(vault: Vault, run: Run) -> None:
    tenant = vault.sealed().list_tenants()[0].tenant_hash
    vault.close()
    assert tenant[:16] in run("tenant", "list").stdout
    assert document(run("--json", "tenant", "show", tenant))["tenant_hash"] == tenant
    assert run("tenant", "delete", "--yes", tenant).returncode == 0
    assert vault.sealed().get_tenant(tenant) is None


def test_the_store_is_counted_purged_and_backed_up(vault: Vault, run: Run, tmp_path: Path) -> None:
    assert document(run("--json", "stats"))["tenants"] == 3
    copy = vault.elsewhere("backup")
    copy.folder.mkdir()
    assert run("backup", str(copy.folder / "vault.db")).returncode == 0
    assert copy.sealed().check().ok
    purged = run("purge")
    assert purged.returncode == 0
    assert run("health").returncode == 0


def test_a_check_counts_every_record_that_it_can_tell_about(vault: Vault, run: Run) -> None:
    assert document(run("--json", "check"))["ok"] is True


@pytest.mark.parametrize("flags", [(), ("--json",), ("--debug",), ("--json", "--debug")])
def test_a_secret_is_not_shown_and_the_exit_code_says_why(vault: Vault, run: Run, flags: tuple[str, ...]) -> None:
    tenant = next(t.tenant_hash for t in vault.sealed().list_tenants() if t.oauth_tokens)
    vault.close()
    shown = run(*flags, "oauth", "show", "--reveal", "--tenant", tenant, "github")
    assert shown.returncode == 8
    assert shown.stdout == ""
    assert "WrongKey" in shown.stderr or "key" in shown.stderr


@pytest.mark.parametrize("flags", [(), ("--json", "--debug")])
def test_a_key_that_cannot_be_used_is_not_shown(vault: Vault, run: Run, flags: tuple[str, ...]) -> None:
    malformed = run(*flags, "token", "list", FUSION_STORE_KEYS=f"{vault.key.reveal()}=")
    assert malformed.returncode == 9


def test_the_secrets_are_still_there_when_the_key_is_found(vault: Vault, run: Run) -> None:
    assert run("purge").returncode == 0
    assert run("check").returncode == 0
    tenant = next(t.tenant_hash for t in vault.sealed().list_tenants() if t.oauth_tokens)
    vault.close()
    found = subprocess.run(
        [*PROGRAM, "--url", vault.url, "oauth", "show", "--reveal", "--tenant", tenant, "github"],
        capture_output=True,
        text=True,
        env={**os.environ, "FUSION_STORE_KEYS": vault.key.reveal()},
        timeout=60,
        check=False,
    )
    assert found.returncode == 0
    assert f"{SECRET}-access" in found.stdout
