"""The command line ``fusion-store``, on top of the library."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, cast

import typer

from fusion_store import acting_as
from fusion_store._config import sqlite_url
from fusion_store._version import __version__
from fusion_store.cli import (
    _audit,
    _credentials,
    _doctor,
    _import,
    _key,
    _oauth,
    _schema,
    _services,
    _store,
    _tenant,
    _token,
    _transfer,
)
from fusion_store.cli._errors import MEANINGS, CommandError, ExitCode, report
from fusion_store.cli._output import OutputLost
from fusion_store.cli._session import Session, actor

__all__ = ["ExitCode", "run"]

# ClickException: which module holds it depends on Typer's version.
_UsageProblem: Final = cast("type[Exception]", typer.BadParameter.__mro__[2])
_GLOBAL_OPTIONS: Final = ("--url", "--data-dir", "--debug", "--json", "--no-keys", "--version")
_LONGEST_ECHO: Final = 20


def run(arguments: Sequence[str]) -> int:
    """Run one command and answer its exit code; ``SystemExit`` and ``KeyboardInterrupt`` may pass."""
    session = Session()
    session.output.json = "--json" in arguments
    session.debug = "--debug" in arguments
    streams = sys.stdout, sys.stderr
    try:
        _prepare_streams()
        with acting_as(actor()):
            outcome = typer.main.get_command(_build()).main(
                list(arguments) or ["--help"], "fusion-store", standalone_mode=False, obj=session
            )
        session.output.flush()
        if outcome == ExitCode.INTERRUPTED and sys.stderr.isatty():
            sys.stderr.write("\n")
        return int(outcome or ExitCode.OK)
    except _UsageProblem as problem:
        if type(problem).__name__ == "NoArgsIsHelpError" and not session.output.json:
            sys.stdout.write(f"{problem}\n")
            return ExitCode.USAGE
        return report(_explain(problem, arguments), as_json=session.output.json, debug=session.debug)
    except Exception as error:
        if isinstance(error, BrokenPipeError) or (isinstance(error, OutputLost) and error.closed_pipe):
            return ExitCode.CLOSED_PIPE
        return report(error, as_json=session.output.json, debug=session.debug)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        # What Typer makes of it, with streams of its own.
        sys.stdout, sys.stderr = streams
        return ExitCode.CLOSED_PIPE
    finally:
        _settle_stdout()


def _build() -> typer.Typer:
    app = typer.Typer(
        help="Keep API tokens, and the OAuth tokens and credentials of the tenants behind them.",
        epilog=_exit_codes(),
        context_settings={"help_option_names": ["-h", "--help"]},
        # Plain help reflows and can be searched; Rich's keeps our line breaks and adds its own.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
    )
    app.callback()(_global_options)
    app.add_typer(_token.app, name="token")
    app.add_typer(_tenant.app, name="tenant")
    app.add_typer(_oauth.app, name="oauth")
    app.add_typer(_credentials.app, name="credentials")
    app.add_typer(_key.app, name="key")
    app.add_typer(_schema.app, name="schema")
    app.add_typer(_audit.app, name="audit")
    app.add_typer(_import.app)
    app.add_typer(_services.codes, name="auth-code")
    app.add_typer(_services.app)
    app.add_typer(_store.app)
    app.add_typer(_doctor.app)
    app.add_typer(_transfer.app)
    return app


def _show_version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        session: Session = ctx.obj
        session.output.result({"version": __version__}, f"fusion-store {__version__}")
        raise typer.Exit


def _global_options(
    ctx: typer.Context,
    *,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the store is, such as sqlite:///vault.db; else FUSION_STORE_URL."),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Use the SQLite store in this directory; else FUSION_STORE_DATA_DIR."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document; errors as JSON on stderr.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Open without encryption keys: listing and revoking need none.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    session: Session = ctx.obj
    session.output.json = json
    session.debug = debug
    session.without_keys = no_keys
    if url is not None and data_dir is not None:
        raise CommandError("--url and --data-dir exclude each other", "give one of them")
    session.url = url
    if data_dir is not None:
        session.url = _directory_url(data_dir)


def _directory_url(data_dir: str) -> str:
    if not data_dir:
        raise CommandError("--data-dir is empty", "give the directory that holds the store, or leave the option out")
    try:
        return sqlite_url(Path(data_dir).expanduser())
    except (UnicodeEncodeError, RuntimeError):
        raise CommandError("--data-dir can't be used as a directory's name") from None


def _exit_codes() -> str:
    lines = (f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
    return "\n".join(("\b", "Exit codes:", *lines))


def _explain(problem: Exception, arguments: Sequence[str]) -> CommandError:
    """A usage error in our form: what was typed may be a secret, so only short words and paths of it are shown."""
    if type(problem).__name__ == "NoArgsIsHelpError":
        context = problem.ctx  # type: ignore[attr-defined]
        return CommandError("the command is missing", f"'{context.command_path} --help' lists the commands")
    message: str = problem.format_message() if hasattr(problem, "format_message") else str(problem)
    message = re.sub(r"^(Got unexpected extra argument).*", r"\1; secrets go into stdin", message, flags=re.DOTALL)
    message = message.replace("Value error, ", "")
    for word in sorted(arguments, key=len, reverse=True):
        if len(word) > _LONGEST_ECHO and not os.path.lexists(word):
            message = message.replace(word, "…")
    context = getattr(problem, "ctx", None)
    option = getattr(problem, "option_name", "")
    path = context.command_path if context else "fusion-store"
    if option in _GLOBAL_OPTIONS and context and context.parent:
        return CommandError(message, f"{option} goes before the command: fusion-store {option} …")
    return CommandError(message, f"'{path} --help' says how to use it")


def _prepare_streams() -> None:
    if sys.stdout is None:
        raise CommandError("stdout is closed", "", ExitCode.INPUT_OUTPUT, name="OutputError")
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _settle_stdout() -> None:
    """Keep the interpreter from complaining at its end about output that nobody takes."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
