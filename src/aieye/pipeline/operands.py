"""Which steps a step asks for: all that it may, and those that it needs at once. Pure."""

from __future__ import annotations

from aieye.pipeline.steps import (
    Apply,
    Block,
    CallStep,
    Choose,
    Constant,
    Convert,
    Given,
    MakeList,
    MakeMap,
    Scope,
    Select,
    Step,
    Try,
)


def operands_of(step: Step) -> tuple[int, ...]:
    """The steps that a step may ask for, each once, in the order of the text."""
    match step:
        case Given() | Constant():
            return ()
        case Convert(edge):
            found: tuple[int, ...] = (edge.operand,)
        case Select(base=base):
            found = (base,)
        case MakeList(items=items):
            found = items
        case MakeMap(values=values):
            found = values
        case CallStep(edges=edges):
            # In the order of the text, which that of the steps is.
            found = tuple(sorted(edge.operand for edge in edges))
        case Choose():
            found = (step.condition.operand, step.then, step.otherwise)
        case Try():
            found = (step.value, step.fallback)
        case Block():
            found = (*step.arguments, step.result)
        case Apply():
            initial = () if step.initial is None else (step.initial,)
            found = (step.items.operand, *initial, *step.extras)
        case Scope():
            found = step.arguments
    return tuple(dict.fromkeys(found))


def first_of(step: Step) -> tuple[int, ...]:
    """The operands that a step asks for at once."""
    match step:
        case Choose():
            return (step.condition.operand,)
        case Try():
            return (step.value,)
    return operands_of(step)
