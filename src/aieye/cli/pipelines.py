"""`aieye check`, `fmt`, `explain` and `run`: at the server of AIEYE_URL, else on this machine."""

# ruff: noqa: PLC0415 - each command imports what it needs when it runs
from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, unquote

import typer

from aieye.cli.pipeline_texts import diagnostics_of, name_of, read_text, render_findings
from aieye.cli.remote import find_remote
from aieye.cli.terminal import AsJson, complain, show, tell
from aieye.errors import AieyeError, InvalidRequest

if TYPE_CHECKING:
    from aieye.access.snapshot import Grant
    from aieye.pipeline.language.errors import Diagnostic
    from aieye.state import State

NOT_CANONICAL = 1
WRONG = 2
NOTHING_RAN = 3
OVER_BUDGET = 4
NOT_IN_CACHE = 5
PIPELINES = "/api/v1/pipelines"

Files = Annotated[list[Path], typer.Argument(metavar="FILES", help="Texts of pipelines.")]
Given = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="K=V", help="An argument; K=@FILE reads it from a file."),
]
What = Annotated[str, typer.Argument(metavar="NAME", help="A saved pipeline.")]
Cache = Annotated[
    str, typer.Option(help="use, refresh, off, or only (answer from the cache or fail).")
]
ResultT = TypeVar("ResultT")


def check(files: Files) -> None:
    """Look for mistakes in the texts of pipelines; the exit code is 2 if there are any.

    They are checked against what you may use: at the server of AIEYE_URL, else in the database
    here. Where there is neither, the built-in functions are all there is.
    """
    is_wrong = False
    for file, (source, found) in zip(files, _checked(files), strict=True):
        render_findings(found, source, str(file))
        is_wrong = is_wrong or any(one.is_error for one in found)
    if is_wrong:
        raise typer.Exit(WRONG)
    tell("No mistakes." if len(files) == 1 else f"No mistakes in {len(files)} files.")


def fmt(
    files: Files,
    is_check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 if something would be.")
    ] = False,
) -> None:
    """Write the texts of pipelines in the canonical form."""
    from aieye.pipeline.language.errors import InvalidPipeline
    from aieye.pipeline.language.parser import parse
    from aieye.pipeline.language.printer import format_pipeline

    is_wrong = is_changed = False
    for file in files:
        text = read_text(file)
        try:
            written = format_pipeline(parse(text))
        except InvalidPipeline as error:
            render_findings(error.diagnostics, text, str(file))
            is_wrong = True
            continue
        if written == text:
            continue
        is_changed = True
        if is_check:
            tell(f"{file} would be changed")
        else:
            _write(file, written)
            tell(f"{file} was changed")
    if is_wrong:
        raise typer.Exit(WRONG)
    if is_check and is_changed:
        raise typer.Exit(NOT_CANONICAL)


def explain(
    what: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A saved pipeline or a text.")],
    args: Given = None,
    cache: Cache = "use",
    as_json: AsJson = False,
) -> None:
    """Show what running a pipeline would call, read from the cache, and cost. Nothing is run."""
    given = _arguments(args)
    file = Path(what)
    # `Path.is_file` raises for a name that is too long to be a file's.
    body = {"source": read_text(file)} if os.path.isfile(what) else {"name": what}  # noqa: PTH113
    asked = {**body, "args": given, "cache": _mode(cache)}
    found = _post("/explain", asked, body.get("source"), what)
    _refuse_unasked(found["warnings"])
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    columns = ("path", "times", "model", "cache", "tokens_input", "tokens_output", "cost_usd")
    steps = [{**step, "path": _path(step)} for step in found["steps"]]
    total = {column: found.get(column) for column in columns} | {"path": "total", "times": None}
    show([*steps, total], columns, as_json=False)
    for step in found["steps"]:
        if step["error"] is not None:
            tell(f"{step['path']}: {step['error']}")
        for why in step["unknown"]:
            tell(f"{step['path']}: {why}")


