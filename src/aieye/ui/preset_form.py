"""The form of a preset, one for each type: its messages and documents are rows, added, moved and taken
out without scripts too. A button other than Save sends the form back with its rows changed and stores
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.uses import InUse
from aieye.db.tables import Preset as PresetRow
from aieye.errors import AieyeError, Forbidden, NotFound
from aieye.presets import repository
from aieye.presets import service as presets
from aieye.presets.fields import MOST_DOCUMENTS, OVERRIDABLE, TYPES, PresetType
from aieye.presets.models import Preset
from aieye.presets.precedence import USUAL
from aieye.ui.fields import Fields
from aieye.ui.forms import no_errors, under_its_field
from aieye.ui.model_choices import offered_models
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.preset_values import (
    AS_JSON,
    MORE,
    ROLES,
    ROWS,
    Message,
    Typed,
    new_config,
    overridables,
    read,
    shown,
    typed_in,
)
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MOST_MESSAGES: Final = 100
# How a check speaks of one of several rows.
_ROW: Final = re.compile(r"the one at (\d+) is not: it (.+)\)\.")
RowT = TypeVar("RowT")


@router.get("/presets/new")
async def choose_type(visitor: RequireUser) -> Response:
    """Which type it is to be: that stays."""
    return page(visitor.request, "preset_types.html")


@router.get("/presets/new/{type_}")
async def show_new(type_: PresetType, visitor: RequireUser) -> Response:
    """An empty form, or with `?from=ID` one as that preset says."""
    config, name = new_config(type_), ""
    if source := visitor.here.get("from"):
        async with visitor.state.database.read() as session:
            preset = await presets.get_preset(session, source, actor=visitor.actor)
            if preset.type != type_:
                raise NotFound(f"There is no {type_} preset {source[:100]!r}.")
            config = await presets.shown_config(session, preset)
    return await _form(visitor, type_, None, shown(type_, config), {"name": name})


@router.post("/presets/new/{type_}")
async def create(type_: PresetType, visitor: RequireUser) -> Response:
    """Make it, or change the form's rows."""
    fields = await visitor.fields()
    typed = typed_in(type_, fields)
    if (act := fields.get("act", "save")) != "save":
        return await _form(visitor, type_, None, rearranged(typed, act), fields)
    try:
        config = read(type_, typed)
        async with changing(visitor.state) as session:
            preset = await presets.create_preset(
                session, name=fields.text("name"), type_=type_, config=config,
                shared=fields.is_on("shared"), actor=visitor.actor,
            )  # fmt: skip
    except AieyeError as error:
        return await _form(visitor, type_, None, typed, fields, error)
    return go(visitor.request, f"/presets/{preset.uid}", toast=f"“{preset.name}” was made.")


@router.get("/presets/{uid}/edit")
async def show_edit(uid: str, visitor: RequireUser) -> Response:
    """The form as the newest version says."""
    row, preset, config = await _find(visitor, uid)
    values = {"name": row.name, "shared": "on" if row.is_shared else ""}
    return await _form(visitor, preset.type, row, shown(preset.type, config), values)


@router.post("/presets/{uid}/edit")
async def save(uid: str, visitor: RequireUser) -> Response:
    """Change what differs, or the form's rows."""
    fields = await visitor.fields()
    row, preset, config = await _find(visitor, uid)
    typed = typed_in(preset.type, fields)
    if (act := fields.get("act", "save")) != "save":
        return await _form(visitor, preset.type, row, rearranged(typed, act), fields)
    try:
        changes = presets.PresetChanges(config=read(preset.type, typed, config))
        async with changing(visitor.state) as session:
            # A row of a change that fails can be read no more: the form shows the one from before.
            current = await session.get_one(PresetRow, row.id)
            require_version(current, fields)
            name = fields.text("name")
            if name != current.name:
                changes["name"] = name
            saved = await presets.update_preset(
                session, uid, changes, actor=visitor.actor, force=fields.is_on("force")
            )
    except AieyeError as error:
        if isinstance(error, NotFound) and error.param is None:
            raise
        return await _form(visitor, preset.type, row, typed, fields, error)
    return go(visitor.request, f"/presets/{uid}", toast=_said(preset, saved))


def rearranged(typed: Typed, act: str) -> Typed:
    """The form after `messages:add`, `documents:remove:N`, `messages:up:N`; others change nothing."""
    rows, _, rest = act.partition(":")
    if rows == "messages":
        first = typed.messages[-1].role if typed.messages else ""
        new = Message("assistant" if first == "user" else "user" if first else "system")
        return replace(typed, messages=_moved(typed.messages, rest, new, MOST_MESSAGES))
    if rows == "documents":
        return replace(typed, documents=_moved(typed.documents, rest, "", MOST_DOCUMENTS))
    return typed


