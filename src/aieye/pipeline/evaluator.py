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

from aieye.pipeline.evaluation.applications import (
    EMPTY_BYTES,
    Application,
    Attempts,
    MapItems,
    ReduceItems,
    list_size,
)
from aieye.pipeline.evaluation.arguments import bind
from aieye.pipeline.evaluation.calls import Calls
from aieye.pipeline.evaluation.clock import Clock
from aieye.pipeline.evaluation.frames import FAILED, READY, RUNNING, Flow, Frame
from aieye.pipeline.evaluation.turns import Turns
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json, NoSuchItem, Unconvertible, convert, select
from aieye.pipeline.limits import MAX_VALUE_BYTES
from aieye.pipeline.options import RunOptions
from aieye.pipeline.sizes import Unmeasurable, size_of
from aieye.pipeline.step_runner import StepRunner
from aieye.pipeline.steps import (
    Apply,
    Block,
    CallStep,
    Choose,
    Convert,
    Edge,
    MakeList,
    MakeMap,
    Place,
    Plan,
    Scope,
    Select,
    Step,
    Try,
)
from aieye.pipeline.trace import StepTrace

_SLICE_SECONDS: Final = 0.005
"""How long steps that never wait may keep the loop from others."""

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
) -> Outcome:
    """Run a plan. Arguments that it does not ask for are ignored.

    Raises `RunFailed`. When this is cancelled, or a runner raises something else, that goes on up, and
    `options.on_step` has been told of all steps. No call of the run is in flight at the end.
    """
    return await _Run(plan, steps, options).outcome(arguments)


