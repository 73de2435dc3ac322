"""From the usage object that a provider sent to the one form of it that is believed."""

from __future__ import annotations

from dataclasses import replace

from aieye.gateway.usage.figures import Usage
from aieye.gateway.usage.ordinary import read_ordinary
from aieye.gateway.usage.providers import read_any


def normalise_usage(raw: object, service_tier: object = None) -> Usage | None:
    """Return the usage that a provider's `usage` object states, None when it states none.

    Understood are chat and legacy completions, responses, embeddings, images and transcriptions
    (https://platform.openai.com/docs/api-reference), and the names that Anthropic, DeepSeek,
    Moonshot, Mistral, Perplexity, xAI, OpenRouter and LiteLLM use in their compatible answers.
    `service_tier` is the field beside `usage` in the answer. Never raises: a count that is
    negative, fractional, text, above `MAX_TOKENS` or above the whole it is part of is dropped or
    clamped, and `anomaly` is set. A `total_tokens` that the parts do not add up to is not believed.
    """
    if not isinstance(raw, dict):
        return None
    tier = service_tier if type(service_tier) is str and len(service_tier) <= 32 else None
    return read_ordinary(raw, tier) or read_any(raw, tier)


def latest_usage(previous: Usage | None, new: Usage) -> Usage:
    """Return the usage that counts when a stream reports it more than once.

    Reports are cumulative, so the last one wins; one that takes back what was said before is not
    believed, and the earlier one stays, marked as an anomaly.
    """
    if previous is None or (new.input >= previous.input and new.output >= previous.output):
        return new
    return previous if previous.anomaly else replace(previous, anomaly=True)
