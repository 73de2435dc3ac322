"""What a client of `/v1` asks when its `model` names a preset, and what it gets. Pure.

`preset/NAME` asks the preset's own model, `MODEL@preset/NAME` another. Whatever the client's endpoint
and the model's are alike in goes up and comes down as it is; a completion preset is also answered
where the two differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from aieye.errors import InvalidRequest
from aieye.gateway.wire import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, Endpoint
from aieye.presets import asking
from aieye.presets.apply import (
    COMPLETION_FIELDS,
    Body,
    Prompt,
    assemble,
    chat_body,
    completion_body,
    embeddings_body,
    is_text,
)
from aieye.presets.asking import Asking, ask_completion
from aieye.presets.fields import OVERRIDABLE
from aieye.presets.precedence import merge, overridable
from aieye.presets.streams import Reshaped, as_chat, as_completion
from aieye.presets.through_completions import chat_of, completion_words
from aieye.presets.through_responses import allowed, apart, input_of, responses_words, together

PREFIX: Final = "preset/"
_BESIDE: Final = "@preset/"
# Where presets of each type are called.
_PLACES: Final[Mapping[str, Sequence[Endpoint]]] = {
    "completion": (COMPLETIONS, CHAT),
    "chat": (CHAT, RESPONSES),
    "embeddings": (EMBEDDINGS,),
    "search": (CHAT,),
}


class WrongPlace(InvalidRequest):
    """Presets of this type are called elsewhere."""

    code = "preset_type"


@dataclass(frozen=True, slots=True)
class Named:
    """The preset that a client named, and the model beside it."""

    preset: str
    model: str | None

    @property
    def shown(self) -> str:
        """The preset's own name among models."""
        return PREFIX + self.preset


def read_name(model: object) -> Named | None:
    """What a `model` names, if it is a preset."""
    if not isinstance(model, str):
        return None
    beside, found, name = model.partition(_BESIDE)
    if found:
        return Named(name, beside or None)
    return Named(model.removeprefix(PREFIX), None) if model.startswith(PREFIX) else None


@dataclass(frozen=True, slots=True)
class Question:
    """What goes up for a client, and at which endpoint it is to be answered."""

    asking: Asking
    wanted: Endpoint
    is_stream: bool

    @property
    def is_answered_as_it_is(self) -> bool:
        """Whether the provider's bytes are the client's."""
        return self.asking.match.endpoint is self.wanted and len(self.asking.bodies) == 1

    def answer(self, bodies: Sequence[bytes]) -> bytes:
        """The client's answer out of the providers'. Raises `NotACompletion`."""
        if self.wanted is CHAT and len(bodies) == 1:
            return orjson.dumps(chat_of(bodies[0]))
        found = orjson.dumps(asking.completion(self.asking, bodies))
        return orjson.dumps(chat_of(found)) if self.wanted is CHAT else found

    def stream(self) -> Reshaped:
        """What makes the client's stream out of the provider's."""
        if self.wanted is CHAT:
            return as_chat()
        said = self.asking.bodies[0]["messages"][-1]["content"]
        completion = self.asking.completion or {}
        return as_completion(said, echo=completion.get("echo") is True)


def check_place(type_: str, wanted: Endpoint) -> None:
    """Raise `WrongPlace` where a preset of the type is not called at the endpoint."""
    if wanted not in _PLACES[type_]:
        places = " and ".join(f"/v1/{one.name}" for one in _PLACES[type_])
        raise WrongPlace(f"A preset of type {type_} is called at {places}.", param="model")


def asked_of_completion(
    config: Mapping[str, Any],
    request: Mapping[str, Any],
    wanted: Endpoint,
    model: str,
    *,
    through_chat: bool,
) -> Question:
    """What a completion preset asks about a request of `/v1/completions` or of chat.

    Raises `InvalidRequest`.
    """
    if wanted is CHAT:
        said = last_user_text(request.get("messages"))
        if said is None:
            raise InvalidRequest("There is no message of the user's.", param="messages")
        prompt = assemble(config, said, "")
        words = completion_words(request)
    else:
        prompt = _prompt(config, request.get("prompt"))
        words = dict(request)
    own = {name: config.get(name) for name in COMPLETION_FIELDS}
    fields = merge(own, _without(words, "model", "prompt"), overridable(config))
    if wanted is CHAT:
        # An answer of chat never has the question in it.
        fields.pop("echo", None)
    body = {name: value for name, value in fields.items() if name not in COMPLETION_FIELDS}
    body |= completion_body(fields, model, prompt)
    question = Question(
        ask_completion(body, through_chat=through_chat), wanted, fields.get("stream") is True
    )
    if question.is_stream and len(question.asking.bodies) > 1:
        raise InvalidRequest(
            "Several prompts of a chat model cannot be answered as one stream.", param="stream"
        )
    return question


def _prompt(config: Mapping[str, Any], given: Any) -> Prompt:
    if not config.get("prompt"):
        return assemble(config, "", given)
    if given is not None and given != [] and not is_text(given):
        raise InvalidRequest(
            "The preset has a prompt of its own: send text, or texts, to follow it.", param="prompt"
        )
    return assemble(config, given or "", None)


def asked_of_chat(config: Mapping[str, Any], request: Mapping[str, Any], model: str) -> Question:
    """What a chat preset asks: its messages and then the request's. Raises `InvalidRequest`."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        raise InvalidRequest("messages should be a list of messages.", param="messages")
    own = _without(config, "model", "messages", OVERRIDABLE)
    fields = merge(own, _without(request, "model", "messages"), overridable(config))
    body = chat_body({**fields, "messages": config.get("messages")}, messages, model)
    return Question(Asking(asking.CHAT, (body,)), CHAT, fields.get("stream") is True)


def asked_of_responses(
    config: Mapping[str, Any], request: Mapping[str, Any], model: str
) -> Question:
    """What a chat preset asks in the words of the Responses API. Raises `InvalidRequest`."""
    own, said = responses_words(config), _without(request, "model", "input")
    # What the API nests under `text` are two fields of the preset's, each decided by itself.
    fields = together(merge(apart(own), apart(said), allowed(overridable(config))))
    items = input_of(config.get("messages") or (), request.get("input"))
    body = {**fields, "model": model, "input": items}
    return Question(Asking(asking.RESPONSES, (body,)), RESPONSES, fields.get("stream") is True)


def asked_of_embeddings(
    config: Mapping[str, Any], request: Mapping[str, Any], model: str
) -> Question:
    """What an embeddings preset asks. Raises `InvalidRequest`."""
    if request.get("input") is None:
        raise InvalidRequest("input is required: what is to be embedded.", param="input")
    own = _without(config, "model", OVERRIDABLE)
    fields = merge(own, _without(request, "model", "input"), overridable(config))
    body = embeddings_body(fields, request.get("input"), model)
    return Question(Asking(asking.EMBEDDINGS, (body,)), EMBEDDINGS, is_stream=False)


def last_user_text(messages: object) -> str | None:
    """The text of the last message of the user's; of one in parts, its texts."""
    if not isinstance(messages, list):
        return None
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                parts = [part.get("text") for part in content if isinstance(part, dict)]
                return "".join(part for part in parts if isinstance(part, str))
            return content if isinstance(content, str) else None
    return None


def _without(fields: Mapping[str, Any], *names: str) -> Body:
    return {name: value for name, value in fields.items() if name not in names}
