"""The playground's form after one of its buttons: a column or a message more, an answer gone on from,
a prompt as messages and messages as a prompt. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from aieye.errors import Unprocessable
from aieye.pipeline.model_requests import request_of
from aieye.prompts.content import Content
from aieye.ui.parameters import laid_out, read_object
from aieye.ui.playground_form import (
    MOST_COLUMNS,
    MOST_MESSAGES,
    Column,
    Message,
    Play,
    as_prompt_text,
    messages_of,
)

RESPONSE_FORMAT: Final = "response_format"
_INDEX: Final = re.compile(r"[a-z-]+:([0-9]{1,3})")


def changed(play: Play, act: str) -> Play:
    """The form after one of its buttons: `add`, `remove:1`, `add-message`, `mode:prompt` …"""
    match act.partition(":")[0], _index(act):
        case "add", _ if len(play.columns) < MOST_COLUMNS:
            return replace(play, columns=[*play.columns, play.columns[-1]])
        case "remove", int(place) if len(play.columns) > 1:
            return replace(
                play, columns=_without(play.columns, place), answers=_without(play.answers, place)
            )
        case "add-message", _ if len(play.messages) < MOST_MESSAGES:
            role = "assistant" if play.messages[-1].role == "user" else "user"
            return replace(play, messages=[*play.messages, Message(role, "")])
        case "remove-message", int(place) if len(play.messages) > 1:
            return replace(play, messages=_without(play.messages, place))
        case "continue", int(place) if len(play.messages) < MOST_MESSAGES - 1:
            said = [Message("assistant", one) for one in play.answers[place : place + 1] if one]
            return replace(play, messages=[*play.messages, *said, Message("user", "")])
        case "mode", _:
            return _as_prompt(play) if act == "mode:prompt" else _as_messages(play)
    return play


def _as_prompt(play: Play) -> Play:
    """The system text, and what the user said last; a prompt has no other messages."""
    if play.mode == "prompt":
        return play
    texts = [_text_of(one) for one in play.messages]
    said = [text for role, text, _ in texts if role == "user"]
    system = [text for role, text, _ in texts if role in {"system", "developer"}]
    is_whole = all(whole for _, _, whole in texts)
    left_out = not is_whole or len(texts) > bool(said) + len(system)
    note = (
        "a prompt is one message and a system text, so what else there was is left out"
        if left_out
        else ""
    )
    return _with_form(
        replace(
            play, mode="prompt", system="\n\n".join(system), note=note,
            body=as_prompt_text(said[-1]) if said else "",
        )
    )  # fmt: skip


def _text_of(message: Message) -> tuple[str, str, bool]:
    """Whose a message is, its text, and whether that is all of it."""
    if message.role != "json":
        return message.role, message.content, True
    try:
        given = orjson.loads(message.content)
    except orjson.JSONDecodeError:
        given = None
    given = given if isinstance(given, dict) else {}
    content = given.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [one["text"] for one in parts if isinstance(one, dict) and _is_text(one.get("text"))]
    return str(given.get("role")), "\n".join(texts), len(texts) == len(parts) and len(given) == 2


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _with_form(play: Play) -> Play:
    """A prompt says itself in which form it is answered; what the columns say of it goes there."""
    forms = [_form_of(one) for one in play.columns]
    form = next((one for one in forms if one is not None), None)
    if form is None:
        return play
    schema = form.get("json_schema") if form.get("type") == "json_schema" else None
    is_json = form.get("type") == "json_object"
    if not (is_json or isinstance(schema, dict)):
        return play
    columns = [
        one if said is None else _with_params(one, RESPONSE_FORMAT, None)
        for one, said in zip(play.columns, forms, strict=True)
    ]
    return replace(
        play, columns=columns, json_mode=play.json_mode or is_json,
        schema="" if schema is None else laid_out(schema),
    )  # fmt: skip


def _form_of(column: Column) -> Mapping[str, Any] | None:
    """The form of the answer that a column's parameters say."""
    found = _params_of(column).get(RESPONSE_FORMAT)
    return found if isinstance(found, dict) else None


def _params_of(column: Column) -> dict[str, Any]:
    """The other parameters of a column, none where they cannot be read: they stay as they are."""
    try:
        return read_object(column.parameters, "params") or {}
    except Unprocessable:
        return {}


def _with_params(column: Column, name: str, value: Any) -> Column:
    params = _params_of(column)
    params.pop(name, None)
    if value is not None:
        params[name] = value
    return replace(column, params=laid_out(params) if params else "")


def _as_messages(play: Play) -> Play:
    """What the prompt comes to with its values, and the form of its answer as a parameter."""
    if play.mode == "messages":
        return play
    params = {"system": play.system} if play.system.strip() else {}
    values = {name: play.values.get(name, "") for name in play.variables}
    try:
        schema = read_object({"schema": play.schema}, "schema")
    except Unprocessable:
        schema = None
    content = Content(play.body, "-", params, play.json_mode, schema)
    asked = request_of("playground", content, values)
    columns = play.columns
    if (form := asked.get(RESPONSE_FORMAT)) is not None:
        columns = [
            one if RESPONSE_FORMAT in _params_of(one) else _with_params(one, RESPONSE_FORMAT, form)
            for one in columns
        ]
    return replace(play, mode="messages", messages=messages_of(asked["messages"]), columns=columns)


def _without(rows: Sequence[Any], place: int) -> Sequence[Any]:
    return [row for at, row in enumerate(rows) if at != place]


def _index(act: str) -> int | None:
    found = _INDEX.fullmatch(act)
    return None if found is None else int(found[1])
