"""Whose turn it is among the calls that keep the order of the text: section 8, rule 2.

A walk through the run in the order in which a reader who evaluates as late as possible would go: a
call's arguments from left to right, then the call; lets that are needed in any case where they stand,
others where they are first asked for; only branches that are taken. It stops where it has to know
more, and at each ordered call until that is settled. All else runs as it can.
"""

from __future__ import annotations

from dataclasses import dataclass

from aieye.pipeline.evaluation.applications import Application
from aieye.pipeline.evaluation.frames import Flow, Frame
from aieye.pipeline.steps import Apply, Block, CallStep, Choose, Scope, Try


@dataclass(slots=True)
class _Visit:
    """Where the walk is in one step, or, without an index, in one frame."""

    frame: Frame
    index: int | None
    parts: tuple[int, ...]
    at: int = 0
    entered: int = 0


class Turns:
    """The walk through one run."""

    __slots__ = ("_flow", "_visits")

    def __init__(self, root: Frame, flow: Flow) -> None:
        self._flow = flow
        self._visits = [_Visit(root, None, root.plan.order)]

    def advance(self) -> None:
        """Go on as far as is known, and let the call have its turn that is reached."""
        while self._visits:
            visit = self._visits[-1]
            frame, index = visit.frame, visit.index
            if frame.is_dropped or (index is not None and frame.is_settled(index)):
                self._leave(visit)
            elif visit.at < len(visit.parts):
                visit.at += 1
                self._enter(frame, visit.parts[visit.at - 1])
            elif index is None or self._is_passed(visit, index):
                self._leave(visit)
            elif visit.at == len(visit.parts) and visit is self._visits[-1]:
                return  # until more is known

    def _enter(self, frame: Frame, index: int) -> None:
        plan = frame.plan
        if not plan.has_order[index] or index in frame.passed or frame.is_settled(index):
            return
        step = plan.steps[index]
        parts = step.order if isinstance(step, Block) else plan.first[index]
        self._visits.append(_Visit(frame, index, parts))

    def _leave(self, visit: _Visit) -> None:
        self._visits.pop()
        if visit.index is not None:
            visit.frame.passed.add(visit.index)

    def _is_passed(self, visit: _Visit, index: int) -> bool:
        """Whether nothing ordered is left in a step whose parts have had their turns.

        If not, the walk goes on into a branch or body, or waits.
        """
        frame = visit.frame
        step = frame.plan.steps[index]
        match step:
            case Choose():
                return self._is_branch_passed(visit, index, (step.then, step.otherwise))
            case Try():
                return self._is_branch_passed(visit, index, (step.fallback,))
            case Apply() | Scope() if step.body.is_ordered:
                self._enter_body(visit, index)
                return False
            case CallStep() if step.callee.is_ordered:
                frame.turns.add(index)
                if index in frame.parked:
                    frame.parked.remove(index)
                    self._flow.ready.append((frame, index))
                return False
        return True

    def _is_branch_passed(self, visit: _Visit, index: int, branches: tuple[int, ...]) -> bool:
        frame = visit.frame
        if visit.entered or not any(frame.plan.has_order[branch] for branch in branches):
            return True
        if index in frame.released:
            # It is decided: what the step waits for now is the branch.
            visit.entered = 1
            visit.parts += (frame.targets[index],)
        return False

    def _enter_body(self, visit: _Visit, index: int) -> None:
        """The next item or attempt, of which there may be more later."""
        work = visit.frame.running.get(index)
        if isinstance(work, Application) and visit.entered < len(work.frames):
            body = work.frames[visit.entered]
            visit.entered += 1
            if body is not None:
                self._visits.append(_Visit(body, None, body.plan.order))
            else:
                self._enter_body(visit, index)
