"""What running a plan would come to: section 8, rule 8 of the language. Nothing is run.

Values that are known without a call are followed through the plan: arguments, constants, what is
read out of them, and answers that lie in the cache. A prompt whose values are all known is rendered,
so that its request can be looked up and counted; of any other the newest runs tell, if there are any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aieye.access.snapshot import Grant
from aieye.pipeline.executions import Past
from aieye.pipeline.forecasting import Forecaster, StepForecast
from aieye.pipeline.known_values import given
from aieye.pipeline.language.values import Json
from aieye.pipeline.model_calls import ModelCalls
from aieye.pipeline.options import RunOptions
from aieye.pipeline.preset_calls import PresetCalls
from aieye.pipeline.steps import CacheMode, Plan
from aieye.pipeline.trace import plus


@dataclass(frozen=True, slots=True)
class Explanation:
    """All calls in the order of the plan. The totals are of all of them, the uncertain ones too.

    A total is None while a figure that it needs is not known: also where a function may call models.
    """

    steps: Sequence[StepForecast]
    tokens_input: int | None
    tokens_output: int | None
    cost_nano: int | None
    saved_nano: int | None


async def explain(
    plan: Plan,
    arguments: Mapping[str, Json],
    models: ModelCalls,
    presets: PresetCalls,
    grant: Grant,
    past: Mapping[str, Past],
    cache: CacheMode = "use",
) -> Explanation:
    """Look through a plan. Arguments that are not given are not known; wrong ones raise `RunFailed`."""
    forecaster = Forecaster(models, presets, grant, past, RunOptions(cache=cache))
    steps = await forecaster.look_through(plan, given(plan, arguments))
    called = [step for step in steps if step.may_cost]
    return Explanation(
        steps,
        _total(called, [step.tokens_input for step in called]),
        _total(called, [step.tokens_output for step in called]),
        _total(called, [step.cost_nano for step in called]),
        _total(called, [step.saved_nano for step in called]),
    )


def _total(steps: Sequence[StepForecast], figures: Sequence[int | None]) -> int | None:
    total: int | None = 0
    for step, figure in zip(steps, figures, strict=True):
        used = None if figure is None or step.times is None else figure * step.times
        total = plus(total, used)
    return total
