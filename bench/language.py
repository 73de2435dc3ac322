"""Texts, names and a step runner that does nothing: what pipelines are measured with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aieye.pipeline.language.catalogue import Catalogue, Definition, Parameter
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.language.values import Json
from aieye.pipeline.step_runner import Attempt, StepResult
from aieye.pipeline.steps import Callee, CallStep

TYPICAL = "upper(builtin_concat(summarise(article, lang=language), title)) # done"
NAMES = 200
DEEP = 90
SIBLINGS = 16
SIBLING_SECONDS = 0.1

_STR = Type("str")


def catalogue() -> Catalogue:
    """Two hundred callables, those of the typical text among them."""
    known = {
        "upper": ("s",),
        "builtin_concat": ("x", "y"),
        "summarise": ("text", "lang"),
        "wait": ("x",),
    }
    known |= {f"function_number_{number}": ("a", "b") for number in range(NAMES - len(known))}
    return {
        name: Definition(name, "function", tuple(Parameter(p, _STR) for p in parameters))
        for name, parameters in known.items()
    }


def callee(definition: Definition) -> Callee:
    """`wait` is a task, all else is inline."""
    return Callee(definition, is_inline=definition.name != "wait")


def large(*, is_valid: bool) -> str:
    """64 KiB of calls side by side; one that is refused lacks its end."""
    call = "upper(builtin_concat(article, 'title')), "
    count = (64 * 1024 - 8) // len(call)
    return "[" + call * count + ("]" if is_valid else "")


def chain(name: str) -> str:
    """One call in another, ninety of them."""
    return f"{name}(" * DEEP + "'a'" + ")" * DEEP


class Nothing:
    """A step runner whose calls take no time, or as long as it is told."""

    def __init__(self, seconds: float = 0) -> None:
        self._seconds = seconds

    async def run(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return StepResult("a")

    def run_inline(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        return StepResult("a")
