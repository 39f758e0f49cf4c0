"""``fusion-store schema``: the version of the store's layout."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from fusion_store.cli._input import Yes, confirm
from fusion_store.cli._session import Session

app: Final = typer.Typer(help="Show and change the version of the store's schema.", no_args_is_help=True)


@app.command()
def current(ctx: typer.Context) -> None:
    """Show the store's schema version.

    Also the one that this release opens. Exit 0, also when they differ; 3 when there is no store.
    """
    session: Session = ctx.obj
    backend, url = session.backend()
    version = backend.current_schema(url)
    newest = backend.newest_schema
    session.output.fields(
        {"current": version, "newest": newest, "up_to_date": version == newest},
        [("Current", version), ("Newest", newest), ("Up to date", "yes" if version == newest else "no")],
    )


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Bring the store to the newest schema.

    A store that has it isn't touched. Make a backup first and stop the hosts that use the store. Exit 0,
    3 when there is no store, 6 when its schema is newer than this release.
    """
    session: Session = ctx.obj
    backend, url = session.backend()
    before = backend.current_schema(url)
    with session.output.working("Upgrading"):
        backend.upgrade_schema(url)
    after = backend.current_schema(url)
    text = f"The schema is {after} already." if before == after else f"Upgraded the schema from {before} to {after}."
    session.output.result({"before": before, "current": after}, text)


@app.command()
def downgrade(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The schema version to go back to.")],
    yes: Yes = False,
) -> None:
    """Bring the store back to an older schema.

    What that one can't hold is lost. Make a backup first. Asks. Exit 0, 1 when you decline, 2 without a
    terminal and --yes or for a VERSION that there isn't, 3 when there is no store.
    """
    session: Session = ctx.obj
    backend, url = session.backend()
    before = backend.current_schema(url)
    lines = [f"The schema goes from {before} back to {version}: what that one can't hold is lost."]
    confirm(session.output, lines, yes=yes)
    with session.output.working("Downgrading"):
        backend.downgrade_schema(url, version)
    after = backend.current_schema(url)
    session.output.result({"before": before, "current": after}, f"Brought the schema from {before} to {after}.")
