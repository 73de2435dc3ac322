"""Chat and completions, from chunks to a body. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aieye.cache.forms.choices import ChatChoice, Choice, TextChoice
from aieye.cache.forms.pieces import settle
from aieye.cache.forms.reading import (
    DONE,
    CannotConvert,
    Object,
    as_object,
    as_objects,
    index_of,
    load,
    payloads,
)

# The padding that hides how long tokens are, and the name of the form itself.
_STREAM_ONLY: Final = frozenset({"object", "obfuscation"})


def fold_choices(
    frames: bytes, kind: str, choice_type: type[ChatChoice] | type[TextChoice]
) -> Object:
    """The plain body of a stream of chunks; `kind` is its `object`. Raises `CannotConvert`."""
    body: Object = {"id": None, "object": kind, "created": None, "model": None, "choices": []}
    usage: Object | None = None
    choices: dict[int, Choice] = {}
    named: set[str] = set()
    for chunk in _chunks(frames):
        named |= chunk.keys()
        for key, value in chunk.items():
            if key == "choices":
                for choice in as_objects(value or []):
                    index = index_of(choice)
                    if index not in choices:
                        choices[index] = choice_type(index)
                    choices[index].add(choice)
            elif key == "usage":
                usage = as_object(value) if value else usage
            elif key in ("id", "created", "model"):
                body[key] = body[key] or value  # some first chunks leave them empty
            elif key not in _STREAM_ONLY and (key not in body or body[key] != value):
                settle(body, key, value)
    if not choices:
        raise CannotConvert("the stream has no choices")
    body["choices"] = [choices[index].fold() for index in sorted(choices)]
    if usage:
        body["usage"] = usage
    return {key: value for key, value in body.items() if key in named or key == "object"}


def _chunks(frames: bytes) -> Iterator[Object]:
    """The chunks of a complete stream up to `[DONE]`."""
    for data in payloads(frames):
        if data.startswith(DONE):
            return
        chunk = load(data)
        if chunk.get("error") or "choices" not in chunk:
            raise CannotConvert("the stream has an event that is no chunk")
        yield chunk
    raise CannotConvert("the stream has no end")
