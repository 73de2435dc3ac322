"""`/api/v1/settings`: how this installation is set up, for administrators. Nothing secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye import __version__
from aieye.api.deps import CurrentAdministrator, CurrentState, Reading
from aieye.api.resources import resource_router
from aieye.api.schemas import answers
from aieye.db.tables import CacheTotals, UsageRollup
from aieye.installation import MASK, database_bytes, shown
from aieye.ledger.rollups import DAY
from aieye.telemetry import redact

__all__ = ["MASK", "router", "shown"]

router = resource_router("settings")

EXAMPLE = {
    "version": __version__,
    "started_at": "2026-11-20T09:30:00Z",
    "database": "sqlite",
    "database_bytes": 1_048_576,
    "calls": 1200,
    "cache_entries": 310,
    "cache_bytes": 524_288,
    "is_demo": False,
    "default_provider": "openai",
    "base_url": "http://127.0.0.1:8000",
    "settings": {"AIEYE_PORT": 8000, "AIEYE_SECRET_KEY": None, "OPENAI_API_KEY": MASK},
}


class SettingsView(BaseModel):
    """The effective settings by their variables, and what they led to.

    A secret that is set is shown as `********`. `calls` are those that have ended.
    """

    version: str
    started_at: datetime
    database: Literal["sqlite", "postgresql"]
    database_bytes: int
    calls: int
    cache_entries: int
    cache_bytes: int
    is_demo: bool
    default_provider: str | None
    base_url: str
    settings: dict[str, Any]


@router.get(
    "", operation_id="settings_get", summary="Get the settings", responses=answers(EXAMPLE, 403)
)
async def get_settings(
    caller: CurrentAdministrator, state: CurrentState, session: Reading
) -> SettingsView:
    """Settings are read from the environment and `.env` at the start, and changed there."""
    default = state.directory.current.default
    totals = (await session.scalars(select(CacheTotals))).one()
    return SettingsView(
        version=__version__,
        started_at=state.started_at,
        database="sqlite" if state.database.is_sqlite else "postgresql",
        database_bytes=await database_bytes(session, state.database),
        calls=await _calls(session),
        cache_entries=totals.entries,
        cache_bytes=totals.size_bytes,
        is_demo=state.directory.is_demo,
        default_provider=None if default is None else default.name,
        base_url=redact(state.settings.base_url),
        settings=shown(state.settings),
    )


async def _calls(session: AsyncSession) -> int:
    """How many calls have ended, from the roll-ups: counting the rows would read them all."""
    return int(
        await session.scalar(
            select(func.coalesce(func.sum(UsageRollup.calls), 0)).where(UsageRollup.grain == DAY)
        )
        or 0
    )
