"""A chat preset in the words of the Responses API. Pure.

https://platform.openai.com/docs/api-reference/responses. What that API has no word for is refused,
by the preset's own name of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from aieye.errors import InvalidRequest
from aieye.presets.apply import Body
from aieye.presets.fields import OVERRIDABLE
from aieye.presets.precedence import LIMITS

# The same in both APIs.
# What chat has at the top and this API under `text`.
_OF_TEXT: Final = {"verbosity": "text.verbosity", "response_format": "text.format"}
_ALIKE: Final = frozenset(
    {
        *("temperature", "top_p", "top_logprobs", "user", "metadata", "store", "service_tier"),
        *("parallel_tool_calls", "safety_identifier", "prompt_cache_key"),
    }
)
_TEXT: Final = "text."
_KINDS_OF_PARTS: Final = {"text": "input_text"}


def responses_words(config: Mapping[str, Any]) -> Body:
    """The fields of a chat preset, its model and messages left out. Raises `InvalidRequest`."""
    found: Body = {}
    for name, value in config.items():
        if name in {"model", "messages", OVERRIDABLE} or value is None:
            continue
        if name in _ALIKE:
            found[name] = value
        elif name in LIMITS:
            found["max_output_tokens"] = value
        elif name == "reasoning_effort":
            found["reasoning"] = {"effort": value}
        elif name == "verbosity":
            found.setdefault("text", {})["verbosity"] = value
        elif name == "response_format":
            found.setdefault("text", {})["format"] = _flat(value, "json_schema")
        elif name == "tools" and isinstance(value, list):
            found["tools"] = [_flat(one, "function") for one in value]
        elif name == "tool_choice":
            found["tool_choice"] = _flat(value, "function")
        else:
            raise InvalidRequest(
                f"The preset sets {name[:100]!r}, which /v1/responses does not know: call it at "
                "/v1/chat/completions.",
                param="model",
            )
    return found


def apart(fields: Mapping[str, Any]) -> Body:
    """The fields with what is nested under `text` as fields of its own: `text.format` and others."""
    text = fields.get("text")
    if not isinstance(text, dict):
        return dict(fields)
    rest = {name: value for name, value in fields.items() if name != "text"}
    return rest | {f"{_TEXT}{name}": value for name, value in text.items()}


def together(fields: Mapping[str, Any]) -> Body:
    """What `apart` took apart, as the API has it."""
    text = {
        name.removeprefix(_TEXT): value for name, value in fields.items() if name.startswith(_TEXT)
    }
    rest = {name: value for name, value in fields.items() if not name.startswith(_TEXT)}
    return ({"text": text} if text else {}) | rest


def allowed(may: Collection[str]) -> Collection[str]:
    """The fields that callers may override, with this API's names of them."""
    return [*may, *(_OF_TEXT[name] for name in may if name in _OF_TEXT)]


def input_of(messages: Sequence[Mapping[str, Any]], given: object) -> list[object]:
    """The preset's messages as items of an input, and what the request says after them.

    Raises `InvalidRequest`.
    """
    items: list[object] = [_item(message) for message in messages]
    if isinstance(given, str):
        return [*items, {"role": "user", "content": given}]
    if given is None or isinstance(given, list):
        return [*items, *(given or ())]
    raise InvalidRequest("input should be text or a list of items.", param="input")


def _item(message: Mapping[str, Any]) -> Body:
    content = message.get("content")
    if isinstance(content, list) and message["role"] != "assistant":
        content = [_part(part) for part in content]
    if set(message) <= {"role", "content"} and _is_sayable(content):
        return {"role": message["role"], "content": content}
    raise InvalidRequest(
        "The preset has a message that /v1/responses cannot take: call it at /v1/chat/completions.",
        param="model",
    )


def _part(part: Any) -> Any:
    if isinstance(part, dict) and part.get("type") in _KINDS_OF_PARTS:
        return {**part, "type": _KINDS_OF_PARTS[part["type"]]}
    return None


def _is_sayable(content: object) -> bool:
    return isinstance(content, str) or (isinstance(content, list) and None not in content)


def _flat(value: Any, name: str) -> Any:
    """What chat nests under the name of its type, as the Responses API has it."""
    if not (isinstance(value, dict) and isinstance(value.get(name), dict)):
        return value
    rest = {key: one for key, one in value.items() if key != name}
    return {**rest, **value[name]}
