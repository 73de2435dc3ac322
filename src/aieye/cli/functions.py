"""`aieye funcs sync`."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from aieye.cli.terminal import tell, warn

if TYPE_CHECKING:
    from aieye.cli.context import Context
    from aieye.functions.registry import SyncResult

funcs = typer.Typer(no_args_is_help=True, help="Functions for pipelines.", rich_markup_mode=None)

SOME_FAILED = 2


@funcs.callback()
def _group() -> None:
    """Keeps `sync` a command of its own while it is the only one."""


@funcs.command("sync")
def sync() -> None:
    """Register the functions in AIEYE_FUNCS_DIR, and forget those that are gone.

    A file that cannot be used is named with line and reason, fails alone, and makes the exit code 2.
    """
    from aieye.cli.context import run

    result = run(_sync)
    for what, names in (
        ("added", result.added),
        ("changed", result.changed),
        ("removed", result.removed),
    ):
        if names:
            typer.echo(f"{what}: {', '.join(names)}")
    for failure in result.failed:
        warn(str(failure))
    if not (result.added or result.changed or result.removed):
        rest = "All else" if result.failed else "Everything"
        tell(f"{rest} is registered as it is.")
    if result.failed:
        raise typer.Exit(SOME_FAILED)


async def _sync(context: Context) -> SyncResult:
    from aieye.access.audit import COMMAND_LINE
    from aieye.functions.service import Functions

    functions = Functions(context.database, context.settings)
    try:
        return await functions.sync(COMMAND_LINE)
    finally:
        await functions.close()
