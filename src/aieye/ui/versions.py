"""The versions of what is made: their list with labels, two side by side, and the way back to one.

A group of pages says in a `VersionPages` how its own are read and changed, and includes
`version_list.html` where it shows them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.access.names import Kind
from aieye.db.tables import (
    Pipeline,
    PipelineVersion,
    Preset,
    PresetVersion,
    Prompt,
    PromptVersion,
    User,
)
from aieye.ledger.queries.holders import NOTHING, Use
from aieye.state import State
from aieye.ui.owned import OWNED
from aieye.ui.session import Visitor

Row = Prompt | Pipeline | Preset
AnyVersion = PromptVersion | PipelineVersion | PresetVersion


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version as lists show it; `use` is what it was called for, in the columns for that."""

    number: int
    labels: Sequence[str]
    is_served: bool
    is_newest: bool
    created_at: datetime
    author: str
    use: Use = NOTHING


class VersionPages(ABC):
    """How the pages about versions reach one kind of thing.

    Its methods raise what the service raises: `NotFound`, `Forbidden`, `InUse`, `Unprocessable`.
    """

    kind: ClassVar[Kind]
    version: ClassVar[type[Any]]
    owner: ClassVar[str]
    """The column of a version that says whose it is: `prompt_id`."""
    columns: ClassVar[Sequence[str]] = ()
    """The names of what `uses` adds: calls and what they cost; empty without it."""

    @abstractmethod
    async def compared(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor
    ) -> tuple[str, Mapping[str, Any]]:
        """What a version says: a text, compared line by line, and fields."""

    @abstractmethod
    async def roll_back(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor,
        force: bool,
    ) -> None:  # fmt: skip
        """Make a new version that says what an old one does."""

    @abstractmethod
    async def label(
        self, state: State, session: AsyncSession, row_id: int, label: str, number: int | None, *,
        actor: Actor, force: bool,
    ) -> None:  # fmt: skip
        """Let a label name a version, or none."""

    async def uses(
        self, visitor: Visitor, session: AsyncSession, row: Row, numbers: Sequence[int]
    ) -> Mapping[int, Use]:
        """What stands in `columns`, by the version; nothing of what the visitor may not know."""
        return {}

    @property
    def path(self) -> str:
        """Where its pages are: `/prompts`."""
        return OWNED[self.kind].path

    async def get(self, session: AsyncSession, key: str, actor: Actor) -> Row:
        """The thing itself, by what its address has. Raises `NotFound`."""
        owned = OWNED[self.kind]
        row: Row = await owned.get_row(session, (await owned.find(session, key, actor)).id)
        return row

    def place(self, row: Row) -> str:
        """The address of its page."""
        return OWNED[self.kind].thing(row).place


async def shown_versions(
    pages: VersionPages,
    visitor: Visitor,
    session: AsyncSession,
    row: Row,
    *,
    before: int | None = None,
    limit: int,
) -> Sequence[ShownVersion]:
    """The versions, the newest first, those before the number `before`."""
    table = pages.version
    statement = (
        select(table.number, table.created_at, User.email)
        .outerjoin(User, User.id == table.created_by)
        .where(getattr(table, pages.owner) == row.id)
    )
    if before is not None:
        statement = statement.where(table.number < before)
    found = (await session.execute(statement.order_by(table.number.desc()).limit(limit))).all()
    uses = await pages.uses(visitor, session, row, [number for number, _, _ in found])
    return [
        ShownVersion(
            number,
            sorted(label for label, labelled in row.labels.items() if labelled == number),
            number == row.served_version,
            number == row.version,
            created_at,
            email or "the command line",
            uses.get(number, NOTHING),
        )
        for number, created_at, email in found
    ]


def version_values(
    pages: VersionPages, visitor: Visitor, row: Row, versions: Sequence[ShownVersion]
) -> dict[str, Any]:
    """What `version_list.html` asks a page for, beside its errors."""
    return {
        "versions": versions,
        "version_place": pages.place(row),
        "version_columns": pages.columns,
        "may_change": visitor.actor.may_see(row.user_id),
        "newest": row.version,
    }
