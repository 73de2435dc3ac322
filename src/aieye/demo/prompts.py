"""What the model is asked: the text of messages, and prompts as texts or as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aieye.demo.answers import Json
from aieye.demo.errors import invalid, wrong_type
from aieye.demo.params import is_integer, required
from aieye.demo.tokens import count_tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a completion: its text (token ids are shown as `<1><2>`) and its tokens."""

    text: str
    tokens: int


def read_prompts(params: Json, name: str) -> list[Prompt]:
    """A string, strings, token ids, or lists of token ids, as `prompt` and `input` allow."""
    value = required(params, name, str | list, "a string or an array")
    if value == []:
        raise invalid(name, "empty array. Expected at least one element.", "empty_array")
    if isinstance(value, str) or is_integer(value[0]):
        return [_prompt(value, name)]
    return [_prompt(item, f"{name}[{index}]") for index, item in enumerate(value)]


def _prompt(value: object, name: str) -> Prompt:
    if isinstance(value, str):
        return Prompt(value, count_tokens(value))
    if not isinstance(value, list) or not value or not all(is_integer(item) for item in value):
        raise wrong_type(name, "a string or an array of integers")
    return Prompt("".join(f"<{token}>" for token in value), len(value))


def content_text(content: object) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part for part in content if isinstance(part, dict))
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def last_user_text(messages: Sequence[Json]) -> str:
    """The last message of the user; where there is none, the last message of all."""
    asked = [message for message in messages if message.get("role") == "user"] or messages
    return content_text(asked[-1].get("content")) if asked else ""
