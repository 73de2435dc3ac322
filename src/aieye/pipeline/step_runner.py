"""What the evaluator asks of whoever carries out its calls, and how those fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol

from aieye.pipeline.language.values import Json
from aieye.pipeline.steps import CacheMode, CallStep

CacheState = Literal["hit", "miss", "shared", "refresh", "bypass"]
FailureCode = Literal["E402", "E403", "E501", "E502", "E503", "E504", "E505", "E508", "E510"]

_FINAL: Final = frozenset({"E503", "E504", "E505"})
_REPEATABLE: Final = frozenset({"E501", "E502"})


class StepResult(NamedTuple):
    """What a call gave. Tokens, and nano-dollars paid and saved; None is unknown, never 0.

    `cost_input_nano` is the part of the cost that the input tokens are. What was simulated has no
    cost and `misses_price` no more than what has one; both together do (`trace.misses_price`).
    """

    value: Json
    model: str | None = None
    cache: CacheState | None = None
    tokens_input: int = 0
    tokens_output: int = 0
    cost_nano: int | None = 0
    saved_nano: int = 0
    cost_input_nano: int | None = 0
    misses_price: bool = False


class Attempt(NamedTuple):
    """One attempt of a call: the number of it, from 1, and how it is to be made.

    `timeout` is in seconds; the evaluator cancels what takes longer, unless its callee `keeps_time`.
    `path` names the call in the run: the items and pipelines around it are in it.
    """

    number: int
    timeout: float
    cache: CacheMode
    model: str | None
    path: str


class StepRunner(Protocol):
    """Carries out calls. The arguments are converted, by parameter, and never to be changed.

    Both raise `StepFailed`; anything else that they raise ends the run as it is.
    """

    async def run(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        """Make a call. Cancelled when nobody needs it any longer."""
        ...

    def run_inline(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        """Make the call of an inline function, at once."""
        ...


class StepFailed(Exception):
    """A call did not give a value. `reason` is for people, without the step's name.

    Of a step that has retries, a failure with E501 or E502 is tried again unless `is_final`. E503
    (cancelled), E504 (over budget) and E505 (not in the cache) end the run, whatever `try` is around
    them. What was used all the same is counted. `waited_for_model`: a function whose time ran out
    while a model was to answer it.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: FailureCode = "E501",
        hint: str | None = None,
        is_final: bool = False,
        used: StepResult | None = None,
        waited_for_model: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.hint = hint
        self.used = used
        self.waited_for_model = waited_for_model
        self.is_repeatable = code in _REPEATABLE and not is_final

    @property
    def ends_run(self) -> bool:
        return self.code in _FINAL
