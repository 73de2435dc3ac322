"""Where a trial in the playground begins: with a prompt, a preset, or a call that was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Prompt
from aieye.errors import NotFound
from aieye.ledger.queries import get_body, get_call
from aieye.presets import service as presets
from aieye.presets.apply import joined
from aieye.presets.fields import TYPES
from aieye.prompts import service as prompts
from aieye.ui import reading
from aieye.ui.parameters import laid_out
from aieye.ui.playground_form import Column, Message, Play, messages_of
from aieye.ui.saving import version_of
from aieye.ui.session import Visitor

# Of a recorded request, what is no parameter.
_NO_PARAMETERS: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "prompt",
        "input",
        "instructions",
        "cache",
    }
)
# What chat calls otherwise than the endpoint that was called.
_OTHER_NAMES: Final = {"max_output_tokens": "max_tokens"}
# What of other endpoints chat knows too.
_SHARED: Final = frozenset(
    {"temperature", "max_tokens", "max_output_tokens", "top_p", "stop", "seed", "user",
     "presence_penalty", "frequency_penalty", "logit_bias", "metadata"}
)  # fmt: skip
# What of a completion preset is in the message, or only about its callers.
_COMPLETION_TEXTS: Final = frozenset({"engine_id", "prompt", "injectStart", "overridable"})


async def from_prompt(session: AsyncSession, visitor: Visitor, key: str, version: str) -> Play:
    """A version of a prompt, the newest where none is said. Raises `NotFound`."""
    prompt_id = _number(key)
    number = _number(version) if version else None
    prompt = await prompts.get_prompt(session, prompt_id, actor=visitor.actor, version=number)
    row = await session.get_one(Prompt, prompt_id)
    content = prompt.content
    params = dict(content.params)
    system = params.pop("system", None)
    return Play(
        mode="prompt",
        system=system or "",
        body=content.body,
        json_mode=content.json_mode,
        schema="" if content.schema is None else laid_out(content.schema),
        columns=[Column.of(content.model, params)],
        prompt_id=str(prompt.id),
        row_version=version_of(row),
        note=f"version {prompt.shown_version}",
    )


async def from_preset(session: AsyncSession, visitor: Visitor, uid: str) -> Play:
    """The messages and parameters of a chat preset, or the prompt of a completion one."""
    preset = await presets.get_preset(session, uid, actor=visitor.actor)
    config = preset.config
    said = f"from the preset “{preset.name}”, version {preset.version}"
    if preset.type == "chat":
        params = {
            name: value
            for name, value in config.items()
            if name not in _NO_PARAMETERS and name != "overridable" and value is not None
        }
        messages = [*messages_of(config.get("messages")), Message("user", "")]
        return Play(messages=messages, columns=[Column.of(preset.model, params)], note=said)
    if preset.type == "completion":
        prompt = config.get("prompt")
        text = prompt if isinstance(prompt, str) else ""
        asked = Message("user", text + joined(config.get("injectStart")))
        known = TYPES["completion"].fields
        differs = {
            name: value
            for name, value in config.items()
            if value is not None and (name not in known or value != known[name].default)
        }
        always = ("temperature", "max_tokens")
        params = {
            name: config[name]
            for name in config
            if name in always or name in differs.keys() & _SHARED
        }
        left_out = [*differs.keys() - _SHARED - _COMPLETION_TEXTS]
        left_out += ["prompt"] if prompt and not text else []
        note = f"{said}; it asks as a completion, here its prompt is a message{_told(left_out)}"
        return Play(messages=[asked], columns=[Column.of(preset.model, params)], note=note)
    return Play(note=f"the preset “{preset.name}” is no chat: try it on its own page")


async def from_call(session: AsyncSession, visitor: Visitor, call_id: str) -> Play:
    """The messages and parameters of a recorded call. Raises `NotFound`, also for another's."""
    found = await get_call(session, call_id, owner_id=visitor.owner_id)
    body = await get_body(session, call_id, owner_id=visitor.owner_id)
    call = found.call
    asked = reading.parsed(body.request)
    model = call.model_asked or call.model or ""
    if not isinstance(asked, dict):
        return Play(
            columns=[Column(model)],
            note="what this call asked is not kept, so that only its model is known",
        )
    if call.endpoint == "chat/completions":
        given = asked.get("messages")
        messages = messages_of(given)
        params = _parameters(asked)
        left_out = ["n"] if asked.get("n") not in (None, 1) else []
        # What a program sent may be anything: calls that were refused are on record too.
        if isinstance(given, list) and len(messages) < len(given):
            left_out.append(f"messages from the {len(messages) + 1}th on")
        note = f"as it was recorded: what looked like a secret is blacked out{_told(left_out)}"
    else:
        said = reading.asked(body.request)
        messages = [
            Message(one.role if one.role in {"system", "user", "assistant"} else "user", one.text)
            for one in said
        ]
        params = _parameters({key: value for key, value in asked.items() if key in _SHARED})
        left_out = [
            name
            for name, value in asked.items()
            if value is not None and name not in _SHARED | _NO_PARAMETERS
        ]
        note = f"its texts, as a chat; it was a call of /v1/{call.endpoint}{_told(left_out)}"
    return Play(
        messages=messages or (Message("user", ""),),
        columns=[Column.of(model, params)],
        note=note,
    )


def _parameters(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _OTHER_NAMES.get(name, name): value
        for name, value in asked.items()
        if name not in _NO_PARAMETERS and value is not None
    }


def _told(left_out: Sequence[str]) -> str:
    """The end of a note that says what a trial cannot have."""
    return f"; left out: {', '.join(sorted(left_out))}" if left_out else ""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID):
        raise NotFound(f"There is no prompt {text[:100]!r}.")
    return int(text)
