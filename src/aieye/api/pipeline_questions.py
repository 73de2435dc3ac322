"""What a client that calls `pipeline/NAME` as a model says to it. Without I/O.

A pipeline takes text and gives one text: what it could only drop is refused before anything is paid.
Fields that say how a model is sampled are a matter of its prompts, and ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aieye.errors import InvalidRequest
from aieye.gateway.wire import CHAT, Endpoint
from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.values import Json
from aieye.presets.called import last_user_text

PREFIX: Final = "pipeline/"
# Fields that ask for something other than one text.
_UNANSWERABLE: Final = ("tools", "functions")


class NotAtThisEndpoint(InvalidRequest):
    """Pipelines are called elsewhere."""

    code = "pipeline_endpoint"


def check_place(model: str, wanted: Endpoint) -> None:
    """Raise `NotAtThisEndpoint` where pipelines are not called."""
    if wanted is not CHAT:
        name = model.removeprefix(PREFIX)[:100]
        raise NotAtThisEndpoint(
            f"A pipeline is called at /v1/chat/completions or /api/v1/pipelines/{name}/call, "
            f"not at /v1/{wanted.name}.",
            param="model",
        )


def check_question(document: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for what a pipeline could only drop: images, sound, tools, choices."""
    count = document.get("n")
    if count is not None and count != 1:
        raise InvalidRequest("A pipeline gives one answer: n should be 1.", param="n")
    for name in _UNANSWERABLE:
        if document.get(name):
            raise InvalidRequest(f"A pipeline takes no {name}: leave them out.", param=name)
    for message in reversed(_messages(document)):
        if message.get("role") == "user":
            _check_text(message.get("content"))
            return


def arguments_of(document: Mapping[str, Any], parameters: Sequence[Parameter]) -> dict[str, Json]:
    """What `metadata` names, and what the user said last for the first argument that is left.

    With anything named, an argument that may be left out is left out.
    """
    metadata = document.get("metadata")
    given: dict[str, Json] = {}
    if isinstance(metadata, dict):
        given = {
            one.name: value
            for one in parameters
            if isinstance(value := metadata.get(one.name), str)
        }
    said = last_user_text(document.get("messages"))
    left = [one for one in parameters if one.name not in given]
    if given:
        left = [one for one in left if one.is_required]
    else:
        left.sort(key=lambda one: not one.is_required)
    if left and said is not None:
        given[left[0].name] = said
    return given


def _messages(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    messages = document.get("messages")
    return [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []


def _check_text(content: object) -> None:
    if isinstance(content, str):
        return
    parts = content if isinstance(content, list) else []
    other = next((one for one in parts if not _is_text(one)), None)
    if other is None and parts:
        return
    kind = other.get("type") if isinstance(other, dict) else None
    held = f"a part of the type {str(kind)[:50]!r}" if kind else "no text"
    raise InvalidRequest(
        f"A pipeline takes the text of the last user message, which holds {held}.",
        param="messages",
    )


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
