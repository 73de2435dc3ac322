"""A pipeline run from its page, or looked through before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fastapi import APIRouter, Response

from aieye.access.snapshot import Grant, PipelineInfo
from aieye.errors import AieyeError
from aieye.pipeline.language.values import Json
from aieye.pipeline.steps import Plan
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of
from aieye.ui.pages import PageRoute, is_fragment
from aieye.ui.payers import grant_of
from aieye.ui.pipelines import pipeline_page
from aieye.ui.run_arguments import NEEDED, read_arguments
from aieye.ui.running import INTO_FORM, answer, read_cache_mode
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/pipelines/{pipeline_id}/run")
async def run_pipeline(pipeline_id: int, visitor: RequireUser) -> Response:
    """Run it with what the form says, or explain that, as the button said."""
    state, fields = visitor.state, await visitor.fields()
    info = state.pipelines.get(pipeline_id, visitor.actor)
    is_explain = fields.get("act") == "explain"
    try:
        plan = await state.pipelines.plan(info)
        given = read_arguments(plan.parameters, fields)
        missing = {} if is_explain else dict.fromkeys(given.missing, NEEDED)
        if given.errors or missing:
            return await _refused(visitor, pipeline_id, fields, {**given.errors, **missing})
        grant = await grant_of(visitor, fields.text("payer"))
        if is_explain:
            return await _explained(visitor, info, plan, given.values, grant, fields)
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _refused(visitor, pipeline_id, fields, errors_of(error, "payer"))
    options = state.pipelines.options(cache=read_cache_mode(fields))
    return await answer(
        visitor,
        lambda run_id, tell: state.pipelines.run(
            info, given.values, grant, replace(options, on_step=tell), run_id=run_id
        ),
        given.remark,
    )


async def _explained(
    visitor: Visitor, info: PipelineInfo, plan: Plan, values: Mapping[str, Json], grant: Grant,
    fields: Fields,
) -> Response:  # fmt: skip
    explained = await visitor.state.pipelines.explain(
        plan, values, grant, info=info, cache=read_cache_mode(fields)
    )
    return await pipeline_page(visitor, info.id, typed=fields, explained=explained)


async def _refused(
    visitor: Visitor, pipeline_id: int, fields: Fields, errors: Mapping[str, str]
) -> Response:
    return await pipeline_page(
        visitor, pipeline_id, block="run_form" if is_fragment(visitor.request) else None,
        status=422, headers=INTO_FORM, typed=fields, errors=errors, error=errors.get("form", ""),
    )  # fmt: skip
