"""The tokens of one call, as everything behind the provider's answer speaks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MAX_TOKENS: Final = 2**30
"""The most tokens (a thousand million) that one call can claim. More is a lie, and summed up in a
roll-up it would overflow the database's 64-bit integers."""


@dataclass(frozen=True, slots=True)
class UsageExtras:
    """What few calls are billed by, beside their tokens."""

    citation: int = 0
    """Output tokens spent on citations (Perplexity), part of `Usage.output`."""
    searches: int = 0
    """Searches of the web that the provider made."""
    audio_ms: int = 0
    """Length of the audio that was sent, in milliseconds."""
    characters: int = 0
    """Characters that were sent to be spoken."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call. Every count is an integer from 0 to `MAX_TOKENS`.

    The parts never exceed their whole: `cached + cache_write <= input`,
    `input_audio + input_image <= input`, `output_audio + output_image <= output`,
    `reasoning <= output`.
    """

    input: int = 0
    """All input tokens, cached ones included."""
    output: int = 0
    """All output tokens, reasoning included."""
    cached: int = 0
    """Input tokens read from the provider's prompt cache."""
    cache_write: int = 0
    """Input tokens written to the provider's prompt cache."""
    reasoning: int = 0
    """Output tokens that the model spent on thinking."""
    input_audio: int = 0
    input_image: int = 0
    output_audio: int = 0
    output_image: int = 0
    service_tier: str | None = None
    """The tier that served the call as the provider names it (`flex`, `priority`, `default`)."""
    estimated: bool = False
    """No provider said so: see `estimate_usage`."""
    anomaly: bool = False
    """The provider's figures were impossible and are repaired here: not to be called exact."""
    extras: UsageExtras | None = None
    raw: dict[str, Any] | None = None
    """The provider's usage object, verbatim."""
