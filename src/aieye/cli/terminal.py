"""What a command says and asks: on stderr, so that stdout holds the result and nothing else."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from aieye.errors import InvalidRequest

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# Told how much is done, and of how much.
Progress: TypeAlias = Callable[[int, int], None]
# Where there is no terminal, each line says this much more.
_STEP_PERCENT = 10


def complain(message: str) -> None:
    """An error, on stderr."""
    typer.secho(f"Error: {message}", err=True, fg=typer.colors.RED)


def warn(message: str) -> None:
    """Something to know that stops nothing, on stderr."""
    typer.secho(f"Warning: {message}", err=True, fg=typer.colors.YELLOW)


def tell(message: str) -> None:
    """What happens, on stderr."""
    typer.echo(message, err=True)


def show(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, as_json: bool) -> None:
    """A list on stdout: a small table, or a JSON array for scripts."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    lines = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(cell) for cell in cells) for cells in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def read_secret(label: str) -> str:
    """A secret from stdin, without showing it on a terminal. Raises `InvalidRequest` for none."""
    on_terminal = sys.stdin.isatty()
    secret = (getpass.getpass(f"{label}: ") if on_terminal else sys.stdin.read()).strip()
    if not secret:
        raise InvalidRequest(f"{label}: nothing was given on stdin.")
    return secret


def read_new_password() -> str:
    """A password: on a terminal typed twice, else the first line of stdin."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise InvalidRequest("No password was given: type it at a terminal, or pipe it in.")
        return password
    password = getpass.getpass("Password (at least 10 characters): ")
    if getpass.getpass("The same again: ") != password:
        raise InvalidRequest("The two passwords differ.")
    return password


def confirm(question: str) -> bool:
    """Ask for a yes. Raises `InvalidRequest` when nobody can answer."""
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer:
        raise InvalidRequest("There is nobody to ask: say --yes (with make: args=--yes).")
    return answer.strip().lower() in {"y", "yes"}


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Show on stderr how far something is: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    from rich.console import Console  # noqa: PLC0415 - takes longer than most commands
    from rich.progress import Progress as Bar  # noqa: PLC0415

    with Bar(console=Console(stderr=True)) as bar:
        yield _bar(bar, label)


def _bar(bar: Bar, label: str) -> Progress:
    task = bar.add_task(label, total=None)

    def show(done: int, total: int) -> None:
        # Nothing to do is done: a bar without a total would run to and fro for ever.
        bar.update(task, completed=done if total else 1, total=total or 1)

    return show


def _lines(label: str) -> Progress:
    told = -_STEP_PERCENT

    def show(done: int, total: int) -> None:
        nonlocal told
        percent = 100 * done // total if total else 100
        if percent >= told + _STEP_PERCENT or (percent == 100 and told < 100):
            told = percent
            tell(f"{label}: {done} of {total} ({percent} %)")

    return show
