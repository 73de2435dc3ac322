"""What is tried in the playground: a prompt with its values, or messages, for up to three models. Pure.

Columns have the same question and each a model and parameters of its own. A message of the role
`json` is a whole message as JSON: one with pictures, calls of tools, or whatever else is no text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from aieye.errors import Unprocessable
from aieye.pipeline.model_requests import request_of
from aieye.pipeline.steps import CacheMode
from aieye.prompts.content import Content, check_content
from aieye.prompts.substitution import variables
from aieye.ui.fields import Fields
from aieye.ui.parameters import FIELDS as PARAMETERS
from aieye.ui.parameters import read_object, read_parameters, shown_parameters

MOST_COLUMNS: Final = 3
MOST_MESSAGES: Final = 200
ROLES: Final = ("system", "user", "assistant", "developer", "json")
VALUE: Final = "value."
Mode = Literal["prompt", "messages"]
# What the playground decides itself.
_KEPT: Final = ("model", "messages", "stream", "stream_options", "n")
# What clients name as models, and the playground has pages for.
_NO_MODEL: Final = re.compile(r"(?:.+@)?(preset|pipeline)/")


@dataclass(frozen=True, slots=True)
class Message:
    """One of the messages."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Column:
    """A model that is asked, with its parameters as they were typed."""

    model: str
    temperature: str = ""
    max_tokens: str = ""
    params: str = ""

    @classmethod
    def of(cls, model: str, params: Mapping[str, Any]) -> Column:
        return cls(model, **shown_parameters(params))

    @property
    def parameters(self) -> Mapping[str, str]:
        return {name: getattr(self, name) for name in PARAMETERS}


@dataclass(frozen=True, slots=True)
class Play:
    """All that the form holds. `answers` are those to earlier questions, by column; `prompt_id` and
    `row_version` are those of the prompt it began with, as it was then; `note` is what the page says
    about where it began."""

    mode: Mode = "messages"
    system: str = ""
    body: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    json_mode: bool = False
    schema: str = ""
    messages: Sequence[Message] = (Message("user", ""),)
    columns: Sequence[Column] = (Column("gpt-4o-mini"),)
    answers: Sequence[str] = ()
    prompt_id: str = ""
    row_version: str = ""
    payer: str = ""
    cache: CacheMode = "use"
    note: str = ""

    @property
    def variables(self) -> Sequence[str]:
        return variables(self.body) if self.mode == "prompt" else ()

    @property
    def empty(self) -> Sequence[str]:
        """The variables that have no value."""
        return [name for name in self.variables if not self.values.get(name, "").strip()]


def read_play(fields: Fields) -> Play:
    """The form as it was sent."""
    columns = [
        Column(*parts) for parts in zip(*map(fields.all, ("model", *PARAMETERS)), strict=False)
    ]
    roles, contents = fields.all("role"), fields.all("content")
    messages = [
        Message(role if role in ROLES else "user", content)
        for role, content in zip(roles, contents, strict=False)
    ]
    is_prompt = fields.get("mode") == "prompt"
    return Play(
        mode="prompt" if is_prompt else "messages",
        system=fields.get("system", ""),
        body=fields.get("body", ""),
        values={
            name.removeprefix(VALUE): value
            for name, value in fields.items()
            if name.startswith(VALUE)
        },
        json_mode=fields.is_on("json_mode"),
        schema=fields.get("schema", ""),
        messages=messages[:MOST_MESSAGES] or (Message("user", ""),),
        columns=columns[:MOST_COLUMNS] or (Column(""),),
        answers=fields.all("answer")[:MOST_COLUMNS],
        prompt_id=fields.get("prompt_id", ""),
        row_version=fields.get("row_version", ""),
        payer=fields.get("payer", ""),
    )


def request_for(play: Play, column: Column) -> dict[str, Any]:
    """What the model of a column is asked. Raises `Unprocessable`, and what `substitute` does."""
    model = column.model.strip()
    if not model:
        raise Unprocessable("Say which model is to be asked.", param="model")
    if kind := _NO_MODEL.match(model):
        raise Unprocessable(
            f"This is a {kind[1]}, which is tried on its own page. Name the model itself.",
            param="model",
        )
    params = read_parameters(column.parameters)
    if play.mode == "prompt":
        content = check_content(content_of(play, column))
        return request_of("playground", content, play.values)
    for name in _KEPT:
        if name in params:
            raise Unprocessable(f"`{name}` is decided by the playground.", param="params")
    return {"model": model, "messages": _written(play.messages), **params}


def content_of(play: Play, column: Column) -> Content:
    """The prompt that is tried, for the model of a column. Raises `Unprocessable`."""
    params = read_parameters(column.parameters)
    if play.system.strip():
        params["system"] = play.system
    schema = read_object({"schema": play.schema}, "schema")
    return Content(play.body, column.model.strip(), params, play.json_mode, schema)


def messages_of(given: object) -> Sequence[Message]:
    """Messages of a request in the form's words; what is no message is left out."""
    if not isinstance(given, list):
        return ()
    return [_message(one) for one in given[:MOST_MESSAGES] if isinstance(one, dict)]


def as_prompt_text(text: str) -> str:
    """A text as a prompt says it, where it has no variables yet: its braces stay braces."""
    return text.replace("{", "{{").replace("}", "}}") if "{" in text else text


def _message(given: Mapping[str, Any]) -> Message:
    role, content = given.get("role"), given.get("content")
    is_plain = set(given) == {"role", "content"} and role in ROLES and isinstance(content, str)
    if is_plain:
        return Message(str(role), str(content))
    return Message("json", orjson.dumps(dict(given), option=orjson.OPT_INDENT_2).decode())


def _written(messages: Sequence[Message]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for number, message in enumerate(messages, 1):
        if message.role != "json":
            written.append({"role": message.role, "content": message.content})
            continue
        try:
            value = orjson.loads(message.content)
        except orjson.JSONDecodeError as error:
            raise Unprocessable(f"Message {number} is not JSON: {error}.") from error
        if not isinstance(value, dict):
            raise Unprocessable(f"Message {number} should be a JSON object: {{…}}.")
        written.append(value)
    if not any(one.get("content") or one.get("tool_calls") for one in written):
        raise Unprocessable("Say something first: all messages are empty.")
    return written
