"""The calls of a run: identical ones made once, attempts, times, and the end of what nobody needs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

from aieye.pipeline.evaluation.clock import Clock
from aieye.pipeline.evaluation.frames import RUNNING, Flow, Frame
from aieye.pipeline.evaluation.operations import Key, Operation, key_of
from aieye.pipeline.evaluation.room import NoRoom, Room
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json
from aieye.pipeline.limits import MAX_VALUE_BYTES, STOP_SECONDS
from aieye.pipeline.options import RunOptions
from aieye.pipeline.sizes import Unmeasurable, measure
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult, StepRunner
from aieye.pipeline.steps import CallStep, Place
from aieye.pipeline.trace import Status, StepTrace


class Calls:
    """All calls of one run. `arrived` are those whose attempt has ended."""

    __slots__ = (
        *("_arrived", "_clock", "_count", "_flow", "_in_flight", "_items", "_loop", "_memo"),
        *("_options", "_queue", "_room", "_runner", "_wake", "trace"),
    )

    def __init__(
        self,
        runner: StepRunner,
        options: RunOptions,
        flow: Flow,
        clock: Clock,
        wake: Callable[[], None],
        room: Room,
    ) -> None:
        self.trace: list[StepTrace] = []
        self._runner = runner
        self._options = options
        self._flow = flow
        self._clock = clock
        self._wake = wake
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._memo: dict[Key, Operation] = {}
        self._arrived: deque[Operation] = deque()
        self._queue: deque[Operation] = deque()
        self._in_flight: set[Operation] = set()
        self._count = 0
        self._items = 0

    def begin(
        self,
        frame: Frame,
        index: int,
        step: CallStep,
        arguments: dict[str, Json],
        is_large: bool,
    ) -> None:
        """Make a call, or wait for an identical one. `is_large` are its arguments."""
        self._count += 1
        if self._count > self._options.max_calls:
            message = f"the run makes more than {self._options.max_calls:,} calls"
            self._flow.fail(frame, index, Failure("E508", message, step.place, ends_run=True))
            return
        callee = step.callee
        key = None
        if callee.is_memoised:
            key = key_of(step, arguments)
            if key is not None and (known := self._memo.get(key)) is not None:
                known.trace.add_place(frame.prefix + step.path)
                self._join(known, frame, index)
                return
        trace = StepTrace(
            *(frame.prefix + step.path, callee.definition.name, callee.definition.kind),
            *(step.place, arguments, self._clock.now()),
        )
        self.trace.append(trace)
        operation = Operation(self.abandon, step, arguments, trace, (frame, index), key)
        if key is not None:
            self._memo[key] = operation
        if callee.is_inline and not (is_large and callee.waits_if_large):
            self._run_inline(operation)
            return
        frame.states[index] = RUNNING
        frame.running[index] = operation
        if len(self._in_flight) < self._options.max_in_flight:
            self._launch(operation)
        else:
            self._queue.append(operation)
            self._tell(trace)

    def count_items(self, frame: Frame, index: int, count: int, place: Place) -> bool:
        """Count the items of a `map` or `reduce`; false if the run ends since there are too many."""
        self._items += count
        if self._items <= self._options.max_calls:
            return True
        message = f"'map' and 'reduce' have more than {self._options.max_calls:,} items in the run"
        self._flow.fail(frame, index, Failure("E508", message, place, ends_run=True))
        return False

    def open(self, path: str, name: str, place: Place, arguments: Mapping[str, Json]) -> StepTrace:
        """Note that a `map` or `reduce` has begun."""
        now = self._clock.now()
        trace = StepTrace(path, name, "form", place, arguments, now, "running", 1, now)
        self.trace.append(trace)
        self._tell(trace)
        return trace

    def collect(self) -> None:
        """Look at the attempts that have ended."""
        while self._arrived:
            operation = self._arrived.popleft()
            self._in_flight.discard(operation)
            if operation.timer is not None:
                operation.timer.cancel()
            self._finish(operation)
            while self._queue and len(self._in_flight) < self._options.max_in_flight:
                queued = self._queue.popleft()
                if not queued.is_ended:
                    self._launch(queued)

    def abandon(self, operation: Operation) -> None:
        """Break off a call. Its task, if there is one, is waited for at the end of the run."""
        operation.is_ended = True
        if operation.key is not None:
            self._memo.pop(operation.key, None)
        if operation.task is None:
            self.close(operation.trace, "cancelled")
        else:
            operation.task.cancel()

    def forget_failures(self) -> None:
        """Let identical calls that failed be made again, for a further attempt."""
        self._memo = {key: known for key, known in self._memo.items() if known.failure is None}

    async def stop(self) -> None:
        """Break off all calls and wait until the last of them has ended, but not for ever."""
        for operation in [*self._queue, *self._in_flight]:
            if not operation.is_ended:
                self.abandon(operation)
        cancelled = await self._wait_for_all()
        for operation in self._in_flight:
            if operation.timer is not None:
                operation.timer.cancel()
            task = operation.task
            if task is None or not task.done():
                _leave_to_itself(operation)
            elif not task.cancelled():
                _count_used(operation, task.exception() or task.result())
        for trace in self.trace:
            if not trace.is_ended:
                self.close(trace, "cancelled")
        if cancelled is not None:
            raise cancelled

    async def _wait_for_all(self) -> asyncio.CancelledError | None:
        """Wait for the calls that were broken off; what cancelled this meanwhile."""
        cancelled = None
        end = self._loop.time() + STOP_SECONDS
        while tasks := [
            o.task for o in self._in_flight if o.task is not None and not o.task.done()
        ]:
            left = end - self._loop.time()
            if left <= 0:
                break
            try:
                await asyncio.wait(tasks, timeout=left)
            except asyncio.CancelledError as error:
                # Whoever cancels the run while it ends waits for its calls all the same.
                cancelled = error
        return cancelled

    def forget(self) -> None:
        """Let go of all calls, once they are stopped. The trace stays."""
        self._memo.clear()
        self._queue.clear()
        self._in_flight.clear()
        self._arrived.clear()

    # --- Attempts

    def _attempt(self, operation: Operation) -> Attempt:
        """The next attempt, which starts now."""
        step, trace = operation.step, operation.trace
        options = step.options
        trace.attempts += 1
        if trace.started_at is None:
            trace.status = "running"
            trace.started_at = self._clock.now()
        return Attempt(
            trace.attempts,
            self._options.timeout_of(step.callee, options.timeout),
            self._options.cache_of(options.cache),
            options.model,
            trace.path,
        )

    def _run_inline(self, operation: Operation) -> None:
        step, arguments = operation.step, operation.arguments
        while not operation.is_ended:
            attempt = self._attempt(operation)
            try:
                result = self._runner.run_inline(step, arguments, attempt)
            except StepFailed as failed:
                if not self._is_tried_again(operation, failed):
                    self._fail(operation, failed)
            else:
                self._succeed(operation, result)

    def _launch(self, operation: Operation) -> None:
        attempt = self._attempt(operation)
        if attempt.number == 1:
            self._tell(operation.trace)
        operation.is_late = False
        work = self._runner.run(operation.step, operation.arguments, attempt)
        operation.task = self._loop.create_task(work)
        operation.task.add_done_callback(lambda task: self._arrive(operation, task))
        operation.timer = None
        if not operation.step.callee.keeps_time:
            operation.timer = self._loop.call_later(attempt.timeout, self._expire, operation)
        self._in_flight.add(operation)

    def _arrive(self, operation: Operation, task: asyncio.Task[StepResult] | None) -> None:
        if operation.task is task:
            self._arrived.append(operation)
            self._wake()

    def _expire(self, operation: Operation) -> None:
        """The attempt has had its time; what has ended in the same moment is not late."""
        task = operation.task
        if task is not None and not task.done():
            operation.is_late = True
            task.cancel()
            operation.timer = self._loop.call_later(STOP_SECONDS, self._give_up, operation)

    def _give_up(self, operation: Operation) -> None:
        """It was told to end and goes on all the same: the run goes on without it."""
        _leave_to_itself(operation)
        operation.task = None
        self._arrive(operation, None)

    def _finish(self, operation: Operation) -> None:
        """The end of an attempt that had a task. What is no `StepFailed` is raised as it is."""
        found = _found(operation)
        if operation.is_ended:
            _count_used(operation, found)
            self.close(operation.trace, "cancelled")
            return
        if operation.is_late:
            found = self._late(operation, found)
        if isinstance(found, StepResult):
            self._succeed(operation, found)
        elif self._is_tried_again(operation, found):
            self._launch(operation)
        else:
            self._fail(operation, found)

    def _late(self, operation: Operation, found: StepResult | StepFailed) -> StepFailed:
        """What ended after its time has failed, whatever it gave; what it used is counted."""
        seconds = self._options.timeout_of(operation.step.callee, operation.step.options.timeout)
        reason = f"took longer than {seconds:g} s"
        is_lost = operation.task is None
        if is_lost:
            reason += " and does not end"
        return StepFailed(
            reason, code="E502", used=_used(found), is_final=is_lost,
            waited_for_model=isinstance(found, StepFailed) and found.waited_for_model,
        )  # fmt: skip

    def _is_tried_again(self, operation: Operation, failed: StepFailed) -> bool:
        if failed.used is not None:
            operation.trace.count(failed.used)
        return failed.is_repeatable and operation.trace.attempts <= operation.step.options.retries

    # --- Ends

    def _succeed(self, operation: Operation, result: StepResult) -> None:
        operation.trace.count(result)
        try:
            size, memory = measure(result.value)
        except Unmeasurable:
            self._fail(operation, StepFailed("the value is nested too deep", code="E510"))
            return
        if size > MAX_VALUE_BYTES:
            message = f"the value is larger than {MAX_VALUE_BYTES:,} bytes"
            self._fail(operation, StepFailed(message, code="E510"))
            return
        try:
            self._room.take_result(size, memory)
        except NoRoom as error:
            place = operation.step.place
            self._end(operation, Failure("E510", str(error), place, ends_run=True))
            return
        operation.value, operation.size = result.value, size
        operation.trace.value = result.value
        self._end(operation, None)

    def _fail(self, operation: Operation, failed: StepFailed) -> None:
        self._end(operation, operation.failure_of(failed))

    def _end(self, operation: Operation, failure: Failure | None) -> None:
        """A call has its value or has failed: so have all steps that wait for it."""
        operation.is_ended = True
        operation.failure = failure
        if failure is not None:
            operation.trace.error_code, operation.trace.error = failure.code, failure.message
        self.close(operation.trace, "done" if failure is None else "failed")
        for frame, index in operation.cells:
            frame.running.pop(index, None)
            if not frame.is_settled(index):
                self._settle(operation, frame, index)

    def _settle(self, operation: Operation, frame: Frame, index: int) -> None:
        if operation.failure is None:
            self._flow.settle(frame, index, operation.value, operation.size)
        else:
            self._flow.fail(frame, index, operation.failure)

    def close(self, trace: StepTrace, status: Status) -> None:
        """Note that a step has ended."""
        trace.status = status
        trace.ended_at = self._clock.now()
        self._tell(trace)

    def _tell(self, trace: StepTrace) -> None:
        if self._options.on_step is not None:
            self._options.on_step(trace)

    def _join(self, known: Operation, frame: Frame, index: int) -> None:
        """Wait for an identical call, or have what it has."""
        if known.is_ended:
            self._settle(known, frame, index)
            return
        frame.states[index] = RUNNING
        frame.running[index] = known
        known.cells.append((frame, index))


def _found(operation: Operation) -> StepResult | StepFailed:
    """How an attempt ended. What is no `StepFailed` is raised as it is."""
    if operation.task is None:
        return StepFailed("does not end")
    try:
        return operation.task.result()
    except StepFailed as error:
        return error
    except asyncio.CancelledError:
        return StepFailed("cancelled", code="E503")


def _used(found: object) -> StepResult | None:
    if isinstance(found, StepFailed):
        return found.used
    return found if isinstance(found, StepResult) else None


def _count_used(operation: Operation, found: object) -> None:
    """Count what a call that was broken off had used until then."""
    used = _used(found)
    if used is not None:
        operation.trace.count(used)


def _leave_to_itself(operation: Operation) -> None:
    """Nobody waits for its task any more; what that may raise in the end is nobody's.

    A function is closed where it stands, which catching a cancellation does not hold up: else it would
    keep the server from stopping, too.
    """
    task = operation.task
    if task is None:
        return
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    coroutine = task.get_coro()
    if not operation.step.callee.is_model:
        # It may catch even this, and wait for something else: there is no more to be done then.
        with suppress(RuntimeError, StepFailed):
            coroutine.close()
        task.cancel()
