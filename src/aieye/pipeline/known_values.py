"""What is known of a plan's values without a call: arguments, constants, what is read out of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from aieye.pipeline.evaluation.arguments import bind
from aieye.pipeline.evaluation.room import Room
from aieye.pipeline.language.values import (
    Json,
    NoSuchItem,
    Unconvertible,
    convert,
    read_json,
    select,
)
from aieye.pipeline.operands import first_of
from aieye.pipeline.steps import (
    Block,
    Choose,
    Constant,
    Convert,
    Edge,
    MakeList,
    MakeMap,
    Plan,
    Select,
    Step,
    Try,
)


class Known(NamedTuple):
    """A value that is known without a call, and may be null."""

    value: Json


Values: TypeAlias = dict[int, Known]
"""What is known, by the index of the step."""

Read: TypeAlias = Callable[[str], Json]
"""Reads JSON in a text. Raises `Unconvertible`."""

# Of this many texts it is remembered what they hold: each may be large.
_MOST_READ: Final = 4


def reader() -> Read:
    """What reads texts for one explanation: one that many steps read in is read once."""
    return lru_cache(_MOST_READ)(read_json)


def given(plan: Plan, arguments: Mapping[str, Json]) -> Values:
    """The arguments that are there or may be left out. Raises `RunFailed` for a wrong one."""
    values: Values = {}
    for index, parameter in enumerate(plan.parameters):
        if parameter.name in arguments or not parameter.is_required:
            alone = replace(plan, parameters=(parameter,))
            ((value, _),) = bind(alone, arguments, Room())
            values[index] = Known(value)
    return values


def follow(step: Step, values: Values, read: Read) -> Known | None:
    """The value of a step that calls nothing, if it is known."""
    try:
        match step:
            case Constant():
                return Known(step.value)
            case Convert():
                return converted(step.edge, values, read)
            case Select():
                base = values.get(step.base)
                return None if base is None else Known(select(base.value, step.selectors, read))
            case MakeList():
                if all(item in values for item in step.items):
                    return Known([values[item].value for item in step.items])
            case MakeMap():
                if all(value in values for value in step.values):
                    made = zip(step.keys, step.values, strict=True)
                    return Known({key: values[value].value for key, value in made})
            case Block():
                return values.get(step.result)
            case Choose():
                branch = branch_of(step, values)
                return None if branch is None else values.get(branch)
            case Try():
                return values.get(step.value)
            case _:
                pass
    except NoSuchItem:
        pass
    return None


def converted(edge: Edge, values: Values, read: Read = read_json) -> Known | None:
    """What arrives at a parameter, if that is known and can be converted."""
    found = values.get(edge.operand)
    if found is None or edge.type is None:
        return found
    try:
        return Known(convert(found.value, edge.type, read))
    except Unconvertible:
        return None


def branch_of(step: Choose, values: Values) -> int | None:
    """The branch that is taken, if the condition is known."""
    condition = converted(step.condition, values)
    return None if condition is None else step.then if condition.value else step.otherwise


def reach(plan: Plan, values: Values) -> tuple[set[int], set[int]]:
    """The steps that are asked for in any case, and those that may be."""
    found: list[set[int]] = []
    for is_certain in (True, False):
        seen = {plan.result}
        waiting = [plan.result]
        while waiting:
            index = waiting.pop()
            step = plan.steps[index]
            asked = first_of(step) if is_certain else plan.operands[index]
            if isinstance(step, Choose) and (branch := branch_of(step, values)) is not None:
                asked = (step.condition.operand, branch)
            for operand in asked:
                if operand not in seen:
                    seen.add(operand)
                    waiting.append(operand)
        found.append(seen)
    return found[0], found[1]
