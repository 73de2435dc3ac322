"""What people write and own: prompts, presets and pipelines, as far as pages treat them alike.

Whoever made one sees and changes it; shared ones everybody uses and sees; administrators do all. Its
address is `/prompts/ID`, `/pipelines/ID` or `/presets/UID`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar

from sqlalchemy import select, true
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor
from aieye.access.names import Kind
from aieye.access.uses import MOST_LOOKED_AT, Dependant, find_dependants, visible_to
from aieye.db.rows import find_living
from aieye.db.tables import Pipeline, Preset, Prompt, User
from aieye.db.types import now
from aieye.errors import Forbidden, NotFound
from aieye.pipeline import service as pipelines
from aieye.presets import service as presets
from aieye.prompts import service as prompts
from aieye.state import State

NOBODY = "a user who is gone"
_MOST_DELETED = 20


@dataclass(frozen=True, slots=True)
class Thing:
    """One of them. `id` is the number of its row, `place` the address of its page."""

    kind: Kind
    id: int
    place: str
    name: str
    user_id: int
    is_shared: bool
    deleted_at: datetime | None

    @property
    def api_path(self) -> str:
        """Where programs find it."""
        return f"/api/v1{self.place}"

    @property
    def undo(self) -> str:
        """Where a form takes its deletion back."""
        return f"/undo/{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class Callers:
    """The pipelines that call something: those that the visitor may know, and how many more.

    Not `is_whole`, there may be others: of what is much used not all are looked at.
    """

    shown: Sequence[Dependant]
    hidden: int
    is_whole: bool = True

    def __bool__(self) -> bool:
        return bool(self.shown or self.hidden)

    def __len__(self) -> int:
        return len(self.shown) + self.hidden


class Owned(ABC):
    """A kind of them, as its service changes it. What a method raises, its service does."""

    kind: ClassVar[Kind]
    path: ClassVar[str]
    table: ClassVar[type[Prompt | Preset | Pipeline]]

    @abstractmethod
    async def find(self, session: AsyncSession, key: str, actor: Actor) -> Thing:
        """The one at the address `key`. Raises `NotFound`, also for another's that is not shared."""

    @abstractmethod
    async def share(
        self, state: State, session: AsyncSession, thing: Thing, is_shared: bool, *,
        force: bool, actor: Actor,
    ) -> None:  # fmt: skip
        """Let everybody use it, or its owner alone."""

    @abstractmethod
    async def delete(
        self, session: AsyncSession, thing: Thing, *, force: bool, actor: Actor
    ) -> None:
        """Remove it."""

    @abstractmethod
    async def restore(
        self, state: State, session: AsyncSession, row_id: int, *, actor: Actor
    ) -> Thing:
        """Take its deletion back."""

    def thing(self, row: Any) -> Thing:
        """A row as pages have it."""
        place = f"{self.path}/{getattr(row, 'uid', row.id)}"
        return Thing(self.kind, row.id, place, row.name, row.user_id, row.is_shared, row.deleted_at)

    async def get_row(self, session: AsyncSession, row_id: int) -> Any:
        return await session.get_one(self.table, row_id)

    async def list_deleted(self, session: AsyncSession, actor: Actor) -> Sequence[Thing]:
        """What of one's own was deleted a short while ago and can be taken back, the last first."""
        mine = true() if actor.is_administrator else self.table.user_id == actor.user_id
        statement = (
            select(self.table)
            .where(mine, self.table.deleted_at > now() - authored.UNDO_WITHIN)
            .order_by(self.table.deleted_at.desc())
            .limit(_MOST_DELETED)
        )
        return [self.thing(row) for row in await session.scalars(statement)]


