"""Text in, text out, as OpenAI states it: the usage of nearly every call."""

from __future__ import annotations

from typing import Any

from aieye.gateway.usage.counts import NO_COUNT
from aieye.gateway.usage.figures import MAX_TOKENS, Usage

_CHAT = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)
_RESPONSES = (
    "input_tokens",
    "output_tokens",
    "input_tokens_details",
    "output_tokens_details",
)
_PLAIN_INPUT_DETAILS = frozenset(
    {"cached_tokens", "cache_write_tokens", "audio_tokens", "text_tokens"}
)
_PLAIN_OUTPUT_DETAILS = frozenset(
    {
        "reasoning_tokens",
        "audio_tokens",
        "text_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
    }
)


def read_ordinary(raw: dict[str, Any], tier: str | None) -> Usage | None:
    """Read text in, text out, as OpenAI states it; None for anything else, wrong or rare.

    A short cut of `providers.read_any` with the same result: nearly every call passes here.
    """
    names = _CHAT if "prompt_tokens" in raw else _RESPONSES
    input_ = raw.get(names[0])
    output = raw.get(names[1], 0)
    if type(input_) is not int or type(output) is not int or not 0 <= input_ <= MAX_TOKENS:
        return None
    if not 0 <= output <= MAX_TOKENS or raw.get("total_tokens") != input_ + output:
        return None
    inputs = raw.get(names[2])
    outputs = raw.get(names[3])
    if len(raw) != 2 + (names[1] in raw) + (inputs is not None) + (outputs is not None):
        return None
    cached = _part(inputs, "cached_tokens", input_, _PLAIN_INPUT_DETAILS)
    reasoning = _part(outputs, "reasoning_tokens", output, _PLAIN_OUTPUT_DETAILS)
    if cached is None or reasoning is None:
        return None
    return Usage(input_, output, cached, 0, reasoning, service_tier=tier, raw=raw)


def _part(details: Any, name: str, whole: int, plain: frozenset[str]) -> int | None:
    """Read one count of a breakdown, 0 where there is none; None for what is wrong or rare."""
    if details is None:
        return 0
    if type(details) is not dict or not plain.issuperset(details):
        return None
    if details.get("audio_tokens") not in NO_COUNT:
        return None
    if details.get("cache_write_tokens") not in NO_COUNT:
        return None
    count = details.get(name)
    if count is None:
        return 0
    return count if type(count) is int and 0 <= count <= whole else None
