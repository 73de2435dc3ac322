"""Prompts: the list, one of them with its versions and who calls it, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor
from aieye.access.uses import InUse, count_dependants, find_dependants, visible_to
from aieye.db.cursors import number_after
from aieye.db.rows import find_living
from aieye.db.tables import Prompt, PromptVersion, User
from aieye.prompts import service as prompts
from aieye.prompts.models import SavedPrompt, fields_of
from aieye.state import State
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import changing
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.version_pages import add_version_pages, number_of
from aieye.ui.versions import VersionPages, shown_versions, version_values

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RANGE = "30d"
WHOSE: Mapping[str, str] = {"mine": "Mine", "shared": "Shared"}
_LONGEST_TEXT = 100
# Of the versions, as many stand on the prompt's own page.
_MOST_VERSIONS = 5


class PromptPages(VersionPages):
    """The pages about the versions of prompts."""

    path = "/prompts"
    plural = "Prompts"
    row = Prompt
    version = PromptVersion
    owner = "prompt_id"

    async def compared(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor
    ) -> tuple[str, Mapping[str, Any]]:
        prompt = await prompts.get_prompt(session, row_id, actor=actor, version=number)
        return prompt.content.body, fields_of(prompt.content)

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


PAGES = PromptPages()


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """A prompt as lists show it; `owner` is empty for the visitor's own."""

    prompt: SavedPrompt
    owner: str
    used_by: int

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
        used_by = await count_dependants(session, "prompt", [prompt.id for prompt, _ in shown])
    rows = [
        ShownPrompt(
            prompt,
            "" if prompt.user_id == visitor.user_id else owner.email,
            used_by.get(prompt.id, 0),
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
    )


@router.get("/prompts/{prompt_id}")
async def show_prompt(prompt_id: int, visitor: RequireUser) -> Response:
    """One prompt as a version says, the newest for none; another's that is not shared is 404."""
    asked = visitor.here.get("version")
    number = number_of(asked) if asked else None
    async with visitor.state.database.read() as session:
        prompt = await prompts.get_prompt(session, prompt_id, actor=visitor.actor, version=number)
        row = await PAGES.get(session, prompt_id, visitor.actor)
        versions = await shown_versions(PAGES, visitor, session, row, limit=_MOST_VERSIONS)
        owner = await find_living(session, User, prompt.user_id)
        callers = await find_dependants(session, "prompt", prompt.id)
    shown = visible_to(visitor.actor, callers)
    return page(
        visitor.request,
        "prompt.html",
        prompt=prompt,
        content=prompt.content,
        owner=owner.email if owner else "",
        is_own=prompt.user_id == visitor.user_id,
        callers=shown,
        hidden=len(callers) - len(shown),
        **version_values(PAGES, visitor, row, versions),
    )


@router.get("/prompts/{prompt_id}/delete")
async def show_delete(prompt_id: int, visitor: RequireUser) -> Response:
    """What is lost with it, and what fails without it."""
    return await _delete_page(visitor, prompt_id)


@router.post("/prompts/{prompt_id}/delete")
async def delete(prompt_id: int, visitor: RequireUser) -> Response:
    """Delete it, once its name was typed; while pipelines call it, only if that was said too."""
    fields = await visitor.fields()
    try:
        async with changing(visitor.state) as session:
            prompt = await prompts.get_prompt(session, prompt_id, actor=visitor.actor)
            if is_typed := fields.text("confirm") == prompt.name:
                await prompts.delete_prompt(
                    session, prompt_id, actor=visitor.actor, force=fields.is_on("force")
                )
    except InUse as error:
        return await _delete_page(visitor, prompt_id, error.reason, status=error.status)
    if not is_typed:
        return await _delete_page(visitor, prompt_id, "Type the prompt's name as it stands above.")
    return go(visitor.request, "/prompts", toast=f"“{prompt.name}” is deleted.")


async def _delete_page(
    visitor: Visitor, prompt_id: int, error: str = "", *, status: int = 422
) -> Response:
    async with visitor.state.database.read() as session:
        row = await authored.get_changeable(session, Prompt, prompt_id, actor=visitor.actor)
        callers = await find_dependants(session, "prompt", row.id)
    shown: Sequence[Any] = visible_to(visitor.actor, callers)
    return page(
        visitor.request, "prompt_delete.html", status=status if error else 200, row=row,
        callers=shown, hidden=len(callers) - len(shown), error=error,
    )  # fmt: skip


add_version_pages(router, PAGES)
