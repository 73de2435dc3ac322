"""The other way round: a chat client that asks a preset whose model only continues texts. Pure.

What is asked of chat is said in the words of the older API, and its answer as a chat's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from aieye.presets.apply import Body
from aieye.presets.through_chat import NotACompletion


def completion_words(request: Mapping[str, Any]) -> Body:
    """The fields of a chat request by the names that completions have for them, messages left out."""
    said = {name: value for name, value in request.items() if value is not None}
    said.pop("messages", None)
    limit = said.pop("max_completion_tokens", None)
    if limit is not None:
        said.setdefault("max_tokens", limit)
    top = said.pop("top_logprobs", None)
    if (wanted := said.pop("logprobs", None)) is not None and wanted is not False:
        said["logprobs"] = top or 0
    return said


def chat_of(answer: bytes) -> Body:
    """A completion as an answer of chat. Raises `NotACompletion`."""
    try:
        read = orjson.loads(answer)
        choices = [
            {
                "index": choice["index"],
                "message": {"role": "assistant", "content": choice["text"], "refusal": None},
                "logprobs": chat_logprobs(choice.get("logprobs")),
                "finish_reason": choice.get("finish_reason"),
            }
            for choice in read["choices"]
        ]
        return {
            **read,
            "id": chat_id(read.get("id")),
            "object": "chat.completion",
            "choices": choices,
        }
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        raise NotACompletion("The provider's answer is no completion.") from error


def chat_id(completion_id: object) -> str:
    """The id of a completion, as chat answers have them."""
    return f"chatcmpl-{str(completion_id or '').removeprefix('cmpl-')}"


def chat_logprobs(logprobs: object) -> Body | None:
    """The older API's log probabilities as chat has them."""
    if not isinstance(logprobs, dict):
        return None
    tokens, values = logprobs.get("tokens") or (), logprobs.get("token_logprobs") or ()
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    content = [
        {
            **_entry(token, value),
            "top_logprobs": [_entry(name, figure) for name, figure in (top or {}).items()],
        }
        for token, value, top in zip(tokens, values, tops, strict=False)
    ]
    return {"content": content, "refusal": None}


def _entry(token: str, logprob: object) -> Body:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
