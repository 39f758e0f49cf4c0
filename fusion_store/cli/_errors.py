"""What a failed command says, and the exit code it ends with."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

from fusion_store import _errors as errors
from fusion_store.cli._output import OutputLost, inert


class ExitCode(IntEnum):
    """The exit codes of ``fusion-store``."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_FOUND = 3
    AMBIGUOUS = 4
    STORE = 5
    SCHEMA = 6
    CORRUPT = 7
    ENCRYPTION = 8
    CONFIG = 9
    CONFLICT = 10
    OUTCOME_UNKNOWN = 11
    AUTH = 12
    INTERNAL = 70
    INPUT_OUTPUT = 74
    INTERRUPTED = 130
    CLOSED_PIPE = 141


MEANINGS: Final = {
    ExitCode.OK: "done",
    ExitCode.NO: "the answer is no: the token isn't live, the stores differ, something is wrong, or you declined",
    ExitCode.USAGE: "wrong usage or invalid input; nothing was changed",
    ExitCode.NOT_FOUND: "no such API token, tenant, record or store",
    ExitCode.AMBIGUOUS: "the ID fits more than one record; nothing was changed",
    ExitCode.STORE: "the store can't be used: locked, busy, full, unreachable, not permitted",
    ExitCode.SCHEMA: "the store's schema is older or newer than this release",
    ExitCode.CORRUPT: "the store or a record in it is corrupt",
    ExitCode.ENCRYPTION: "wrong or missing encryption key, or a tampered record",
    ExitCode.CONFIG: "the URL, a setting or an environment variable can't be used",
    ExitCode.CONFLICT: "the store's state doesn't allow the change; nothing was changed",
    ExitCode.OUTCOME_UNKNOWN: "the change may or may not have been made",
    ExitCode.AUTH: "the service refused, or the user has to sign in again",
    ExitCode.INTERNAL: "a bug in fusion-store",
    ExitCode.INPUT_OUTPUT: "the output, or a file that it goes to, can't be written",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
    ExitCode.CLOSED_PIPE: "whoever read the output stopped reading",
}


class CommandError(Exception):
    """A command can't go on; ``candidates`` are the rows that an ambiguous ID fits."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        code: ExitCode = ExitCode.USAGE,
        *,
        name: str = "UsageError",
        candidates: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
        self.name = name
        self.candidates = tuple(candidates)


_PLACES: Final = "check --url, --data-dir and the FUSION_STORE_ variables; 'fusion-store backends' lists the schemes"


class PlaceError(CommandError):
    """The store can't be looked for where it was said to be."""

    def __init__(self, error: errors.ConfigError, hint: str = _PLACES) -> None:
        super().__init__(str(error), hint, ExitCode.CONFIG, name=type(error).__name__)


# The first class that fits counts, so subclasses stand before their bases.
_ANSWERS: Final[Sequence[tuple[type[Exception], ExitCode, str]]] = (
    (errors.ConfigError, ExitCode.CONFIG, ""),
    (errors.InvalidInput, ExitCode.USAGE, "nothing was changed; the command's --help says what it takes"),
    (errors.TenantNotFound, ExitCode.NOT_FOUND, "'fusion-store tenant list' shows the tenants of this store"),
    (errors.TokenNotFound, ExitCode.NOT_FOUND, "'fusion-store token list' shows the API tokens of this store"),
    (errors.NotFound, ExitCode.NOT_FOUND, ""),
    (errors.AlreadyExists, ExitCode.CONFLICT, "choose another place; nothing was changed"),
    (errors.VersionConflict, ExitCode.CONFLICT, "show the record again, then repeat with its present version"),
    (errors.Conflict, ExitCode.CONFLICT, "nothing was changed"),
    (
        errors.StoreNotFound,
        ExitCode.NOT_FOUND,
        "check --url, --data-dir and FUSION_STORE_URL; 'token add' creates a store",
    ),
    (errors.StoreLocked, ExitCode.STORE, "stop the process that holds it, or try again later"),
    (errors.StorageFull, ExitCode.STORE, "make room, then repeat; nothing was changed"),
    (errors.ReadOnly, ExitCode.STORE, "check the permissions of the store's folder and files"),
    (errors.PermissionDenied, ExitCode.STORE, "check the owner and permissions of the store, and who you are"),
    (errors.OutcomeUnknown, ExitCode.OUTCOME_UNKNOWN, "look whether the change was made before you repeat it"),
    (errors.SchemaOutOfDate, ExitCode.SCHEMA, "make a backup, then run 'fusion-store schema upgrade'"),
    (errors.SchemaTooNew, ExitCode.SCHEMA, "install the newer release of fusion-store that wrote it"),
    (errors.CorruptStore, ExitCode.CORRUPT, "restore a backup"),
    (errors.CorruptRecord, ExitCode.CORRUPT, "'fusion-store check' lists all that is corrupt"),
    (errors.StorageIO, ExitCode.STORE, "check the store's path, its disk and its permissions"),
    (errors.Busy, ExitCode.STORE, "try again in a moment; nothing was changed"),
    (errors.Unavailable, ExitCode.STORE, "check that the database runs and can be reached, then try again"),
    (errors.StoreError, ExitCode.STORE, "'fusion-store --debug' with the same command says more"),
    (errors.NeedsReauth, ExitCode.AUTH, "sign in again with 'fusion-store connect'"),
    (errors.AuthError, ExitCode.AUTH, "check the service's configuration, or try again later"),
    (
        errors.NotEncrypted,
        ExitCode.ENCRYPTION,
        "make a backup first, with 'fusion-store --no-keys backup PATH'; with --no-keys a plain store opens as it is",
    ),
    (errors.EncryptionError, ExitCode.ENCRYPTION, "check FUSION_STORE_KEYS or FUSION_STORE_KEY_FILE"),
)


def report(error: Exception, *, as_json: bool, debug: bool) -> ExitCode:
    """Say on stderr what went wrong, and answer the exit code."""
    name, message, hint, code = _describe(error)
    candidates = error.candidates if isinstance(error, CommandError) else ()
    trace = "".join(traceback.format_exception(error)) if debug else ""
    if as_json:
        document: dict[str, Any] = {"error": name, "message": message, "hint": hint, "exit_code": int(code)}
        if candidates:
            document["candidates"] = candidates
        if trace:
            document["traceback"] = trace
        _write(json.dumps(document, indent=2))
        return code
    if trace:
        _write("\n".join(inert(line) for line in trace.splitlines()))
    _write(f"Error: {_one_line(message)}")
    for candidate in candidates:
        _write("  " + "  ".join(inert(str(value)) for value in candidate.values()))
    if hint:
        _write(f"Hint: {_one_line(hint)}")
    return code


def _describe(error: Exception) -> tuple[str, str, str, ExitCode]:
    name = type(error).__name__
    if isinstance(error, CommandError):
        return error.name, str(error), error.hint, error.code
    for kind, code, hint in _ANSWERS:
        if isinstance(error, kind):
            return name, str(error), hint, code
    if isinstance(error, OutputLost):
        code = ExitCode.CLOSED_PIPE if error.closed_pipe else ExitCode.INPUT_OUTPUT
        return name, str(error), "", code
    if isinstance(error, OSError):
        return name, error.strerror or name, "", ExitCode.INPUT_OUTPUT
    return name, f"internal error ({name})", "run it again with --debug and report the traceback", ExitCode.INTERNAL


def _one_line(text: str) -> str:
    return inert(" ".join(text.split()))


def _write(text: str) -> None:
    sys.stderr.write(f"{text}\n")
