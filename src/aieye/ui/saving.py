"""Changes from forms: nobody overwrites unseen what somebody else saved meanwhile.

A form carries the version of the row that it shows. `changing` lets one change through at a time, so
that between the look and the change nobody comes in between; a row of another version is
`ChangedMeanwhile`, and the form comes again with both values. A form that hands out a secret carries an
id of its own, with which it makes something once (`require_first`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.owners import one_at_a_time
from aieye.db.tables import IdempotentCall, Stamped
from aieye.db.types import to_micros
from aieye.errors import Conflict
from aieye.state import State, change
from aieye.ui.fields import Fields

VERSION = "version"
FORM_ID = "form_id"


class ChangedMeanwhile(Conflict):
    """Somebody saved the row after the form was opened."""

    code = "changed_meanwhile"

    def __init__(self) -> None:
        super().__init__(
            "Somebody changed this meanwhile. Where it differs from yours, the field says what is "
            "stored now; saving again puts yours in its place."
        )


class SentTwice(Conflict):
    """The same form was sent before, and what it asks for was made."""

    code = "sent_twice"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"This form was sent before, and made the {what}: any secret was shown in that answer "
            "alone. If you missed it, make a new one there. Sending again makes another."
        )


@asynccontextmanager
async def changing(state: State) -> AsyncIterator[AsyncSession]:
    """A change that looks before it changes."""
    async with change(state) as session:
        await one_at_a_time(session)
        yield session


def version_of(row: Stamped) -> str:
    """What a form carries of the row that it shows."""
    return str(to_micros(row.updated_at))


def require_version(row: Stamped, fields: Fields) -> None:
    """Raises `ChangedMeanwhile` unless the row is as the form showed it."""
    if fields.get(VERSION) != version_of(row):
        raise ChangedMeanwhile


async def require_first(session: AsyncSession, user_id: int, fields: Fields, what: str) -> None:
    """Note that the form was sent, in the change that it makes; a day later it is forgotten.

    Raises `SentTwice`, naming `what` was made. What is sent without an id is no form of ours.
    """
    if not (form_id := fields.get(FORM_ID)):
        return
    # Tokens' own keys stand under positive numbers.
    place = (-user_id, what, sha256(form_id.encode("utf-8", "replace")).hexdigest())
    if await session.get(IdempotentCall, place) is not None:
        raise SentTwice(what)
    token_id, path, key = place
    session.add(
        IdempotentCall(
            token_id=token_id, path=path, key=key, body_digest="", call_id="", status=None
        )
    )


def differences(
    stored: Mapping[str, str], typed: Mapping[str, str], secret: frozenset[str] = frozenset()
) -> dict[str, str]:
    """What the fields say whose stored value is not what was typed."""
    return {
        name: f"Stored now: {value or 'nothing'}"
        for name, value in stored.items()
        if name not in secret and typed.get(name, "").strip() != value
    }
