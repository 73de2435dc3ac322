"""Texts of pipelines as files: read, named, and shown with what is wrong with them."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aieye.cli.remote import Refused
from aieye.errors import AieyeError, InvalidRequest

if TYPE_CHECKING:
    from aieye.pipeline.language.errors import Diagnostic


def read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InvalidRequest(f"{file}: {error.strerror}.") from error


def name_of(file: Path) -> str | None:
    """What the text is or will be saved under: its file's name, where that could be one."""
    return file.stem if file.stem.isidentifier() and file.stem.isascii() else None


def render_findings(found: Sequence[Diagnostic], text: str, name: str) -> None:
    """Findings with the line and a caret, in colour on a terminal."""
    from aieye.pipeline.language.errors import render
    from aieye.pipeline.language.source import Source

    source = Source(text)
    for one in found:
        colour = typer.colors.RED if one.is_error else typer.colors.YELLOW
        typer.secho(render(one, source, name), err=True, fg=colour)


def diagnostics_of(error: AieyeError) -> Sequence[Diagnostic]:
    from aieye.pipeline.failures import RunFailed
    from aieye.pipeline.language.errors import Diagnostic, InvalidPipeline

    match error:
        case Refused():
            return [Diagnostic(**one) for one in error.diagnostics]
        case InvalidPipeline():
            return error.diagnostics
        case RunFailed():
            return [error.diagnostic]
    return ()
