"""When tokens and users called last, and what the newest calls say of providers' keys: the sums of
periods, which know who called for how much, know nothing of keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.tables import Call, Token, User
from aieye.ledger.book import OPEN

# What is told of keys is told of so many calls.
NEWEST = 1_000
_LAST_OF: Mapping[str, tuple[type[Token | User], InstrumentedAttribute[int | None]]] = {
    "token": (Token, Call.token_id),
    "user": (User, Call.user_id),
}


@dataclass(frozen=True, slots=True)
class Use:
    """What calls came to; of `unpriced` ones nobody knows the cost."""

    calls: int = 0
    unpriced: int = 0
    cost_nano: int = 0
    saved_nano: int = 0

    @property
    def known_cost_nano(self) -> int | None:
        """The cost; None when it is known of no call, which is not the same as nothing."""
        return None if 0 < self.calls == self.unpriced else self.cost_nano


NOTHING = Use()


@dataclass(slots=True)
class KeyUse:
    """What the newest calls say of a key: how often it was asked, and what the answers cost.

    `error` is the status or the name of its last failure.
    """

    last_at: datetime
    attempts: int = 0
    failures: int = 0
    calls: int = 0
    unpriced: int = 0
    cost_nano: int = 0
    error: str | None = None
    error_at: datetime | None = None

    @property
    def known_cost_nano(self) -> int | None:
        """The cost; None when it is known of no call."""
        return None if 0 < self.calls == self.unpriced else self.cost_nano


async def last_used(
    session: AsyncSession, kind: Literal["token", "user"], ids: Collection[int]
) -> dict[int, datetime]:
    """When each of `ids` called last; one step in an index for each."""
    if not ids:
        return {}
    table, column = _LAST_OF[kind]
    newest = (
        select(Call.created_at)
        .where(column == table.id)
        .order_by(Call.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = await session.execute(select(table.id, newest.label("at")).where(table.id.in_(ids)))
    return {row.id: row.at for row in rows if row.at is not None}


async def keys_lately(session: AsyncSession, *, newest: int = NEWEST) -> dict[int, KeyUse]:
    """What the `newest` calls say of each key that was asked in one of them."""
    statement = (
        select(Call.created_at, Call.key_id, Call.cost_nano, Call.attempts)
        .where(Call.state != OPEN)
        .order_by(Call.id.desc())
        .limit(newest)
    )
    found: dict[int, KeyUse] = {}
    for at, answered_by, cost, attempts in await session.execute(statement):
        for attempt in attempts or ():
            use = found.setdefault(attempt["key_id"], KeyUse(at))
            use.attempts += 1
            if "error" in attempt:
                use.failures += 1
                if use.error is None:
                    use.error = str(attempt.get("status") or attempt["error"])
                    use.error_at = at
        if attempts and answered_by in found:
            use = found[answered_by]
            use.unpriced += cost is None
            use.calls += 1
            use.cost_nano += cost or 0
    return found
