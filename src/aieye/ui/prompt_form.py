"""The form of a prompt: made or edited, its variables found as it is typed.

An edit of what a prompt says makes a version; name and description are no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from fastapi import APIRouter, Response

from aieye.access import authored
from aieye.access.names import check_callable_name
from aieye.access.texts import check_label
from aieye.access.uses import InUse
from aieye.db.tables import Prompt
from aieye.errors import AieyeError, NotFound, Unprocessable
from aieye.prompts import service as prompts
from aieye.prompts.content import Content, check_content
from aieye.prompts.models import SavedPrompt
from aieye.prompts.service import PromptChanges
from aieye.prompts.substitution import loose_braces, variables
from aieye.ui.fields import Fields
from aieye.ui.forms import no_errors, under_its_field
from aieye.ui.model_choices import offered_models
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.parameters import FIELDS as PARAMETERS
from aieye.ui.parameters import laid_out, read_object, read_parameters, shown_parameters
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

# What `params` are made of.
_PARAMS_FIELDS: Final = frozenset({"system", *PARAMETERS})
# A prompt of which nothing is wrong: each field is looked at in the place of this one's.
_SOUND: Final = {"name": "greet", "body": "Hello.", "model": "gpt-4o-mini"}
FIELDS: Final = ("name", "description", "body", "model", "json_mode", "schema", *_PARAMS_FIELDS)


@router.get("/prompts/new")
async def show_new(visitor: RequireUser) -> Response:
    """An empty form."""
    return await show_form(visitor, None, {"model": "gpt-4o-mini"})


@router.post("/prompts/new")
async def create(visitor: RequireUser) -> Response:
    """Make it."""
    fields = await visitor.fields()
    try:
        changes = read_changes(fields)
        content = _content_of(changes)
        async with changing(visitor.state) as session:
            prompt = await prompts.create_prompt(
                session, name=changes["name"], content=content,
                description=changes["description"], actor=visitor.actor,
            )  # fmt: skip
    except AieyeError as error:
        return await show_form(visitor, None, fields, error)
    return go(visitor.request, f"/prompts/{prompt.id}", toast=f"“{prompt.name}” was made.")


@router.post("/prompts/variables")
async def find_variables(visitor: RequireUser) -> Response:
    """The variables of what is being typed."""
    body = (await visitor.fields()).get("body", "")
    return page(
        visitor.request, "prompt_variables.html", block="variables", variables=variables(body),
        body=body, loose=loose_braces(body),
    )  # fmt: skip


@router.get("/prompts/{prompt_id}/edit")
async def show_edit(prompt_id: int, visitor: RequireUser) -> Response:
    """The form as the newest version says."""
    row, prompt = await find_changeable(visitor, prompt_id)
    return await show_form(visitor, row, stored_values(prompt))


@router.post("/prompts/{prompt_id}/edit")
async def save(prompt_id: int, visitor: RequireUser) -> Response:
    """Change what differs; what somebody changed meanwhile comes with both."""
    fields = await visitor.fields()
    row, before = await find_changeable(visitor, prompt_id)
    try:
        changes = read_changes(fields)
        async with changing(visitor.state) as session:
            # A row of a change that fails can be read no more: the form shows the one from before.
            current = await authored.get_changeable(session, Prompt, prompt_id, actor=visitor.actor)
            require_version(current, fields)
            before = await prompts.get_prompt(session, prompt_id, actor=visitor.actor)
            changed = _touched(changes, fields, stored_values(before))
            prompt = before
            if changed:
                prompt = await prompts.update_prompt(
                    session, prompt_id, changed, actor=visitor.actor, force=fields.is_on("force")
                )
    except AieyeError as error:
        if isinstance(error, NotFound) and error.param is None:
            raise
        return await show_form(visitor, row, fields, error)
    return go(visitor.request, f"/prompts/{prompt_id}", toast=_said(before, prompt))


def read_changes(fields: Fields) -> PromptChanges:
    """What the form says, as the service takes it. Raises `Unprocessable`."""
    params = read_parameters(fields)
    if fields.text("system"):
        if params.get("system") is not None:
            raise Unprocessable("`system` has a field of its own.", param="params")
        params["system"] = fields["system"]
    return {
        "name": fields.text("name"),
        "description": fields.text("description"),
        "body": fields.get("body", ""),
        "model": fields.text("model"),
        "params": params,
        "json_mode": fields.is_on("json_mode"),
        "schema": read_object(fields, "schema"),
    }


def _content_of(changes: PromptChanges) -> Content:
    return Content(changes["body"], changes["model"], changes["params"],
                   changes["json_mode"], changes["schema"])  # fmt: skip


def _mistakes(typed: Mapping[str, str]) -> Mapping[str, str]:
    """What is wrong with each field by itself: all at once, where the service tells the first."""
    found: dict[str, str] = {}
    for name in FIELDS:
        alone = Fields(
            {key: [value] for key, value in {**_SOUND, name: typed.get(name, "")}.items()}
        )
        try:
            changes = read_changes(alone)
            check_callable_name(changes["name"])
            check_label(changes["model"], longest=200, param="model")
            check_content(_content_of(changes))
        except Unprocessable as error:
            found |= _placed(error)
    return found


def stored_values(prompt: SavedPrompt) -> dict[str, str]:
    """A prompt as its form shows it."""
    content = prompt.content
    return content_values(content) | {
        "name": prompt.name,
        "description": prompt.description,
    }


def content_values(content: Content) -> dict[str, str]:
    """What a version says, as the form shows it."""
    params = dict(content.params)
    system = params.pop("system") if params.get("system") is not None else ""
    return {
        "body": content.body.replace("\r\n", "\n"),
        "model": content.model,
        "system": str(system).replace("\r\n", "\n"),
        "json_mode": "on" if content.json_mode else "",
        "schema": "" if content.schema is None else laid_out(content.schema),
        **shown_parameters(params),
    }


def _touched(changes: PromptChanges, fields: Fields, before: Mapping[str, str]) -> PromptChanges:
    """Less what the form shows as it was stored: that stays to the letter."""
    same = {name for name in FIELDS if _plain(fields, name) == before[name]}
    kept = same - _PARAMS_FIELDS | ({"params"} if same >= _PARAMS_FIELDS else set())
    return cast(PromptChanges, {key: value for key, value in changes.items() if key not in kept})


def _plain(fields: Fields, name: str) -> str:
    if name == "json_mode":
        return "on" if fields.is_on(name) else ""
    return fields.get(name, "")


def _said(before: SavedPrompt, after: SavedPrompt) -> str:
    if after.version == before.version:
        return f"“{after.name}” was saved. It says what version {after.version} did."
    said = f"Version {after.version} of “{after.name}” was saved"
    if after.served_version == after.version:
        return f"{said} and runs from now on."
    return f"{said}; version {after.served_version} still runs, since “production” names it."


async def find_changeable(visitor: Visitor, prompt_id: int) -> tuple[Prompt, SavedPrompt]:
    """A prompt that the visitor may change, with its newest version. Raises `NotFound`, `Forbidden`."""
    async with visitor.state.database.read() as session:
        row = await authored.get_changeable(session, Prompt, prompt_id, actor=visitor.actor)
        return row, await prompts.get_prompt(session, prompt_id, actor=visitor.actor)


def _placed(error: AieyeError) -> Mapping[str, str]:
    """What is wrong, under its field, or of the form as a whole."""
    param = (error.param or "").removeprefix("params.")
    message = error.reason if isinstance(error, InUse) else error.message
    if message.startswith("params has "):
        # More than they may have together, whichever of the fields that is due to.
        return {
            "form": f"System text and parameters together: {message.removeprefix('params has ')}"
        }
    place = param if param in FIELDS else "form"
    return {place: under_its_field(message, place)}


async def show_form(
    visitor: Visitor,
    row: Prompt | None,
    typed: Mapping[str, str],
    error: AieyeError | None = None,
    *,
    row_version: str | None = None,
    note: str = "",
) -> Response:
    """The form with what was typed; `row` is the prompt that is edited, and `row_version` which state
    of it was seen, the present one if left out. `note` says what of its origin is not in it."""
    errors: Mapping[str, str] = no_errors(*FIELDS)
    if error is not None:
        mistakes = _mistakes(typed) if isinstance(error, Unprocessable) else {}
        errors = {**no_errors(*FIELDS), **mistakes, **_placed(error)}
    async with visitor.state.database.read() as session:
        if isinstance(error, ChangedMeanwhile) and row is not None:
            row = await authored.get_changeable(session, Prompt, row.id, actor=visitor.actor)
            now = await prompts.get_prompt(session, row.id, actor=visitor.actor)
            errors = {**errors, **differences(stored_values(now), typed)}
        models = await offered_models(session, visitor)
    body = typed.get("body", "")
    return page(
        visitor.request,
        "prompt_form.html",
        status=error.status if error else 200,
        row=row,
        typed=dict.fromkeys(FIELDS, "") | dict(typed),
        row_version=row_version or (version_of(row) if row else ""),
        errors=errors,
        is_in_use=isinstance(error, InUse),
        models=models,
        variables=variables(body),
        body=body,
        loose=loose_braces(body),
        note=note,
    )
