"""What a preset and its caller say, as bodies for `/v1`, and a completion as its caller gets it. Pure.

`config` is a preset's configuration as `aieye.presets.fields` leaves it. The fields of a completion
are those of OpenAI's older API, which the GPT3 Proxy had (`engine_id` is its word for the model).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeGuard

import orjson

from aieye.errors import InvalidRequest
from aieye.presets.fields import OVERRIDABLE

Body: TypeAlias = dict[str, Any]
Prompt: TypeAlias = str | list[Any]
"""A text, texts, or lists of tokens."""

# Said to the model whatever they are: a server of one's own may have other defaults than OpenAI.
_ALWAYS: Final = ("max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty")
# Said only where they ask for something: many servers do not know them.
_SILENT: Final[Mapping[str, object]] = {"best_of": 1, "echo": False, "logprobs": None, "stop": []}
COMPLETION_FIELDS: Final = frozenset({*_ALWAYS, *_SILENT})


class MissingPrompt(InvalidRequest):
    """Neither the preset nor its caller says what is asked."""

    code = "missing_prompt"

    def __init__(self) -> None:
        super().__init__("The preset has no prompt of its own: send one.", param="prompt")


def joined(inject: object) -> str:
    """What `injectStart` or `injectRestart` stands for: an array is its strings, one after another."""
    if isinstance(inject, list):
        return "".join(one for one in inject if isinstance(one, str))
    return inject if isinstance(inject, str) else ""


def is_text(prompt: object) -> TypeGuard[str | list[str]]:
    """Whether a prompt is a text or texts, and not tokens."""
    if isinstance(prompt, list):
        return bool(prompt) and all(isinstance(one, str) for one in prompt)
    return isinstance(prompt, str)


def texts_of(prompt: str | list[str]) -> list[str]:
    """The texts of a prompt, one or several."""
    return [prompt] if isinstance(prompt, str) else prompt


def assemble(config: Mapping[str, Any], text: str | list[str], given: Prompt | None) -> Prompt:
    """What the model sees: prompt + text + injectStart, for each prompt if there are several.

    `given` is the caller's prompt, which counts where the preset has none. Several texts are asked
    about in one go, of one prompt. Raises `MissingPrompt`, and `InvalidRequest` for tokens to which
    text should be added, and for several prompts with several texts.
    """
    prompt: Prompt | None = config.get("prompt") or given
    if prompt is None or prompt == []:
        raise MissingPrompt
    start = joined(config.get("injectStart"))
    if not is_text(prompt):
        for name, more in (("text", text), ("injectStart", start)):
            if more:
                raise InvalidRequest(
                    f"To a prompt of tokens no text can be added: {name} has to be empty.",
                    param=name,
                )
        return prompt
    if isinstance(text, list):
        if isinstance(prompt, list):
            raise InvalidRequest("The preset has several prompts: send one text.", param="prompt")
        return [prompt + one + start for one in text]
    if isinstance(prompt, list):
        return [one + text + start for one in prompt]
    return prompt + text + start


def completion_body(fields: Mapping[str, Any], model: str, prompt: Prompt) -> Body:
    """The body for `/v1/completions`. `fields` are a configuration's, or those and a caller's."""
    body: Body = {"model": model, "prompt": prompt}
    for name in _ALWAYS:
        if fields.get(name) is not None:
            body[name] = fields[name]
    for name, silent in _SILENT.items():
        value = fields.get(name)
        if value is not None and value != silent:
            body[name] = value
    return body


def chat_body(config: Mapping[str, Any], messages: Sequence[object], model: str | None) -> Body:
    """The body for `/v1/chat/completions`: the preset's messages, then the caller's."""
    body = _said(config)
    body["messages"] = [*(config.get("messages") or ()), *messages]
    return {**body, "model": model or config["model"]}


def embeddings_body(config: Mapping[str, Any], text: object, model: str | None) -> Body:
    """The body for `/v1/embeddings`."""
    return {**_said(config), "model": model or config["model"], "input": text}


def _said(config: Mapping[str, Any]) -> Body:
    """What of a configuration is for the model."""
    return {
        name: value for name, value in config.items() if value is not None and name != OVERRIDABLE
    }


def with_restart(answer: Body, restart: str) -> Body:
    """A completion with `injectRestart` after the text of each choice, all else as it was."""
    choices = answer.get("choices")
    if not restart or not isinstance(choices, list):
        return answer
    return {**answer, "choices": list(_continued(choices, restart))}


def _continued(choices: Sequence[object], restart: str) -> Iterator[object]:
    for choice in choices:
        if isinstance(choice, dict) and isinstance(choice.get("text"), str):
            yield {**choice, "text": choice["text"] + restart}
        else:
            yield choice


def with_success(body: bytes) -> bytes:
    """An answer's JSON object with `_success: true` in front; every other byte stays as it is."""
    rest = body.lstrip()[1:]
    comma = b"" if rest.lstrip()[:1] == b"}" else b","
    return b'{"_success":true' + comma + rest


def succeeded(answer: Mapping[str, Any]) -> bytes:
    """The same of an answer that is no text yet."""
    return orjson.dumps({"_success": True, **answer})
