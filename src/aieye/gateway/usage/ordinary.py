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
    cached = reasoning = None
    if inputs is not None:
        if type(inputs) is not dict or not _PLAIN_INPUT_DETAILS.issuperset(inputs):
            return None
        cached = inputs.get("cached_tokens")
        if cached is not None and (type(cached) is not int or not 0 <= cached <= input_):
            return None
        if (
            inputs.get("audio_tokens") not in NO_COUNT
            or inputs.get("cache_write_tokens") not in NO_COUNT
        ):
            return None
    if outputs is not None:
        if type(outputs) is not dict or not _PLAIN_OUTPUT_DETAILS.issuperset(outputs):
            return None
        reasoning = outputs.get("reasoning_tokens")
        if reasoning is not None and (type(reasoning) is not int or not 0 <= reasoning <= output):
            return None
        if outputs.get("audio_tokens") not in NO_COUNT:
            return None
    return Usage(input_, output, cached or 0, 0, reasoning or 0, service_tier=tier, raw=raw)
