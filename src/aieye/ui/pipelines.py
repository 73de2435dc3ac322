"""Pipelines: what there is, how each went lately, and everything about one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor
from aieye.db.cursors import number_after
from aieye.db.tables import Execution, Pipeline, PipelineVersion
from aieye.errors import AieyeError
from aieye.pipeline import service as pipelines
from aieye.pipeline.broken import find_broken
from aieye.pipeline.lists import Runs, common_tags, last_runs, runs_since
from aieye.pipeline.models import SavedPipeline
from aieye.pipeline.repository import has_tag, tags_of
from aieye.pipeline.run_queries import find_execution
from aieye.pipeline.steps import Plan
from aieye.state import State
from aieye.ui import plan_picture
from aieye.ui.calling import curl_of, sdk_of
from aieye.ui.executions import last_runs as last_runs_of
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.marks import marks_of
from aieye.ui.owned import OWNED, callers_of, owner_name
from aieye.ui.pages import PageRoute, page
from aieye.ui.payers import payers_of
from aieye.ui.run_arguments import fields_of, typed_of
from aieye.ui.running import CACHE_MODES
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.shown_runs import ShownRun, shown_run
from aieye.ui.version_pages import add_version_pages
from aieye.ui.versions import VersionPages

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_LONGEST_TEXT = 100
_MOST_TAGS = 30
LATELY = timedelta(days=30)
NO_RUNS = Runs()
WHOSE: Mapping[str, str] = {"mine": "Mine", "shared": "Shared"}
SAMPLE = "param text: str;\nuppercase(trim(text))\n"


@dataclass(frozen=True, slots=True)
class ListedPipeline:
    """A pipeline as the list shows it; `last` is None where it never ran. What `is_broken` cannot run
    as it is, whatever became of its last run."""

    pipeline: Pipeline
    owner: str
    tags: Sequence[str]
    last: ShownRun | None
    lately: Runs
    is_broken: bool

    @property
    def id(self) -> int:
        return self.pipeline.id


@router.get("/pipelines")
async def show_pipelines(visitor: RequireUser, cursor: Cursor = None) -> Response:
    """One's own and those that are shared, for administrators everybody's; the newest first."""
    here, actor = visitor.here, visitor.actor
    text, tag = _printable(here.get("q")), _printable(here.get("tag")) or None
    whose = here.get("whose") if here.get("whose") in WHOSE else None
    async with visitor.state.database.read() as session:
        found = await authored.list_newest(
            session, Pipeline, actor=actor, text=text, whose=cast(authored.Whose | None, whose),
            where=None if tag is None else has_tag(tag), before=number_after(cursor), limit=PAGE + 1,
        )  # fmt: skip
        ids = [row.id for row, _ in found[:PAGE]]
        tags = await tags_of(session, ids)
        last = await last_runs(session, ids, actor=actor)
        lately = await runs_since(session, ids, visitor.now - LATELY, actor=actor)
        known = await common_tags(session, actor=actor, limit=_MOST_TAGS)
        deleted = await OWNED["pipeline"].list_deleted(session, actor)
        broken = await find_broken(
            session, visitor.state.function_catalogue(), [row for row, _ in found[:PAGE]]
        )
    rows = [
        ListedPipeline(
            row, owner.email, tags.get(row.id, ()), _shown(last.get(row.id)),
            lately.get(row.id, NO_RUNS), row.id in broken,
        )
        for row, owner in found[:PAGE]
    ]  # fmt: skip
    return page(
        visitor.request, "pipelines.html", rows=rows, tags=known, tag=tag, whose=whose,
        all_whose=WHOSE, next=next_cursor(found, key=lambda one: one[0].id), deleted=deleted,
        is_filtered=bool(text or tag or whose), sample=SAMPLE,
    )  # fmt: skip


def _printable(text: str) -> str:
    return "".join(char for char in text.strip()[:_LONGEST_TEXT] if char.isprintable())


def _shown(row: Execution | None) -> ShownRun | None:
    return None if row is None else shown_run(row)


class PipelinePages(VersionPages):
    """The pages about the versions of pipelines."""

    kind = "pipeline"
    version = PipelineVersion
    owner = "pipeline_id"

    async def compared(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor
    ) -> tuple[str, Mapping[str, Any]]:
        saved = await pipelines.get_pipeline(
            session, state.function_catalogue(), row_id, actor=actor, version=number
        )
        return saved.source, {"args": [one.name for one in saved.arguments]}

    async def roll_back(
        self, state: State, session: AsyncSession, row_id: int, number: int, *, actor: Actor,
        force: bool,
    ) -> None:  # fmt: skip
        await pipelines.roll_back(
            session, state.function_catalogue(), row_id, number, actor=actor, force=force
        )

    async def label(
        self, state: State, session: AsyncSession, row_id: int, label: str, number: int | None, *,
        actor: Actor, force: bool,
    ) -> None:  # fmt: skip
        await pipelines.label_version(
            session, state.function_catalogue(), row_id, label, number, actor=actor, force=force
        )


PAGES = PipelinePages()
add_version_pages(router, PAGES)


@router.get("/pipelines/{pipeline_id}")
async def show_pipeline(pipeline_id: int, visitor: RequireUser) -> Response:
    """One pipeline with its plan, the form that runs it, and its last runs; another's is 404.

    `?again=` fills the form with the arguments of a run.
    """
    return await pipeline_page(visitor, pipeline_id)


async def pipeline_page(
    visitor: Visitor,
    pipeline_id: int,
    *,
    block: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    error: str = "",
    **values: Any,
) -> Response:
    """The page of a pipeline, its form with what was typed and what is wrong with it."""
    state, actor = visitor.state, visitor.actor
    async with state.database.read() as session:
        saved = await pipelines.get_pipeline(
            session, state.function_catalogue(), pipeline_id, actor=actor
        )
        runs = await last_runs_of(visitor, session, saved.id)
        callers = await callers_of(session, "pipeline", saved.id, actor)
        owner = await owner_name(session, saved.user_id)
        payers = await payers_of(session, visitor)
        again = await _again(visitor, session, saved)
    plan = await _plan(visitor, saved)
    parameters = saved.arguments if plan is None else plan.parameters
    picture = None if plan is None else plan_picture.picture_of(plan)
    return page(
        visitor.request, "pipeline.html", block=block, status=status, headers=headers,
        saved=saved, owner=owner, callers=callers, runs=runs,
        is_own=saved.user_id == visitor.user_id, may_change=actor.may_see(saved.user_id),
        marks=marks_of(saved.diagnostics, saved.source, saved.name), can_run=plan is not None,
        picture=None if picture is None else plan_picture.draw(
            picture, title=plan_picture.describe(picture)
        ),
        steps_left_out=0 if picture is None else picture.left_out,
        fields=fields_of(parameters, again if typed is None else typed, errors),
        payers=payers, typed=typed or {}, run_error=error, payer_error=(errors or {}).get("payer", ""),
        cache_modes=CACHE_MODES,
        curl=curl_of(str(state.settings.base_url), saved.id, parameters),
        sdk=sdk_of(str(state.settings.base_url), saved.name, parameters),
        **{"explained": None} | values,
    )  # fmt: skip


async def _again(
    visitor: Visitor, session: AsyncSession, saved: SavedPipeline
) -> Mapping[str, str] | None:
    """What would be typed for the arguments of the run that `?again=` names."""
    wanted = visitor.here.get("again")
    if not wanted:
        return None
    row = await find_execution(session, wanted, actor=visitor.actor)
    return typed_of(saved.arguments, row.arguments) if row.pipeline_id == saved.id else None


async def _plan(visitor: Visitor, saved: SavedPipeline) -> Plan | None:
    """The plan of the version that runs; None where it cannot run."""
    try:
        return await visitor.state.pipelines.plan(
            visitor.state.pipelines.get(saved.id, visitor.actor)
        )
    except AieyeError:
        return None
