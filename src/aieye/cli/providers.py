"""`aieye provider add` and `aieye key add`, `rotate`, `encrypt`."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aieye.cli.terminal import progress, read_secret, tell

if TYPE_CHECKING:
    from aieye.cli.context import Context

provider = typer.Typer(no_args_is_help=True, help="Providers.", rich_markup_mode=None)
key = typer.Typer(no_args_is_help=True, help="Providers' keys.", rich_markup_mode=None)

# What the key of the GPT3 Proxy's configuration file is sealed for.
CONFIG_KEY_PLACE = "config|gpt3.key"


@provider.callback()
def _group() -> None:
    """Without it a group of one command would be that command."""


@provider.command("add")
def add_provider(
    name: Annotated[str, typer.Argument(help="Small letters, digits, _ and -.")],
    base_url: Annotated[str, typer.Option(help="Such as https://api.openai.com/v1.")],
) -> None:
    """Add a provider that speaks OpenAI's API."""
    from aieye.cli.context import run

    stored = run(lambda context: _store_provider(context, name, base_url))
    tell(f"Added the provider {name} at {stored}. Give it a key: aieye key add {name}")


@key.command("add")
def add_key(
    provider_name: Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider's name.")],
    name: Annotated[str, typer.Option(help="What to call the key.")] = "default",
) -> None:
    """Store a provider's key, sealed. It is read from stdin, never from the command line."""
    from aieye.cli.context import run

    secret = read_secret(f"Key of {provider_name}")
    run(lambda context: _store_key(context, provider_name, name, secret))
    tell(f"Stored the key {name} of {provider_name}.")


@key.command("rotate")
def rotate() -> None:
    """Seal everything anew under the newest secret key; keys and tokens keep working."""
    from aieye.access.providers import rotate_secrets
    from aieye.cli.context import run

    with progress("Sealing anew") as show:
        done = run(lambda context: rotate_secrets(context.database, context.cipher, show))
    tell(f"Sealed {done} secrets anew. A server that runs must know the newest key too.")


@key.command("encrypt")
def encrypt() -> None:
    """Turn a plain key (from stdin) into the `encrypted:` form for a configuration file."""
    from aieye.access.cipher import Cipher
    from aieye.access.texts import check_provider_secret
    from aieye.settings import load_settings

    cipher = Cipher(load_settings().secret_keys())
    secret = check_provider_secret(read_secret("Key"))
    typer.echo(f"encrypted:{cipher.seal(secret, place=CONFIG_KEY_PLACE)}")


async def _store_provider(context: Context, name: str, base_url: str) -> str:
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.providers import create_provider

    async with context.database.write() as session:
        made = await create_provider(session, name=name, base_url=base_url, actor=COMMAND_LINE)
        return made.base_url


async def _store_key(context: Context, provider_name: str, name: str, secret: str) -> None:
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.providers import add_key as store
    from aieye.access.providers import find_provider
    from aieye.errors import NotFound

    async with context.database.write() as session:
        found = await find_provider(session, provider_name)
        if found is None:
            raise NotFound(
                f"There is no provider {provider_name}. Add it first: "
                f"aieye provider add {provider_name} --base-url URL"
            )
        await store(
            session,
            context.cipher,
            provider_id=found.id,
            name=name,
            secret=secret,
            actor=COMMAND_LINE,
        )
