"""A plan while it is made: its steps, who is called, and how large it has become. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Access, Call, Expr, Name
from aieye.pipeline.language.values import Json
from aieye.pipeline.limits import MAX_OPERANDS, MAX_STEPS
from aieye.pipeline.operands import first_of, operands_of
from aieye.pipeline.planning.reach import finals_of
from aieye.pipeline.sizes import size_of
from aieye.pipeline.steps import (
    Apply,
    Body,
    Callee,
    CallStep,
    Constant,
    Given,
    Place,
    Plan,
    Scope,
    Step,
)

Resolve: TypeAlias = Callable[[Definition], "Callee | Body | None"]
"""What a definition is now: None if it is no longer there."""


class Expansion:
    """What all parts of one plan share: who is called, and how large it has become."""

    __slots__ = ("_callees", "_operands", "_resolve", "_steps")

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._callees: dict[tuple[str, str, int | str | None], Callee | Body] = {}
        self._steps = 0
        self._operands = 0

    def callee(self, definition: Definition, place: Place) -> Callee | Body:
        key = (definition.kind, definition.name, definition.id)
        if key not in self._callees:
            found = self._resolve(definition)
            if found is None:
                what = f"the {definition.kind} '{definition.name}' is no longer there"
                raise InvalidPipeline(place.diagnostic("E201", what))
            if isinstance(found, Body) and not found.analysis.is_valid:
                what = f"the pipeline '{definition.name}' can no longer run"
                raise InvalidPipeline(place.diagnostic("E201", what), *found.analysis.diagnostics)
            self._callees[key] = found
        return self._callees[key]

    def count_step(self, place: Place) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise too_many(f"the pipeline has more than {MAX_STEPS:,} steps", place)

    def count_operands(self, count: int, place: Place) -> None:
        self._operands += count
        if self._operands > MAX_OPERANDS:
            raise too_many(f"the steps take more than {MAX_OPERANDS:,} values", place)


@dataclass(slots=True)
class Builder:
    """The steps of one plan while they come."""

    parameters: tuple[Parameter, ...]
    steps: list[Step] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = [Given(parameter.name) for parameter in self.parameters]

    def given(self) -> dict[str, int]:
        return {parameter.name: index for index, parameter in enumerate(self.parameters)}

    def add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def constants(self, nodes: Iterable[Expr], count: int) -> list[Json] | None:
        """The values of the parts of a list or map, the newest steps, if all are constants.

        Those steps are then gone; nothing else asks for them, as it would for what a name stands for.
        """
        first = len(self.steps) - count
        found = self.steps[first:]
        if not all(map(_is_literal, nodes)) or not all(isinstance(s, Constant) for s in found):
            return None
        del self.steps[first:]
        return [cast(Constant, step).value for step in found]

    def plan(
        self, result: int, order: tuple[int, ...], places: Mapping[str, Place] | None = None
    ) -> Plan:
        operands = tuple(map(operands_of, self.steps))
        parents: list[list[int]] = [[] for _ in self.steps]
        has_order: list[bool] = []
        for index, step in enumerate(self.steps):
            for operand in operands[index]:
                parents[operand].append(index)
            has_order.append(
                (isinstance(step, CallStep) and step.callee.is_ordered)
                or (isinstance(step, Apply | Scope) and step.body.is_ordered)
                or any(has_order[operand] for operand in operands[index])
            )
        return Plan(
            *(tuple(self.steps), result, order, self.parameters, places or {}, operands),
            *(tuple(map(first_of, self.steps)), tuple(map(tuple, parents)), tuple(has_order)),
            finals_of(self.steps, result),
            any(has_order),
            tuple(
                (index, step.value, size_of(step.value))
                for index, step in enumerate(self.steps)
                if isinstance(step, Constant)
            ),
        )


def too_many(message: str, place: Place) -> InvalidPipeline:
    return InvalidPipeline(place.diagnostic("E508", message))


def _is_literal(node: Expr) -> bool:
    return not isinstance(node, Name | Call | Access)
