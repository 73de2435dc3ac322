"""Prompts: the list, and one of them with its versions and who calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor
from aieye.access.uses import count_dependants
from aieye.db.cursors import number_after
from aieye.db.tables import PromptUse, PromptVersion
from aieye.ledger.queries.holders import NOTHING, Use
from aieye.prompts import service as prompts
from aieye.prompts.models import SavedPrompt, fields_of
from aieye.state import State
from aieye.ui.called_lately import COLUMNS, DAYS, lately, lately_by_version
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.owned import OWNED, callers_of, owner_name
from aieye.ui.pages import PageRoute, page
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.version_pages import add_version_pages, number_of
from aieye.ui.versions import Row, VersionPages, shown_versions, version_values

router = APIRouter(route_class=PageRoute, include_in_schema=False)

WHOSE: Mapping[str, str] = {"mine": "Mine", "shared": "Shared"}
_LONGEST_TEXT = 100
# Of the versions, as many stand on the prompt's own page.
_MOST_VERSIONS = 5


class PromptPages(VersionPages):
    """The pages about the versions of prompts."""

    kind = "prompt"
    version = PromptVersion
    owner = "prompt_id"
    columns = COLUMNS

    async def compared(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor
    ) -> tuple[str, Mapping[str, Any]]:
        prompt = await prompts.get_prompt(session, row_id, actor=actor, version=number)
        fields = fields_of(prompt.content)
        params = fields.pop("params")
        return prompt.content.body, {**fields, **params}

    async def roll_back(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor,
        force: bool,
    ) -> None:  # fmt: skip
        await prompts.roll_back(session, row_id, number, actor=actor, force=force)

    async def label(
        self, state: State, session: AsyncSession, row_id: int, label: str, number: int | None, *,
        actor: Actor, force: bool,
    ) -> None:  # fmt: skip
        await prompts.label_version(session, row_id, label, number, actor=actor, force=force)

    async def uses(
        self, visitor: Visitor, session: AsyncSession, row: Row, numbers: Sequence[int]
    ) -> Mapping[int, Use]:
        return await lately_by_version(session, visitor, PromptUse, row, numbers)


PAGES = PromptPages()


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """A prompt as lists show it; `owner` is whose it is, as an address."""

    prompt: SavedPrompt
    owner: str
    is_own: bool
    used_by: int
    use: Use

    @property
    def id(self) -> int:
        return self.prompt.id


@router.get("/prompts")
async def show_prompts(visitor: RequireUser, cursor: Cursor = None) -> Response:
    """One's own and those that are shared, for administrators everybody's; the newest first."""
    here = visitor.here
    whose = here.get("whose") if here.get("whose") in WHOSE else None
    text = "".join(char for char in here.get("q").strip()[:_LONGEST_TEXT] if char.isprintable())
    async with visitor.state.database.read() as session:
        found = await prompts.newest_prompts(
            session, actor=visitor.actor, text=text, whose=cast(authored.Whose | None, whose),
            before=number_after(cursor), limit=PAGE + 1,
        )  # fmt: skip
        shown = found[:PAGE]
        deleted = await OWNED["prompt"].list_deleted(session, visitor.actor)
        ids = [prompt.id for prompt, _ in shown if visitor.actor.may_see(prompt.user_id)]
        used_by = await count_dependants(session, "prompt", ids)
        uses = await lately(session, PromptUse, ids)
    rows = [
        ShownPrompt(
            prompt,
            owner.email,
            prompt.user_id == visitor.user_id,
            used_by.get(prompt.id, 0),
            uses.get(prompt.id, NOTHING),
        )
        for prompt, owner in shown
    ]
    return page(
        visitor.request,
        "prompts.html",
        rows=rows,
        next=next_cursor(found, key=lambda one: one[0].id),
        whose=whose,
        all_whose=WHOSE,
        is_filtered=bool(whose or text),
        deleted=deleted,
        days=DAYS,
    )


@router.get("/prompts/{key}")
async def show_prompt(key: str, visitor: RequireUser) -> Response:
    """One prompt as a version says, the newest for none; another's that is not shared is 404."""
    asked = visitor.here.get("version")
    number = number_of(asked) if asked else None
    async with visitor.state.database.read() as session:
        row = await PAGES.get(session, key, visitor.actor)
        prompt = await prompts.get_prompt(session, row.id, actor=visitor.actor, version=number)
        versions = await shown_versions(PAGES, visitor, session, row, limit=_MOST_VERSIONS)
        owner = await owner_name(session, row.user_id)
        callers = await callers_of(session, "prompt", row.id, visitor.actor)
    return page(
        visitor.request,
        "prompt.html",
        prompt=prompt,
        content=prompt.content,
        # A pipeline's argument of each name: the line can be copied as it stands.
        prompt_arguments=[f"{name}={name}" for name in prompt.content.variables],
        owner=owner,
        is_own=row.user_id == visitor.user_id,
        callers=callers,
        **version_values(PAGES, visitor, row, versions),
    )


add_version_pages(router, PAGES)
