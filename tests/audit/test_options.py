"""How a process is told to take part: by argument or environment."""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from fusion_store import AuditRecord, ConfigError, InvalidInput, Unavailable, get_repository
from fusion_store.audit import AuditOptions, JSONLinesFile, disable, enable, settings
from fusion_store.backend import RecordRepository


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(text) for text in file.read_text().splitlines()]


def is_on(**options: object) -> bool:
    with get_repository("memory://", **options) as repository:  # type: ignore[arg-type]
        assert isinstance(repository, RecordRepository)
        return settings(repository) is not None


def test_the_environment_turns_it_on_and_an_argument_counts_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_on()
    assert is_on(audit=True)
    monkeypatch.setenv("FUSION_STORE_AUDIT", "on")
    assert is_on()
    assert not is_on(audit=False)
    assert not is_on(audit=AuditOptions(enable=False))
    monkeypatch.setenv("FUSION_STORE_AUDIT", "off")
    assert not is_on()
    with pytest.raises(ConfigError, match="audit: must be"):
        is_on(audit="on")
    monkeypatch.setenv("FUSION_STORE_AUDIT", "yes")
    with pytest.raises(ConfigError, match="FUSION_STORE_AUDIT must be on or off"):
        get_repository("memory://")


def test_the_environments_files_get_changes_and_attempts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changes, attempts = tmp_path / "changes", tmp_path / "attempts"
    monkeypatch.setenv("FUSION_STORE_AUDIT", "on")
    monkeypatch.setenv("FUSION_STORE_AUDIT_SINK", str(changes))
    monkeypatch.setenv("FUSION_STORE_AUDIT_ATTEMPTS", str(attempts))
    monkeypatch.setenv("FUSION_STORE_AUDIT_SAMPLE", "0")
    with get_repository("memory://") as repository:
        issued = repository.add_api_token()
        repository.validate_api_token(issued.token)
        repository.validate_api_token("guessed")
        log = repository.audit_log()
    assert [line["hash"] for line in lines(changes)] == [record.hash for record in sorted(log, key=lambda r: r.at)]
    assert [line["outcome"] for line in lines(attempts)] == ["malformed"]
    assert stat.S_IMODE(changes.stat().st_mode) == stat.S_IMODE(attempts.stat().st_mode) == 0o600
    monkeypatch.setenv("FUSION_STORE_AUDIT_SAMPLE", "few")
    with pytest.raises(ConfigError, match="FUSION_STORE_AUDIT_SAMPLE"):
        get_repository("memory://")


def test_a_file_that_can_t_be_written_fails_the_change_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    with get_repository(
        f"sqlite:///{tmp_path}/vault.db", audit=AuditOptions(enable=False, sink=JSONLinesFile(folder / "changes"))
    ) as repository:
        assert isinstance(repository, RecordRepository)
        repository.add_api_token()
        with pytest.raises(Unavailable):
            enable(repository)
        assert settings(repository) is None
        folder.mkdir()
        enable(repository)
        issued = repository.add_api_token()
        (folder / "changes").rename(folder / "changes.1")
        repository.delete_api_token(issued.hash)
        folder.rename(tmp_path / "away")
        with pytest.raises(Unavailable, match="FileNotFoundError"):
            repository.add_api_token()
        assert repository.stats().api_tokens == 1
        with pytest.raises(Unavailable):
            disable(repository)
        assert settings(repository) is not None
    assert [line["action"] for line in lines(tmp_path / "away" / "changes.1")] == [
        "audit.enable",
        "tenant.create",
        "api_token.add",
    ]
    assert [line["action"] for line in lines(tmp_path / "away" / "changes")] == ["api_token.delete", "tenant.delete"]


def test_a_sink_that_isn_t_required_only_complains(caplog: pytest.LogCaptureFixture) -> None:
    def fail(records: Sequence[AuditRecord]) -> None:
        raise OSError("secret path")

    options = AuditOptions(sink=fail, sink_required=False)
    with caplog.at_level(logging.WARNING, "fusion_store"), get_repository("memory://", audit=options) as repository:
        repository.add_api_token()
        assert len(repository.audit_log()) == 3
    assert "the audit sink lost 2 records: OSError" in caplog.text
    assert "secret path" not in caplog.text


def test_turning_it_on_and_off_is_recorded_once_each(tmp_path: Path) -> None:
    with get_repository("memory://") as repository:
        assert isinstance(repository, RecordRepository)
        assert not disable(repository)
        enable(repository)
        enable(repository)
        assert disable(repository)
        assert not disable(repository)
        repository.add_api_token()
        assert [record.action for record in repository.audit_log()] == ["audit.enable", "audit.disable"]
        with pytest.raises(InvalidInput, match="keep"):
            enable(repository, keep=5)  # type: ignore[arg-type]


def test_a_mark_that_can_t_be_read_keeps_recording() -> None:
    with get_repository("memory://", audit=True) as repository:
        assert isinstance(repository, RecordRepository)
        repository.write_mark("audit", b"\xff")
        repository.add_api_token()
        assert len(repository.audit_log()) == 3
        assert "audit_records" not in repository.purge_expired()


def test_lines_of_several_processes_don_t_mix(tmp_path: Path) -> None:
    file = tmp_path / "changes"
    children = []
    for _ in range(4):
        child = os.fork()
        if not child:
            try:
                with get_repository("memory://", audit=AuditOptions(sink=JSONLinesFile(file))) as repository:
                    for _ in range(20):
                        repository.add_api_token()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert len(lines(file)) == 4 * 41


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_amid_a_write_writes_its_own(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with get_repository("memory://", audit=True) as repository:
        records = repository.audit_log() * 1000
    sink = JSONLinesFile(pipe)

    def write_until_read() -> None:
        with suppress(OSError):  # a pipe can't be synced
            sink(records)

    writing = threading.Thread(target=write_until_read)
    writing.start()
    assert select.select([reader], [], [], 30)[0]
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        try:
            sink.path = file
            sink(records[:1])
        finally:
            os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.set_blocking(reader, True)
    while os.read(reader, 1 << 16):
        pass
    writing.join()
    os.close(reader)
    assert ended == 0
    assert len(lines(file)) == 1


def test_a_record_after_a_torn_one_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "changes"
    with get_repository("memory://", audit=AuditOptions(sink=JSONLinesFile(file))) as repository:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 20, hard))
        try:
            with pytest.raises(Unavailable):
                repository.add_api_token()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        repository.add_api_token()
    enabled, torn, *whole = file.read_text().splitlines()
    assert len(torn) == 20
    assert [json.loads(text)["action"] for text in (enabled, *whole)] == [
        "audit.enable",
        "tenant.create",
        "api_token.add",
    ]
