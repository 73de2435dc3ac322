"""Cache: what it saves and holds, a look into entries, purging them, and why a request misses.

Everybody sees what became of own calls; entries hold what anyone has asked, so only administrators
see and purge them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.cache import browse
from aieye.cache.browse import EntryFilters
from aieye.db.cursors import LARGEST_NUMBER, number_after
from aieye.errors import InvalidRequest, NotFound
from aieye.ui import cache_figures, reading, show
from aieye.ui.lists import Cursor, next_cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.session import RequireAdministrator, RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ROWS = 30
RANGE = "7d"
ORDERS: Mapping[str, str] = {"hits": "Most hits", "saved": "Most saved", "newest": "Newest"}
# What a page shows of a text.
MOST_CHARACTERS = 20_000
EVERYTHING = "everything"
_LONGEST = 200
EntryId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_NUMBER)]
View = Literal["text", "json", "raw"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which entries the URL asks for, in which order."""

    model: str
    namespace: str
    text: str
    order: str

    @property
    def filters(self) -> EntryFilters:
        return EntryFilters(self.model or None, self.namespace or None)


@router.get("/cache")
async def show_cache(visitor: RequireUser, cursor: Cursor = None) -> Response:
    """Figures for everybody, entries for administrators."""
    here = visitor.here
    if any(not value for _, value in here.params):
        # A form sends what was left empty as well.
        empty = {name: None for name, value in here.params if not value}
        return RedirectResponse(here(**empty, cursor=cursor or None), 303)
    asked, period = _asked(visitor), visitor.range(RANGE)
    async with visitor.state.database.read() as session:
        figures = await cache_figures.figures(session, visitor, period)
        listed = await _listed(session, asked, cursor) if visitor.is_administrator else {}
    since = f"{period.since:%Y-%m-%dT%H:%M:%SZ}"
    return page(
        visitor.request, "cache.html", period=period, asked=asked, orders=ORDERS,
        api_path=f"/api/v1/cache?{urlencode({'since': since})}", saved_nano=browse.saved_nano,
        looked_at=browse.LOOKED_AT, searched=browse.SEARCHED, **figures, **listed,
    )  # fmt: skip


@router.get("/cache/purge")
async def ask_purge(visitor: RequireAdministrator) -> Response:
    """What would be lost."""
    return await _purge_form(visitor, _chosen(visitor))


@router.post("/cache/purge")
async def purge(visitor: RequireAdministrator) -> Response:
    """Purge what the address names: a model, a namespace, both, or all."""
    chosen = _chosen(visitor)
    typed = (await visitor.fields()).text("confirm")
    if typed != _word(chosen):
        return await _purge_form(visitor, chosen, f"Type {_word(chosen)} to purge these entries.")
    is_all = chosen == EntryFilters()
    count = await visitor.state.cache.purge(
        visitor.actor, model=chosen.model, namespace=chosen.namespace, everything=is_all
    )
    return go(visitor.request, "/cache", toast=f"{show.plural(count, 'entry', 'entries')} purged.")


@router.get("/cache/explain")
async def ask_explanation(visitor: RequireUser) -> Response:
    """A form for a request that misses."""
    return await _explain_form(visitor)


@router.post("/cache/explain")
async def explain(visitor: RequireUser) -> Response:
    """The stored request nearest to the one in the form."""
    fields = await visitor.fields()
    typed = {name: fields.text(name) for name in ("body", "namespace", "endpoint")}
    endpoint = typed["endpoint"].removeprefix("/v1/").strip("/")
    async with visitor.state.database.read() as session:
        namespaces = await cache_figures.namespaces(session, visitor)
    errors = {}
    if typed["namespace"] not in namespaces:
        errors["namespace"] = "None of your tokens has this namespace."
    if not endpoint or len(endpoint) > _LONGEST or not endpoint.isprintable():
        errors["endpoint"] = "This should be a path below /v1, such as chat/completions."
    if not errors:
        try:
            found = await visitor.state.cache.explain_request(
                typed["body"].encode("utf-8", "replace"),
                endpoint=endpoint, namespace=typed["namespace"],
            )  # fmt: skip
        except InvalidRequest as error:
            errors["body"] = error.message
        else:
            return await _explain_form(visitor, typed, explanation=found)
    return await _explain_form(visitor, typed, errors=errors)


@router.get("/cache/{id}")
async def show_entry(
    visitor: RequireAdministrator, entry_id: EntryId, view: View = "text"
) -> Response:
    """One entry, with its texts."""
    async with visitor.state.database.read() as session:
        found = await browse.get_texts(session, entry_id)
        maker_id = await browse.find_maker(session, found.entry)
    texts = {"request": found.request, "response": found.response}
    return page(
        visitor.request, "cache_entry.html", entry=found.entry, view=view,
        maker_id=maker_id,
        asked=reading.asked(found.request), answered=reading.answered(found.response),
        texts={name: _shown(text, view) for name, text in texts.items()},
        lengths={name: len(text or "") for name, text in texts.items()},
        saved_nano=browse.saved_nano, most=MOST_CHARACTERS,
    )  # fmt: skip