class _Run:
    """One run."""

    __slots__ = ("_calls", "_clock", "_flow", "_options", "_plan", "_turns", "_waiter")

    def __init__(self, plan: Plan, steps: StepRunner, options: RunOptions) -> None:
        self._plan = plan
        self._options = options
        self._flow = Flow()
        self._clock = Clock()
        self._calls = Calls(steps, options, self._flow, self._clock, self._wake)
        self._waiter: asyncio.Future[None] | None = None
        self._turns: Turns | None = None

    async def outcome(self, arguments: Mapping[str, Json]) -> Outcome:
        root = Frame(self._plan, bind(self._plan, arguments))
        result = self._plan.result
        if self._plan.is_ordered:
            self._turns = Turns(root, self._flow)
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._options.timeout, self._expire)
        try:
            self._flow.start(root)
            has_more = self._work()
            while self._flow.ended is None and not root.is_settled(result):
                await (asyncio.sleep(0) if has_more else self._wait())
                has_more = self._work()
        finally:
            deadline.cancel()
            await self._calls.stop()
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
        end = time.monotonic() + _SLICE_SECONDS
        self._calls.collect()
        while flow.ended is None:
            if not ready and turns is not None:
                turns.advance()
            if not ready:
                break
            frame, index = ready.popleft()
            if not frame.is_dropped:
                self._go_on(frame, index)
            if time.monotonic() >= end:
                return True
        return False

    async def _wait(self) -> None:
        """Until something has happened."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expire(self) -> None:
        message = f"the run took longer than {self._options.timeout:g} s"
        self._flow.ended = self._flow.ended or Failure("E502", message, ends_run=True)
        self._wake()

    # --- Steps

    def _go_on(self, frame: Frame, index: int) -> None:
        state = frame.states[index]
        if state == RUNNING:
            self._look_at(frame, index)
        elif state == READY and index in frame.failures:
            self._flow.meet_failure(frame, index)
        elif state == READY:
            self._step(frame, index, frame.plan.steps[index])

    def _step(self, frame: Frame, index: int, step: Step) -> None:
        match step:
            case CallStep():
                self._call(frame, index, step)
            case Select():
                self._select(frame, index, step)
            case MakeList() | MakeMap():
                self._make(frame, index, step)
            case Convert():
                self._convert(frame, index, step)
            case Block():
                self._take(frame, index, step.result)
            case Choose():
                self._choose(frame, index, step)
            case Try():
                self._try(frame, index, step)
            case Apply():
                self._apply(frame, index, step)
            case Scope():
                again = self._calls.forget_failures
                self._start(
                    frame, index, Attempts(frame, index, step, self._flow, again, self._wake)
                )

    def _call(self, frame: Frame, index: int, step: CallStep) -> None:
        if step.callee.is_ordered and index not in frame.turns:
            frame.parked.add(index)
            return
        arguments = {}
        for edge in step.edges:
            value = frame.values[edge.operand]
            if edge.type is not None:
                try:
                    value = convert(value, edge.type)
                except Unconvertible as error:
                    self._fail_conversion(frame, index, edge, error)
                    return
            arguments[edge.parameter] = value
        self._calls.begin(frame, index, step, arguments)

    def _convert(self, frame: Frame, index: int, step: Convert) -> None:
        try:
            value = convert(frame.values[step.edge.operand], step.edge.type)
        except Unconvertible as error:
            self._fail_conversion(frame, index, step.edge, error)
        else:
            self._settle_measured(frame, index, value, step.edge.place)

    def _select(self, frame: Frame, index: int, step: Select) -> None:
        try:
            value = select(frame.values[step.base], step.selectors)
        except NoSuchItem as error:
            self._fail(
                frame, index, "E403", str(error), replace(step.place, end=error.selector.end)
            )
        else:
            self._settle_measured(frame, index, value, step.place)

    def _make(self, frame: Frame, index: int, step: MakeList | MakeMap) -> None:
        values, sizes = frame.values, frame.sizes
        value: Json
        if isinstance(step, MakeList):
            value = [values[operand] for operand in step.items]
            size = list_size(sizes[operand] for operand in step.items)
        else:
            value = {
                key: values[operand] for key, operand in zip(step.keys, step.values, strict=True)
            }
            size = list_size(sizes[operand] for operand in step.values)
            size += sum(map(size_of, step.keys))
        self._settle(frame, index, value, size, step.place)

    def _choose(self, frame: Frame, index: int, step: Choose) -> None:
        if index in frame.released:
            self._take(frame, index, frame.targets[index])
            return
        edge = step.condition
        try:
            is_true = convert(frame.values[edge.operand], edge.type)
        except Unconvertible as error:
            self._fail_conversion(frame, index, edge, error)
            return
        branches = (step.then, step.otherwise) if is_true else (step.otherwise, step.then)
        self._flow.choose(frame, index, *branches)

    def _try(self, frame: Frame, index: int, step: Try) -> None:
        if index not in frame.released:
            self._flow.give_up(frame, index, step.fallback)
        self._take(frame, index, frame.targets[index])

    def _take(self, frame: Frame, index: int, operand: int) -> None:
        """Give a step the value of one of its operands."""
        self._flow.settle(frame, index, frame.values[operand], frame.sizes[operand])

    # --- Steps with a plan of their own

    def _apply(self, frame: Frame, index: int, step: Apply) -> None:
        try:
            items = convert(frame.values[step.items.operand], step.items.type)
        except Unconvertible as error:
            self._fail_conversion(frame, index, step.items, error)
            return
        assert isinstance(items, list)
        most = self._options.max_items
        if len(items) > most:
            message = f"'{step.name}' takes at most {most:,} items, not {len(items):,}"
            self._fail(frame, index, "E508", message, step.place)
            return
        if not items:
            if step.initial is None:
                self._flow.settle(frame, index, [], EMPTY_BYTES)
            else:
                self._take(frame, index, step.initial)
            return
        trace = self._calls.open(frame.prefix + step.path, step.name, step.place, {"list": items})
        kind = MapItems if step.initial is None else ReduceItems
        sized = [(item, size_of(item)) for item in items]
        window = self._options.max_in_flight
        work = kind(frame, index, step, sized, trace, self._flow, window, self._calls.close)
        self._start(frame, index, work)

    def _start(self, frame: Frame, index: int, work: Application) -> None:
        frame.states[index] = RUNNING
        frame.running[index] = work
        work.start()

    def _look_at(self, frame: Frame, index: int) -> None:
        """A step with a plan of its own, of which something has ended."""
        work = frame.running[index]
        if not isinstance(work, Application):
            return
        found = work.go_on()
        if found is None:
            return
        if not isinstance(found, Failure) and found[1] > MAX_VALUE_BYTES:
            found = _too_large(work.place)
        if isinstance(found, Failure):
            work.close(found)
            self._flow.fail(frame, index, found)
        else:
            del frame.running[index]
            work.close(found[0])
            self._flow.settle(frame, index, *found)

    # --- Ends of steps

    def _settle(self, frame: Frame, index: int, value: Json, size: int, place: Place) -> None:
        if size > MAX_VALUE_BYTES:
            self._flow.fail(frame, index, _too_large(place))
        else:
            self._flow.settle(frame, index, value, size)

    def _settle_measured(self, frame: Frame, index: int, value: Json, place: Place) -> None:
        try:
            size = size_of(value)
        except Unmeasurable:
            self._fail(frame, index, "E510", "the value is nested too deep", place)
        else:
            self._settle(frame, index, value, size, place)

    def _fail_conversion(self, frame: Frame, index: int, edge: Edge, error: Unconvertible) -> None:
        message = f"wrong value for '{edge.parameter}': {error}"
        self._fail(frame, index, "E402", message, edge.place)

    def _fail(self, frame: Frame, index: int, code: str, message: str, place: Place) -> None:
        if frame.items:
            message += f" (item {', '.join(map(str, frame.items))})"
        self._flow.fail(frame, index, Failure(code, message, place))


def _too_large(place: Place) -> Failure:
    return Failure("E510", f"the value is larger than {MAX_VALUE_BYTES:,} bytes", place)
