"""One call of a run, with its attempts, and what identical calls have in common."""

from __future__ import annotations

from asyncio import Task, TimerHandle
from collections.abc import Callable, Mapping
from typing import TypeAlias

from aieye.pipeline.evaluation.frames import Frame
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json
from aieye.pipeline.sizes import Unmeasurable, canonical
from aieye.pipeline.step_runner import StepFailed, StepResult
from aieye.pipeline.steps import CallOptions, CallStep
from aieye.pipeline.trace import StepTrace

Key: TypeAlias = tuple[str, str, int | str | None, CallOptions, bytes]


class Operation:
    """A call with its attempts. `cells` are the steps that wait for it.

    At its end it has a `failure`, or a `value` and `size`.
    """

    __slots__ = (
        *("_abandon", "arguments", "cells", "failure", "is_ended", "is_late", "items", "key"),
        *("size", "step", "task", "timer", "trace", "value"),
    )

    def __init__(
        self,
        abandon: Callable[[Operation], None],
        step: CallStep,
        arguments: Mapping[str, Json],
        trace: StepTrace,
        cell: tuple[Frame, int],
        key: Key | None,
    ) -> None:
        self._abandon = abandon
        self.step = step
        self.arguments = arguments
        self.trace = trace
        self.cells = [cell]
        self.items = cell[0].items
        self.key = key
        self.task: Task[StepResult] | None = None
        self.timer: TimerHandle | None = None
        self.is_late = False
        self.is_ended = False
        self.value: Json = None
        self.size = 0
        self.failure: Failure | None = None

    def leave(self, frame: Frame, index: int) -> None:
        """A step needs it no longer; when none does it is broken off."""
        if self.is_ended:
            return
        self.cells.remove((frame, index))
        if not self.cells:
            self._abandon(self)

    def failure_of(self, failed: StepFailed) -> Failure:
        """The failure of its last attempt, as that of the step."""
        step, trace = self.step, self.trace
        # Its frames hold this call, which holds it: a circle that would keep all values of the run.
        failed.with_traceback(None)
        verb = " failed:" if failed.code == "E501" else ":"
        message = f"'{step.name}'{verb} {failed.reason}"
        if self.items:
            message += f" (item {', '.join(map(str, self.items))})"
        if trace.attempts > 1:
            message += f" (after {trace.attempts} attempts)"
        return Failure(
            *(failed.code, message, step.place, trace.path, failed.hint, failed, failed.ends_run)
        )


def key_of(step: CallStep, arguments: Mapping[str, Json]) -> Key | None:
    """What identical calls have in common; None if the arguments cannot be written."""
    definition = step.callee.definition
    try:
        written = canonical(arguments)
    except Unmeasurable:
        return None
    return definition.kind, definition.name, definition.id, step.options, written
