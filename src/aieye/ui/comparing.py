"""Two runs side by side: their arguments, their values, and step by step what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aieye.ui.shown_runs import ShownStep


@dataclass(frozen=True, slots=True)
class Pair:
    """The same of both: an argument by its name, or the value."""

    name: str
    first: str | None
    second: str | None

    @property
    def is_different(self) -> bool:
        return self.first != self.second


@dataclass(frozen=True, slots=True)
class StepPair:
    """The step of one path in both; None where one of them had none such."""

    path: str
    name: str
    depth: int
    first: ShownStep | None
    second: ShownStep | None

    @property
    def differences(self) -> Sequence[str]:
        """What of it differs, in words."""
        first, second = self.first, self.second
        if first is None or second is None:
            return ["only in one"]
        found = []
        if first.status != second.status:
            found.append("status")
        if first.input != second.input:
            found.append("input")
        if first.output != second.output:
            found.append("output")
        if first.cache != second.cache:
            found.append("cache")
        if first.model != second.model:
            found.append("model")
        if first.cost_nano != second.cost_nano:
            found.append("cost")
        return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs, piece by piece."""

    arguments: Sequence[Pair]
    value: Pair
    steps: Sequence[StepPair]


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Two runs as `run_values` gives them."""
    names = dict.fromkeys([*first["arguments"], *second["arguments"]])
    arguments = [
        Pair(name, first["arguments"].get(name), second["arguments"].get(name)) for name in names
    ]
    ended = [one["output"] or one["run"].error for one in (first, second)]
    return Comparison(arguments, Pair("value", *ended), _paired(first["steps"], second["steps"]))


def _paired(first: Sequence[ShownStep], second: Sequence[ShownStep]) -> Sequence[StepPair]:
    by_path = {one.path: one for one in second}
    pairs = []
    for one in first:
        pairs.append(StepPair(one.path, one.name, one.depth, one, by_path.pop(one.path, None)))
    pairs += [StepPair(one.path, one.name, one.depth, None, one) for one in by_path.values()]
    return pairs
