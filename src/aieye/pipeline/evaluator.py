"""Runs a plan: section 8 of the language.

One coroutine moves values through the steps and does what takes no time; calls that wait are tasks of
their own, none of which outlives the run. The value does not depend on the order in which they end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from aieye.pipeline.apart import apart
from aieye.pipeline.evaluation.arguments import bind
from aieye.pipeline.evaluation.calls import Calls
from aieye.pipeline.evaluation.cancellation import Cancellation
from aieye.pipeline.evaluation.clock import Clock
from aieye.pipeline.evaluation.conversions import Conversions
from aieye.pipeline.evaluation.frames import FAILED, Flow, Frame
from aieye.pipeline.evaluation.reading import Reading
from aieye.pipeline.evaluation.room import Room
from aieye.pipeline.evaluation.stepping import Stepping
from aieye.pipeline.evaluation.turns import Turns
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json
from aieye.pipeline.limits import LARGE_BYTES, SLICE_SECONDS
from aieye.pipeline.options import RunOptions
from aieye.pipeline.sizes import Unmeasurable, size_of
from aieye.pipeline.step_runner import StepRunner
from aieye.pipeline.steps import (
    Plan,
)
from aieye.pipeline.trace import StepTrace

CANCELLED: Final = "the run was cancelled"

_DEFAULTS: Final = RunOptions()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The value of a run, and what happened to each step, in the order in which they were queued."""

    value: Json
    trace: Sequence[StepTrace]


async def evaluate(
    plan: Plan,
    arguments: Mapping[str, Json],
    steps: StepRunner,
    options: RunOptions = _DEFAULTS,
    cancellation: Cancellation | None = None,
) -> Outcome:
    """Run a plan. Arguments that it does not ask for are ignored.

    Raises `RunFailed`, with E503 when `cancellation` was asked for. When this is cancelled, or a runner
    raises something else, that goes on up, and `options.on_step` has been told of all steps. No call of
    the run is in flight at the end.
    """
    return await _Run(plan, steps, options).outcome(arguments, cancellation)


class Waker:
    """Lets the one coroutine of a run wait until something has happened."""

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Run:
    """One run."""

    __slots__ = (
        "_calls",
        "_clock",
        "_flow",
        "_options",
        "_plan",
        "_room",
        "_stepping",
        "_turns",
        "_waker",
    )

    def __init__(self, plan: Plan, steps: StepRunner, options: RunOptions) -> None:
        self._plan = plan
        self._options = options
        self._flow = Flow()
        self._clock = Clock()
        self._room = Room()
        # None of the parts leads back here: what has ended is gone at once, with all its values.
        self._waker = Waker()
        wake = self._waker.wake
        self._calls = Calls(steps, options, self._flow, self._clock, wake, self._room)
        reading = Reading(self._flow, wake)
        conversions = Conversions(self._room, reading)
        self._stepping = Stepping(options, self._flow, self._calls, conversions, wake)
        self._turns: Turns | None = None

    async def outcome(
        self, arguments: Mapping[str, Json], cancellation: Cancellation | None
    ) -> Outcome:
        is_heavy = any(
            isinstance(one, str) and len(one) > LARGE_BYTES for one in arguments.values()
        )
        bound = await apart(is_heavy, bind, self._plan, arguments, self._room)
        root = Frame(self._plan, bound)
        result = self._plan.result
        if self._plan.is_ordered:
            self._turns = Turns(root, self._flow)
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._options.timeout, self._expire)
        if cancellation is not None:
            cancellation.follow(self._cancel)
        try:
            self._flow.start(root)
            has_more = self._work()
            while self._flow.ended is None and not root.is_settled(result):
                await (asyncio.sleep(0) if has_more else self._waker.wait())
                has_more = self._work()
        finally:
            deadline.cancel()
            await self._calls.stop()
            self._flow.end(root)
            self._calls.forget()
        failure = self._failure(root)
        if failure is not None:
            raise failure.error(self._calls.trace)
        value = root.values[result]
        try:
            size_of(value)  # lists in lists are not measured while they are made
        except Unmeasurable:
            failure = Failure("E510", "the value of the pipeline is nested too deep")
            raise failure.error(self._calls.trace) from None
        return Outcome(value, self._calls.trace)

    def _failure(self, root: Frame) -> Failure | None:
        result = self._plan.result
        failed = root.failures[result] if root.states[result] == FAILED else None
        return self._flow.ended or failed

    # --- The loop

    def _work(self) -> bool:
        """What takes no time, for a while; true if there is more of it."""
        flow, ready, turns = self._flow, self._flow.ready, self._turns
        end = time.monotonic() + SLICE_SECONDS
        self._calls.collect()
        while flow.ended is None:
            if not ready and turns is not None:
                turns.advance()
            if not ready:
                break
            frame, index = ready.popleft()
            if not frame.is_dropped:
                self._stepping.go_on(frame, index)
            if time.monotonic() >= end:
                return True
        return False

    def _expire(self) -> None:
        self._end(Failure("E502", f"the run took longer than {self._options.timeout:g} s"))

    def _cancel(self) -> None:
        self._end(Failure("E503", CANCELLED))

    def _end(self, failure: Failure) -> None:
        self._flow.ended = self._flow.ended or replace(failure, ends_run=True)
        self._waker.wake()