class _Prompts(Owned):
    kind, path, table = "prompt", "/prompts", Prompt

    async def find(self, session: AsyncSession, key: str, actor: Actor) -> Thing:
        row = await authored.get_visible(session, Prompt, _number(key, self.kind), actor=actor)
        return self.thing(row)

    async def share(
        self, state: State, session: AsyncSession, thing: Thing, is_shared: bool, *,
        force: bool, actor: Actor,
    ) -> None:  # fmt: skip
        await prompts.update_prompt(
            session, thing.id, {"shared": is_shared}, actor=actor, force=force
        )

    async def delete(
        self, session: AsyncSession, thing: Thing, *, force: bool, actor: Actor
    ) -> None:
        await prompts.delete_prompt(session, thing.id, actor=actor, force=force)

    async def restore(
        self, state: State, session: AsyncSession, row_id: int, *, actor: Actor
    ) -> Thing:
        await prompts.restore_prompt(session, row_id, actor=actor)
        return self.thing(await self.get_row(session, row_id))


class _Presets(Owned):
    kind, path, table = "preset", "/presets", Preset

    async def find(self, session: AsyncSession, key: str, actor: Actor) -> Thing:
        preset = await presets.get_preset(session, key, actor=actor)
        return self.thing(await self.get_row(session, preset.id))

    async def share(
        self, state: State, session: AsyncSession, thing: Thing, is_shared: bool, *,
        force: bool, actor: Actor,
    ) -> None:  # fmt: skip
        uid = (await self.get_row(session, thing.id)).uid
        await presets.update_preset(session, uid, {"shared": is_shared}, actor=actor, force=force)

    async def delete(
        self, session: AsyncSession, thing: Thing, *, force: bool, actor: Actor
    ) -> None:
        uid = (await self.get_row(session, thing.id)).uid
        await presets.delete_preset(session, uid, actor=actor, force=force)

    async def restore(
        self, state: State, session: AsyncSession, row_id: int, *, actor: Actor
    ) -> Thing:
        await presets.restore_preset(session, row_id, actor=actor)
        return self.thing(await self.get_row(session, row_id))


class _Pipelines(Owned):
    kind, path, table = "pipeline", "/pipelines", Pipeline

    async def find(self, session: AsyncSession, key: str, actor: Actor) -> Thing:
        row = await pipelines.get_row(session, _number(key, self.kind), actor=actor)
        return self.thing(row)

    async def share(
        self, state: State, session: AsyncSession, thing: Thing, is_shared: bool, *,
        force: bool, actor: Actor,
    ) -> None:  # fmt: skip
        await pipelines.update_pipeline(
            session, state.function_catalogue(), thing.id, {"shared": is_shared},
            actor=actor, force=force,
        )  # fmt: skip

    async def delete(
        self, session: AsyncSession, thing: Thing, *, force: bool, actor: Actor
    ) -> None:
        await pipelines.delete_pipeline(session, thing.id, actor=actor, force=force)

    async def restore(
        self, state: State, session: AsyncSession, row_id: int, *, actor: Actor
    ) -> Thing:
        await pipelines.restore_pipeline(session, state.function_catalogue(), row_id, actor=actor)
        return self.thing(await self.get_row(session, row_id))


OWNED: Mapping[Kind, Owned] = MappingProxyType(
    {one.kind: one for one in (_Prompts(), _Presets(), _Pipelines())}
)


async def callers_of(
    session: AsyncSession, kind: Kind, row_id: int, actor: Actor, *, beside: int | None = None
) -> Callers:
    """The pipelines that call it; without those of the user `beside`."""
    found = await find_dependants(
        session, kind, row_id, beside=beside, limit=MOST_LOOKED_AT, first=actor.user_id
    )
    shown = visible_to(actor, found)
    return Callers(shown, len(found) - len(shown), is_whole=len(found) < MOST_LOOKED_AT)


async def owner_name(session: AsyncSession, user_id: int) -> str:
    """The owner as pages name them."""
    user = await find_living(session, User, user_id)
    return NOBODY if user is None else user.email


def require_own(thing: Thing, actor: Actor) -> None:
    """Raise `Forbidden` for what somebody else shares."""
    if not actor.may_see(thing.user_id):
        raise Forbidden(f"Only its owner and administrators change a {thing.kind}.")


def _number(key: str, kind: Kind) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 11):
        raise NotFound(f"There is no {kind} {key[:100]!r}.")
    return int(key)