@router.get("/cache/{id}/purge")
async def ask_purge_entry(visitor: RequireAdministrator, entry_id: EntryId) -> Response:
    """What would be lost with one entry."""
    async with visitor.state.database.read() as session:
        entry = await browse.get_entry(session, entry_id)
    return page(visitor.request, "cache_purge_entry.html", entry=entry,
                saved_nano=browse.saved_nano)  # fmt: skip


@router.post("/cache/{id}/purge")
async def purge_entry(visitor: RequireAdministrator, entry_id: EntryId) -> Response:
    """Purge one entry."""
    if not await visitor.state.cache.purge(visitor.actor, entry_id=entry_id):
        raise NotFound("This entry is not there: somebody may have purged it already.")
    return go(visitor.request, "/cache", toast="The entry was purged.")


def _asked(visitor: Visitor) -> Asked:
    """What the URL asks for. Raises `InvalidRequest`."""
    here = visitor.here
    typed = {name: here.get(name).strip() for name in ("model", "namespace", "q")}
    for name, text in typed.items():
        if len(text) > _LONGEST or (text and not text.isprintable()):
            raise InvalidRequest(
                f"{name} should be printable and at most {_LONGEST} characters long.", param=name
            )
    order = here.get("order")
    default = "newest" if typed["q"] else "hits"
    return Asked(
        typed["model"], typed["namespace"], typed["q"],
        order if order in ORDERS and not typed["q"] else default,
    )  # fmt: skip


async def _listed(session: AsyncSession, asked: Asked, cursor: str | None) -> dict[str, Any]:
    """The entries on the page, and what they can be chosen by."""
    rows: Sequence[browse.Entry]
    after = None
    is_whole = True
    if asked.text:
        searched = await browse.find_text(session, asked.filters, asked.text, limit=ROWS)
        rows, is_whole = searched.entries, searched.is_whole
    elif asked.order == "newest":
        before = number_after(cursor, LARGEST_NUMBER)
        rows = await browse.list_entries(session, asked.filters, before=before, limit=ROWS + 1)
        after = next_cursor(rows, ROWS)
    elif asked.order == "hits":
        rows = await browse.top_entries(session, asked.filters, "hits", limit=ROWS)
    else:
        rows = await browse.top_entries(session, asked.filters, "saved", limit=ROWS)
    extent = await browse.measure(session, EntryFilters())
    return {
        "entries": rows[:ROWS],
        "never_hit": _never_hit(asked, len(rows), extent.entries),
        "next": after,
        "is_whole": is_whole,
        "models": await browse.list_models(session),
        "extent": extent,
    }


def _never_hit(asked: Asked, shown: int, entries: int) -> int | None:
    """How many of those that were looked at are not in a list of what was hit; None where to know
    it they would have to be counted."""
    if shown == ROWS or asked.filters != EntryFilters():
        return None
    return max(0, min(entries, browse.LOOKED_AT) - shown)


def _chosen(visitor: Visitor) -> EntryFilters:
    asked = _asked(visitor)
    return asked.filters


def _word(chosen: EntryFilters) -> str:
    """What has to be typed before these entries go."""
    return chosen.model or chosen.namespace or EVERYTHING


async def _purge_form(visitor: Visitor, chosen: EntryFilters, error: str = "") -> Response:
    async with visitor.state.database.read() as session:
        extent = await browse.measure(session, chosen)
    named = {"model": chosen.model, "namespace": chosen.namespace}
    query = urlencode({name: value for name, value in named.items() if value})
    return page(
        visitor.request, "cache_purge.html", status=422 if error else 200, chosen=chosen,
        extent=extent, word=_word(chosen), error=error,
        action=f"/cache/purge?{query}" if query else "/cache/purge",
        body={name: value for name, value in named.items() if value} or {"all": True},
    )  # fmt: skip


async def _explain_form(
    visitor: Visitor,
    typed: Mapping[str, str] | None = None,
    *,
    errors: Mapping[str, str] | None = None,
    explanation: Any = None,
) -> Response:
    async with visitor.state.database.read() as session:
        namespaces = await cache_figures.namespaces(session, visitor)
    return page(
        visitor.request, "cache_explain.html", status=422 if errors else 200,
        typed=typed or {}, errors=errors or {}, explanation=explanation, namespaces=namespaces,
    )  # fmt: skip


def _shown(text: str | None, view: View) -> str | None:
    """A text as it is, or laid out where it is JSON; its beginning where it is long."""
    if text is None:
        return None
    if view != "raw":
        value = reading.parsed(text)
        if value is not None:
            text = show.json(value, indent=2)
    return text[:MOST_CHARACTERS]
