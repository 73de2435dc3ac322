"""A preset's configuration as its form has it, and back. Pure.

What was not touched stays to the letter: a list of texts that the form shows joined, a line break that a
browser writes otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from aieye.errors import Unprocessable
from aieye.presets.apply import joined
from aieye.presets.fields import OVERRIDABLE, TYPES, Field, PresetType
from aieye.presets.precedence import USUAL
from aieye.ui.fields import Fields

ROLES: Final = ("system", "developer", "user", "assistant")
AS_JSON: Final = "json"
"""The role of a message that the form has whole, as JSON: with parts, calls of tools, a name."""
MORE: Final = "more"
"""The form's field for parameters of an open type that have none of their own."""
ROWS: Final = ("messages", "documents")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_ESCAPED: Final = re.compile(r"\\([nrt\\])")
# The field that names the model, and what an empty form has there: another may be typed.
_MODELS: Final[Mapping[PresetType, tuple[str, str]]] = {
    "completion": ("engine_id", "gpt-3.5-turbo-instruct"),
    "search": ("engine_id", "text-embedding-3-small"),
    "chat": ("model", "gpt-4o-mini"),
    "embeddings": ("model", "text-embedding-3-small"),
}
# Who calls may change these as well, where the author says so.
_ALSO_OVERRIDABLE: Final[Mapping[PresetType, Sequence[str]]] = {
    "completion": ("best_of", "echo"),
    "search": (),
    "chat": ("response_format", "tools", "tool_choice"),
    "embeddings": ("dimensions", "encoding_format"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the form has it."""

    role: str = "system"
    content: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """What stands in a form: a text by field, and the rows that repeat."""

    texts: Mapping[str, str]
    messages: Sequence[Message] = ()
    documents: Sequence[str] = ()
    overridable: Sequence[str] = field(default=())


def shown(type_: PresetType, config: Mapping[str, Any]) -> Typed:
    """A configuration as its form shows it."""
    known = TYPES[type_].fields
    texts = {
        one.name: _text_of(one, config.get(one.name)).replace("\r\n", "\n")
        for one in known.values()
        if one.name not in ROWS
    }
    if isinstance(config.get("prompt"), list):
        texts["prompt_as_json"] = "on"
    if TYPES[type_].is_open:
        more = {name: value for name, value in config.items() if name not in known}
        texts[MORE] = _laid_out(more) if more else ""
    names = config.get(OVERRIDABLE)
    texts[OVERRIDABLE] = "usual" if names is None else "some" if names else "none"
    return Typed(
        texts,
        [_message_of(one) for one in config.get("messages") or ()],
        [one.replace("\r\n", "\n") for one in config.get("documents") or ()],
        names or (),
    )


def new_config(type_: PresetType) -> dict[str, Any]:
    """What an empty form starts with: the defaults, and a usual model."""
    known = TYPES[type_].fields.values()
    defaults = {one.name: one.default for one in known if one.default is not ...}
    field, model = _MODELS[type_]
    return {**defaults, field: model}


def typed_in(type_: PresetType, fields: Fields) -> Typed:
    """What was typed, rows and all."""
    texts = {one: fields.get(one, "") for one in (*TYPES[type_].fields, MORE) if one not in ROWS}
    for one in TYPES[type_].fields.values():
        if one.kind == "boolean":
            texts[one.name] = "on" if fields.is_on(one.name) else ""
    if fields.is_on("prompt_as_json"):
        texts["prompt_as_json"] = "on"
    messages = [
        Message(role, content)
        for role, content in zip(fields.all("role"), fields.all("content"), strict=False)
    ]
    return Typed(texts, messages, list(fields.all("document")), list(fields.all("overridden")))


def read(
    type_: PresetType, typed: Typed, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The configuration that was typed; what stands as it was shown is as it was `before`.

    Raises `Unprocessable` with the field's name, of a row `messages.N` or `documents.N`.
    """
    old = shown(type_, before) if before is not None else None
    found: dict[str, Any] = {}
    for one in TYPES[type_].fields.values():
        is_kept = old is not None and _part(old, one.name) == _part(typed, one.name)
        value = (before or {}).get(one.name) if is_kept else _value_of(one, typed)
        if value is not None:
            found[one.name] = value
    if TYPES[type_].is_open and typed.texts.get(MORE, "").strip():
        found = {**_more(type_, typed.texts[MORE]), **found}
    return found


def overridables(type_: PresetType, config: Mapping[str, Any]) -> Sequence[str]:
    """The fields to choose from that callers may change, with those chosen before."""
    known = TYPES[type_]
    names = [name for name in USUAL if known.is_open or name in known.fields]
    if type_ == "embeddings":
        names = []
    return list(
        dict.fromkeys([*names, *_ALSO_OVERRIDABLE[type_], *(config.get(OVERRIDABLE) or ())])
    )


# -- one field ---------------------------------------------------------------------------------


def _part(typed: Typed, name: str) -> object:
    """What stands for a field in a form."""
    if name == OVERRIDABLE:
        return typed.texts.get(name), sorted(typed.overridable)
    if name == "prompt":
        return typed.texts.get(name, ""), typed.texts.get("prompt_as_json", "")
    if name in ROWS:
        return list(getattr(typed, name))
    return typed.texts.get(name, "")


def _text_of(one: Field, value: Any) -> str:
    if value is None:
        return ""
    match one.kind:
        case "boolean":
            return "on" if value else ""
        case "number" | "integer":
            return json.dumps(value)
        case "long text":
            return joined(value)
        case "texts":
            return "\n".join(map(_escaped, [value] if isinstance(value, str) else value))
        case "json":
            return _laid_out(value)
    return value if isinstance(value, str) else _laid_out(value)


def _value_of(one: Field, typed: Typed) -> Any:
    """The value that was typed, None for nothing. Raises `Unprocessable`."""
    if one.name == OVERRIDABLE:
        return _overridable(typed)
    text = typed.texts.get(one.name, "")
    match one.kind:
        case "messages":
            return [_read_message(n, row) for n, row in enumerate(typed.messages)] or None
        case "texts" if one.name == "documents":
            return _documents(typed.documents)
        case "texts":
            return [_unescaped(line) for line in text.split("\n") if line] or None
        case "boolean":
            return text == "on"
        case "number" | "integer":
            return _number(one, text.strip()) if text.strip() else None
        case "json":
            return _json(one.name, text) if text.strip() else None
        case "prompt" if typed.texts.get("prompt_as_json"):
            return _json(one.name, text) if text.strip() else None
        case "text":
            return text.strip() or None
    return text or None


def _overridable(typed: Typed) -> list[str] | None:
    how = typed.texts.get(OVERRIDABLE, "usual")
    if how == "some":
        return list(typed.overridable)
    return [] if how == "none" else None


def _number(one: Field, text: str) -> int | float:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unprocessable(f"This should be {one.allowed}.", param=one.name)
    if one.kind == "integer" and isinstance(value, float):
        raise Unprocessable(f"This should be {one.allowed}.", param=one.name)
    return value


def _documents(rows: Sequence[str]) -> list[str]:
    """The documents; empty ones at the end are none."""
    kept = list(rows)
    while kept and not kept[-1].strip():
        kept.pop()
    for number, text in enumerate(kept):
        if not text.strip():
            raise Unprocessable(
                f"Document ({number}) is empty: write it, or take it out.",
                param=f"documents.{number}",
            )
    return kept


def _message_of(message: Mapping[str, Any]) -> Message:
    role, content = message.get("role"), message.get("content")
    if set(message) == {"role", "content"} and role in ROLES and isinstance(content, str):
        return Message(role, content.replace("\r\n", "\n"))
    return Message(AS_JSON, _laid_out(message))


def _read_message(number: int, row: Message) -> dict[str, Any]:
    if row.role != AS_JSON:
        return {"role": row.role, "content": row.content}
    value = _json(f"messages.{number}", row.content)
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise Unprocessable(
            'This should be an object with a role: {"role": "user", …}.', param=f"messages.{number}"
        )
    return value


def _more(type_: PresetType, text: str) -> dict[str, Any]:
    value = _json(MORE, text)
    if not isinstance(value, dict):
        raise Unprocessable("This should be a JSON object: {…}.", param=MORE)
    for name in value:
        if name in TYPES[type_].fields:
            raise Unprocessable(f"`{name}` has a field of its own.", param=MORE)
    return value


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unprocessable(f"This is not JSON: {error}.", param=name) from error


def _escaped(text: str) -> str:
    for letter, char in (("\\", "\\"), ("n", "\n"), ("r", "\r"), ("t", "\t")):
        text = text.replace(char, f"\\{letter}")
    return text


def _unescaped(line: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES[found[1]], line)


def _laid_out(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
