"""`aieye provider` and `aieye key`: add, list, remove, and what else there is to do with either."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aieye.cli.terminal import AsJson, confirm, progress, read_secret, show, tell
from aieye.program import program

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from aieye.cli.context import Context
    from aieye.db.tables import Provider

NOTHING_RAN = 3

provider = typer.Typer(no_args_is_help=True, help="Providers.", rich_markup_mode=None)
key = typer.Typer(no_args_is_help=True, help="Providers' keys.", rich_markup_mode=None)

ProviderName = Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider's name.")]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@provider.command("add")
def add_provider(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, _ and -.")],
    base_url: Annotated[str, typer.Option(help="Such as https://api.openai.com/v1.")],
) -> None:
    """Add a provider that speaks OpenAI's API."""
    from aieye.cli.context import run

    stored, told = run(lambda context: _store_provider(context, name, base_url), makes=True)
    tell(f"Added the provider {name} at {stored}. Give it a key: {program()} key add {name}")
    tell(told)


@provider.command("list")
def list_providers(as_json: AsJson = False) -> None:
    """The providers, and which one serves models that name none."""
    from aieye.cli.context import run

    columns = ("id", "name", "base_url", "keys", "default")
    show(run(_find_providers), columns, as_json=as_json)


@provider.command("default")
def mark_default(name: ProviderName) -> None:
    """Let a provider serve models that name none."""
    from aieye.cli.context import run

    tell(run(lambda context: _mark(context, name)))


@provider.command("remove")
def remove_provider(name: ProviderName, yes: Yes = False) -> None:
    """Remove a provider and wipe its keys. Routes that send to it have to go first."""
    from aieye.cli.context import run

    if not yes:
        run(lambda context: _require_provider(context, name))
        _ask(f"Remove the provider {name} and its keys?")
    for line in run(lambda context: _remove(context, name)):
        tell(line)


@key.command("add")
def add_key(
    provider_name: ProviderName,
    name: Annotated[str, typer.Option(help="What to call the key.")] = "default",
) -> None:
    """Store a provider's key, sealed. It is read from stdin, never from the command line.

    It comes after the keys that the provider has: each is tried when the ones before it fail.
    """
    from aieye.cli.context import run

    secret = read_secret(f"Key of {provider_name}")
    for line in run(lambda context: _store_key(context, provider_name, name, secret), makes=True):
        tell(line)


@key.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """The keys of all providers, in the order in which they are tried; never their secrets."""
    from aieye.cli.context import run

    columns = ("id", "provider", "name", "ends_in", "active")
    show(run(_find_keys), columns, as_json=as_json)


@key.command("remove")
def remove_key(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="As `key list` shows it.")],
    yes: Yes = False,
) -> None:
    """Remove a provider's key and wipe its secret. Tokens that are tied to it reach nothing then."""
    from aieye.cli.context import run

    if not yes:
        _ask(f"Remove the key {run(lambda context: _name_of_key(context, key_id))}?")
    for line in run(lambda context: _remove_key(context, key_id)):
        tell(line)


@key.command("rotate")
def rotate() -> None:
    """Seal everything anew under the newest secret key; keys and tokens keep working."""
    from aieye.access.cipher import Cipher
    from aieye.access.config_file import advice_after_rotation
    from aieye.access.providers import rotate_secrets
    from aieye.cli.context import run
    from aieye.settings import load_settings

    with progress("Sealing anew") as shown:
        done = run(lambda context: rotate_secrets(context.database, context.cipher, shown))
    tell(f"Sealed {done} secrets anew. A server that runs must know the newest key too.")
    settings = load_settings()
    if (advice := advice_after_rotation(settings, Cipher(settings.secret_keys()))) is not None:
        tell(advice)


@key.command("encrypt")
def encrypt() -> None:
    """Turn a plain key (from stdin) into the `encrypted:` form for a configuration file."""
    from aieye.access.cipher import Cipher
    from aieye.access.config_file import ENCRYPTED, KEY_PLACE
    from aieye.access.texts import check_provider_secret
    from aieye.settings import load_settings

    cipher = Cipher(load_settings().secret_keys())
    secret = check_provider_secret(read_secret("Key"))
    typer.echo(f"{ENCRYPTED}{cipher.seal(secret, place=KEY_PLACE)}")


async def _store_provider(context: Context, name: str, base_url: str) -> tuple[str, str]:
    """Its address, and who serves models that name no provider."""
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.defaults import find_serving
    from aieye.access.providers import create_provider

    async with context.database.write() as session:
        made = await create_provider(session, name=name, base_url=base_url, actor=COMMAND_LINE)
        serving = await find_serving(session) or "the simulated provider"
        return made.base_url, f"Models that name no provider go to {serving}, as before."


