"""`aieye save`: a file with the text of a pipeline becomes a saved one, or its next version."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aieye.cli.pipeline_texts import diagnostics_of, name_of, read_text, render_findings
from aieye.cli.remote import Refused, Remote, find_remote
from aieye.cli.terminal import tell
from aieye.errors import AieyeError, InvalidRequest

if TYPE_CHECKING:
    from aieye.cli.context import Context

WRONG = 2
PIPELINES = "/api/v1/pipelines"


def save(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The text of a pipeline.")],
    name: Annotated[str, typer.Option(help="Its name; the file's, without its ending.")] = "",
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="Replaces the tags; may be repeated.")
    ] = None,
    shared: Annotated[
        bool | None, typer.Option("--shared/--private", help="Whether everybody may use it.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although pipelines that call it fail then.")
    ] = False,
) -> None:
    """Save a pipeline, or another version of it, at the server of AIEYE_URL, else on this machine.

    What is not said stays as it is. A text with an error is refused with all that is wrong.
    """
    text = read_text(file)
    called = name or name_of(file)
    if called is None:
        raise InvalidRequest(f"{file}: this is no name of a pipeline. Say --name NAME.")
    changes: dict[str, Any] = {"source": text}
    changes |= {} if tags is None else {"tags": tags}
    changes |= {} if shared is None else {"shared": shared}
    remote = find_remote()
    try:
        if remote is not None:
            saved = _save_there(remote, called, changes, force=force)
        else:
            saved = _save_here(called, changes, force=force)
    except AieyeError as error:
        found = diagnostics_of(error)
        if not found:
            raise
        render_findings(found, text, str(file))
        raise typer.Exit(WRONG) from error
    tell(f"Saved {called}, version {saved['version']}; version {saved['served']} runs.")


def _save_there(
    remote: Remote, name: str, changes: Mapping[str, Any], *, force: bool
) -> Mapping[str, int]:
    try:
        query = "?force=true" if force else ""
        saved = remote.send("PATCH", f"{PIPELINES}/{name}{query}", changes)
    except Refused as refused:
        if refused.status != 404:
            raise
        saved = remote.post(PIPELINES, {**changes, "name": name})
    return {"version": saved["version"], "served": saved["served_version"]}


def _save_here(name: str, changes: Mapping[str, Any], *, force: bool) -> Mapping[str, int]:
    from aieye.cli.context import run

    async def work(context: Context) -> Mapping[str, int]:
        from aieye.access.audit import COMMAND_LINE
        from aieye.errors import NotFound
        from aieye.functions.registry import registered_definitions
        from aieye.pipeline import service

        async with context.database.write() as session:
            functions = await registered_definitions(session)
            try:
                row = await service.get_named(session, name, actor=COMMAND_LINE)
            except NotFound:
                saved = await service.create_pipeline(
                    session, functions, name=name, actor=COMMAND_LINE, **changes
                )
            else:
                saved = await service.update_pipeline(
                    session, functions, row.id,
                    service.PipelineChanges(**changes),  # type: ignore[typeddict-item] # the same fields
                    actor=COMMAND_LINE, force=force,
                )  # fmt: skip
        return {"version": saved.version, "served": saved.served_version}

    return run(work)