def _moved(rows: Sequence[RowT], act: str, new: RowT, most: int) -> list[RowT]:
    changed = list(rows)
    verb, _, place = act.partition(":")
    number = int(place) if place.isascii() and place.isdigit() and len(place) < 6 else -1
    if verb == "add" and len(changed) < most:
        changed.append(new)
    elif verb == "remove" and 0 <= number < len(changed):
        del changed[number]
    elif verb in {"up", "down"}:
        other = number + (1 if verb == "down" else -1)
        if min(number, other) >= 0 and max(number, other) < len(changed):
            changed[number], changed[other] = changed[other], changed[number]
    return changed


async def _find(visitor: Visitor, uid: str) -> tuple[PresetRow, Preset, dict[str, Any]]:
    """A preset that the visitor may change, as its newest version says."""
    async with visitor.state.database.read() as session:
        preset = await presets.get_preset(session, uid, actor=visitor.actor)
        if not visitor.actor.may_see(preset.user_id):
            raise Forbidden("Only its owner and administrators change a preset.")
        row = await session.get_one(PresetRow, preset.id)
        return row, preset, await presets.shown_config(session, preset)


def _said(before: Preset, after: Preset) -> str:
    if after.newest == before.newest:
        return f"“{after.name}” was saved. It says what version {after.newest} did."
    said = f"Version {after.newest} of “{after.name}” was saved"
    if after.served_version == after.newest:
        return f"{said} and runs from now on."
    return f"{said}; version {after.served_version} still runs, since “production” names it."


async def _form(
    visitor: Visitor,
    type_: PresetType,
    row: PresetRow | None,
    typed: Typed,
    values: Mapping[str, str],
    error: AieyeError | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        count = await _file_count(session, row)
        errors = await _errors(session, visitor, type_, row, typed, values.get("name", ""), error)
        models = await offered_models(session, visitor)
    chosen = {OVERRIDABLE: list(typed.overridable)}
    act = values.get("act", "") if isinstance(values, Fields) else ""
    return page(
        visitor.request,
        "preset_form.html",
        status=error.status if error else 200,
        type=type_,
        row=row,
        known=TYPES[type_].fields,
        is_open=TYPES[type_].is_open,
        typed=typed,
        texts=dict.fromkeys((*TYPES[type_].fields, MORE, "prompt_as_json"), "") | dict(typed.texts),
        values={"name": "", "shared": ""} | dict(values),
        errors=errors,
        is_in_use=isinstance(error, InUse),
        row_version=version_of(row) if row else "",
        models=models,
        roles=[*ROLES, (AS_JSON, "as JSON")],
        overridables=overridables(type_, chosen),
        usual=USUAL,
        most_documents=MOST_DOCUMENTS,
        most_messages=MOST_MESSAGES,
        file_count=count,
        added=act.partition(":")[0] if act.endswith(":add") else "",
    )


def _placed(param: str, message: str) -> tuple[str, str]:
    """Where the form shows an error, and in its words: programs are told the names of fields."""
    if param in ROWS and (row := _ROW.search(message)):
        return f"{param}.{row[1]}", f"This {row[2]}."
    if param == "config":
        return param, message.replace("config ", "The configuration ", 1)
    return param, under_its_field(message, param)


async def _file_count(session: AsyncSession, row: PresetRow | None) -> int:
    """How many documents came from a file, of which the form shows none."""
    if row is None:
        return 0
    preset = Preset.of(row, await repository.get_version(session, row, row.version))
    count = preset.document_count or 0
    return count if count > MOST_DOCUMENTS else 0


async def _errors(
    session: AsyncSession,
    visitor: Visitor,
    type_: PresetType,
    row: PresetRow | None,
    typed: Typed,
    name: str,
    error: AieyeError | None,
) -> Mapping[str, str]:
    """The error under its field, and of what somebody changed meanwhile both values."""
    rows = [f"messages.{n}" for n in range(len(typed.messages))]
    rows += [f"documents.{n}" for n in range(len(typed.documents))]
    names = ("name", *TYPES[type_].fields, MORE, *rows)
    errors = dict(no_errors(*names))
    if error is None:
        return errors
    message = error.reason if isinstance(error, InUse) else error.message
    param, said = _placed((error.param or "").removeprefix("config."), message)
    if param not in names and TYPES[type_].is_open and error.param != "config" and param:
        param = MORE
    errors[param if param in names else "form"] = said
    if isinstance(error, ChangedMeanwhile) and row is not None:
        preset = await presets.get_preset(session, row.uid, actor=visitor.actor)
        now = shown(type_, await presets.shown_config(session, preset))
        errors |= differences({"name": preset.name, **now.texts}, {**typed.texts, "name": name})
        for rows_name in ("messages", "documents"):
            if list(getattr(now, rows_name)) != list(getattr(typed, rows_name)):
                errors[rows_name] = (
                    "Stored now are others: look at the preset before you save these."
                )
    return errors
