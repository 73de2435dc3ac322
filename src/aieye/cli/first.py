"""The first start from the command line: what it makes, and what the terminal then says of it."""

from __future__ import annotations

import typer

from aieye import __version__
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.access.setup import FirstStart, first_start
from aieye.db.engine import Database
from aieye.settings import Settings

_BODY = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'


async def prepare(settings: Settings) -> tuple[FirstStart, bool]:
    """Make what a first start makes; the second value is whether there is no provider yet.

    Raises `SettingsError`, `SealError`, `DatabaseUnavailable`.
    """
    database = Database(settings.database)
    try:
        cipher = Cipher(settings.secret_keys())
        directory = Directory(database, cipher)
        await directory.start()
        first = await first_start(database, cipher, directory, settings)
        return first, not directory.current.providers
    finally:
        await database.close()


def announce(settings: Settings, first: FirstStart, *, is_demo: bool) -> None:
    """Say where the server answers and, once, what was made for the first call and sign-in."""
    typer.echo(f"AI-Eye {__version__} answers on {settings.base_url}")
    for notice in first.notices:
        typer.echo(notice)
    if is_demo:
        typer.echo(
            "SIMULATED: no provider is set up, so made-up texts answer and cost nothing. "
            "Set OPENAI_API_KEY for real ones."
        )
    if first.setup_url is not None:
        typer.echo("\nMake the first administrator (works once, for 24 hours):")
        typer.echo(f"  {first.setup_url}")
    if first.token_secret is not None:
        typer.echo("\nA first public token, shown only now:")
        typer.echo(f"  {first.token_secret}")
        typer.echo("\nTry it:")
        typer.echo(f"  {curl(settings.base_url, first.token_secret)}\n")


def curl(base_url: str, token: str) -> str:
    """A first call that works as it stands."""
    return (
        f'curl {base_url}/v1/chat/completions -H "Authorization: Bearer {token}" '
        f"-H \"Content-Type: application/json\" -d '{_BODY}'"
    )
