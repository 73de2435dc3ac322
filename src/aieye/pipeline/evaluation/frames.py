"""What is known of the steps of a plan while it runs, and how values and failures move through it.

A step is asked for, waits for its first operands, is ready, runs, and is settled: done, failed, or
dead because nobody can ask for it any longer. Nothing here recurses: stacks are explicit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from aieye.pipeline.failures import Failure
from aieye.pipeline.language.values import Json
from aieye.pipeline.steps import Choose, Plan, Try

IDLE: Final = 0
WAITING: Final = 1
READY: Final = 2
RUNNING: Final = 3
DONE: Final = 4
FAILED: Final = 5
DEAD: Final = 6
"""From `DONE` on a step is settled."""

_NOTHING: Final = -1
_NONE: Final[set[int]] = set()
"""What stays empty: a frame in which nothing keeps the order of the text has no turns."""


class Work(Protocol):
    """What a running step does."""

    def leave(self, frame: Frame, index: int) -> None:
        """The step does not need it any longer."""
        ...


class Owner(Protocol):
    """Who runs a frame and receives its result."""

    frame: Frame
    index: int

    def receive(self, frame: Frame) -> None:
        """The frame's result is settled."""
        ...


class Frame:
    """One run of a plan: the whole, or that of one item or attempt.

    By step: its state, value and size, how many operands it waits for, and `uses`: how many steps may
    still ask for it. `targets` is the operand that a lazy step waits for now, `released` the one that
    it has given up. `prefix` leads the paths, `items` says which items the frame is for.
    """

    __slots__ = (
        *("failures", "is_dropped", "items", "owner", "parked", "passed", "plan", "prefix"),
        *("released", "running", "sizes", "states", "targets", "turns", "uses", "values"),
        "waiting",
    )

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[tuple[Json, int]],
        owner: Owner | None = None,
        prefix: str = "",
        items: tuple[int, ...] = (),
    ) -> None:
        count = len(plan.steps)
        self.plan = plan
        self.owner = owner
        self.prefix = prefix
        self.items = items
        self.states = bytearray(count)
        self.values: list[Json] = [None] * count
        self.sizes = [0] * count
        for index, (value, size) in enumerate(arguments):
            self.states[index] = DONE
            self.values[index] = value
            self.sizes[index] = size
        for index, value, size in plan.constants:
            self.states[index] = DONE
            self.values[index] = value
            self.sizes[index] = size
        self.waiting = [0] * count
        self.uses = list(map(len, plan.parents))
        self.uses[plan.result] += 1
        self.failures: dict[int, Failure] = {}
        self.targets: dict[int, int] = {}
        self.released: dict[int, int] = {}
        self.running: dict[int, Work] = {}
        self.turns = set() if plan.is_ordered else _NONE
        self.parked = set() if plan.is_ordered else _NONE
        self.passed = set() if plan.is_ordered else _NONE
        self.is_dropped = False

    def is_settled(self, index: int) -> bool:
        return self.is_dropped or self.states[index] >= DONE


