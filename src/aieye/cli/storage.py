"""`aieye migrate`, `backup` and `restore`."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aieye.cli.terminal import confirm, progress, tell, warn

if TYPE_CHECKING:
    from aieye.db.archive import Manifest
    from aieye.settings import Settings

NOTHING_RAN = 3


def migrate() -> None:
    """Bring the database to this version's schema."""
    from aieye.db.migrate import head_revision, place_of
    from aieye.db.migrate import migrate as bring_up_to_date
    from aieye.settings import load_settings

    url = load_settings().database
    was = "was brought to" if bring_up_to_date(url) else "is at"
    tell(f"The database {was} revision {head_revision()}: {place_of(url)}")


def backup(
    directory: Annotated[Path, typer.Option(help="Where to put the file.")] = Path("backups"),
) -> None:
    """Write everything in the database to one file; a server may go on running.

    The secret key is not part of it. Prints the file's path.
    """
    from aieye.db.backup import backup as write_backup
    from aieye.settings import load_settings

    settings = load_settings()
    with progress("Backing up") as show:
        file = write_backup(settings.database, directory, show)
    typer.echo(file)
    warn(
        f"The secret key is NOT in the backup. Keep a copy of {_secret_place(settings)} elsewhere: "
        "without it the provider keys and tokens in the backup are lost."
    )


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `aieye backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace everything in the database by a backup, after checking it and asking."""
    from aieye.db.backup import check, require_no_server
    from aieye.db.backup import restore as bring_back
    from aieye.settings import load_settings

    settings = load_settings()
    with progress("Checking") as show:
        manifest = check(file, show)
    require_no_server(settings.database)
    tell(_described(file, manifest))
    if not yes and not confirm("Replace EVERYTHING in the present database by it?"):
        tell("Nothing was changed.")
        raise typer.Exit(NOTHING_RAN)
    with progress("Restoring") as show:
        kept = bring_back(settings.database, file, show)
    tell("Restored. What was revoked since the backup works again: revoke it anew.")
    if kept is not None:
        tell(f"The former database is kept as {kept}; remove it when all is well.")
    _check_secret_key(settings)


def _described(file: Path, manifest: Manifest) -> str:
    return (
        f"{file}: {manifest.rows} rows in {len(manifest.tables)} tables, made "
        f"{manifest.created_at:%Y-%m-%d %H:%M} UTC by AI-Eye {manifest.version} "
        f"on {manifest.database}."
    )


def _secret_place(settings: Settings) -> str:
    if settings.secret_key is not None:
        return "AIEYE_SECRET_KEY"
    return str(settings.secret_key_file or settings.data_dir / "secret.key")


def _check_secret_key(settings: Settings) -> None:
    """Warn when what was restored is sealed under a secret key that is not here."""
    import asyncio

    from aieye.access.cipher import SealError

    place = _secret_place(settings)
    if settings.secret_key is None and not Path(place).exists():
        warn(f"There is no secret key: put the one of the backup's time into {place}.")
        return
    try:
        asyncio.run(_open_pepper(settings))
    except SealError:
        warn(
            f"What was restored was sealed under another secret key than {place}: put the former "
            "key there before you start the server, else it refuses."
        )


async def _open_pepper(settings: Settings) -> None:
    from aieye.access.cipher import Cipher
    from aieye.access.directory import load_pepper
    from aieye.db.engine import Database

    database = Database(settings.database)
    try:
        await load_pepper(database, Cipher(settings.secret_keys()))
    finally:
        await database.close()
