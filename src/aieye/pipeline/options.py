"""How a run is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aieye.pipeline.language.options import MAX_TIMEOUT
from aieye.pipeline.limits import (
    FUNCTION_STEP_SECONDS,
    MAX_CALLS,
    MAX_IN_FLIGHT,
    MAX_ITEMS,
    MODEL_STEP_SECONDS,
    RUN_SECONDS,
)
from aieye.pipeline.steps import CacheMode, Callee
from aieye.pipeline.trace import StepTrace
from aieye.settings import Settings


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the caller says of a whole run. Times are in seconds.

    `cache` holds for steps that do not say otherwise; `only` holds for all of them, so that nothing is
    spent. `on_step` is told of a step when it starts to wait or run, and when it has ended.
    """

    cache: CacheMode = "use"
    timeout: float = RUN_SECONDS
    model_timeout: float = MODEL_STEP_SECONDS
    function_timeout: float = FUNCTION_STEP_SECONDS
    max_items: int = MAX_ITEMS
    max_calls: int = MAX_CALLS
    max_in_flight: int = MAX_IN_FLIGHT
    on_step: Callable[[StepTrace], None] | None = None

    @classmethod
    def of(
        cls, settings: Settings, *, cache: CacheMode = "use", timeout: float | None = None
    ) -> RunOptions:
        """As the installation's settings have it; a caller may shorten the run, not lengthen it."""
        longest = settings.pipeline_timeout
        return cls(
            cache=cache,
            timeout=longest if timeout is None else min(timeout, longest),
            model_timeout=settings.pipeline_model_timeout,
            function_timeout=settings.pipeline_function_timeout,
            max_items=settings.pipeline_map_items,
        )

    def timeout_of(self, callee: Callee, asked: float | None) -> float:
        """How long one attempt may take: as the call says, or what is called, or by its kind."""
        said = callee.timeout if asked is None else asked
        if said is not None:
            # Also a text that was saved, or a file that was registered, before there was a limit.
            return min(said, MAX_TIMEOUT)
        return self.model_timeout if callee.is_model else self.function_timeout

    def cache_of(self, asked: CacheMode | None) -> CacheMode:
        """The cache mode of a call."""
        return self.cache if asked is None or self.cache == "only" else asked
