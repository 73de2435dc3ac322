"""What a value that is not known before a run comes from, in words. Pure.

`Origins` are named once each, `MOST` at the most: a call, an argument that is not given, the items of
a list. The same is said of a hundred values, so that each is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from aieye.pipeline.known_values import Values, branch_of
from aieye.pipeline.steps import Apply, Block, CallStep, Choose, Given, Plan, Scope, Step

Origins: TypeAlias = tuple[str, ...]

MOST: Final = 3
_MORE: Final = "more"
RESULTS_BEFORE: Final = "what comes of the items before"


def origins_of(
    step: Step, operands: Sequence[int], origins: Mapping[int, Origins], values: Values
) -> Origins:
    """Of the value of a step; `origins` are those of the steps before that are not known."""
    match step:
        case Given():
            return (f"the argument `{step.name}`",)
        case CallStep():
            return (_told(step),)
        case Apply() | Scope():
            return _of_body(step.body) or (f"what `{step.name}` gives",)
        case Block():
            return origins.get(step.result, ())
        case Choose() if (branch := branch_of(step, values)) is not None:
            return origins.get(branch, ())
    return joined(origins.get(operand, ()) for operand in operands)


def items_of(step: Apply, origins: Mapping[int, Origins]) -> Origins:
    """Of an item of what is gone through: another each time, if the list is known."""
    return origins.get(step.items.operand) or (f"the items of `{step.name}`",)


def joined(several: Iterable[Origins]) -> Origins:
    """All of them, as far as they are named."""
    found: dict[str, None] = {}
    for one in several:
        for name in one:
            if name in found:
                continue
            if len(found) == MOST:
                return (*list(found)[: MOST - 1], _MORE)
            found[name] = None
    return tuple(found)


def in_words(origins: Origins) -> str:
    """`what `f` returns and the argument `x``."""
    if not origins:
        return "what only a run shows"
    *first, last = origins
    return f"{', '.join(first)} and {last}" if first else last


def _of_body(plan: Plan) -> Origins:
    calls = [plan.steps[index] for index in sorted(plan.finals)]
    return joined((_told(call),) for call in calls if isinstance(call, CallStep))


def _told(step: CallStep) -> str:
    verb = "answers" if step.callee.is_model else "returns"
    return f"what `{step.name}` {verb}"
