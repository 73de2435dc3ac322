"""The command line: `aieye`, also `python -m aieye`.

A module a group of commands. Each command imports what it needs when it runs, so that `--help` and
the short commands answer at once. A failure that can be expected is one line on stderr.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, NoReturn

import typer

from aieye import __version__
from aieye.cli import functions, people, pipelines, providers, saving, serving, storage, tokens
from aieye.cli.terminal import complain
from aieye.errors import AieyeError

USAGE_ERROR = 2
INFRASTRUCTURE = 3
INTERRUPTED = 130
# Prompts, answers and secrets are in what is written: it is its owner's alone.
OWNER_ONLY = 0o077

app = typer.Typer(
    name="aieye",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serving.serve)
app.command()(serving.demo_upstream)
app.command()(storage.migrate)
app.command()(storage.backup)
app.command()(storage.restore)
app.command()(pipelines.check)
app.command()(pipelines.fmt)
app.command()(pipelines.explain)
app.command()(pipelines.run)
app.command()(saving.save)
app.add_typer(people.admin, name="admin")
app.add_typer(people.user, name="user")
app.add_typer(providers.provider, name="provider")
app.add_typer(providers.key, name="key")
app.add_typer(tokens.token, name="token")
app.add_typer(functions.funcs, name="funcs")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"aieye {__version__}")


def _version_option(is_asked: bool) -> None:
    if is_asked:
        version()
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version_option, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """A watchful eye on the use of the OpenAI API."""


def main() -> NoReturn:
    """Run the command of `sys.argv` and exit with its code."""
    os.umask(OWNER_ONLY)
    try:
        app(prog_name="aieye")
    except AieyeError as error:
        complain(error.message)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        # A full disk, a directory that may not be written: the operator's, not ours.
        complain(f"{error.filename or 'The system'}: {error.strerror or error}")
        sys.exit(INFRASTRUCTURE)
    except Exception:  # noqa: BLE001 - the last resort: 1 would say that a quality gate failed
        traceback.print_exc()
        sys.exit(INFRASTRUCTURE)
    sys.exit(0)


def exit_code(error: AieyeError) -> int:
    """2 for what the caller can put right in the command or the settings, 3 for all else."""
    is_usage = error.status < 500 or error.code == "configuration_error"
    return USAGE_ERROR if is_usage else INFRASTRUCTURE
