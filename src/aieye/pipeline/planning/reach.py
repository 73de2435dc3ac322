"""Which parts of a pipeline its value needs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from aieye.pipeline.language.nodes import Access, Call, Expr, Keyword, List, Map, Name, Pipeline
from aieye.pipeline.operands import first_of
from aieye.pipeline.steps import Block, CallStep, Choose, Step


def used_lets(pipeline: Pipeline) -> set[str]:
    """The lets that the result asks for, itself or through other lets; the others never run."""
    used = _names(pipeline.result)
    for let in reversed(pipeline.lets):
        if let.name in used:
            used |= _names(let.value)
    return used


def strict_lets(
    steps: Sequence[Step], lets: Sequence[int], result: int, start: int
) -> tuple[int, ...]:
    """Those of the lets, by their steps, that are evaluated whatever branches are taken.

    The steps of their pipeline are those from `start` on.
    """
    if not lets:
        return ()
    seen = {result}
    waiting = [result]
    while waiting:
        for operand in first_of(steps[waiting.pop()]):
            if operand >= start and operand not in seen:
                seen.add(operand)
                waiting.append(operand)
    return tuple(let for let in lets if let in seen)


def finals_of(steps: Sequence[Step], result: int) -> frozenset[int]:
    """The calls whose value is that of the result: one, or one in each branch of an `if`."""
    found = set()
    seen: set[int] = set()
    waiting = [result]
    while waiting:
        index = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        match steps[index]:
            case CallStep():
                found.add(index)
            case Choose(then=then, otherwise=otherwise):
                waiting += [then, otherwise]
            case Block(result=inner):
                waiting.append(inner)
    return frozenset(found)


def _names(node: Expr) -> set[str]:
    found: set[str] = set()
    waiting: list[Expr] = [node]
    while waiting:
        part = waiting.pop()
        match part:
            case Name():
                found.add(part.name)
            case Call():
                waiting += [a.value if isinstance(a, Keyword) else a for a in part.arguments]
            case Access():
                waiting.append(part.base)
            case List():
                waiting += part.items
            case Map():
                waiting += [entry.value for entry in part.entries]
    return found
