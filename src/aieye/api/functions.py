"""`/api/v1/functions`: what pipelines may call; administrators register and describe what files hold."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from aieye.api.deps import Changing, CurrentActor, CurrentAdministrator, CurrentState, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import PathId, View, WriteModel, answers, omittable, page_example
from aieye.db.tables import RegisteredFunction
from aieye.functions import registry
from aieye.functions.loader import BUILTINS
from aieye.functions.model import describe
from aieye.functions.service import Functions

router = resource_router("functions")

EXAMPLE = {
    "id": 1,
    "name": "split",
    "description": "The parts of a text: its words, or what its separators part.",
    "docstring": "The parts of the text between the separators, by default white space.",
    "parameters": [
        {"name": "s", "type": "str", "required": True, "default": None},
        {"name": "separator", "type": "str?", "required": False, "default": None},
    ],
    "returns": "list[str]",
    "kind": "builtin",
    "file": "builtins.py",
    "line": 190,
    "runs": "inline",
    "timeout": 5.0,
    "cacheable": False,
    "fault": "custom_a.py:3: SyntaxError: invalid syntax",
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}
SYNC_EXAMPLE = {
    "added": ["slug"],
    "changed": ["greet"],
    "removed": ["old"],
    "failed": [{"file": "custom_a.py", "line": 3, "reason": "SyntaxError: invalid syntax"}],
}


class ParameterView(View):
    """An argument that a function takes. Without a type it takes any value as it is."""

    name: str
    type: str | None
    required: bool
    default: Any


class FunctionView(View):
    """A registered function, as it is now; one that cannot be called as it was registered."""

    id: int
    name: str
    description: str = Field(description="What an administrator says of it, else its docstring.")
    docstring: str
    parameters: list[ParameterView]
    returns: str | None
    kind: Literal["builtin", "custom"]
    file: str
    line: int
    runs: Literal["inline", "thread", "process", "loop"] = Field(
        description="On the server's loop, in a thread, in a worker process, or awaited."
    )
    timeout: float | None = Field(description="Seconds that its author gives it at most.")
    cacheable: bool
    fault: str | None = Field(description="Why it cannot be called at present.")
    created_at: datetime
    updated_at: datetime


class FunctionUpdate(WriteModel):
    """What of a function is to change: what is said of it. Null leaves that to its docstring again."""

    description: Annotated[str, Field(max_length=registry.LONGEST_DESCRIPTION)] | None = omittable()

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"description": "The parts of a text: its words, or what its separators part."}
            ]
        }
    )


class FunctionPage(Page[FunctionView]):
    """A part of the list of functions."""


class FailureView(View):
    """What of a file cannot be used: all of it, or one function."""

    file: str
    line: int | None
    reason: str


class SyncView(View):
    """What a synchronisation did, by name."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    failed: list[FailureView]


@router.get(
    "", operation_id="functions_list", summary="List functions",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_functions(
    _caller: CurrentActor, state: CurrentState, session: Reading, page: CurrentPaging
) -> FunctionPage:
    """The registered functions, the oldest first; everybody may call them in pipelines."""
    rows = await registry.list_functions(session, after=page.after_id(), limit=page.fetch)
    return FunctionPage.of([_view(row, state.functions) for row in rows], page)


@router.get(
    "/{id}", operation_id="functions_get", summary="Get a function",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def get_function(
    function_id: PathId, _caller: CurrentActor, state: CurrentState, session: Reading
) -> FunctionView:
    """One function."""
    return _view(await registry.get_function(session, function_id), state.functions)


@router.patch(
    "/{id}", operation_id="functions_update", summary="Describe a function",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def update_function(
    function_id: PathId, body: FunctionUpdate, caller: CurrentAdministrator, state: CurrentState,
    session: Changing,
) -> FunctionView:  # fmt: skip
    """Lists, pages and the editor of pipelines say it in place of the docstring."""
    if "description" in body.model_fields_set:
        row = await registry.describe_function(session, function_id, body.description, actor=caller)
    else:
        row = await registry.get_function(session, function_id)
    return _view(row, state.functions)


@router.post(
    "/sync", operation_id="functions_sync", summary="Register what is in the files",
    responses=answers(SYNC_EXAMPLE),
)  # fmt: skip
async def sync_functions(caller: CurrentAdministrator, state: CurrentState) -> SyncView:
    """Functions that are new are registered, those that are gone are not any more.

    A file that cannot be used fails alone, and what is registered from it stays.
    """
    return SyncView.model_validate(await state.functions.sync(caller))


def _view(row: RegisteredFunction, functions: Functions) -> FunctionView:
    present = functions.current.get(row.name)
    described = row.definition if present is None else describe(present)
    file = row.file if present is None else present.file
    return FunctionView.model_validate(
        {
            **described,
            "description": row.description or described["doc"],
            "docstring": described["doc"],
            "id": row.id,
            "kind": "builtin" if file == BUILTINS else "custom",
            "file": file,
            "fault": functions.fault(row.name),
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
    )
