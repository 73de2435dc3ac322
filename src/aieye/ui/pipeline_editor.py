"""What the editor of a pipeline asks: what is wrong with a text, its canonical form, and how it may go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from aieye.access.authored import owner_of_new
from aieye.errors import AieyeError
from aieye.functions.registry import described_by_hand
from aieye.pipeline import service as pipelines
from aieye.pipeline.checking import Checked
from aieye.pipeline.completing import describe_callable, find_callables
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from aieye.ui import plan_picture
from aieye.ui.marks import Mark, marks_of
from aieye.ui.pages import PageRoute, part
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.show import without_code

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_MOST_COMPLETIONS: Final = 60
_LONGEST_PREFIX: Final = 100


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in the text of the form; `picture` is empty where there is no plan."""

    marks: Sequence[Mark] = ()
    arguments: Sequence[str] = ()
    picture: str = ""
    steps_left_out: int = 0
    is_looked: bool = False

    @property
    def errors(self) -> int:
        return sum(one.severity == "error" for one in self.marks)


@router.post("/pipelines/check")
async def check(visitor: RequireUser) -> Response:
    """What is wrong with a text, for the editor: its marks, and the parts of the page beside it."""
    fields = await visitor.fields()
    looked = await look(visitor, fields.get("source", ""), fields.text("name"))
    request = visitor.request
    return JSONResponse(
        {
            "diagnostics": [one.as_json() for one in looked.marks],
            "parts": {
                name: part(request, "pipeline_form.html", name, looked=looked)
                for name in ("problems", "picture")
            },
        }
    )


@router.post("/pipelines/format")
async def format_source(visitor: RequireUser) -> Response:
    """A text in its canonical form; without `source` where it is none of the language."""
    source = (await visitor.fields()).get("source", "")
    found = formatted(source)
    return JSONResponse({} if found is None else {"source": found})


@router.get("/pipelines/names")
async def complete(visitor: RequireUser, q: str = "", name: str = "") -> Response:
    """What a pipeline of the visitor's may call: what begins with `q`, or what is called `name`."""
    state = visitor.state
    async with state.database.read() as session:
        owner_id = await owner_of_new(session, visitor.actor)
        found = await find_callables(
            session, state.function_catalogue(), owner_id, prefix=q[:_LONGEST_PREFIX],
            name=name[:_LONGEST_PREFIX], limit=_MOST_COMPLETIONS,
        )  # fmt: skip
        by_hand = await described_by_hand(session, [one.name for one in found])
    docs = {one.name: one.doc for one in state.functions.current.values()} | by_hand
    return JSONResponse(
        [describe_callable(one, without_code(docs.get(one.name, ""))) for one in found]
    )


async def look(visitor: Visitor, source: str, name: str = "") -> Looked:
    """What saving the text would find, and its plan."""
    state = visitor.state
    async with state.database.read() as session:
        checked = await pipelines.check_source(
            session, state.function_catalogue(), source, actor=visitor.actor, name=name or None
        )
    picture, left_out = await _picture(visitor, checked)
    marks = marks_of(checked.diagnostics, source, name)
    return Looked(marks, checked.arguments, picture, left_out, is_looked=True)


async def _picture(visitor: Visitor, checked: Checked) -> tuple[str, int]:
    tree, analysis = checked.tree, checked.analysis
    if tree is None or analysis is None or not analysis.is_valid:
        return "", 0
    try:
        plan = await visitor.state.pipelines.plan_of_tree(tree, analysis, visitor.actor)
    except AieyeError:
        # What it calls cannot run by now: the text itself is in order.
        return "", 0
    picture = plan_picture.picture_of(plan)
    drawn = plan_picture.draw(picture, title=plan_picture.describe(picture))
    return drawn, picture.left_out


def formatted(source: str) -> str | None:
    """The text in its canonical form; None where it is none of the language."""
    try:
        return format_pipeline(parse(source))
    except InvalidPipeline:
        return None
