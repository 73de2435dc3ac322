"""Prices of tokens by kind, and what the tokens of a call cost by them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from aieye.ledger.pricing.metered import Metered


@dataclass(frozen=True, slots=True)
class Rates:
    """Pico-dollars a token by kind; None where the kind has no price.

    A kind without a rate of its own has that of the kind it is part of, as in genai-prices: cached
    text without a cached rate is input, audio without an audio rate is text. So None is left only
    where the whole side has no price.
    """

    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    input_audio: int | None = None
    cached_audio: int | None = None
    input_image: int | None = None
    cached_image: int | None = None
    output: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    output_image: int | None = None
    citation: int | None = None
    text: tuple[int, int, int, int | None] | None = field(init=False, repr=False, compare=False)
    """Input, cached, cache write and output, when nothing else matters to a call in text."""

    def __post_init__(self) -> None:
        text = None
        if (
            self.input is not None
            and self.cached is not None
            and self.cache_write is not None
            and self.reasoning == self.output
        ):
            text = (self.input, self.cached, self.cache_write, self.output)
        object.__setattr__(self, "text", text)


def complete_rates(known: Mapping[str, int]) -> Rates:
    """Return rates in which each kind without a rate has the one of the kind it is part of."""

    def first(*kinds: str) -> int | None:
        return next((known[kind] for kind in kinds if kind in known), None)

    return Rates(
        input=first("input"),
        cached=first("cached", "input"),
        cache_write=first("cache_write", "input"),
        input_audio=first("input_audio", "input"),
        cached_audio=first("cached_audio", "input_audio", "cached", "input"),
        input_image=first("input_image", "input"),
        cached_image=first("cached_image", "input_image", "cached", "input"),
        output=first("output"),
        reasoning=first("reasoning", "output"),
        output_audio=first("output_audio", "output"),
        output_image=first("output_image", "output"),
        citation=first("citation", "output"),
    )


def pico_of_tokens(usage: Metered, rates: Rates) -> int | None:
    """Return what the tokens of a call cost, by kind; None when a kind has no rate."""
    pico = 0
    for _, count, rate in priced_kinds(usage, rates):
        if rate is None:
            return None
        pico += count * rate
    return pico


def priced_kinds(usage: Metered, rates: Rates) -> list[tuple[str, int, int | None]]:
    """Return the kinds of tokens that a call had, with their number and rate.

    Providers say how many input tokens were cached, not of which kind: text is taken first, then
    image, then audio.
    """
    text = max(0, usage.input - usage.input_audio - usage.input_image)
    written = min(usage.cache_write, text)
    cached = min(usage.cached, text - written)
    cached_image = min(usage.cached - cached, usage.input_image)
    cached_audio = min(usage.cached - cached - cached_image, usage.input_audio)
    citation = usage.extras.citation if usage.extras else 0
    rest = max(0, usage.output - usage.output_audio - usage.output_image - citation)
    reasoning = min(usage.reasoning, rest)
    kinds = (
        ("input", text - written - cached, rates.input),
        ("cached", cached, rates.cached),
        ("cache_write", written, rates.cache_write),
        ("input_image", usage.input_image - cached_image, rates.input_image),
        ("cached_image", cached_image, rates.cached_image),
        ("input_audio", usage.input_audio - cached_audio, rates.input_audio),
        ("cached_audio", cached_audio, rates.cached_audio),
        ("output", rest - reasoning, rates.output),
        ("reasoning", reasoning, rates.reasoning),
        ("output_image", usage.output_image, rates.output_image),
        ("output_audio", usage.output_audio, rates.output_audio),
        ("citation", citation, rates.citation),
    )
    return [kind for kind in kinds if kind[1]]


def rates_as_json(rates: Rates) -> dict[str, int]:
    return {
        name: value for name, value in asdict(rates).items() if name != "text" and value is not None
    }
