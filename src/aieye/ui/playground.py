"""The playground: a question to up to three models side by side, answered as it comes.

Without scripts the same form is sent, and the page comes back with the whole answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.db.rows import find_living
from aieye.db.tables import Preset, Prompt
from aieye.errors import AieyeError
from aieye.prompts import service as prompts
from aieye.ui.fields import Fields
from aieye.ui.forms import under_its_field
from aieye.ui.model_choices import offered_models
from aieye.ui.pages import PageRoute, page, part
from aieye.ui.payers import grant_of, payers_of
from aieye.ui.playground_changes import changed
from aieye.ui.playground_figures import cut_off, figures_of
from aieye.ui.playground_form import (
    MOST_COLUMNS,
    MOST_MESSAGES,
    ROLES,
    Column,
    Play,
    content_of,
    read_play,
    request_for,
)
from aieye.ui.playground_run import Trial, TrialStream
from aieye.ui.playground_sources import from_call, from_preset, from_prompt
from aieye.ui.prompt_form import content_values, show_form, stored_values
from aieye.ui.running import CACHE_MODES, read_cache_mode
from aieye.ui.session import RequireUser, Visitor
from aieye.waiting import unless_gone

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_MOST_SOURCES = 8
# What a column's own fields are called in errors, and what the fields of all are called on the page.
_FIELDS = ("model", "temperature", "max_tokens", "params")
_LABELS = {"body": "Prompt", "schema": "JSON schema", "payer": "Paid by"}
# What the part of the page with a trial's outcome says it in.
_WORDS: Mapping[str, Any] = {"figures_of": figures_of, "cut_off": cut_off}


@dataclass(frozen=True, slots=True)
class Shown:
    """A column with what came of it: nothing yet, an answer, or why it could not be asked; `wrong` is
    the field of it that the error is about, `before` what was answered earlier."""

    column: Column
    trial: Trial | None = None
    error: str = ""
    wrong: str = ""
    before: str = ""

    @classmethod
    def refused(cls, column: Column, error: AieyeError) -> Shown:
        name = (error.param or "").removeprefix("params.")
        said = under_its_field(error.message, name)
        if name in _LABELS:
            said = f"{_LABELS[name]}: {said[:1].lower()}{said[1:]}"
        return cls(column, error=said, wrong=name if name in _FIELDS else "")

    @property
    def answer(self) -> str:
        return self.trial.text if self.trial else self.before

    @property
    def is_refused(self) -> bool:
        return bool(self.error or (self.trial and self.trial.error))


@router.get("/playground")
async def show_playground(visitor: RequireUser) -> Response:
    """Empty, or as `?prompt=`, `?preset=` or `?call=` say; `?model=`, repeated, are the columns."""
    here = visitor.here
    async with visitor.state.database.read() as session:
        if here.get("prompt"):
            play = await from_prompt(session, visitor, here.get("prompt"), here.get("version"))
        elif here.get("preset"):
            play = await from_preset(session, visitor, here.get("preset"))
        elif here.get("call"):
            play = await from_call(session, visitor, here.get("call"))
        else:
            play = Play(mode="prompt" if here.get("as") == "prompt" else "messages")
    models = [value for name, value in here.params if name == "model"][:MOST_COLUMNS]
    if models:
        first = play.columns[0]
        play = replace(play, columns=[replace(first, model=model[:200]) for model in models])
    return await _page(visitor, play)


@router.post("/playground")
async def act(visitor: RequireUser) -> Response:
    """Run without scripts, or change the form: another column, another message, another mode."""
    fields = await visitor.fields()
    play = _read(fields)
    name = fields.get("act", "run")
    kind, _, place = name.partition(":")
    if kind != "run":
        return await _page(visitor, changed(play, name))
    shown = [
        await _asked(visitor, play, one.column) if place in {"", str(at)} else one
        for at, one in enumerate(_unasked(play))
    ]
    trials = [one.trial for one in shown if one.trial is not None]
    if trials:
        await unless_gone(
            visitor.request,
            _all(trials),
            at_leaving=partial(_left, trials),
        )
    return await _page(visitor, play, shown)


@router.post("/playground/stream")
async def stream(visitor: RequireUser) -> Response:
    """One column asked: its answer as events, and at the end its cost and times."""
    play = _read(await visitor.fields())
    shown = await _asked(visitor, play, play.columns[0])
    if shown.trial is None:
        return page(
            visitor.request, "playground_outcome.html", block="outcome", status=422,
            error=shown.error, wrong=shown.wrong, trial=None, **_WORDS,
        )  # fmt: skip
    request = visitor.request

    def finish(trial: Trial) -> str:
        return part(
            request, "playground_outcome.html", "outcome", error=trial.error, wrong="", trial=trial,
            **_WORDS,
        )  # fmt: skip

    return TrialStream(request, shown.trial, finish)


@router.post("/playground/variables")
async def show_values(visitor: RequireUser) -> Response:
    """The fields for the variables of what is being typed, with what was typed into them."""
    play = _read(await visitor.fields())
    return page(visitor.request, "playground_values.html", block="values", play=play)


@router.post("/playground/draft")
async def try_draft(visitor: RequireUser) -> Response:
    """The playground with a prompt as its form says, saved or not."""
    fields = await visitor.fields()
    column = Column(
        fields.text("model"), fields.text("temperature"), fields.text("max_tokens"),
        fields.get("params", ""),
    )  # fmt: skip
    play = replace(
        read_play(fields), mode="prompt", columns=[column], prompt_id=visitor.here.get("prompt"),
        row_version=fields.get("version", ""), note="as it stands in the form, nothing of it saved",
    )  # fmt: skip
    return await _page(visitor, play)


@router.post("/playground/save")
async def save(visitor: RequireUser) -> Response:
    """The form of a prompt with what was tried: of a new one, or of the one that it began with."""
    fields = await visitor.fields()
    kind, _, place = fields.get("act", "").partition(":")
    play = changed(_read(fields), "mode:prompt")
    number = int(place) if place.isascii() and place.isdigit() and len(place) < 3 else 0
    column = play.columns[min(number, len(play.columns) - 1)]
    try:
        values = content_values(content_of(play, column))
    except AieyeError as error:
        shown = [Shown.refused(one, error) if one is column else Shown(one) for one in play.columns]
        return await _page(visitor, play, shown, status=error.status)
    async with visitor.state.database.read() as session:
        row = await _prompt_of(session, visitor, play) if kind == "version" else None
        if row is None or not visitor.actor.may_see(row.user_id):
            return await show_form(visitor, None, values, note=play.note)
        stored = stored_values(await prompts.get_prompt(session, row.id, actor=visitor.actor))
    return await show_form(
        visitor, row, {**stored, **values}, row_version=play.row_version, note=play.note
    )


def _read(fields: Fields) -> Play:
    return replace(read_play(fields), cache=read_cache_mode(fields))


async def _asked(visitor: Visitor, play: Play, column: Column) -> Shown:
    """The column with its trial, or with why there can be none."""
    try:
        request = request_for(play, column)
        grant = await grant_of(visitor, play.payer)
        return Shown(column, Trial(visitor.state, grant, request, play.cache))
    except AieyeError as error:
        return Shown.refused(column, error)


def _unasked(play: Play) -> Sequence[Shown]:
    """The columns as they are before they are asked, with what was answered earlier."""
    before = [*play.answers, *[""] * len(play.columns)]
    return [Shown(one, before=said) for one, said in zip(play.columns, before, strict=False)]


def _left(trials: Sequence[Trial]) -> None:
    for trial in trials:
        trial.left()


async def _all(trials: Sequence[Trial]) -> None:
    async def quiet(_: str) -> None:
        """The whole answer is shown at once."""

    await asyncio.gather(*(trial.run(quiet) for trial in trials))


async def _page(
    visitor: Visitor, play: Play, shown: Sequence[Shown] = (), *, status: int = 0
) -> Response:
    async with visitor.state.database.read() as session:
        models = await offered_models(session, visitor)
        prompt = await _prompt_of(session, visitor, play)
        sources = await _sources(session, visitor)
        payers = await payers_of(session, visitor)
    failed = any(one.error for one in shown)
    return page(
        visitor.request,
        "playground.html",
        status=status or (422 if failed else 200),
        play=play,
        columns=shown or _unasked(play),
        trials=any(one.trial for one in shown),
        **_WORDS,
        models=models,
        payers=payers,
        cache_modes=CACHE_MODES,
        roles=ROLES,
        most_columns=MOST_COLUMNS,
        most_messages=MOST_MESSAGES,
        prompt=prompt,
        may_save=prompt is not None and visitor.actor.may_see(prompt.user_id),
        **sources,
    )


async def _prompt_of(session: AsyncSession, visitor: Visitor, play: Play) -> Prompt | None:
    if not (play.prompt_id.isascii() and play.prompt_id.isdigit() and len(play.prompt_id) < 11):
        return None
    row = await find_living(session, Prompt, int(play.prompt_id))
    is_visible = row is not None and (row.is_shared or visitor.actor.may_see(row.user_id))
    return row if is_visible else None


async def _sources(session: AsyncSession, visitor: Visitor) -> dict[str, Any]:
    """The newest that a trial can begin with."""
    written = await authored.list_newest(session, Prompt, actor=visitor.actor, limit=_MOST_SOURCES)
    presets = await authored.list_newest(
        session, Preset, actor=visitor.actor, where=Preset.type.in_(("chat", "completion")),
        limit=_MOST_SOURCES,
    )  # fmt: skip
    return {"prompts": [row for row, _ in written], "presets": [row for row, _ in presets]}
