"""What running a plan would come to: section 8, rule 8 of the language. Nothing is run.

Values that are known without a call are followed through the plan: arguments, constants, what is
read out of them, and answers that lie in the cache. A prompt whose values are all known is rendered,
so that its request can be looked up and counted; of any other the newest runs tell, if there are any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from aieye.access.snapshot import Grant
from aieye.errors import AieyeError
from aieye.pipeline.evaluation.arguments import bind
from aieye.pipeline.executions import Past
from aieye.pipeline.language.values import Json, NoSuchItem, Unconvertible, convert, select
from aieye.pipeline.model_calls import CHAT, Inference, ModelCalls
from aieye.pipeline.model_requests import NoValue, request_of, text_of_answer, value_of_text
from aieye.pipeline.operands import first_of
from aieye.pipeline.options import RunOptions
from aieye.pipeline.preset_calls import INPUT, PresetCalls
from aieye.pipeline.step_runner import StepFailed
from aieye.pipeline.steps import (
    Apply,
    Block,
    CacheMode,
    CallStep,
    Choose,
    Constant,
    Convert,
    Edge,
    MakeList,
    MakeMap,
    Place,
    Plan,
    Scope,
    Select,
    Step,
    Try,
)
from aieye.pipeline.trace import plus
from aieye.presets.models import Preset
from aieye.prompts.models import SavedPrompt

Basis = Literal["cache", "request", "history", "cap"]
"""Where a figure is from: the stored answer, the request itself, earlier runs, the most allowed."""

_CAPS: Final = ("max_completion_tokens", "max_tokens")


class Known(NamedTuple):
    """A value that is known without a call, and may be null."""

    value: Json


Values: TypeAlias = dict[int, Known]


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One call. Figures are those of one time; `times` is None where that is not known.

    `cache` is what a call of a model would meet, None where its request is not known. A step that is
    not `is_certain` stands in a branch that may not be taken. `error` is why it would fail at once.
    """

    path: str
    name: str
    kind: str
    place: Place
    is_certain: bool
    times: int | None = 1
    model: str | None = None
    cache: Literal["hit", "miss"] | None = None
    tokens_input: int | None = None
    input_basis: Basis | None = None
    tokens_output: int | None = None
    output_basis: Basis | None = None
    cost_nano: int | None = 0
    saved_nano: int | None = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """All calls in the order of the plan. The totals are of all of them, the uncertain ones too.

    A total is None while a figure that it needs is not known.
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
    forecaster = _Forecaster(models, presets, grant, past, RunOptions(cache=cache))
    steps = await forecaster.look_through(plan, _given(plan, arguments))
    called = [step for step in steps if step.kind != "function"]
    return Explanation(
        steps,
        _total(called, [step.tokens_input for step in called]),
        _total(called, [step.tokens_output for step in called]),
        _total(called, [step.cost_nano for step in called]),
        _total(called, [step.saved_nano for step in called]),
    )


class _Forecaster:
    def __init__(
        self,
        models: ModelCalls,
        presets: PresetCalls,
        grant: Grant,
        past: Mapping[str, Past],
        options: RunOptions,
    ) -> None:
        self._models = models
        self._presets = presets
        self._grant = grant
        self._past = past
        self._options = options

    async def look_through(
        self, plan: Plan, values: Values, *, prefix: str = "", is_certain: bool = True
    ) -> list[StepForecast]:
        """The calls of a plan of which some values are known; more are added to `values`."""
        found: dict[int, list[StepForecast]] = {}
        for index, step in enumerate(plan.steps):
            if isinstance(step, CallStep):
                forecast, value = await self._call(step, values, prefix)
                found[index] = [forecast]
                if value is not None:
                    values[index] = value
            elif isinstance(step, Apply | Scope):
                found[index] = await self._body(step, values, prefix)
            elif (known := _follow(step, values)) is not None:
                values[index] = known
        certain, possible = _reach(plan, values)
        return [
            forecast if is_certain and index in certain else replace(forecast, is_certain=False)
            for index, forecasts in found.items()
            if index in possible
            for forecast in forecasts
        ]

    async def _body(self, step: Apply | Scope, values: Values, prefix: str) -> list[StepForecast]:
        inner: Values = {}
        times: int | None = 1
        if isinstance(step, Scope):
            for index, argument in enumerate(step.arguments):
                if argument in values:
                    inner[index] = values[argument]
        else:
            items = _converted(step.items, values)
            times = len(items.value) if items and isinstance(items.value, list) else None
            first = 1 if step.initial is None else 2
            for index, argument in enumerate(step.extras):
                if argument in values:
                    inner[first + index] = values[argument]
        found = await self.look_through(step.body, inner, prefix=f"{prefix}{step.path}/")
        return [replace(one, times=_times(one.times, times)) for one in found]

    async def _call(
        self, step: CallStep, values: Values, prefix: str
    ) -> tuple[StepForecast, Known | None]:
        kind = step.callee.definition.kind
        forecast = StepForecast(prefix + step.path, step.name, kind, step.place, is_certain=True)
        target = step.callee.target
        if not isinstance(target, SavedPrompt | Preset):
            return forecast, None
        model, params = _asked(target)
        forecast = replace(
            forecast, model=step.options.model or model, cost_nano=None, saved_nano=None
        )
        edges = {edge.parameter: _converted(edge, values) for edge in step.edges}
        if any(value is None for value in edges.values()):
            return self._from_past(forecast, params), None
        texts = {name: cast(Known, value).value for name, value in edges.items()}
        try:
            inference = self._inference(target, cast(Mapping[str, str], texts), step.options.model)
            if inference is None:
                return self._from_past(forecast, params), None
            said = step.options.cache is not None or self._options.cache != "use"
            mode = self._options.cache_of(step.options.cache) if said else None
            predicted = await self._models.forecast(self._grant, inference, mode)
        except StepFailed as failed:
            return replace(forecast, error=failed.reason), None
        except NoValue as error:
            return replace(forecast, error=str(error)), None
        except AieyeError as error:
            return replace(forecast, error=error.message), None
        if predicted.value is None:
            forecast = replace(
                forecast, cache="miss", tokens_input=predicted.tokens_input, input_basis="request"
            )
            return self._priced(self._with_output(forecast, params)), None
        forecast = replace(
            forecast, model=predicted.model, cache="hit",
            tokens_input=predicted.tokens_input, input_basis="cache",
            tokens_output=predicted.tokens_output, output_basis="cache",
            cost_nano=0, saved_nano=predicted.saved_nano,
        )  # fmt: skip
        (value,) = predicted.value
        if not isinstance(target, SavedPrompt):
            return forecast, Known(value)
        try:
            return forecast, Known(value_of_text(target.content, value))
        except NoValue as error:
            return replace(forecast, error=str(error)), None

    def _inference(
        self, target: SavedPrompt | Preset, texts: Mapping[str, str], model: str | None
    ) -> Inference[Any] | None:
        """The one question that a step asks; None where it asks several, or none."""
        if isinstance(target, SavedPrompt):
            request = request_of(target.name, target.content, texts, model=model)
            return Inference(CHAT, request, text_of_answer)
        return self._presets.inference(self._grant, target, texts[INPUT], model)

    def _from_past(self, forecast: StepForecast, params: Mapping[str, Any]) -> StepForecast:
        past = self._past.get(forecast.path)
        if past is not None:
            forecast = replace(forecast, tokens_input=past.tokens_input, input_basis="history")
        return self._priced(self._with_output(forecast, params))

    def _with_output(self, forecast: StepForecast, params: Mapping[str, Any]) -> StepForecast:
        """As earlier runs had it, else the most that may be said."""
        past = self._past.get(forecast.path)
        if past is not None:
            return replace(forecast, tokens_output=past.tokens_output, output_basis="history")
        cap = next((params[name] for name in _CAPS if type(params.get(name)) is int), None)
        if cap is None:
            return forecast
        return replace(forecast, tokens_output=cap, output_basis="cap")

    def _priced(self, forecast: StepForecast) -> StepForecast:
        if None in (forecast.tokens_input, forecast.tokens_output) or forecast.model is None:
            return forecast
        cost = self._models.quote(
            self._grant, forecast.model,
            cast(int, forecast.tokens_input), cast(int, forecast.tokens_output),
        )  # fmt: skip
        return replace(forecast, cost_nano=cost, saved_nano=0)


def _asked(target: SavedPrompt | Preset) -> tuple[str, Mapping[str, Any]]:
    """The model that is asked, and the parameters it is asked with."""
    if isinstance(target, SavedPrompt):
        return target.content.model, target.content.params
    return target.model, target.config


def _given(plan: Plan, arguments: Mapping[str, Json]) -> Values:
    values: Values = {}
    for index, parameter in enumerate(plan.parameters):
        if parameter.name in arguments or not parameter.is_required:
            alone = replace(plan, parameters=(parameter,))
            ((value, _),) = bind(alone, arguments)
            values[index] = Known(value)
    return values


def _follow(step: Step, values: Values) -> Known | None:
    """The value of a step that calls nothing, if it is known."""
    try:
        match step:
            case Constant():
                return Known(step.value)
            case Convert():
                return _converted(step.edge, values)
            case Select():
                base = values.get(step.base)
                return None if base is None else Known(select(base.value, step.selectors))
            case MakeList():
                if all(item in values for item in step.items):
                    return Known([values[item].value for item in step.items])
            case MakeMap():
                if all(value in values for value in step.values):
                    made = zip(step.keys, step.values, strict=True)
                    return Known({key: values[value].value for key, value in made})
            case Block():
                return values.get(step.result)
            case Choose():
                branch = _branch(step, values)
                return None if branch is None else values.get(branch)
            case Try():
                return values.get(step.value)
            case _:
                pass
    except NoSuchItem:
        pass
    return None


def _converted(edge: Edge, values: Values) -> Known | None:
    found = values.get(edge.operand)
    if found is None or edge.type is None:
        return found
    try:
        return Known(convert(found.value, edge.type))
    except Unconvertible:
        return None


def _branch(step: Choose, values: Values) -> int | None:
    condition = _converted(step.condition, values)
    return None if condition is None else step.then if condition.value else step.otherwise


def _reach(plan: Plan, values: Values) -> tuple[set[int], set[int]]:
    """The steps that are asked for in any case, and those that may be."""
    found: list[set[int]] = []
    for is_certain in (True, False):
        seen = {plan.result}
        waiting = [plan.result]
        while waiting:
            index = waiting.pop()
            step = plan.steps[index]
            asked = first_of(step) if is_certain else plan.operands[index]
            if isinstance(step, Choose) and (branch := _branch(step, values)) is not None:
                asked = (step.condition.operand, branch)
            for operand in asked:
                if operand not in seen:
                    seen.add(operand)
                    waiting.append(operand)
        found.append(seen)
    return found[0], found[1]


def _times(inner: int | None, outer: int | None) -> int | None:
    return None if inner is None or outer is None else inner * outer


def _total(steps: Sequence[StepForecast], figures: Sequence[int | None]) -> int | None:
    total: int | None = 0
    for step, figure in zip(steps, figures, strict=True):
        total = plus(total, _times(figure, step.times))
    return total
