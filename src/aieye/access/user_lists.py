"""What lists of users show of each: where they are signed in, what they hold and wrote."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.sessions import is_over
from aieye.db.tables import Pipeline, Preset, Prompt, Session, SetupLink, Token
from aieye.db.types import now


@dataclass(frozen=True, slots=True)
class Holdings:
    """Counts of what somebody has now; `invited_until` is the end of a link that they did not use."""

    sessions: int = 0
    seen_at: datetime | None = None
    tokens: int = 0
    prompts: int = 0
    presets: int = 0
    pipelines: int = 0
    invited_until: datetime | None = None

    @property
    def written(self) -> int:
        return self.prompts + self.presets + self.pipelines


async def holdings_of(session: AsyncSession, ids: Collection[int]) -> Mapping[int, Holdings]:
    """What each of the users has."""
    signed_in = {
        row[0]: (row[1], row[2])
        for row in await session.execute(
            select(Session.user_id, func.count(), func.max(Session.last_seen_at))
            .where(Session.user_id.in_(ids), ~is_over())
            .group_by(Session.user_id)
        )
    }
    counts: list[dict[int, int]] = []
    for table in (Token, Prompt, Preset, Pipeline):
        rows = await session.execute(
            select(table.user_id, func.count())
            .where(table.user_id.in_(ids), table.deleted_at.is_(None))
            .group_by(table.user_id)
        )
        counts.append({row[0]: row[1] for row in rows})
    links = await session.execute(
        select(SetupLink.user_id, SetupLink.expires_at).where(
            SetupLink.user_id.in_(ids), SetupLink.used_at.is_(None), SetupLink.expires_at > now()
        )
    )
    invited = {row.user_id: row.expires_at for row in links}
    held = [dict.fromkeys(ids, 0) | found for found in counts]
    return {
        one: Holdings(
            sessions=signed_in.get(one, (0, None))[0],
            seen_at=signed_in.get(one, (0, None))[1],
            tokens=held[0][one],
            prompts=held[1][one],
            presets=held[2][one],
            pipelines=held[3][one],
            invited_until=invited.get(one),
        )
        for one in ids
    }
