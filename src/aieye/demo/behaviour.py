"""Which names of models are accepted, and what simulated ones ask for: errors, delays, cuts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aieye.demo.errors import ProviderError

MODELS = (
    *("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5", "gpt-5-mini"),
    *("o4-mini", "gpt-3.5-turbo", "gpt-3.5-turbo-instruct"),
    *("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"),
    *("omni-moderation-latest", "tts-1", "whisper-1", "gpt-4o-transcribe"),
    *("gpt-image-1", "dall-e-2", "dall-e-3", "davinci-002", "babbage-002"),
)
# The engines of 2020 are gone at OpenAI; here the first samples that were ever written still work.
_ACCEPTED = re.compile(r"(?:gpt-|o[0-9]|text-|ft:)\S*|ada|babbage|curie|davinci")
_SIMULATION = re.compile(r"sim(?:-(?:error-[45][0-9]{2}|(?:delay|slow|cut|long)-[0-9]{1,5}))+")
_DIRECTIVES = re.compile(r"-([a-z]+)-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a `sim-…` model name asks for. Every other model has the defaults."""

    error_status: int | None = None
    delay_seconds: float = 0.0
    gap_seconds: float = 0.0
    cut_after_events: int | None = None
    long_tokens: int | None = None


PLAIN = Behaviour()


def read_model(model: str) -> Behaviour:
    """The behaviour of a model; raises 404 `model_not_found` for a name that nobody knows."""
    if model in MODELS or _ACCEPTED.fullmatch(model):
        return PLAIN
    if not _SIMULATION.fullmatch(model):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise ProviderError(404, message, code="model_not_found")
    asked = {word: int(amount) for word, amount in _DIRECTIVES.findall(model)}
    return Behaviour(
        error_status=asked.get("error"),
        delay_seconds=asked.get("delay", 0) / 1000,
        gap_seconds=asked.get("slow", 0) / 1000,
        cut_after_events=asked.get("cut"),
        long_tokens=asked.get("long"),
    )
