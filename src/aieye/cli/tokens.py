"""`aieye token create`, `list` and `revoke`."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

import functools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aieye.cli.terminal import AsJson, show, tell
from aieye.errors import InvalidRequest
from aieye.program import program

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from aieye.cli.context import Context
    from aieye.db.tables import Token

token = typer.Typer(no_args_is_help=True, help="Public tokens.", rich_markup_mode=None)

_SPAN = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@token.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the token.")],
    user: Annotated[
        str | None, typer.Option(help="Whose: an e-mail; else the first administrator's.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When: 30d, 12h, 2w, or a date such as 2027-01-31 (UTC).")
    ] = None,
    scope: Annotated[
        str, typer.Option(help="proxy, runs or admin; each includes the ones before.")
    ] = "proxy",
    imported: Annotated[
        str | None, typer.Option("--import", help="An old 40-character token that is to go on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Make a public token and print its secret, once."""
    from aieye.cli.context import run

    moment = datetime.now(UTC)
    expires_at = None if expires is None else parse_expiry(expires, moment)
    if expires_at is not None and expires_at <= moment:
        raise InvalidRequest("--expires should lie in the future.")
    made, secret = run(
        lambda context: _store(context, name, user, expires_at, scope, imported), makes=True
    )
    if as_json:
        typer.echo(json.dumps({"id": made.id, "name": made.name, "token": secret}))
    else:
        tell(f"The token {made.name} (id {made.id}), shown only now:")
        typer.echo(secret)


@token.command("list")
def list_(as_json: AsJson = False) -> None:
    """All tokens, those that are disabled or expired too; never their secrets."""
    from aieye.cli.context import run

    columns = ("id", "name", "prefix", "user", "scope", "state", "expires_at")
    show(run(_find), columns, as_json=as_json)


@token.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, prefix or name.")],
) -> None:
    """End a token for good, as on its page: from now on it opens nothing."""
    from aieye.cli.context import run

    ended = run(lambda context: _revoke(context, which))
    tell(f"Revoked the token {ended.name} (id {ended.id}).")


def parse_expiry(text: str, moment: datetime) -> datetime:
    """`30d`, `12h`, `2w` from `moment` on, or an ISO date or time, in UTC when it names no zone.

    Raises `InvalidRequest`.
    """
    if (span := _SPAN.fullmatch(text.strip().lower())) is not None:
        return moment + int(span[1]) * _UNITS[span[2]]
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidRequest(
            "--expires takes a span such as 30d, 12h, 2w, or a date such as 2027-01-31."
        ) from error
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


async def _store(
    context: Context,
    name: str,
    user: str | None,
    expires_at: datetime | None,
    scope: str,
    imported: str | None,
) -> tuple[Token, str]:
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.directory import load_pepper
    from aieye.access.secrets import digest
    from aieye.access.tokens import create_token

    pepper = await load_pepper(context.database, context.cipher)
    async with context.database.write() as session:
        return await create_token(
            session,
            functools.partial(digest, pepper),
            user_id=await _owner_id(session, user),
            name=name,
            scope=scope,
            actor=COMMAND_LINE,
            expires_at=expires_at,
            imported=imported,
        )


async def _owner_id(session: AsyncSession, email: str | None) -> int:
    from aieye.access.emails import normal_email
    from aieye.access.users import default_owner, find_user
    from aieye.errors import NotFound

    if email is None:
        return (await default_owner(session)).id
    owner = await find_user(session, normal_email(email))
    if owner is None:
        raise NotFound(
            f"There is no user {email}. Make one: {program()} user create --email {email}"
        )
    return owner.id


async def _find(context: Context) -> list[dict[str, Any]]:
    from aieye.access.audit import COMMAND_LINE
    from aieye.access.token_lists import state_of
    from aieye.access.tokens import list_tokens
    from aieye.access.users import list_users

    async with context.database.read() as session:
        emails = {user.id: user.email for user in await list_users(session, actor=COMMAND_LINE)}
        return [
            {
                "id": one.id,
                "name": one.name,
                "prefix": one.prefix,
                "user": emails.get(one.user_id),
                "scope": one.scope,
                "state": state_of(one),
                "expires_at": one.expires_at and one.expires_at.isoformat(timespec="seconds"),
            }
            for one in await list_tokens(session, actor=COMMAND_LINE)
        ]


async def _revoke(context: Context, which: str) -> Token:
    from sqlalchemy import or_, select

    from aieye.access.audit import COMMAND_LINE
    from aieye.access.tokens import delete_token
    from aieye.db.rows import LARGEST_ID
    from aieye.db.tables import Token
    from aieye.errors import Conflict, NotFound

    number = int(which) if which.isdecimal() and int(which) <= LARGEST_ID else 0
    async with context.database.write() as session:
        named = or_(Token.id == number, Token.prefix == which, Token.name == which)
        living = select(Token).where(Token.deleted_at.is_(None), named)
        found = (await session.scalars(living.order_by(Token.id))).all()
        if not found:
            raise NotFound(f"There is no token {which}; {program()} token list shows them.")
        by_id = [one.id for one in found if one.id == number]
        # What is disabled is meant only where nothing else can be.
        living_ids = [one.id for one in found if one.disabled_at is None]
        ids = by_id or living_ids or [one.id for one in found]
        if len(ids) > 1:
            raise Conflict(f"Several tokens are called {which}; name one by its id: {ids}")
        await delete_token(session, ids[0], actor=COMMAND_LINE)
        return next(one for one in found if one.id == ids[0])
