"""The usage of any provider that speaks OpenAI's protocol, under whatever names it states it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from aieye.gateway.usage.counts import Counts, milliseconds
from aieye.gateway.usage.figures import MAX_TOKENS, Usage, UsageExtras

_MAIN_COUNTS: Final = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")


def read_any(raw: dict[str, Any], tier: str | None) -> Usage | None:
    """Read a usage object of any known shape, repairing what cannot be true."""
    extras = _extras_of(raw)
    if all(raw.get(name) is None for name in (*_MAIN_COUNTS, "total_tokens")) and extras is None:
        return None
    counts = Counts()
    inputs = counts.details(
        # Transcriptions and realtime spell it "token", responses and images "tokens".
        raw,
        "prompt_tokens_details",
        "input_tokens_details",
        "input_token_details",
    )
    outputs = counts.details(
        raw, "completion_tokens_details", "output_tokens_details", "output_token_details"
    )
    input_, cached, cache_write = _input_side(counts, raw, inputs)
    output, reasoning, citation = _output_side(counts, raw, outputs, input_)
    if citation:
        extras = replace(extras or UsageExtras(), citation=citation)
    if output and not outputs and "image_tokens" in inputs and "input_tokens" in raw:
        # Images: the answers of older models break down their input only; all they make is image.
        output_image = output
    else:
        output_image = counts.count(outputs, "image_tokens")
    input_audio = counts.at_most(input_, counts.count(inputs, "audio_tokens"))
    output_audio = counts.at_most(output, counts.count(outputs, "audio_tokens"))
    return Usage(
        input=input_,
        output=output,
        cached=cached,
        cache_write=cache_write,
        reasoning=reasoning,
        input_audio=input_audio,
        input_image=counts.at_most(input_ - input_audio, counts.count(inputs, "image_tokens")),
        output_audio=output_audio,
        output_image=counts.at_most(output - output_audio, output_image),
        service_tier=tier if tier is not None else _tier_within(raw),
        anomaly=counts.anomaly,
        extras=extras,
        raw=raw,
    )


def _input_side(
    counts: Counts, raw: dict[str, Any], inputs: dict[str, Any]
) -> tuple[int, int, int]:
    """Return the tokens of the input: all, read from the cache, written to the cache."""
    input_ = counts.count(raw, "prompt_tokens", "input_tokens")
    if not input_ and all(raw.get(name) is None for name in _MAIN_COUNTS):
        # Voyage's and Jina's embeddings state the total alone, and it is all input.
        input_ = counts.count(raw, "total_tokens")
    cached = counts.count(inputs, "cached_tokens", "cache_read_input_tokens") or counts.count(
        raw,
        "prompt_cache_hit_tokens",  # DeepSeek
        "cached_tokens",  # Moonshot
        "cache_read_input_tokens",  # Anthropic, Databricks, LiteLLM
        "cached_prompt_text_tokens",  # xAI
    )
    cache_write = counts.count(
        inputs, "cache_write_tokens", "cache_creation_tokens"
    ) or counts.count(raw, "cache_creation_input_tokens")
    if "prompt_tokens" not in raw and "total_tokens" not in raw and not inputs:
        # Anthropic's own shape: the three are counted beside each other.
        # https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching
        input_ = counts.at_most(MAX_TOKENS, input_ + cached + cache_write)
    cached = counts.at_most(input_, cached)
    return input_, cached, counts.at_most(input_ - cached, cache_write)


def _output_side(
    counts: Counts, raw: dict[str, Any], outputs: dict[str, Any], input_: int
) -> tuple[int, int, int]:
    """Return the tokens of the output: all, spent on reasoning, spent on citations."""
    output = counts.count(raw, "completion_tokens", "output_tokens")
    reasoning = counts.count(outputs, "reasoning_tokens", "thinking_tokens") or counts.count(
        raw, "reasoning_tokens"
    )
    citation = counts.count(raw, "citation_tokens")
    total = counts.count(raw, "total_tokens")
    if (
        "citation_tokens" in raw  # Perplexity counts both beside the completion,
        or reasoning > output  # and so does xAI, where OpenAI counts reasoning within it.
        or (total and total == input_ + output + reasoning)
    ):
        output += reasoning
    return counts.at_most(MAX_TOKENS, output + citation), reasoning, citation


def _extras_of(raw: dict[str, Any]) -> UsageExtras | None:
    """Return what is billed beside tokens; None, as nearly always, when nothing is."""
    audio_ms = milliseconds(raw.get("seconds") or raw.get("prompt_audio_seconds"))
    tools = raw.get("server_tool_use")
    searches = raw.get("num_search_queries") or (
        tools.get("web_search_requests") if isinstance(tools, dict) else None
    )
    if type(searches) is not int or not 0 < searches <= MAX_TOKENS:
        searches = 0
    if not audio_ms and not searches:
        return None
    return UsageExtras(searches=searches, audio_ms=audio_ms)


def _tier_within(raw: dict[str, Any]) -> str | None:
    """Return the tier where Anthropic states it: inside the usage."""
    tier = raw.get("service_tier")
    return tier if isinstance(tier, str) and len(tier) <= 32 else None
