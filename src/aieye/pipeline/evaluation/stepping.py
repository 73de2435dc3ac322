"""What a step does once it has its operands, and when something that it runs has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from aieye.pipeline.evaluation.applications import (
    EMPTY_BYTES,
    Application,
    Attempts,
    MapItems,
    ReduceItems,
    list_size,
)
from aieye.pipeline.evaluation.calls import Calls
from aieye.pipeline.evaluation.conversions import Conversions
from aieye.pipeline.evaluation.frames import READY, RUNNING, Flow, Frame
from aieye.pipeline.evaluation.reading import NotRead
from aieye.pipeline.evaluation.room import NoRoom
from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json, NoSuchItem, Unconvertible
from aieye.pipeline.limits import LARGE_BYTES, MAX_VALUE_BYTES
from aieye.pipeline.options import RunOptions
from aieye.pipeline.sizes import Unmeasurable, is_too_deep, size_of
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
    Scope,
    Select,
    Step,
    Try,
)

TOO_DEEP: Final = "the value is nested too deep"
_UNCONVERTED: Final = (Unconvertible, Unmeasurable, NoRoom)


class Stepping:
    """The steps of one run."""

    __slots__ = ("_calls", "_conversions", "_flow", "_options", "_wake")

    def __init__(
        self,
        options: RunOptions,
        flow: Flow,
        calls: Calls,
        conversions: Conversions,
        wake: Callable[[], None],
    ) -> None:
        self._options = options
        self._flow = flow
        self._calls = calls
        self._conversions = conversions
        self._wake = wake

    def go_on(self, frame: Frame, index: int) -> None:
        """Do what is next for a step that can go on."""
        state = frame.states[index]
        if state == RUNNING:
            self._look_at(frame, index)
        elif state == READY and index in frame.failures:
            self._flow.meet_failure(frame, index)
        elif state == READY:
            try:
                self._step(frame, index, frame.plan.steps[index])
            except NotRead as not_read:
                self._conversions.reading.begin(not_read.text, frame, index)

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
        size = 0
        values, sizes = frame.values, frame.sizes
        for edge in step.edges:
            operand = edge.operand
            value = values[operand]
            size += sizes[operand]
            if edge.type is not None:
                try:
                    value = self._conversions.convert(value, edge.type)
                except _UNCONVERTED as error:
                    self._fail_conversion(frame, index, edge, error)
                    return
            arguments[edge.parameter] = value
        self._calls.begin(frame, index, step, arguments, size > LARGE_BYTES)

    def _convert(self, frame: Frame, index: int, step: Convert) -> None:
        try:
            value = self._conversions.convert(frame.values[step.edge.operand], step.edge.type)
        except _UNCONVERTED as error:
            self._fail_conversion(frame, index, step.edge, error)
        else:
            self._settle_measured(frame, index, value, step.edge.place)

    def _select(self, frame: Frame, index: int, step: Select) -> None:
        try:
            found = self._conversions.select(frame.values[step.base], step.selectors)
        except NoSuchItem as error:
            self._fail(
                frame, index, "E403", str(error), replace(step.place, end=error.selector.end)
            )
        except (Unmeasurable, NoRoom) as error:
            self._fail_size(frame, index, step.place, error)
        else:
            self._settle(frame, index, *found, step.place)

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
            is_true = self._conversions.convert(frame.values[edge.operand], edge.type)
        except _UNCONVERTED as error:
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
            items = self._conversions.convert(frame.values[step.items.operand], step.items.type)
        except _UNCONVERTED as error:
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
        if not self._calls.count_items(frame, index, len(items), step.place):
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
        if not isinstance(found, Failure):
            found = _refused(*found, work.place) or found
        if isinstance(found, Failure):
            work.close(found)
            self._flow.fail(frame, index, found)
        else:
            del frame.running[index]
            work.close(found[0])
            self._flow.settle(frame, index, *found)

    # --- Ends of steps

    def _settle(self, frame: Frame, index: int, value: Json, size: int, place: Place) -> None:
        failure = _refused(value, size, place)
        if failure is None:
            self._flow.settle(frame, index, value, size)
        else:
            self._flow.fail(frame, index, failure)

    def _settle_measured(self, frame: Frame, index: int, value: Json, place: Place) -> None:
        try:
            size = size_of(value)
        except Unmeasurable:
            self._fail(frame, index, "E510", TOO_DEEP, place)
        else:
            self._settle(frame, index, value, size, place)

    def _fail_size(
        self, frame: Frame, index: int, place: Place, error: Unmeasurable | NoRoom
    ) -> None:
        if isinstance(error, NoRoom):
            self._flow.fail(frame, index, Failure("E510", str(error), place, ends_run=True))
        else:
            self._fail(frame, index, "E510", TOO_DEEP, place)

    def _fail_conversion(self, frame: Frame, index: int, edge: Edge, error: Exception) -> None:
        if isinstance(error, Unmeasurable | NoRoom):
            self._fail_size(frame, index, edge.place, error)
            return
        message = f"wrong value for '{edge.parameter}': {error}"
        self._fail(frame, index, "E402", message, edge.place)

    def _fail(self, frame: Frame, index: int, code: str, message: str, place: Place) -> None:
        if frame.items:
            message += f" (item {', '.join(map(str, frame.items))})"
        self._flow.fail(frame, index, Failure(code, message, place))


def _refused(value: Json, size: int, place: Place) -> Failure | None:
    """Why a value that was made is none, if so."""
    if size > MAX_VALUE_BYTES:
        return Failure("E510", f"the value is larger than {MAX_VALUE_BYTES:,} bytes", place)
    if is_too_deep(value, size):
        return Failure("E510", TOO_DEEP, place)
    return None
