"""`/api/v1/pipelines/check` and `/format`: a text looked at without saving it, and what is wrong."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from aieye.api.deps import CurrentActor, CurrentState, Reading
from aieye.api.resources import resource_router
from aieye.api.schemas import Answers, ErrorBody, Label, View, WriteModel, answers
from aieye.pipeline import service as pipelines
from aieye.pipeline.apart import apart, is_large
from aieye.pipeline.checking import Checked
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from aieye.pipeline.language.tree import write_tree

router = resource_router("pipelines")

# The language says itself how much is too much, with a diagnostic.
Source = Annotated[str, Field(description="The text of a pipeline.")]

DIAGNOSTIC = {
    "code": "W609",
    "severity": "warning",
    "message": "positional argument after a keyword",
    "line": 1,
    "column": 14,
    "end_line": 1,
    "end_column": 15,
    "offset": 13,
    "length": 1,
    "hint": "use keywords",
}
CHECK_EXAMPLE = {
    "diagnostics": [DIAGNOSTIC],
    "args": ["x", "y"],
    "tree": "(call two (x= (name x)) (#1 (name y)))",
    "source": "two(x=x, y)\n",
}
SOURCE: dict[str, Any] = {"source": "uppercase(prompt_buddy(buddy))"}


class DiagnosticView(View):
    """What was found in a text, and where: lines and columns from 1, offsets from 0.

    A code with E is an error, one with W a warning. What stands nowhere has no place.
    """

    code: str
    severity: str
    message: str
    line: int | None
    column: int | None
    end_line: int | None
    end_column: int | None
    offset: int | None
    length: int | None
    hint: str | None


class InvalidPipelineBody(ErrorBody):
    """The body of an error; of a pipeline that is refused it says all that is wrong."""

    diagnostics: list[DiagnosticView] | None = None


INVALID: Answers = {422: {"model": InvalidPipelineBody}}


class PipelineCheck(WriteModel):
    """A text to look at, as if it was saved under `name`."""

    source: Source
    name: Label | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [SOURCE]})


class PipelineFormat(WriteModel):
    """A text to write canonically."""

    source: Source

    model_config = ConfigDict(json_schema_extra={"examples": [SOURCE]})


class CheckedView(View):
    """What saving a text would find; `tree` and `source` are null after a syntax error."""

    diagnostics: list[DiagnosticView]
    args: list[str]
    tree: str | None
    source: str | None = Field(description="Written canonically.")


class FormattedView(View):
    """A text, written canonically."""

    source: str


@router.post(
    "/check", operation_id="pipelines_check", summary="Check a text",
    responses=answers(CHECK_EXAMPLE),
)  # fmt: skip
async def check_pipeline(
    body: PipelineCheck, caller: CurrentActor, state: CurrentState, session: Reading
) -> CheckedView:
    """Says all that is wrong with a text, which is not saved."""
    checked = await pipelines.check_source(
        session, state.function_catalogue(), body.source, actor=caller, name=body.name
    )
    return await apart(is_large(body.source), _view, checked)


@router.post(
    "/format", operation_id="pipelines_format", summary="Write a text canonically",
    responses={**answers({"source": "f(x, y=1)\n"}), **INVALID},
)  # fmt: skip
async def format_source(body: PipelineFormat, _caller: CurrentActor) -> FormattedView:
    """The same pipeline in the one form that is written so by everybody; comments are kept."""
    written = await apart(is_large(body.source), lambda: format_pipeline(parse(body.source)))
    return FormattedView(source=written)


def _view(checked: Checked) -> CheckedView:
    tree = checked.tree
    return CheckedView(
        diagnostics=[DiagnosticView.model_validate(one) for one in checked.diagnostics],
        args=checked.arguments,
        tree=None if tree is None else write_tree(tree),
        source=None if tree is None else format_pipeline(tree),
    )