async def _find_providers(context: Context) -> list[dict[str, Any]]:
    from aieye.access import providers
    from aieye.access.defaults import find_serving

    async with context.database.read() as session:
        keys = [one.provider_id for one in await providers.list_keys(session)]
        serving = await find_serving(session)
        return [
            {
                "id": one.id,
                "name": one.name,
                "base_url": one.base_url,
                "keys": keys.count(one.id),
                "default": one.name == serving,
            }
            for one in await providers.list_providers(session)
        ]


async def _mark(context: Context, name: str) -> str:
    """What to say of it."""
    from aieye.access import providers
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.defaults import find_serving

    async with context.database.write() as session:
        found = await _get_provider(session, name)
        await providers.mark_default(session, provider_id=found.id, actor=COMMAND_LINE)
        serving = await find_serving(session)
    if serving == name:
        return f"Models that name no provider now go to {name}."
    present = serving or "the simulated provider"
    return (
        f"{name} is the default as soon as it has a key ({program()} key add {name}); "
        f"until then models that name no provider go to {present}."
    )


async def _store_key(context: Context, provider_name: str, name: str, secret: str) -> list[str]:
    """What to say of it: what else the provider holds, and who serves by default from now on."""
    from aieye.access import providers
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.defaults import change_of_default, find_serving

    async with context.database.write() as session:
        found = await _get_provider(session, provider_name)
        others = [one.name for one in await providers.list_keys(session, provider_id=found.id)]
        before = await find_serving(session)
        await providers.add_key(
            session,
            context.cipher,
            provider_id=found.id,
            name=name,
            secret=secret,
            actor=COMMAND_LINE,
        )
        serving = await find_serving(session)
    told = [f"Stored the key {name} of {provider_name}."]
    if others:
        told.append(f"It is tried after the provider's other keys: {', '.join(others)}.")
    if (change := change_of_default(before, serving)) is not None:
        told.append(change)
    elif serving != provider_name:
        told.append(
            f"Models that name no provider go to {serving}, as before; "
            f"{program()} provider default {provider_name} changes that."
        )
    return told


def _ask(question: str) -> None:
    """Ends the command where the answer is no."""
    if not confirm(question):
        tell("Nothing was changed.")
        raise typer.Exit(NOTHING_RAN)


async def _require_provider(context: Context, name: str) -> None:
    """Raises `NotFound`: nobody is asked about what is not there."""
    async with context.database.read() as session:
        await _get_provider(session, name)


async def _name_of_key(context: Context, key_id: int) -> str:
    """The key in words. Raises `NotFound`."""
    from aieye.access import providers

    async with context.database.read() as session:
        found = await providers.get_key(session, key_id)
        owner = await providers.get_provider(session, found.provider_id)
        return f"{found.name} of {owner.name} (id {key_id})"


async def _remove(context: Context, name: str) -> list[str]:
    """What to say of it: that it is gone, and who serves by default from now on."""
    from aieye.access import providers
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.defaults import change_of_default, find_serving

    async with context.database.write() as session:
        found = await _get_provider(session, name)
        before = await find_serving(session)
        await providers.delete_provider(session, provider_id=found.id, actor=COMMAND_LINE)
        change = change_of_default(before, await find_serving(session))
    return [f"Removed the provider {name} and its keys.", *([] if change is None else [change])]


async def _remove_key(context: Context, key_id: int) -> list[str]:
    """What to say of it: whose it was, and who serves by default from now on."""
    from aieye.access import providers
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.defaults import change_of_default, find_serving

    async with context.database.write() as session:
        found = await providers.get_key(session, key_id)
        owner = await providers.get_provider(session, found.provider_id)
        before = await find_serving(session)
        told = f"Removed the key {found.name} of {owner.name}."
        await providers.delete_key(session, key_id=key_id, actor=COMMAND_LINE)
        change = change_of_default(before, await find_serving(session))
    return [told, *([] if change is None else [change])]


async def _find_keys(context: Context) -> list[dict[str, Any]]:
    from aieye.access import providers

    async with context.database.read() as session:
        names = {one.id: one.name for one in await providers.list_providers(session)}
        return [
            {
                "id": one.id,
                "provider": names[one.provider_id],
                "name": one.name,
                "ends_in": one.last4 or None,
                "active": one.is_active,
            }
            for one in await providers.list_keys(session)
        ]


async def _get_provider(session: AsyncSession, name: str) -> Provider:
    from aieye.access.providers import find_provider
    from aieye.errors import NotFound

    found = await find_provider(session, name)
    if found is None:
        raise NotFound(
            f"There is no provider {name}: `{program()} provider list` shows those there are, "
            f"`{program()} provider add {name} --base-url URL` adds it."
        )
    return found
