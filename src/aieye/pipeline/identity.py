"""Which calls of a plan are one and the same, as far as that is known before anything runs. Pure.

Each value has a sign: values with the same sign are equal, whatever they will be. The evaluator makes
identical calls of models and of cacheable functions once in a run, also those of several items.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from aieye.pipeline.known_values import Known, Read, Values, converted
from aieye.pipeline.sizes import Unmeasurable, canonical
from aieye.pipeline.steps import (
    Apply,
    Block,
    CallStep,
    Choose,
    Convert,
    Edge,
    MakeList,
    MakeMap,
    Plan,
    Select,
    Step,
    Try,
)

Bodies: TypeAlias = frozenset[int]
_NONE: Bodies = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """What stands for a value; of each kind of value there is one.

    `items` are the bodies of `map` and `reduce`, by number, from whose item it follows; `own` those in
    which it is another each time, even for equal items.
    """

    items: Bodies = _NONE
    own: Bodies = _NONE


class Item(NamedTuple):
    """Any item of a list that is gone through: the number of the body that it is given to, and its sign."""

    body: int
    sign: Sign


class Signs:
    """The signs of one explanation, over all plans in it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[Hashable, Sign] = {}
        self._items: dict[tuple[Sign, Bodies], Item] = {}

    def item(self, step: Apply, signs: Sequence[Sign], values: Values, inside: Bodies) -> Item:
        """The item of a `map` or `reduce` that stands in these bodies."""
        items = self._edge(step.items, signs, values)
        key = (items, inside)
        if key not in self._items:
            body = len(self._items) + 1
            self._items[key] = Item(body, Sign(items.items | {body}, items.own))
        return self._items[key]

    def given(self, plan: Plan, values: Values) -> list[Sign]:
        """The signs of the arguments that are asked for."""
        return [
            self._of_value(values[index]) if index in values else Sign()
            for index in range(len(plan.parameters))
        ]

    def call(self, step: CallStep, signs: Sequence[Sign], values: Values) -> Sign:
        """The sign of a call that is made once for the same arguments."""
        definition = step.callee.definition
        edges = [(edge.parameter, self._edge(edge, signs, values)) for edge in step.edges]
        place = (definition.kind, definition.name, definition.id, step.options)
        return self._made(("call", place, *edges), [sign for _, sign in edges])

    def of(self, step: Step, signs: Sequence[Sign], value: Known | None, values: Values) -> Sign:
        """The sign of a step that calls nothing. `value` is what is known of it."""
        if value is not None:
            return self._of_value(value)
        match step:
            case Convert(edge):
                return self._edge(edge, signs, values)
            case Select(base=base, selectors=selectors):
                return self._made(("select", signs[base], selectors), [signs[base]])
            case MakeList(items=items):
                parts = [signs[item] for item in items]
                return self._made(("list", *parts), parts)
            case MakeMap(keys=keys, values=operands):
                parts = [signs[operand] for operand in operands]
                return self._made(("map", keys, *parts), parts)
            case Block(result=result):
                return signs[result]
            case Choose():
                condition = self._edge(step.condition, signs, values)
                parts = [condition, signs[step.then], signs[step.otherwise]]
                return self._made(("if", *parts), parts)
            case Try():
                parts = [signs[step.value], signs[step.fallback]]
                return self._made(("try", *parts), parts)
            case _:
                return Sign()

    def _edge(self, edge: Edge, signs: Sequence[Sign], values: Values) -> Sign:
        known = converted(edge, values, self._read)
        if known is not None:
            return self._of_value(known)
        sign = signs[edge.operand]
        return sign if edge.type is None else self._made(("convert", edge.type, sign), [sign])

    def _of_value(self, known: Known) -> Sign:
        try:
            return self._made(("value", canonical(known.value)), [])
        except Unmeasurable:
            return Sign()

    def _made(self, key: Hashable, parts: Sequence[Sign]) -> Sign:
        found = self._known.get(key)
        if found is None:
            found = Sign(
                frozenset().union(*(part.items for part in parts)),
                frozenset().union(*(part.own for part in parts)),
            )
            self._known[key] = found
        return found


def times_in(sign: Sign | None, body: int, count: int | None, distinct: int | None) -> int | None:
    """How often a call is made in a body with `count` items, of which `distinct` ones differ.

    One without a sign is made for each item.
    """
    if sign is None or body in sign.own:
        return count
    return distinct if body in sign.items else 1
