"""Why a run has no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aieye.errors import Unavailable, Unprocessable
from aieye.gateway.faults import UpstreamError
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.step_runner import StepFailed
from aieye.pipeline.steps import Place
from aieye.pipeline.trace import StepTrace

# Statuses below 500 that say nothing of the request itself.
_PROVIDERS_OWN: Final = frozenset({408, 409, 429})

_MODELS: Final = frozenset({"prompt", "preset"})

_MOST_CAUSES: Final = 20


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

    @property
    def fault_status(self) -> int | None:
        """The status that says whose fault it was: 402 for a budget, 502 and 504 for a provider.

        None where the pipeline, its arguments or a function are at fault.
        """
        if self.diagnostic.code == "E504":
            return 402
        if self.diagnostic.code == "E502" and self._waited_for_a_model:
            return 504
        error: BaseException | None = self.__cause__
        # What a function raised may have causes without end.
        for _ in range(_MOST_CAUSES):
            if error is None or isinstance(error, UpstreamError | Unavailable):
                break
            error = error.__cause__
        if not isinstance(error, UpstreamError | Unavailable):
            return None
        if error.status < 500 and error.status not in _PROVIDERS_OWN:
            return None
        return 504 if error.status == 504 else 502

    @property
    def _waited_for_a_model(self) -> bool:
        """Whether the step asks a model, itself or in a function that waited for the answer, or is a
        pipeline in which such a call was broken off."""
        if isinstance(self.__cause__, StepFailed) and self.__cause__.waited_for_model:
            return True
        within = f"{self.step}/"
        return any(
            one.path == self.step or (one.status == "cancelled" and one.path.startswith(within))
            for one in self.trace
            if one.kind in _MODELS
        )


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
