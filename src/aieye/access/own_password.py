"""The present password, asked for before somebody sets another one of their own."""

from __future__ import annotations

from aieye.access.attempts import attempt_of, count_attempt, forgive_attempt
from aieye.access.audit import Actor
from aieye.access.passwords import verify_password
from aieye.access.users import get_user
from aieye.db.engine import Database
from aieye.errors import Unprocessable


class WrongPassword(Unprocessable):
    """The present password, asked for before it is changed, is another one."""

    code = "wrong_password"


async def check_present_password(database: Database, given: str, actor: Actor) -> None:
    """Raises `WrongPassword` unless `given` is the actor's password, or they have none.

    As careful as a sign-in (`TooManyAttempts`): who took over a session or token could try here.
    """
    assert actor.user_id is not None
    async with database.read() as session:
        user = await get_user(session, actor.user_id, actor=actor)
    if user.password_hash is None:
        return
    attempt = attempt_of(user.email, actor.ip)
    async with database.write() as session:
        await count_attempt(session, attempt)
    if not await verify_password(given, user.password_hash):
        raise WrongPassword("This is not the present password.", param="current_password")
    async with database.write() as session:
        await forgive_attempt(session, attempt)
