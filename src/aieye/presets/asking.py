"""What is asked of a model on behalf of a preset, and how its answers are read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from aieye.errors import InvalidRequest
from aieye.gateway.wire import INFERENCE, Match
from aieye.presets.apply import (
    Body,
    Prompt,
    assemble,
    chat_body,
    completion_body,
    embeddings_body,
    joined,
    succeeded,
    with_restart,
    with_success,
)
from aieye.presets.through_chat import NotACompletion, chats_of, completion_of

CHAT: Final = INFERENCE["/v1/chat/completions"]
COMPLETIONS: Final = INFERENCE["/v1/completions"]
EMBEDDINGS: Final = INFERENCE["/v1/embeddings"]
RESPONSES: Final = INFERENCE["/v1/responses"]


@dataclass(frozen=True, slots=True)
class Asking:
    """Bodies for one endpoint, asked side by side; more than one only of chat.

    `completion` is the body of the completion that is meant, asked directly or through chat.
    """

    match: Match
    bodies: tuple[Body, ...]
    completion: Body | None = None

    @property
    def is_through_chat(self) -> bool:
        return self.completion is not None and self.match is CHAT


def ask_completion(body: Body, *, through_chat: bool) -> Asking:
    """A completion, directly or through chat. Raises `InvalidRequest` for what chat cannot do."""
    if through_chat:
        return Asking(CHAT, tuple(chats_of(body)), body)
    return Asking(COMPLETIONS, (body,), body)


def asking_of(
    type_: str,
    config: Mapping[str, Any],
    text: str,
    *,
    prompt: Prompt | None = None,
    model: str | None = None,
    through_chat: bool = False,
) -> Asking:
    """What a preset asks about one text; `model` is asked instead of its own.

    Raises `InvalidRequest`, which names the field.
    """
    match type_:
        case "completion":
            seen = assemble(config, text, prompt)
            body = completion_body(config, model or config["engine_id"], seen)
            return ask_completion(body, through_chat=through_chat)
        case "chat":
            message = {"role": "user", "content": text}
            return Asking(CHAT, (chat_body(config, [message], model),))
        case "embeddings":
            return Asking(EMBEDDINGS, (embeddings_body(config, text, model),))
    raise InvalidRequest(f"A preset of type {type_} asks no model by itself.")


def processed(asking: Asking, config: Mapping[str, Any], answers: Sequence[bytes]) -> bytes:
    """The answers as `process` gives them: the provider's, with `_success: true`.

    Raises `NotACompletion`.
    """
    restart = joined(config.get("injectRestart")) if asking.completion is not None else ""
    if not asking.is_through_chat and not restart:
        return with_success(answers[0])
    return succeeded(with_restart(completion(asking, answers), restart))


def completion(asking: Asking, answers: Sequence[bytes]) -> Body:
    """The completion that the answers are, whichever way it was asked. Raises `NotACompletion`."""
    if asking.is_through_chat:
        return completion_of(cast(Body, asking.completion), answers)
    try:
        return cast(Body, orjson.loads(answers[0]))
    except orjson.JSONDecodeError as error:
        raise NotACompletion("The provider's answer is not JSON.") from error


def texts_of_completion(
    asking: Asking, config: Mapping[str, Any], answers: Sequence[bytes]
) -> list[str]:
    """The text of each choice, with what restarts. Raises `NotACompletion`."""
    answer = with_restart(completion(asking, answers), joined(config.get("injectRestart")))
    try:
        return [str(choice["text"]) for choice in answer["choices"]]
    except (LookupError, TypeError) as error:
        raise NotACompletion("The provider's answer is no completion.") from error


def vector_of(answer: bytes) -> list[float] | str:
    """The first vector of an embeddings answer, as it was asked for. Raises `NotACompletion`."""
    try:
        vector = orjson.loads(answer)["data"][0]["embedding"]
    except (orjson.JSONDecodeError, LookupError, TypeError) as error:
        raise NotACompletion("The provider's answer has no vector.") from error
    return cast("list[float] | str", vector)
