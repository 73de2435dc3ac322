"""The calls of a plan, followed as far as what they are asked is known before anything runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

from aieye.access.snapshot import Grant
from aieye.errors import AieyeError
from aieye.functions.model import Function
from aieye.pipeline.executions import Past
from aieye.pipeline.identity import Bodies, Sign, Signs, times_in
from aieye.pipeline.known_values import Known, Values, converted, follow, reach, reader
from aieye.pipeline.limits import SLICE_SECONDS
from aieye.pipeline.model_calls import CHAT, Inference, ModelCalls
from aieye.pipeline.model_requests import NoValue, request_of, text_of_answer, value_of_text
from aieye.pipeline.options import RunOptions
from aieye.pipeline.origins import (
    RESULTS_BEFORE,
    Origins,
    in_words,
    items_of,
    joined,
    origins_of,
)
from aieye.pipeline.preset_calls import INPUT, PresetCalls
from aieye.pipeline.sizes import Unmeasurable, canonical
from aieye.pipeline.step_runner import StepFailed
from aieye.pipeline.steps import Apply, CallStep, Place, Plan, Scope
from aieye.presets.models import Preset
from aieye.prompts.models import SavedPrompt

Basis = Literal["cache", "request", "history", "cap"]
"""Where a figure is from: the stored answer, the request itself, earlier runs, the most allowed."""

_CAPS: Final = ("max_completion_tokens", "max_tokens")
_CALLS_MODELS: Final = "it calls models by itself, at what cost is not known before it has"
_UNBOUNDED: Final = "how long its answer gets: it sets no `max_tokens`, and no run has shown it yet"


@dataclass(frozen=True, slots=True)
class StepForecast:
    """One call. Figures are those of one time; `times` is None where that is not known.

    Identical calls are made once: `also_at` are the paths of the others. `cache` is what a call of a
    model would meet, None where its request is not known. A step that is not `is_certain` stands in a
    branch that may not be taken. A function that `may_call_models` does so by itself, at a cost that is
    not known. `error` is why it would fail at once. `unknown` says why figures are None, a sentence
    for each reason, in which names stand between backticks.
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
    unknown: tuple[str, ...] = ()
    also_at: tuple[str, ...] = ()
    may_call_models: bool = False

    @property
    def may_cost(self) -> bool:
        return self.kind != "function" or self.may_call_models


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A call, and what it has in common with identical ones; None where there are none."""

    forecast: StepForecast
    sign: Sign | None


class Forecaster:
    """Looks through the plans of one run."""

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
        self._read = reader()
        self._signs = Signs(self._read)
        self._pause_at = 0.0

    async def look_through(self, plan: Plan, values: Values) -> list[StepForecast]:
        """The calls of a plan of which some values are known, identical ones once."""
        signs = self._signs.given(plan, values)
        origins = [
            () if index in values else origins_of(step, (), {}, values)
            for index, step in enumerate(plan.steps[: len(signs)])
        ]
        return _merged(await self._look(plan, values, signs, origins))

    async def _look(
        self,
        plan: Plan,
        values: Values,
        given: Sequence[Sign],
        given_from: Sequence[Origins],
        *,
        prefix: str = "",
        inside: Bodies = frozenset(),
    ) -> list[Foreseen]:
        """The calls of a plan in which these bodies of `map` and `reduce` are entered.

        What is found out of its steps is added to `values`. Of the arguments `given` are the signs and
        `given_from` is where those that are not known come from.
        """
        found: dict[int, list[Foreseen]] = {}
        signs = list(given)
        origins = dict(enumerate(given_from))
        for index, step in enumerate(plan.steps):
            value: Known | None = None
            if index < len(given):
                continue
            await self._let_others_run()
            if isinstance(step, CallStep):
                sign = self._signs.call(step, signs, values) if step.callee.is_memoised else None
                forecast, value = await self._call(step, values, origins, prefix)
                found[index] = [Foreseen(forecast, sign)]
                signs.append(sign or Sign(inside, inside))
            elif isinstance(step, Apply | Scope):
                found[index] = await self._body(step, values, signs, origins, prefix, inside)
                signs.append(Sign(inside, inside))
            else:
                value = follow(step, values, self._read)
                signs.append(self._signs.of(step, signs, value, values))
            if value is not None:
                values[index] = value
            else:
                origins[index] = origins_of(step, plan.operands[index], origins, values)
        certain, possible = reach(plan, values)
        return [
            one if index in certain else _perhaps(one)
            for index, calls in found.items()
            if index in possible
            for one in calls
        ]

    async def _let_others_run(self) -> None:
        """Leave the loop to others, if this has had it for a while."""
        moment = time.monotonic()
        if moment >= self._pause_at:
            await asyncio.sleep(0)
            self._pause_at = time.monotonic() + SLICE_SECONDS

    async def _body(
        self,
        step: Apply | Scope,
        values: Values,
        signs: Sequence[Sign],
        origins: Mapping[int, Origins],
        prefix: str,
        inside: Bodies,
    ) -> list[Foreseen]:
        path = f"{prefix}{step.path}/"
        if isinstance(step, Scope):
            known = _handed_on(step.arguments, values)
            given = [signs[argument] for argument in step.arguments]
            given_from = [origins.get(argument, ()) for argument in step.arguments]
            return await self._look(step.body, known, given, given_from, prefix=path, inside=inside)
        body, item = self._signs.item(step, signs, values, inside)
        first, first_from = [item], [items_of(step, origins)]
        if step.initial is not None:
            # What the items add up to is another one each time.
            first.insert(0, Sign(item.items, item.own | {body}))
            first_from.insert(0, (RESULTS_BEFORE,))
        known = _handed_on(step.extras, values, first=len(first))
        given = [*first, *(signs[extra] for extra in step.extras)]
        given_from = [*first_from, *(origins.get(extra, ()) for extra in step.extras)]
        found = await self._look(
            step.body, known, given, given_from, prefix=path, inside=inside | {body}
        )
        count, distinct = _counted(converted(step.items, values, self._read))
        counted_by = origins.get(step.items.operand, ())
        return [
            _repeated(one, times_in(one.sign, body, count, distinct), counted_by) for one in found
        ]

    async def _call(
        self, step: CallStep, values: Values, origins: Mapping[int, Origins], prefix: str
    ) -> tuple[StepForecast, Known | None]:
        kind = step.callee.definition.kind
        forecast = StepForecast(prefix + step.path, step.name, kind, step.place, is_certain=True)
        target = step.callee.target
        if not isinstance(target, SavedPrompt | Preset):
            may_call = isinstance(target, Function) and target.takes_context
            return self._of_function(forecast) if may_call else forecast, None
        model, params = _asked(target)
        forecast = replace(
            forecast, model=step.options.model or model, cost_nano=None, saved_nano=None
        )
        edges = {edge.parameter: converted(edge, values, self._read) for edge in step.edges}
        if any(value is None for value in edges.values()):
            asked_from = joined(
                origins.get(edge.operand, ())
                for edge in step.edges
                if edges[edge.parameter] is None
            )
            return self._from_past(forecast, params, asked_from), None
        texts = {name: cast(Known, value).value for name, value in edges.items()}
        try:
            inference = self._inference(target, cast(Mapping[str, str], texts), step.options.model)
            if inference is None:
                return self._from_past(forecast, params, ()), None
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

    def _of_function(self, forecast: StepForecast) -> StepForecast:
        """A function that may ask models whatever it likes: as much as in earlier runs."""
        forecast = replace(forecast, may_call_models=True, cost_nano=None, saved_nano=None)
        past = self._past.get(forecast.path)
        if past is None:
            return replace(forecast, unknown=(_CALLS_MODELS,))
        return replace(
            forecast, unknown=(_CALLS_MODELS,), tokens_input=past.tokens_input, input_basis="history",
            tokens_output=past.tokens_output, output_basis="history",
        )  # fmt: skip

    def _from_past(
        self, forecast: StepForecast, params: Mapping[str, Any], asked_from: Origins
    ) -> StepForecast:
        """What is asked is not known: as much as in earlier runs."""
        past = self._past.get(forecast.path)
        if past is not None:
            forecast = replace(forecast, tokens_input=past.tokens_input, input_basis="history")
        else:
            forecast = _lacking(forecast, f"its text depends on {in_words(asked_from)}")
        return self._priced(self._with_output(forecast, params))

    def _with_output(self, forecast: StepForecast, params: Mapping[str, Any]) -> StepForecast:
        """As earlier runs had it, else the most that may be said."""
        past = self._past.get(forecast.path)
        if past is not None:
            return replace(forecast, tokens_output=past.tokens_output, output_basis="history")
        cap = next((params[name] for name in _CAPS if type(params.get(name)) is int), None)
        if cap is None:
            return _lacking(forecast, _UNBOUNDED)
        return replace(forecast, tokens_output=cap, output_basis="cap")

    def _priced(self, forecast: StepForecast) -> StepForecast:
        if None in (forecast.tokens_input, forecast.tokens_output) or forecast.model is None:
            return forecast
        cost = self._models.quote(
            self._grant, forecast.model,
            cast(int, forecast.tokens_input), cast(int, forecast.tokens_output),
        )  # fmt: skip
        if cost is None:
            forecast = _lacking(forecast, f"no price of `{forecast.model}` is known")
        return replace(forecast, cost_nano=cost, saved_nano=0)


def _lacking(forecast: StepForecast, why: str) -> StepForecast:
    return replace(forecast, unknown=(*forecast.unknown, why))


def _asked(target: SavedPrompt | Preset) -> tuple[str, Mapping[str, Any]]:
    """The model that is asked, and the parameters it is asked with."""
    if isinstance(target, SavedPrompt):
        return target.content.model, target.content.params
    return target.model, target.config


def _perhaps(one: Foreseen) -> Foreseen:
    return replace(one, forecast=replace(one.forecast, is_certain=False))


def _repeated(one: Foreseen, times: int | None, counted_by: Origins) -> Foreseen:
    forecast = one.forecast
    whole = None if forecast.times is None or times is None else forecast.times * times
    if forecast.times is not None and times is None:
        forecast = _lacking(forecast, f"how often it is called depends on {in_words(counted_by)}")
    return replace(one, forecast=replace(forecast, times=whole))


def _handed_on(operands: Sequence[int], values: Values, first: int = 0) -> Values:
    """What is known of the arguments of a body, the first of which are others."""
    return {
        first + index: values[operand]
        for index, operand in enumerate(operands)
        if operand in values
    }


def _counted(items: Known | None) -> tuple[int | None, int | None]:
    """How many items there are, and how many different ones."""
    if items is None or not isinstance(items.value, list):
        return None, None
    try:
        distinct = len({canonical(item) for item in items.value})
    except Unmeasurable:
        distinct = len(items.value)
    return len(items.value), distinct


def _merged(calls: Sequence[Foreseen]) -> list[StepForecast]:
    """Each call once, where it comes first; it is certain if one of its places is."""
    found: list[StepForecast] = []
    places: dict[Sign, int] = {}
    for one in calls:
        if one.sign is None:
            found.append(one.forecast)
            continue
        place = places.setdefault(one.sign, len(found))
        if place == len(found):
            found.append(one.forecast)
            continue
        known, forecast = found[place], one.forecast
        found[place] = replace(
            known, is_certain=known.is_certain or forecast.is_certain,
            also_at=(*known.also_at, forecast.path),
        )  # fmt: skip
    return found
