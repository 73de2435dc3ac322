"""Functions: what pipelines may call, where it stands, who calls it; tried on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Response

from aieye.access.uses import count_dependants
from aieye.db.cursors import text_after
from aieye.db.tables import RegisteredFunction
from aieye.errors import AieyeError
from aieye.functions import registry
from aieye.functions.lists import FunctionKind, get_named, list_by_name
from aieye.functions.loader import BUILTINS
from aieye.functions.model import describe, read_parameters
from aieye.functions.registry import SyncResult
from aieye.functions.service import Functions
from aieye.pipeline.completing import signature_of
from aieye.pipeline.language.catalogue import Parameter
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.owned import callers_of
from aieye.ui.pages import PageRoute, go, is_fragment, page
from aieye.ui.payers import grant_of, payers_of
from aieye.ui.run_arguments import NEEDED, fields_of, read_arguments
from aieye.ui.running import CACHE_MODES, INTO_FORM, answer, read_cache_mode
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireAdministrator, RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

KINDS: tuple[FunctionKind, ...] = ("builtin", "custom")
_LONGEST_TEXT = 100


@dataclass(frozen=True, slots=True)
class ShownFunction:
    """A function as it is now; one that cannot be called, as it was registered, with the reason."""

    id: int
    name: str
    parameters: Sequence[Parameter]
    returns: str | None
    doc: str
    description: str
    file: str
    line: int
    runs: str
    timeout: float | None
    cacheable: bool
    fault: str | None

    @property
    def kind(self) -> FunctionKind:
        return "builtin" if self.file == BUILTINS else "custom"

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def signature(self) -> str:
        returns = "" if self.returns is None else f" → {self.returns}"
        return signature_of(self.name, self.parameters) + returns

    @property
    def about(self) -> str:
        """The first line of what is said of it."""
        return self.says.strip().partition("\n")[0]

    @property
    def says(self) -> str:
        """What an administrator says of it, else its author."""
        return self.description or self.doc


def shown_function(row: RegisteredFunction, functions: Functions) -> ShownFunction:
    """The function of a row, as its file says by now."""
    present = functions.current.get(row.name)
    described = row.definition if present is None else describe(present)
    return ShownFunction(
        row.id, row.name, read_parameters(described), described["returns"], described["doc"],
        row.description or "", row.file if present is None else present.file,
        described["line"], described["runs"], described["timeout"],
        described["cacheable"], functions.fault(row.name),
    )  # fmt: skip


@router.get("/functions")
async def show_functions(visitor: RequireUser, cursor: Cursor = None) -> Response:
    """The registered functions by name; everybody may call them."""
    return await _list(visitor, cursor)


@router.post("/functions")
async def sync(visitor: RequireAdministrator) -> Response:
    """Register what the files hold, and no longer what they do not; this page says what came of it.

    Its address is the list's: one below it would be that of a function.
    """
    result = await visitor.state.functions.sync(visitor.actor)
    return await _list(visitor, None, result)


@router.get("/functions/{name}")
async def show_function(name: str, visitor: RequireUser) -> Response:
    """One function, with the form that tries it."""
    return await _page(visitor, name)


@router.get("/functions/{name}/describe")
async def show_describe(name: str, visitor: RequireAdministrator) -> Response:
    """The form that says in other words what it does."""
    async with visitor.state.database.read() as session:
        row = await get_named(session, name)
    return _describe_form(visitor, row, {"description": row.description or ""})


@router.post("/functions/{name}/describe")
async def describe_function(name: str, visitor: RequireAdministrator) -> Response:
    """Store what is said of it; nothing leaves that to its docstring again."""
    fields = await visitor.fields()
    async with visitor.state.database.read() as session:
        row = await get_named(session, name)
    try:
        async with changing(visitor.state) as session:
            require_version(await registry.get_function(session, row.id), fields)
            await registry.describe_function(
                session, row.id, fields.text("description"), actor=visitor.actor
            )
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _not_described(visitor, name, fields, error)
    said = "is described." if fields.text("description") else "is described by its docstring."
    return go(visitor.request, f"/functions/{name}", toast=f"“{name}” {said}")


@router.post("/functions/{name}/try")
async def try_function(name: str, visitor: RequireUser) -> Response:
    """Call it as a pipeline of one step does; the call is on record as a run."""
    state, fields = visitor.state, await visitor.fields()
    async with state.database.read() as session:
        function = shown_function(await get_named(session, name), state.functions)
    given = read_arguments(function.parameters, fields)
    errors = {**given.errors, **dict.fromkeys(given.missing, NEEDED)}
    if errors:
        return await _page(visitor, name, fields, errors)
    try:
        plan = await state.pipelines.plan_of_text(_call_of(name, given.values), visitor.actor)
        grant = await grant_of(visitor, fields.text("payer"))
    except AieyeError as error:
        return await _page(visitor, name, fields, errors_of(error, "payer"))
    options = state.pipelines.options(cache=read_cache_mode(fields))
    return await answer(
        visitor,
        lambda run_id, tell: state.pipelines.run_plan(
            plan, given.values, grant, replace(options, on_step=tell), run_id=run_id
        ),
        given.remark,
    )


def _call_of(name: str, values: Mapping[str, Any]) -> str:
    """A pipeline of one step, whose arguments are those of the function."""
    # Declared, since a bare name may be that of something to call.
    params = "".join(f"param {one}; " for one in values)
    return f"{params}{name}({', '.join(f'{one}={one}' for one in values)})"


async def _not_described(
    visitor: Visitor, name: str, fields: Fields, error: AieyeError
) -> Response:
    errors = errors_of(error, "description")
    async with visitor.state.database.read() as session:
        row = await get_named(session, name)
    if isinstance(error, ChangedMeanwhile):
        stored = {"description": row.description or ""}
        errors = {**errors, **differences(stored, fields)}
    return _describe_form(visitor, row, fields, errors, error.status)


def _describe_form(
    visitor: Visitor,
    row: RegisteredFunction,
    typed: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    return page(
        visitor.request, "function_describe.html", status=status, typed=typed,
        function=shown_function(row, visitor.state.functions),
        errors=errors or no_errors("description"), row_version=version_of(row),
        longest=registry.LONGEST_DESCRIPTION,
    )  # fmt: skip


async def _list(visitor: Visitor, cursor: str | None, synced: SyncResult | None = None) -> Response:
    here = visitor.here
    text = "".join(one for one in here.get("q").strip()[:_LONGEST_TEXT] if one.isprintable())
    kind = next((one for one in KINDS if one == here.get("kind")), None)
    async with visitor.state.database.read() as session:
        found = await list_by_name(
            session, text=text, kind=kind, after=text_after(cursor, _LONGEST_TEXT), limit=PAGE + 1
        )
        uses = await count_dependants(session, "function", [row.id for row in found[:PAGE]])
    functions = visitor.state.functions
    return page(
        visitor.request, "functions.html", kind=kind, kinds=KINDS, synced=synced, uses=uses,
        rows=[shown_function(row, functions) for row in found[:PAGE]],
        next=next_cursor(found, key=lambda row: row.name), is_filtered=bool(text or kind),
        directory=visitor.state.settings.funcs_dir.name,
    )  # fmt: skip


async def _page(
    visitor: Visitor,
    name: str,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        row = await get_named(session, name)
        callers = await callers_of(session, "function", row.id, visitor.actor)
        payers = await payers_of(session, visitor)
    function = shown_function(row, visitor.state.functions)
    return page(
        visitor.request, "function.html", status=422 if errors else 200,
        block="run_form" if errors and is_fragment(visitor.request) else None,
        headers=INTO_FORM if errors else None, function=function, callers=callers, payers=payers,
        fields=fields_of(function.parameters, typed, errors), typed=typed or {},
        run_error=(errors or {}).get("form", ""), payer_error=(errors or {}).get("payer", ""),
        cache_modes=CACHE_MODES,
    )  # fmt: skip
