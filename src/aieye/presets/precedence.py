"""Who decides a field of a call that names a preset: the preset or its caller. Pure.

`docs/presets.md` has this as a table, and a test for each row of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from aieye.cache.key import Number
from aieye.errors import InvalidRequest
from aieye.presets.apply import Body
from aieye.presets.fields import OVERRIDABLE

# What a caller says of this one call and of itself: never the preset's to decide.
CALLERS: Final = frozenset(
    {
        *("stream", "stream_options", "user", "metadata", "cache"),
        *("safety_identifier", "prompt_cache_key"),
    }
)
# What a preset's author lets callers change, unless the configuration says otherwise.
USUAL: Final = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "n", "stop"),
    *("max_tokens", "max_completion_tokens", "logprobs", "top_logprobs"),
    *("reasoning_effort", "verbosity"),
)
LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Names of one limit: who may say one may say the others, and says all with it."""
# What the Responses API calls something that chat has another name for.
_OF_CHAT: Final = {"reasoning": "reasoning_effort"}


class LockedField(InvalidRequest):
    """The preset decides this field, and the caller asks for something else."""

    code = "preset_field"


def overridable(config: Mapping[str, Any]) -> Collection[str]:
    """The fields that a caller may override."""
    named = config.get(OVERRIDABLE)
    return USUAL if named is None else named


def merge(preset: Mapping[str, Any], request: Mapping[str, Any], may: Collection[str]) -> Body:
    """The fields of both, each as whoever decides it says. A field sent as null is not sent.

    Raises `LockedField` for one that is the preset's and sent otherwise.
    """
    merged = {name: value for name, value in preset.items() if value is not None}
    for name, value in request.items():
        if value is None:
            continue
        places = [one for one in _names_of(name) if one in merged]
        if name in CALLERS or not places:
            merged[name] = value
        elif all(_is_same(merged[one], value) for one in places):
            continue
        elif _OF_CHAT.get(name) in may or any(one in may for one in _names_of(name)):
            for one in places:
                del merged[one]
            merged[name] = value
        else:
            raise LockedField(
                f"The preset decides {name[:100]!r}: leave it out. {_allowed(may)}",
                param=name[:100],
            )
    return merged


def _names_of(name: str) -> tuple[str, ...]:
    return LIMITS if name in LIMITS else (name,)


def _allowed(may: Collection[str]) -> str:
    if not may:
        return "Callers may not override anything."
    return f"Callers may override {', '.join(sorted(may))}."


def _is_same(one: object, other: object) -> bool:
    if isinstance(other, Number):
        # As the caller wrote it, where a number is not as it would be written here.
        other = float(other)
    return type(one) is type(other) and one == other if _is_bool(one, other) else one == other


def _is_bool(*values: object) -> bool:
    """JSON's true is not its 1."""
    return any(isinstance(value, bool) for value in values)