def run(
    name: What,
    args: Given = None,
    cache: Cache = "use",
    as_json: Annotated[bool, typer.Option("--json", help="Print value, usage and steps.")] = False,
) -> None:
    """Run a saved pipeline and print its value: a text as it is, anything else as JSON.

    An argument that it does not ask for is refused before anything runs.
    """
    body = {"args": _arguments(args), "cache": _mode(cache)}
    if body["args"] and find_remote() is not None:
        # A server ignores it and runs, which may cost something.
        _refuse_unasked(_post("/explain", {**body, "name": name}, None, name)["warnings"])
    found = _post(f"/{quote(name, safe='', errors='surrogateescape')}/call", body, None, name)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        value = found["value"]
        typer.echo(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


# -- what was said on the command line ---------------------------------------------------------


def _arguments(given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise InvalidRequest(f"--arg {one[:50]}: write it as NAME=VALUE or NAME=@FILE.")
        found[name] = read_text(Path(value[1:])) if value.startswith("@") else value
    return found


def _refuse_unasked(warnings: Sequence[str]) -> None:
    """Raise `InvalidRequest` for arguments that nothing asks for."""
    if warnings:
        raise InvalidRequest(f"--arg: {', '.join(warnings)}")


def _mode(cache: str) -> str:
    if cache not in {"use", "refresh", "off", "only"}:
        raise InvalidRequest("--cache should be one of use, refresh, off, only.")
    return cache


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{file}: {error.strerror}.") from error


def _path(step: Mapping[str, Any]) -> str:
    return step["path"] if step["certain"] else f"{step['path']} (perhaps)"


# -- checking ----------------------------------------------------------------------------------


def _checked(files: Sequence[Path]) -> list[tuple[str, Sequence[Diagnostic]]]:
    """Each text with what was found in it."""
    texts = [read_text(file) for file in files]
    remote = find_remote()
    if remote is None:
        return list(zip(texts, _check_here(files, texts), strict=True))
    from aieye.pipeline.language.errors import Diagnostic

    found = [
        remote.post(f"{PIPELINES}/check", {"source": text, "name": name_of(file)})
        for file, text in zip(files, texts, strict=True)
    ]
    return [
        (text, [Diagnostic(**one) for one in answer["diagnostics"]])
        for text, answer in zip(texts, found, strict=True)
    ]


def _check_here(files: Sequence[Path], texts: Sequence[str]) -> list[Sequence[Diagnostic]]:
    from aieye.db.migrate import is_made
    from aieye.pipeline.checking import check as check_text
    from aieye.settings import load_settings

    if not is_made(load_settings().database):
        tell("There is no database here: only the built-in functions are known.")
        catalogue = _builtins()
        return [
            check_text(text, catalogue, name_of(file)).diagnostics
            for file, text in zip(files, texts, strict=True)
        ]
    from aieye.cli.context import Context
    from aieye.cli.context import run as within_database

    async def work(context: Context) -> list[Sequence[Diagnostic]]:
        from aieye.access.audit import COMMAND_LINE
        from aieye.functions.registry import registered_definitions
        from aieye.pipeline.service import check_source

        async with context.database.read() as session:
            functions = await registered_definitions(session)
            return [
                (
                    await check_source(
                        session, functions, text, actor=COMMAND_LINE, name=name_of(file)
                    )
                ).diagnostics
                for file, text in zip(files, texts, strict=True)
            ]

    return within_database(work)


def _builtins() -> dict[str, Any]:
    from aieye.functions.loader import read_files
    from aieye.functions.module import find_functions, load
    from aieye.settings import load_settings

    sources, _ = read_files(load_settings().funcs_dir)
    functions, _ = find_functions(load(next(one for one in sources if one.is_builtin)), sources[0])
    return {function.name: function.definition for function in functions}


# -- calling -----------------------------------------------------------------------------------


def _post(path: str, body: dict[str, Any], source: str | None, name: str) -> Any:
    """What `/api/v1/pipelines` answers, wherever that is. Ends the command where it is an error."""
    remote = find_remote()
    try:
        if remote is not None:
            return remote.post(f"{PIPELINES}{path}", body)
        return _embedded(lambda state, grant: _answer_here(state, grant, path, body))
    except AieyeError as error:
        diagnostics = diagnostics_of(error)
        if not diagnostics:
            raise
        _tell_diagnostics(diagnostics, source, name)
        raise typer.Exit(_exit_code(error, diagnostics)) from error


def _tell_diagnostics(found: Sequence[Diagnostic], source: str | None, name: str) -> None:
    if source is not None:
        render_findings(found, source, name)
        return
    for one in found:
        place = "" if one.line is None else f":{one.line}:{one.column}"
        complain(f"{name}{place}: {one.code}: {one.message}")


def _exit_code(error: AieyeError, found: Sequence[Diagnostic]) -> int:
    codes = {one.code for one in found if one.is_error}
    if "E504" in codes:
        return OVER_BUDGET
    if "E505" in codes:
        return NOT_IN_CACHE
    # A step that failed: at the provider's or in a function, either way the text is not wrong.
    has_run = any(code.startswith("E5") and code != "E507" for code in codes)
    return NOTHING_RAN if has_run or error.status >= 500 else WRONG


def _embedded(work: Callable[[State, Grant], Awaitable[ResultT]]) -> ResultT:
    """Do `work` in a service of its own, without a socket, as the first administrator."""
    from contextlib import ExitStack

    from aieye.cli.context import require_database
    from aieye.cli.serving import lock
    from aieye.db.exclusive import DatabaseInUse
    from aieye.settings import load_settings
    from aieye.telemetry import configure_logs

    settings = load_settings()
    require_database(settings)
    # What a server tells while it starts and stops is no news here.
    configure_logs(level=logging.WARNING)

    async def within() -> ResultT:
        from aieye.access.grants import grant_of_user
        from aieye.access.owners import default_owner
        from aieye.app import running

        async with running(settings) as (state, _first):
            async with state.database.read() as session:
                owner = await default_owner(session)
            return await work(state, grant_of_user(owner.id, owner.email, owner.role))

    with ExitStack() as stack:
        try:
            lock(settings, stack)
        except DatabaseInUse as error:
            raise DatabaseInUse(
                "A server is running on this database: name it with AIEYE_URL and AIEYE_TOKEN."
            ) from error
        return asyncio.run(within())


async def _answer_here(state: State, grant: Grant, path: str, body: Mapping[str, Any]) -> Any:
    from aieye.api.run_views import explained_view, result_view
    from aieye.api.runners import by_grant, failure_of
    from aieye.pipeline.ignored import ignored_arguments

    actor, pipelines = by_grant(grant).actor, state.pipelines
    if path == "/explain":
        info = None if "name" not in body else pipelines.get_named(body["name"], actor)
        plan = (
            await pipelines.plan_of_text(body["source"], actor)
            if info is None
            else await pipelines.plan(info)
        )
        explained = await pipelines.explain(
            plan, body["args"], grant, info=info, cache=body["cache"]
        )
        return explained_view(plan, explained, body["args"]).model_dump(mode="json")
    info = pipelines.get_named(unquote(path.strip("/").partition("/")[0]), actor)
    plan = await pipelines.plan(info)
    _refuse_unasked(ignored_arguments(plan.parameters, body["args"]))
    options = pipelines.options(cache=body["cache"])
    finished = await pipelines.run(info, body["args"], grant, options)
    if finished.failure is not None:
        raise failure_of(finished)
    return result_view(finished).model_dump(mode="json")
