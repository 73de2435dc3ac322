"""Why a run has no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aieye.errors import Unprocessable
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.step_runner import StepFailed
from aieye.pipeline.steps import Place
from aieye.pipeline.trace import StepTrace


class RunFailed(Unprocessable):
    """The pipeline was run and failed. `__cause__` is the `StepFailed`, if a call was at fault.

    `trace` is what happened until then, `step` the path of the step that failed.
    """

    code = "run_failed"

    def __init__(
        self, diagnostic: Diagnostic, *, step: str | None = None, trace: Sequence[StepTrace] = ()
    ) -> None:
        super().__init__(f"{diagnostic.code}: {diagnostic.message}")
        self.diagnostic = diagnostic
        self.step = step
        self.trace = trace


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one step has no value, and where people are shown it. `ends_run`: `try` does not help."""

    code: str
    message: str
    place: Place | None = None
    path: str | None = None
    hint: str | None = None
    cause: StepFailed | None = None
    ends_run: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether a pipeline with attempts of its own is tried again for it."""
        return self.code in {"E501", "E502"} and (self.cause is None or self.cause.is_repeatable)

    def error(self, trace: Sequence[StepTrace]) -> RunFailed:
        """The failure as that of the run."""
        if self.place is None:
            found = Diagnostic.nowhere(self.code, self.message, self.hint)
        else:
            found = self.place.diagnostic(self.code, self.message, self.hint)
        error = RunFailed(found, step=self.path, trace=trace)
        error.__cause__ = self.cause
        return error
