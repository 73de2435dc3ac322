"""A completion that a chat model answers: asked through chat, answered as `text_completion`. Pure.

https://platform.openai.com/docs/api-reference/completions and …/chat. What chat cannot do is
refused; `echo` is done here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import orjson

from aieye.errors import InvalidRequest
from aieye.gateway.faults import UpstreamError
from aieye.presets.apply import Body, is_text, texts_of

MOST_PROMPTS: Final = 100
"""Of one completion: each is a call, and all are under way at once."""
# What means nothing to chat, or is said otherwise there.
_OTHERWISE: Final = frozenset(
    {"prompt", "messages", "echo", "best_of", "logprobs", "top_logprobs", "suffix", "max_tokens"}
)
# Models that reason: they know only the newer name of the limit, and no sampling but the default.
_REASONS: Final = re.compile(r"(?:.*/)?(?:o[0-9]|gpt-[5-9])", re.ASCII)
_DEFAULTS: Final[Mapping[str, object]] = {
    "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0
}  # fmt: skip


class NotACompletion(UpstreamError):
    """What the provider answered cannot be read as an answer of its API."""

    code = "unreadable_answer"


def chats_of(body: Body) -> list[Body]:
    """A body of `/v1/completions` as bodies of `/v1/chat/completions`, one for each prompt.

    Raises `InvalidRequest` for what chat cannot do.
    """
    prompt = body["prompt"]
    if not is_text(prompt):
        raise _impossible("prompt", "a prompt of tokens", body)
    if isinstance(prompt, list) and len(prompt) > MOST_PROMPTS:
        raise _impossible("prompt", f"more than {MOST_PROMPTS} prompts at once", body)
    if (body.get("best_of") or 1) != 1:
        raise _impossible("best_of", "best_of over 1", body)
    if body.get("suffix"):
        raise _impossible("suffix", "a suffix", body)
    common = {name: value for name, value in body.items() if name not in _OTHERWISE}
    reasons = _REASONS.match(str(body["model"])) is not None
    if body.get("max_tokens") is not None:
        common["max_completion_tokens" if reasons else "max_tokens"] = body["max_tokens"]
    if reasons:
        common = {
            name: value
            for name, value in common.items()
            if name not in _DEFAULTS or value != _DEFAULTS[name]
        }
    logprobs = body.get("logprobs")
    if logprobs is not None:
        common["logprobs"] = True
        if logprobs:
            common["top_logprobs"] = logprobs
    return [
        {**common, "messages": [{"role": "user", "content": text}]} for text in texts_of(prompt)
    ]


def _impossible(param: str, what: str, body: Body) -> InvalidRequest:
    return InvalidRequest(
        f"{str(body['model'])[:100]!r} is a chat model, which cannot be asked for {what}.",
        param=param,
    )


def completion_of(body: Body, answers: Sequence[bytes]) -> Body:
    """The answers to `chats_of(body)` as one completion. Raises `NotACompletion`."""
    read = [_read(answer) for answer in answers]
    texts = texts_of(body["prompt"])
    try:
        choices = [
            choice
            for prompt, answer in zip(texts, read, strict=True)
            for choice in _choices(answer, prompt, echo=body.get("echo") is True)
        ]
    except (LookupError, TypeError, AttributeError) as error:
        raise NotACompletion("The provider's answer is not one of the chat API.") from error
    first = read[0]
    found: Body = {
        "id": completion_id(first.get("id")),
        "object": "text_completion",
        "created": first.get("created"),
        "model": first.get("model"),
        "choices": [{**choice, "index": index} for index, choice in enumerate(choices)],
    }
    if first.get("system_fingerprint") is not None:
        found["system_fingerprint"] = first["system_fingerprint"]
    usages = [answer.get("usage") for answer in read]
    if all(isinstance(usage, dict) for usage in usages):
        found["usage"] = _sum(usages)
    return found


def completion_id(chat_id: object) -> str:
    """The id of a chat answer, as completions have them."""
    return f"cmpl-{str(chat_id or '').removeprefix('chatcmpl-')}"


def _read(answer: bytes) -> Body:
    try:
        read = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise NotACompletion("The provider's answer is not JSON.") from error
    if not isinstance(read, dict) or not isinstance(read.get("choices"), list):
        raise NotACompletion("The provider's answer has no choices.")
    return read


def _choices(answer: Body, prompt: str, *, echo: bool) -> Iterator[Body]:
    for choice in answer["choices"]:
        message = choice["message"]
        said = message.get("content") or message.get("refusal") or ""
        yield {
            "text": (prompt if echo else "") + str(said),
            "index": 0,
            "logprobs": text_logprobs(choice.get("logprobs"), len(prompt)),
            "finish_reason": choice.get("finish_reason"),
        }


def text_logprobs(logprobs: object, offset: int) -> Body | None:
    """Chat's log probabilities as the older API has them; `offset` is where the first token stands."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    tokens: list[str] = [one["token"] for one in content]
    tops = [
        {top["token"]: top["logprob"] for top in one.get("top_logprobs") or ()} for one in content
    ]
    starts = accumulate((len(token) for token in tokens), initial=offset)
    return {
        "tokens": tokens,
        "token_logprobs": [one["logprob"] for one in content],
        "top_logprobs": tops if any(tops) else None,
        "text_offset": list(starts)[:-1],
    }


def _sum(usages: Sequence[Any]) -> Body:
    """Figures added up, also those that lie deeper; what is no figure in all of them is left out."""
    found: Body = {}
    for name in usages[0]:
        values = [usage.get(name) for usage in usages]
        if all(isinstance(value, int) for value in values):
            found[name] = sum(values)
        elif all(isinstance(value, dict) for value in values):
            found[name] = _sum(values)
    return found
