"""A prompt and its values as a request for a chat model, and the value in the model's answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from aieye.pipeline.language.values import Json, Unconvertible, read_json
from aieye.prompts.content import Content
from aieye.prompts.substitution import substitute

# What OpenAI takes as the name of a schema.
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64


class NoValue(Exception):
    """The answer holds nothing that could be the step's value; the message says why."""


def request_of(
    name: str, content: Content, values: Mapping[str, str], *, model: str | None = None
) -> dict[str, Any]:
    """The body of a chat request: the system text first, then the prompt with its values.

    `model` is asked instead of the prompt's own. Raises what `substitute` does.
    """
    params = dict(content.params)
    system = params.pop("system", None)
    messages = [{"role": "user", "content": substitute(content.body, values)}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    request = {"model": model or content.model, "messages": messages, **params}
    if content.schema is not None:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": _named_schema(name, content.schema),
        }
    elif content.json_mode:
        request["response_format"] = {"type": "json_object"}
    return request


def _named_schema(name: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema as OpenAI takes it: under a name, unless it comes so already."""
    if isinstance(schema.get("schema"), dict) and isinstance(schema.get("name"), str):
        return schema
    return {"name": _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME], "schema": schema}


def text_of_answer(body: bytes) -> str:
    """What the model said in a chat answer. Raises `NoValue`."""
    try:
        message = orjson.loads(body)["choices"][0]["message"]
        text, refusal = message["content"], message.get("refusal")
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise NoValue("the answer has no text") from error
    if not isinstance(text, str):
        raise NoValue(f"the model refused: {refusal}" if refusal else "the answer has no text")
    return text


def value_of_text(content: Content, text: str) -> Json:
    """The text, or the object in it where the prompt declares a schema. Raises `NoValue`."""
    if content.schema is None:
        return text
    try:
        return read_json(text)
    except Unconvertible as error:
        reason = str(error).removeprefix("the text is not JSON")
        raise NoValue(
            f"the answer is not JSON, which the prompt's schema asks for{reason}"
        ) from error


def message_of_error(body: bytes | None) -> str | None:
    """What a provider says in OpenAI's error object."""
    try:
        return str(orjson.loads(body or b"")["error"]["message"])[:500] or None
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
