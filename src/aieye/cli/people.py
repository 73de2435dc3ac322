"""`aieye admin create` and `aieye user create`."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aieye.cli.terminal import read_new_password, tell

if TYPE_CHECKING:
    from aieye.cli.context import Context
    from aieye.db.tables import User

admin = typer.Typer(no_args_is_help=True, help="Administrators.", rich_markup_mode=None)
user = typer.Typer(no_args_is_help=True, help="Users.", rich_markup_mode=None)

Email = Annotated[str, typer.Option(help="The address to sign in with.")]
Name = Annotated[str, typer.Option(help="What the person is called.")]
Role = Annotated[str, typer.Option(help="user or administrator.")]


@admin.callback()
@user.callback()
def _group() -> None:
    """Without it a group of one command would be that command."""


@admin.command("create")
def create_admin(email: Email, name: Name = "") -> None:
    """Make an administrator. The password is asked for, or read from stdin.

    The first one inherits what was made before there was any.
    """
    _create(email, name, "administrator")


@user.command("create")
def create_user(email: Email, name: Name = "", role: Role = "user") -> None:
    """Make a user. The password is asked for, or read from stdin."""
    _create(email, name, role)


def _create(email: str, name: str, role: str) -> None:
    from aieye.access.emails import check_email
    from aieye.access.passwords import check_password
    from aieye.cli.context import run

    address = check_email(email)
    password = check_password(read_new_password(), email=address)
    made = run(lambda context: _store(context, address, name, role, password), makes=True)
    tell(f"Made the {made.role} {made.email}.")


async def _store(context: Context, email: str, name: str, role: str, password: str) -> User:
    from aieye.access import users
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.directory import ADMINISTRATOR
    from aieye.access.passwords import hash_password

    password_hash = await hash_password(password)
    async with context.database.write() as session:
        if role == ADMINISTRATOR and not await users.has_administrator(session):
            return await users.create_first_administrator(
                session, email=email, name=name, password_hash=password_hash, actor=COMMAND_LINE
            )
        return await users.create_user(
            session,
            email=email,
            name=name,
            role=role,
            password_hash=password_hash,
            actor=COMMAND_LINE,
        )
