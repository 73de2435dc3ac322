"""Steps that run a plan of their own: `map`, `reduce`, and pipelines with a time or attempts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import TimerHandle, get_running_loop
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from aieye.pipeline.evaluation.frames import FAILED, Flow, Frame
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json
from aieye.pipeline.limits import MAX_VALUE_BYTES
from aieye.pipeline.sizes import Sized
from aieye.pipeline.steps import Apply, Place, Scope
from aieye.pipeline.trace import Status, StepTrace

EMPTY_BYTES: Final = 2
"""What a list without items counts as."""


class Application(ABC):
    """One such step while it runs. `frames` are its items or attempts so far, in order.

    `arrived` are frames whose result is settled and that have not been looked at. None stands for one
    that has been: a run of many items would hold them all.
    """

    __slots__ = ("_arguments", "_flow", "arrived", "frame", "frames", "index", "place")

    def __init__(
        self, frame: Frame, index: int, place: Place, arguments: Sequence[Sized], flow: Flow
    ) -> None:
        self.frame = frame
        self.index = index
        self.place = place
        self.frames: list[Frame | None] = []
        self.arrived: list[Frame] = []
        self._arguments = arguments
        self._flow = flow

    def receive(self, frame: Frame) -> None:
        self.arrived.append(frame)

    def leave(self, frame: Frame, index: int) -> None:
        """Stop all that runs for the step."""
        for body in self.frames:
            if body is not None:
                self._flow.drop(body)

    @abstractmethod
    def start(self) -> None:
        """Begin what can begin."""

    @abstractmethod
    def go_on(self) -> Sized | Failure | None:
        """Look at what arrived: the value of the step, its failure, or None for not yet."""

    def close(self, found: Json | Failure) -> None:  # noqa: B027 - not all have an entry there
        """Note in the trace how it ended."""

    def _run(self, body: Frame) -> None:
        self.frames.append(body)
        self._flow.start(body)


class _OfItems(Application):
    """What calls its body for items."""

    __slots__ = ("_close", "_items", "_step", "_trace", "_window")

    def __init__(
        self,
        frame: Frame,
        index: int,
        step: Apply,
        items: Sequence[Sized],
        trace: StepTrace,
        flow: Flow,
        window: int,
        close: Callable[[StepTrace, Status], None],
    ) -> None:
        extras = [_operand(frame, extra) for extra in step.extras]
        super().__init__(frame, index, step.place, extras, flow)
        self._trace = trace
        self._close = close
        self._window = window
        self._step = step
        self._items = items

    def leave(self, frame: Frame, index: int) -> None:
        super().leave(frame, index)
        if not self._trace.is_ended:
            self._close(self._trace, "cancelled")

    def close(self, found: Json | Failure) -> None:
        if isinstance(found, Failure):
            self._trace.error_code, self._trace.error = found.code, found.message
            self._close(self._trace, "failed")
        else:
            self._trace.value = found
            self._close(self._trace, "done")

    def _body(self, number: int, arguments: Sequence[Sized]) -> Frame:
        frame = self.frame
        prefix = f"{frame.prefix}{self._step.path}[{number}]/"
        return Frame(self._step.body, arguments, self, prefix, (*frame.items, number))


class MapItems(_OfItems):
    """`map`: items side by side, the results in the order of the items.

    A window of them at a time: more could not be in flight, and would only take room.
    """

    __slots__ = ("_missing", "_results", "_size")

    def start(self) -> None:
        self._missing = len(self._items)
        self._size = EMPTY_BYTES
        self._results: list[Json] = [None] * self._missing
        for _ in range(self._window):
            self._next()

    def go_on(self) -> Sized | Failure | None:
        for body in self.arrived:
            if (failure := _failure(body)) is not None:
                return failure
            number = body.items[-1]
            self._results[number], size = _result(body)
            self._size += size + 1
            self.frames[number] = None
            if self._size > MAX_VALUE_BYTES:
                # It is refused, whatever the others give.
                return self._results, self._size
            self._next()
        self._missing -= len(self.arrived)
        self.arrived.clear()
        return None if self._missing else (self._results, self._size)

    def _next(self) -> None:
        number = len(self.frames)
        if number < len(self._items):
            self._run(self._body(number, [self._items[number], *self._arguments]))


class ReduceItems(_OfItems):
    """`reduce`: one item after the other, each with the value so far."""

    __slots__ = ("_value",)

    def start(self) -> None:
        initial = self._step.initial
        assert initial is not None
        self._value = _operand(self.frame, initial)
        self._next()

    def go_on(self) -> Sized | Failure | None:
        for body in self.arrived:
            if (failure := _failure(body)) is not None:
                return failure
            self._value = _result(body)
            self.frames[-1] = None
        self.arrived.clear()
        if self.frames[-1] is not None:
            return None
        if len(self.frames) == len(self._items):
            return self._value
        self._next()
        return None

    def _next(self) -> None:
        number = len(self.frames)
        self._run(self._body(number, [self._value, self._items[number]]))


class Attempts(Application):
    """A pipeline with a time for each attempt, or more attempts than one.

    `again` is called before a further attempt, `wake` when the time is over.
    """

    __slots__ = ("_again", "_is_late", "_step", "_timer", "_wake")

    def __init__(
        self,
        frame: Frame,
        index: int,
        step: Scope,
        flow: Flow,
        again: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        arguments = [_operand(frame, operand) for operand in step.arguments]
        super().__init__(frame, index, step.place, arguments, flow)
        self._step = step
        self._again = again
        self._wake = wake
        self._timer: TimerHandle | None = None
        self._is_late = False

    def start(self) -> None:
        if self._step.timeout is not None:
            self._timer = get_running_loop().call_later(self._step.timeout, self._expire)
        frame = self.frame
        prefix = f"{frame.prefix}{self._step.path}/"
        self._run(Frame(self._step.body, self._arguments, self, prefix, frame.items))

    def go_on(self) -> Sized | Failure | None:
        failure = None
        if self.arrived:
            (body,) = self.arrived
            failure = _failure(body)
            if failure is None:
                self._end()
                return _result(body)
        elif self._is_late:
            seconds = f"{self._step.timeout:g} s"
            failure = Failure(
                "E502", f"'{self._step.name}': took longer than {seconds}", self._step.place,
                f"{self.frame.prefix}{self._step.path}",
            )  # fmt: skip
        if failure is None:
            return None
        self._end()
        if len(self.frames) > self._step.retries or not failure.is_repeatable:
            return failure
        self._again()
        self.start()
        return None

    def leave(self, frame: Frame, index: int) -> None:
        self._end()

    def _end(self) -> None:
        """The end of an attempt."""
        self._is_late = False
        self.arrived.clear()
        if self._timer is not None:
            self._timer.cancel()
        body = self.frames[-1]
        if body is not None:
            self._flow.drop(body)
            self.frames[-1] = None

    def _expire(self) -> None:
        self._is_late = True
        self._flow.ready.append((self.frame, self.index))
        self._wake()


def list_size(sizes: Iterable[int]) -> int:
    """The bytes of a list of values of those sizes."""
    return EMPTY_BYTES + sum(size + 1 for size in sizes)


def _operand(frame: Frame, index: int) -> Sized:
    return frame.values[index], frame.sizes[index]


def _result(body: Frame) -> Sized:
    return _operand(body, body.plan.result)


def _failure(body: Frame) -> Failure | None:
    result = body.plan.result
    return body.failures[result] if body.states[result] == FAILED else None
