"""The first start from the command line: what it makes, and what the terminal then says of it."""

from __future__ import annotations

import typer

from aieye import __version__
from aieye.access.cipher import Cipher
from aieye.access.config_file import read_config
from aieye.access.directory import Directory
from aieye.access.setup import FirstStart, first_start
from aieye.access.snapshot import ProviderInfo
from aieye.db.engine import Database
from aieye.db.migrate import place_of
from aieye.program import program
from aieye.settings import Settings

_BODY = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'


async def prepare(settings: Settings) -> tuple[FirstStart, ProviderInfo | None]:
    """Make what a first start makes; the second value serves models that name no provider, None
    where only the simulated one can.

    Raises `SettingsError`, `SealError`, `DatabaseUnavailable`.
    """
    database = Database(settings.database)
    try:
        cipher = Cipher(settings.secret_keys())
        # First of all: a wrong secret key is told by the field that does not open.
        read_config(settings, cipher)
        directory = Directory(database, cipher)
        await directory.start()
        first = await first_start(database, cipher, directory, settings)
        return first, None if directory.is_keyless else directory.current.default
    finally:
        await database.close()


def announce(
    settings: Settings,
    first: FirstStart,
    default: ProviderInfo | None,
    *,
    is_demo_forced: bool = False,
) -> None:
    """Say where and who answers and, once, what was made for the first call and sign-in."""
    typer.echo(f"AI-Eye {__version__} answers on {settings.base_url}")
    typer.echo(f"It keeps everything in {place_of(settings.database)}")
    for notice in first.notices:
        typer.echo(notice)
    typer.echo(_who_answers(default, is_demo_forced=is_demo_forced))
    if first.link_until is not None:
        typer.echo(
            "Nobody administers this yet. The set-up link that was printed before works until "
            f"{first.link_until:%Y-%m-%d %H:%M} UTC; instead of it: {program()} admin create --email …"
        )
    if first.setup_url is not None:
        typer.echo("\nMake the first administrator (works once, for 24 hours):")
        typer.echo(f"  {first.setup_url}")
    if first.token_secret is not None:
        typer.echo("\nA first public token, shown only now:")
        typer.echo(f"  {first.token_secret}")
        typer.echo("\nTry it:")
        typer.echo(f"  {curl(settings.base_url, first.token_secret)}\n")


def _who_answers(default: ProviderInfo | None, *, is_demo_forced: bool) -> str:
    if is_demo_forced:
        return (
            "SIMULATED, because of --demo: made-up texts answer models that name no provider, and "
            "cost nothing."
        )
    if default is None or default.is_simulated:
        return (
            "SIMULATED: no provider holds a key, so made-up texts answer and cost nothing. "
            f"Set OPENAI_API_KEY for real ones, or use {program()} provider add and key add."
        )
    if not default.keys:
        return f"Models that name no provider go to {default.name}, which has NO USABLE KEY."
    return f"Models that name no provider go to {default.name}, {default.base_url}"


def curl(base_url: str, token: str) -> str:
    """A first call that works as it stands."""
    return (
        f'curl {base_url}/v1/chat/completions -H "Authorization: Bearer {token}" '
        f"-H \"Content-Type: application/json\" -d '{_BODY}'"
    )
