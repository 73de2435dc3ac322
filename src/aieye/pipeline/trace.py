"""What happened to each step of a run: section 8, rule 7 of the language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from aieye.pipeline.language.catalogue import Kind
from aieye.pipeline.language.values import Json
from aieye.pipeline.sizes import Unmeasurable, canonical
from aieye.pipeline.step_runner import CacheState, StepResult
from aieye.pipeline.steps import Place

Status = Literal["queued", "running", "done", "failed", "cancelled"]

PREVIEW_CHARACTERS: Final = 500
MOST_PLACES: Final = 100
"""Of a call with more identical ones, the paths of the first are kept."""


@dataclass(slots=True, eq=False)
class StepTrace:
    """One call of a run, or a `map` or `reduce` (of the kind `form`), which costs nothing itself.

    Times are seconds since the epoch. `place` is in the text that the step stands in, which `path`
    names. `also_at` are the paths of identical calls, which this one was made for too. Tokens and
    costs are of all attempts; `cost_nano` is None where it is not known. Steps that never were asked
    for have no trace.
    """

    path: str
    name: str
    kind: Kind
    place: Place
    arguments: Mapping[str, Json]
    queued_at: float
    status: Status = "queued"
    attempts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    value: Json = None
    error: str | None = None
    error_code: str | None = None
    model: str | None = None
    cache: CacheState | None = None
    tokens_input: int = 0
    tokens_output: int = 0
    cost_nano: int | None = 0
    cost_input_nano: int | None = 0
    saved_nano: int = 0
    misses_price: bool = False
    also_at: list[str] = field(default_factory=list)

    @property
    def is_ended(self) -> bool:
        return self.ended_at is not None

    @property
    def is_simulated(self) -> bool:
        """Whether it has no cost for no other reason."""
        return self.cost_nano is None and not self.misses_price

    @property
    def input_preview(self) -> str:
        """The arguments as JSON, cut off."""
        return preview(dict(self.arguments))

    @property
    def output_preview(self) -> str | None:
        """The value as JSON, a text as it is; cut off. None if there is none."""
        return preview(self.value) if self.status == "done" else None

    def add_place(self, path: str) -> None:
        """Note the path of an identical call."""
        if len(self.also_at) < MOST_PLACES:
            self.also_at.append(path)

    def count(self, result: StepResult) -> None:
        """Add what an attempt used, and note which model and cache it met."""
        self.model = result.model
        self.cache = result.cache
        self.tokens_input += result.tokens_input
        self.tokens_output += result.tokens_output
        self.saved_nano += result.saved_nano
        self.misses_price = misses_price(self, result)
        self.cost_nano = plus(self.cost_nano, result.cost_nano)
        self.cost_input_nano = plus(self.cost_input_nano, result.cost_input_nano)


def misses_price(one: StepResult | StepTrace, other: StepResult | StepTrace) -> bool:
    """Whether of what both cost together something is missing that is a cost: a price that nobody knows,
    or what the one paid beside the other that was simulated."""
    is_mixed = (one.cost_nano is None) != (other.cost_nano is None)
    is_paid = bool(one.cost_nano or other.cost_nano)
    return one.misses_price or other.misses_price or (is_mixed and is_paid)


def plus(cost: int | None, more: int | None) -> int | None:
    """A sum of costs, which is known as long as all of them are."""
    return None if cost is None or more is None else cost + more


def preview(value: Json) -> str:
    """A value as people see it in a list of steps: at most 500 characters."""
    if isinstance(value, str):
        text = value[: PREVIEW_CHARACTERS + 1]
    else:
        try:
            # Four bytes a character at most.
            beginning = _Beginning().of(value)
            text = canonical(beginning)[: 4 * PREVIEW_CHARACTERS].decode(errors="ignore")
        except (Unmeasurable, RecursionError):
            text = "(nested too deep to be shown)"
    if len(text) <= PREVIEW_CHARACTERS:
        return text
    return text[: PREVIEW_CHARACTERS - 1] + "…"


class _Beginning:
    """The part of a value that its first characters show: not all of a large one is written for them.

    Each item, key and character of a text is one character of JSON at least.
    """

    def __init__(self) -> None:
        self._left = 4 * PREVIEW_CHARACTERS

    def of(self, value: Json) -> Json:
        self._left -= 1
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            items: list[Json] = []
            for item in value:
                if self._left <= 0:
                    break
                items.append(self.of(item))
            return items
        if isinstance(value, dict):
            fields: dict[str, Json] = {}
            for key, item in value.items():
                if self._left <= 0:
                    break
                shown = self._text(key)
                fields[shown] = self.of(item)
            return fields
        return value

    def _text(self, text: str) -> str:
        found = text[: max(self._left, 0)]
        self._left -= len(found)
        return found
