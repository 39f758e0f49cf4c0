"""What people hand to commands: IDs, durations, secrets, and yes or no."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from fusion_store import (
    AmbiguousIdentifier,
    APITokenMetadata,
    InvalidInput,
    TenantNotFound,
    TokenNotFound,
    TokenRepository,
)
from fusion_store.cli._errors import CommandError, ExitCode
from fusion_store.cli._output import Output, iso

TokenID = Annotated[str, typer.Argument(metavar="ID", help="Hash of the API token, or a unique prefix of 4 or more.")]
TenantID = Annotated[
    str,
    typer.Argument(metavar="ID", help="Hash of the tenant or of one of its API tokens, or a unique prefix."),
]
TenantOption = Annotated[
    str,
    typer.Option("--tenant", metavar="ID", help="Hash of the tenant or of one of its API tokens, or a unique prefix."),
]
Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Name of the upstream service; case matters.")]
ExpectedVersion = Annotated[
    int | None,
    typer.Option(metavar="N", help="Only if the record has this version now; 0: only if there is none."),
]
FromFile = Annotated[
    str | None,
    typer.Option("--from-file", metavar="PATH", help="Read the secret from this file; - is stdin."),
]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show the secrets.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask; needed where there is no terminal.")]

_DURATION: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_MAX_SECRET_BYTES: Final = 1024 * 1024
_MAX_TERMINAL_LINE: Final = 4095
_MAX_CANDIDATES: Final = 20
_PAGE: Final = 500


def duration(option: str, text: str, *, least: timedelta = timedelta(seconds=1)) -> timedelta:
    """``90d``, ``12h``, ``30m``, ``45s``, ``2w`` or several of these, largest first (``1d12h``)."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise InvalidInput(option, "must be a duration such as 90d, 12h, 30m, 45s, 2w or 1d12h")
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    try:
        result = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise InvalidInput(option, "is too long") from None
    if result < least:
        raise InvalidInput(option, "must be longer than 0")
    return result


def expiry(option: str, text: str | None) -> datetime | None:
    """The moment that a duration from now ends; None without one."""
    return None if text is None else from_now(option, duration(option, text))


def from_now(field: str, span: timedelta) -> datetime:
    """The moment after ``span``; ``InvalidInput`` past the year 9999."""
    try:
        return datetime.now(UTC) + span
    except OverflowError:
        raise InvalidInput(field, "ends after the year 9999") from None


def resolve_token(repository: TokenRepository, identifier: str) -> APITokenMetadata:
    """The API token that an ID names."""
    typed = _typed(identifier)
    try:
        return repository.resolve_api_token(typed)
    except TokenNotFound:
        _refuse_secret(repository, typed)
        raise
    except AmbiguousIdentifier as error:
        found = (repository.get_api_token(hash) for hash in error.candidates)
        _ambiguous(
            len(error.candidates),
            "API tokens",
            (_candidate(token.hash, token.created_at, token) for token in found if token),
        )


def resolve_tenant(
    repository: TokenRepository, identifier: str, gone: Callable[[str], Iterable[str]] = lambda _: ()
) -> str:
    """The hash of the tenant that an ID names, by its own hash or by one of its API tokens.

    ``gone``: which tenants it names besides, by a prefix of their hashes.
    """
    typed = _typed(identifier)
    found = set[str]()
    try:
        found.add(repository.resolve_tenant(typed))
    except AmbiguousIdentifier as error:
        found.update(error.candidates)
    except TenantNotFound:
        pass
    found.update(token.tenant_hash for token in repository.find_api_tokens(typed))
    found.update(gone(typed))
    if not found:
        _refuse_secret(repository, typed)
        raise TenantNotFound
    if len(found) > 1:
        _ambiguous(len(found), "tenants", _tenant_candidates(repository, sorted(found)))
    return found.pop()


def api_tokens(repository: TokenRepository, tenant_hash: str | None = None) -> Iterator[APITokenMetadata]:
    """All API tokens, of one tenant or of all, page by page."""
    after: str | None = None
    while page := repository.list_api_tokens(tenant_hash=tenant_hash, after=after, limit=_PAGE):
        yield from page
        after = page[-1].cursor


def read_secret(prompt: str, from_file: str | None = None) -> str:
    """The text from ``--from-file``, from stdin, or typed unseen where stdin is a terminal; outer white space cut."""
    if from_file is None and stdin_is_terminal():
        return _typed_unseen(prompt)
    source = "stdin" if from_file in (None, "-") else "--from-file"
    content = _read_bytes(from_file)
    if len(content) > _MAX_SECRET_BYTES:
        raise InvalidInput(source, "holds more than 1 MiB")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise InvalidInput(source, "must be UTF-8 text") from None
    if not text:
        raise InvalidInput(source, "is empty")
    return text


