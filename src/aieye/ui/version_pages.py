"""The routes about versions, the same for each group of pages: list, difference, roll back, labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.uses import InUse
from aieye.db.cursors import number_after
from aieye.db.rows import LARGEST_ID
from aieye.errors import AieyeError, Forbidden, NotFound
from aieye.prompts.difference import changed_fields
from aieye.ui.differences import side_by_side
from aieye.ui.fields import Fields
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.owned import OWNED, require_own
from aieye.ui.pages import go, page
from aieye.ui.saving import changing
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.versions import Row, VersionPages, shown_versions, version_values


def add_version_pages(router: APIRouter, pages: VersionPages) -> None:
    """Add `/{id}/versions`, `/diff`, `/rollback` and `/labels` to a group of pages."""
    place = pages.path + "/{key}"

    @router.get(f"{place}/versions")
    async def show_versions(key: str, visitor: RequireUser, cursor: Cursor = None) -> Response:
        return await _list_page(pages, visitor, key, before=number_after(cursor))

    @router.get(f"{place}/diff")
    async def show_difference(key: str, visitor: RequireUser) -> Response:
        return await _difference_page(pages, visitor, key)

    @router.get(f"{place}/rollback")
    async def show_roll_back(key: str, visitor: RequireUser) -> Response:
        return await _roll_back_page(pages, visitor, key, visitor.here.get("version"))

    @router.post(f"{place}/rollback")
    async def roll_back(key: str, visitor: RequireUser) -> Response:
        fields = await visitor.fields()
        try:
            number = number_of(fields.get("version", ""))
            async with changing(visitor.state) as session:
                row = await pages.get(session, key, visitor.actor)
                await pages.roll_back(
                    visitor.state, session, row.id, number, actor=visitor.actor,
                    force=fields.is_on("force"),
                )  # fmt: skip
                await session.refresh(row)
        except InUse as error:
            return await _roll_back_page(pages, visitor, key, fields["version"], error)
        toast = f"Version {row.version} says what version {number} does."
        if row.served_version != row.version:
            toast += f" Version {row.served_version} still runs: a label holds it."
        return go(visitor.request, pages.place(row), toast=toast)

    @router.post(f"{place}/labels")
    async def label(key: str, visitor: RequireUser) -> Response:
        fields = await visitor.fields()
        name = fields.text("label")
        try:
            number = number_of(fields["label_version"]) if fields.text("label_version") else None
            async with changing(visitor.state) as session:
                row = await pages.get(session, key, visitor.actor)
                await pages.label(
                    visitor.state, session, row.id, name, number, actor=visitor.actor,
                    force=fields.is_on("force"),
                )  # fmt: skip
        except AieyeError as error:
            if isinstance(error, Forbidden) or (error.status == 404 and error.param is None):
                raise
            return await _list_page(pages, visitor, key, error=error, typed=fields)
        said = f"“{name}” is taken away." if number is None else f"“{name}” names version {number}."
        return go(visitor.request, f"{pages.place(row)}/versions", toast=said)


def number_of(text: str) -> int:
    """The number of a version. Raises `NotFound` for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) <= LARGEST_ID):
        raise NotFound("There is no such version.", param="version")
    return int(text)


async def _list_page(
    pages: VersionPages,
    visitor: Visitor,
    key: str,
    *,
    before: int | None = None,
    error: AieyeError | None = None,
    typed: Fields | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        row = await pages.get(session, key, visitor.actor)
        found = await shown_versions(pages, visitor, session, row, before=before, limit=PAGE + 1)
    return page(
        visitor.request,
        "versions.html",
        status=error.status if error else 200,
        row=row,
        crumbs=crumbs_of(pages, row),
        next=next_cursor(found, key=lambda one: one.number),
        label_error=_reason(error),
        is_in_use=isinstance(error, InUse),
        label=typed.text("label") if typed else "",
        label_version=typed.text("label_version") if typed else "",
        **version_values(pages, visitor, row, found[:PAGE]),
    )


async def _difference_page(pages: VersionPages, visitor: Visitor, key: str) -> Response:
    async with visitor.state.database.read() as session:
        row = await pages.get(session, key, visitor.actor)
        base, head = _asked(visitor, row)
        one = await _said(pages, visitor, session, row, base)
        other = await _said(pages, visitor, session, row, head)
        versions = await shown_versions(pages, visitor, session, row, limit=PAGE)
    return page(
        visitor.request,
        "version_difference.html",
        row=row,
        crumbs=crumbs_of(pages, row),
        base=base,
        head=head,
        rows=side_by_side(one[0], other[0]),
        changes=changed_fields(one[1], other[1]),
        numbers=_choices(versions, base, head),
        **version_values(pages, visitor, row, versions),
    )


async def _said(
    pages: VersionPages, visitor: Visitor, session: AsyncSession, row: Row, number: int
) -> Any:
    return await pages.compared(visitor.state, session, row.id, number, actor=visitor.actor)


def _asked(visitor: Visitor, row: Row) -> tuple[int, int]:
    """The versions that the URL names; by default the newest and the one before it."""
    here = visitor.here
    head = number_of(here.get("head")) if here.get("head") else row.version
    base = number_of(here.get("base")) if here.get("base") else max(1, head - 1)
    return base, head


def _choices(versions: Sequence[Any], *shown: int) -> Sequence[tuple[str, str]]:
    """The versions to choose from: the newest ones, and those that are shown."""
    words = {one.number: ", ".join(one.labels) for one in versions}
    numbers = sorted({*words, *shown}, reverse=True)
    return [
        (str(number), f"Version {number}" + (f" · {words[number]}" if words.get(number) else ""))
        for number in numbers
    ]


async def _roll_back_page(
    pages: VersionPages, visitor: Visitor, key: str, version: str, error: InUse | None = None
) -> Response:
    number = number_of(version)
    async with visitor.state.database.read() as session:
        row = await pages.get(session, key, visitor.actor)
        require_own(OWNED[pages.kind].thing(row), visitor.actor)
        if number > row.version:
            raise NotFound(f"There is no version {number}.", param="version")
    return page(
        visitor.request,
        "version_rollback.html",
        status=error.status if error else 200,
        row=row,
        place=pages.place(row),
        crumbs=crumbs_of(pages, row),
        number=number,
        reason=_reason(error),
    )


def crumbs_of(pages: VersionPages, row: Row) -> Sequence[tuple[str, str]]:
    """The way to the thing, above its pages."""
    return [(pages.path, f"{pages.kind}s".capitalize()), (pages.place(row), row.name)]


def _reason(error: AieyeError | None) -> str:
    if error is None:
        return ""
    return error.reason if isinstance(error, InUse) else error.message
