"""Presets: the list, and one of them with what it says, how it is called, its versions and its callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor
from aieye.access.uses import count_dependants
from aieye.db.cursors import number_after
from aieye.db.tables import PresetUse, PresetVersion
from aieye.errors import NotFound
from aieye.ledger.queries.holders import NOTHING, Use
from aieye.presets import service as presets
from aieye.presets.comparing import said_by
from aieye.presets.fields import TYPES, PresetType
from aieye.presets.models import Preset
from aieye.state import State
from aieye.ui.called_lately import COLUMNS, DAYS, lately, lately_by_version
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.owned import OWNED, callers_of, owner_name
from aieye.ui.pages import PageRoute, is_fragment, page
from aieye.ui.preset_calls import calls_of
from aieye.ui.preset_index import index_of
from aieye.ui.preset_try import Tried, try_out
from aieye.ui.preset_values import shown
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.version_pages import add_version_pages, number_of
from aieye.ui.versions import Row, VersionPages, shown_versions, version_values

router = APIRouter(route_class=PageRoute, include_in_schema=False)

WHOSE: Final[Mapping[str, str]] = {"mine": "Mine", "shared": "Shared"}
_LONGEST_TEXT = 100
# Of versions, and of documents, as many stand on a preset's own page.
_MOST_VERSIONS = 5
MOST_SHOWN_DOCUMENTS = 5


class PresetPages(VersionPages):
    """The pages about the versions of presets."""

    kind = "preset"
    version = PresetVersion
    owner = "preset_id"
    columns = COLUMNS

    async def compared(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor
    ) -> tuple[str, Mapping[str, Any]]:
        preset = await presets.get_preset(session, row_id, actor=actor, version=number)
        return said_by(preset, await presets.shown_config(session, preset))

    async def roll_back(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor,
        force: bool,
    ) -> None:  # fmt: skip
        await presets.roll_back(session, row_id, number, actor=actor)

    async def label(
        self, state: State, session: AsyncSession, row_id: int, label: str, number: int | None, *,
        actor: Actor, force: bool,
    ) -> None:  # fmt: skip
        await presets.label_version(session, row_id, label, number, actor=actor)

    async def uses(
        self, visitor: Visitor, session: AsyncSession, row: Row, numbers: Sequence[int]
    ) -> Mapping[int, Use]:
        return await lately_by_version(session, visitor, PresetUse, row, numbers)


PAGES: Final = PresetPages()


@dataclass(frozen=True, slots=True)
class ShownPreset:
    """A preset as lists show it; `owner` is empty for the visitor's own."""

    preset: Preset
    owner: str
    used_by: int
    use: Use


@router.get("/presets")
async def show_presets(visitor: RequireUser, cursor: Cursor = None) -> Response:
    """One's own and those that are shared, for administrators everybody's; the newest first."""
    here = visitor.here
    whose = here.get("whose") if here.get("whose") in WHOSE else None
    type_ = here.get("type") if here.get("type") in TYPES else None
    text = "".join(char for char in here.get("q").strip()[:_LONGEST_TEXT] if char.isprintable())
    async with visitor.state.database.read() as session:
        found = await presets.newest_presets(
            session, actor=visitor.actor, text=text, whose=cast(authored.Whose | None, whose),
            type_=cast(PresetType | None, type_), before=number_after(cursor), limit=PAGE + 1,
        )  # fmt: skip
        used_by = await count_dependants(session, "preset", [one.id for one, _ in found[:PAGE]])
        own = [one.id for one, _ in found[:PAGE] if visitor.actor.may_see(one.user_id)]
        uses = await lately(session, PresetUse, own)
        deleted = await OWNED["preset"].list_deleted(session, visitor.actor)
    rows = [
        ShownPreset(
            preset,
            "" if preset.user_id == visitor.user_id else owner.email,
            used_by.get(preset.id, 0),
            uses.get(preset.id, NOTHING),
        )
        for preset, owner in found[:PAGE]
    ]
    return page(
        visitor.request,
        "presets.html",
        rows=rows,
        next=next_cursor(found, key=lambda one: one[0].id),
        whose=whose,
        all_whose=WHOSE,
        type=type_,
        types=get_args(PresetType),
        is_filtered=bool(whose or type_ or text),
        deleted=deleted,
        days=DAYS,
    )


@router.get("/presets/{uid}")
async def show_preset(uid: str, visitor: RequireUser) -> Response:
    """One preset as a version says, the newest for none; another's that is not shared is 404."""
    asked = visitor.here.get("version")
    return await preset_page(visitor, uid, number_of(asked) if asked else None)


@router.post("/presets/{uid}/try")
async def try_preset(uid: str, visitor: RequireUser) -> Response:
    """Ask it once, as a call would."""
    fields = await visitor.fields()
    async with visitor.state.database.read() as session:
        await presets.get_preset(session, uid, actor=visitor.actor)
    served = visitor.state.presets.find(uid)
    if served is None:
        raise NotFound(f"There is no preset {uid[:100]!r}.")
    typed = Tried(fields.get("text", ""), fields.get("prompt", ""), fields.get("documents", ""))
    tried = await try_out(visitor, served, typed)
    if is_fragment(visitor.request):
        # A first search embeds the documents: what the page says of them is told anew.
        index = await index_of(visitor, served) if served.type == "search" else None
        return page(
            visitor.request, "preset_tried.html", block="tried", preset=served, tried=tried,
            index=index,
        )  # fmt: skip
    return await preset_page(visitor, uid, tried=tried)


async def preset_page(
    visitor: Visitor, uid: str, number: int | None = None, tried: Tried | None = None
) -> Response:
    """The page, with what an attempt gave."""
    state = visitor.state
    async with state.database.read() as session:
        preset = await presets.get_preset(session, uid, actor=visitor.actor, version=number)
        row = await PAGES.get(session, uid, visitor.actor)
        versions = await shown_versions(PAGES, visitor, session, row, limit=_MOST_VERSIONS)
        owner = await owner_name(session, preset.user_id)
        callers = await callers_of(session, "preset", preset.id, visitor.actor)
        config = await presets.shown_config(session, preset)
        counted = [preset.id] if visitor.actor.may_see(preset.user_id) else []
        use = (await lately(session, PresetUse, counted)).get(preset.id, NOTHING)
    served = state.presets.find(uid) or preset
    return page(
        visitor.request,
        "preset.html",
        status=tried.status if tried and tried.error else 200,
        preset=preset,
        served=served,
        said=shown(preset.type, config),
        config=config,
        settings=_settings(preset),
        documents=list(config.get("documents") or ())[:MOST_SHOWN_DOCUMENTS],
        index=await index_of(visitor, served) if served.type == "search" else None,
        owner=owner,
        is_own=preset.user_id == visitor.user_id,
        callers=callers,
        calls=calls_of(served, str(state.settings.base_url)),
        tried=tried or Tried(),
        use=use,
        days=DAYS,
        **version_values(PAGES, visitor, row, versions),
    )


def _settings(preset: Preset) -> Sequence[tuple[str, Any]]:
    """What a configuration says beside its texts, and is not the default."""
    known = TYPES[preset.type].fields
    texts = {"prompt", "messages", "documents", "injectStart", "injectRestart", "overridable"}
    return [
        (name, value)
        for name, value in preset.config.items()
        if name not in texts
        and name not in {"engine_id", "model"}
        and (name not in known or value != known[name].default)
    ]


add_version_pages(router, PAGES)