def object_or_secret(text: str) -> dict[str, Any] | str:
    """A JSON object where the text is one, else the text as the secret itself.

    What only looks like a secret because something before it went wrong is refused: broken or other JSON, a key that
    stands twice, white space within.
    """
    if text.startswith("{"):
        try:
            value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=without_repeats)
        except (ValueError, RecursionError) as error:
            place = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            raise InvalidInput("input", f"begins like a JSON object but isn't valid JSON{place}") from None
        assert isinstance(value, dict)
        return value
    if text == "null" or (len(text) > 1 and text[0] == text[-1] == '"'):
        raise CommandError("the secret is JSON null or stands in quotes", "with jq, use 'jq -er'")
    if text in ("true", "false") or text.startswith("["):
        raise InvalidInput("input", "is JSON, but no object")
    if text.lower().startswith("bearer "):
        raise CommandError("the secret begins with the word Bearer", "give what stands behind it alone")
    if any(character.isspace() or ord(character) < 0x20 or character == "\x7f" for character in text):
        raise InvalidInput("input", "must be a JSON object, or one secret without white space or control characters")
    return text


def without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Names and values as a dict; ``InvalidInput`` for a name that stands twice: readers differ about which counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidInput("input", "has a name twice")
    return found


def confirm(output: Output, lines: Sequence[str], *, yes: bool) -> None:
    """Show what is about to be lost and ask; without ``--yes``, only a person at a terminal can agree."""
    if yes:
        return
    for line in lines:
        output.note(line)
    if output.json or not stdin_is_terminal():
        raise CommandError(
            "nothing was changed: this needs a confirmation, and there is no terminal to ask on",
            "add --yes to go ahead without a question",
        )
    sys.stderr.write("Go ahead? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        output.note("Nothing was changed.")
        raise typer.Exit(ExitCode.NO)


def refuse_stdout(path: Path) -> None:
    """``-``, which other programs take for stdout: what is written has to be a file, renamed when it is whole."""
    if str(path) == "-":
        raise CommandError("this can't be written to stdout", "name a new file")


def stdin_is_terminal() -> bool:
    """Whether a person can be asked; false also when stdin is closed."""
    return bool(sys.stdin and sys.stdin.isatty())


def _typed(identifier: str) -> str:
    return identifier.strip().rstrip("…")


def _refuse_secret(repository: TokenRepository, typed: str) -> None:
    """Where an API token itself was typed: that it was is the more urgent news."""
    from fusion_store.backend import hash_token

    hash = hash_token(typed)
    token = repository.get_api_token(hash) if hash else None
    if token is not None:
        raise CommandError(
            "that is an API token itself, not its ID: others may have seen it on the command line",
            f"its ID is {token.token_id}; 'fusion-store token rotate {token.token_id}' puts another in its place",
        )


def _candidate(hash: str, created_at: datetime, token: APITokenMetadata | None) -> dict[str, Any]:
    return {
        "hash": hash,
        "prefix": token.prefix if token else "",
        "created_at": iso(created_at),
        "description": token.description if token else "",
    }


def _tenant_candidates(repository: TokenRepository, hashes: Iterable[str]) -> Iterator[dict[str, Any]]:
    for hash in hashes:
        tenant = repository.get_tenant(hash)
        if tenant is None:
            yield {"hash": hash, "prefix": "", "created_at": "", "description": "deleted"}
        else:
            tokens = repository.list_api_tokens(tenant_hash=hash, limit=1)
            yield _candidate(hash, tenant.created_at, tokens[0] if tokens else None)


def _ambiguous(count: int, what: str, candidates: Iterator[dict[str, Any]]) -> NoReturn:
    shown = list(islice(candidates, _MAX_CANDIDATES))
    raise CommandError(
        f"the ID fits {count} {what}" + (f", of which these are {len(shown)}" if count > len(shown) else ""),
        "give more characters of the hash; nothing was changed",
        ExitCode.AMBIGUOUS,
        name="AmbiguousIdentifier",
        candidates=shown,
    )


def _typed_unseen(prompt: str) -> str:
    from getpass import getpass

    try:
        text = getpass(f"{prompt} (not shown): ")
    except EOFError:
        text = ""
    if len(text.encode(errors="surrogateescape")) >= _MAX_TERMINAL_LINE:
        raise CommandError(
            "a terminal hands over at most 4095 characters a line, so the end may be missing",
            "pipe the secret into stdin or use --from-file",
        )
    if not text.strip():
        raise CommandError("nothing was entered", "type or paste the secret, or pipe it into stdin")
    return text.strip()


def _read_bytes(from_file: str | None) -> bytes:
    if from_file in (None, "-"):
        return sys.stdin.buffer.read(_MAX_SECRET_BYTES + 1) if sys.stdin else b""
    try:
        with Path(from_file).open("rb") as file:
            return file.read(_MAX_SECRET_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput("--from-file", (reason or "can't be read").lower()) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