class Flow:
    """Moves values and failures; `ready` are the steps that can go on, in the order they could."""

    __slots__ = ("ended", "ready")

    def __init__(self) -> None:
        self.ready: deque[tuple[Frame, int]] = deque()
        self.ended: Failure | None = None

    def start(self, frame: Frame) -> None:
        """Ask for the result of a frame."""
        result = frame.plan.result
        if frame.states[result] == DONE:
            self._deliver(frame)
        else:
            self._demand(frame, result)

    def settle(self, frame: Frame, index: int, value: Json, size: int) -> None:
        """A step has its value."""
        frame.states[index] = DONE
        frame.values[index] = value
        frame.sizes[index] = size
        states, waiting, targets = frame.states, frame.waiting, frame.targets
        for parent in frame.plan.parents[index]:
            if states[parent] != WAITING:
                continue
            if parent in targets:
                if targets[parent] == index:
                    self._make_ready(frame, parent)
            else:
                waiting[parent] -= 1
                if not waiting[parent]:
                    self._make_ready(frame, parent)
        if index == frame.plan.result:
            self._deliver(frame)

    def fail(self, frame: Frame, index: int, failure: Failure) -> None:
        """A step has failed, and with it all that need it, up to a `try`."""
        if failure.ends_run:
            self.ended = self.ended or failure
            return
        states, targets = frame.states, frame.targets
        failing = [index]
        while failing:
            step = failing.pop()
            if states[step] >= DONE:
                continue
            states[step] = FAILED
            frame.failures[step] = failure
            self._stop(frame, step)
            self._release(frame, step)
            if step == frame.plan.result:
                self._deliver(frame)
            for parent in frame.plan.parents[step]:
                if states[parent] != WAITING or targets.get(parent, step) != step:
                    continue
                if not self._fall_back(frame, parent):
                    failing.append(parent)

    def wait_for(self, frame: Frame, index: int, operand: int) -> None:
        """Let a lazy step wait for another of its operands."""
        frame.targets[index] = operand
        frame.states[index] = WAITING
        state = frame.states[operand]
        if state == DONE:
            self._make_ready(frame, index)
        elif state == FAILED:
            self._poison(frame, index, operand)
        else:
            self._demand(frame, operand)

    def choose(self, frame: Frame, index: int, chosen: int, other: int) -> None:
        """Let an `if` wait for one branch; it will never ask for the other."""
        if chosen == other:
            frame.released[index] = _NOTHING
        else:
            self.give_up(frame, index, other)
        self.wait_for(frame, index, chosen)

    def give_up(self, frame: Frame, index: int, operand: int) -> None:
        """A lazy step will never ask for that operand."""
        frame.released[index] = operand
        self._kill_unless_used(frame, [operand])

    def meet_failure(self, frame: Frame, index: int) -> None:
        """A step that was asked for when an operand of it had failed already."""
        failure = frame.failures.pop(index)
        frame.states[index] = WAITING
        if not self._fall_back(frame, index):
            self.fail(frame, index, failure)

    def drop(self, frame: Frame) -> None:
        """Nobody waits for the frame: stop all that runs in it."""
        frame.is_dropped = True
        frame.owner = None
        for index in list(frame.running):
            self._stop(frame, index)

    def end(self, root: Frame) -> None:
        """The end of the run: nothing holds on to what ran in it."""
        self.drop(root)
        self.ready.clear()

    def _demand(self, frame: Frame, index: int) -> None:
        states, first = frame.states, frame.plan.first
        wanted = [index]
        while wanted:
            step = wanted.pop()
            if states[step] != IDLE:
                continue
            states[step] = WAITING
            operands = first[step]
            if isinstance(frame.plan.steps[step], Choose | Try):
                frame.targets[step] = operands[0]
            missing = [operand for operand in operands if states[operand] != DONE]
            failed = [operand for operand in missing if states[operand] == FAILED]
            if failed:
                self._poison(frame, step, failed[0])
                continue
            frame.waiting[step] = len(missing)
            if missing:
                wanted += reversed(missing)  # so that the first one starts first
            else:
                self._make_ready(frame, step)

    def _poison(self, frame: Frame, index: int, operand: int) -> None:
        """Let a step meet the failure of an operand when it is its turn; now would be recursion."""
        frame.failures[index] = frame.failures[operand]
        self._make_ready(frame, index)

    def _make_ready(self, frame: Frame, index: int) -> None:
        frame.states[index] = READY
        self.ready.append((frame, index))

    def _fall_back(self, frame: Frame, index: int) -> bool:
        """Let a `try` whose value failed ask for its fallback; false if there is none."""
        step = frame.plan.steps[index]
        if not isinstance(step, Try) or index in frame.released:
            return False
        # The value is settled, so that giving it up stops nothing.
        frame.released[index] = step.value
        if frame.states[step.fallback] == FAILED:
            return False
        self.wait_for(frame, index, step.fallback)
        return True

    def _deliver(self, frame: Frame) -> None:
        owner = frame.owner
        if owner is not None:
            owner.receive(frame)
            self.ready.append((owner.frame, owner.index))

    def _release(self, frame: Frame, index: int) -> None:
        """Give up all operands of a step that has no value."""
        released = frame.released.get(index)
        self._kill_unless_used(
            frame, [operand for operand in frame.plan.operands[index] if operand != released]
        )

    def _kill_unless_used(self, frame: Frame, given_up: list[int]) -> None:
        states, uses, operands = frame.states, frame.uses, frame.plan.operands
        while given_up:
            step = given_up.pop()
            uses[step] -= 1
            if uses[step] or states[step] >= DONE:
                continue
            states[step] = DEAD
            self._stop(frame, step)
            released = frame.released.get(step)
            given_up += [operand for operand in operands[step] if operand != released]

    def _stop(self, frame: Frame, index: int) -> None:
        work = frame.running.pop(index, None)
        if work is not None:
            work.leave(frame, index)
