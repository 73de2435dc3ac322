"""Carries out the calls of one run: functions where they run, prompts through the gateway.

What belongs to a run is in its `Runner` and nowhere else, so that runs side by side never see each
other's key, token or values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from aieye.db.engine import Database
from aieye.errors import AieyeError
from aieye.functions.errors import (
    ArgumentRefused,
    FunctionFailed,
    FunctionTimeout,
    FunctionUnavailable,
)
from aieye.functions.model import Function
from aieye.functions.running import run_inline
from aieye.functions.service import Functions
from aieye.pipeline.kept_results import KeptResults, Place
from aieye.pipeline.language.values import Json
from aieye.pipeline.model_calls import BrokenOffCall, ModelCalls, OnText, Origin
from aieye.pipeline.model_requests import NoValue, request_of, value_of_text
from aieye.pipeline.options import RunOptions
from aieye.pipeline.preset_calls import INPUT, PresetCalls
from aieye.pipeline.run_context import RunContext
from aieye.pipeline.sizes import Unmeasurable, canonical
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from aieye.pipeline.steps import CacheMode, CallStep
from aieye.presets.models import Preset
from aieye.prompts.models import SavedPrompt
from aieye.prompts.substitution import RenderedTooLarge


@dataclass(frozen=True, slots=True)
class Means:
    """What all runs of a process share."""

    database: Database
    functions: Functions
    models: ModelCalls
    presets: PresetCalls
    results: KeptResults


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told the run's value while the model says it: what `steps` say, which come last."""

    steps: Sequence[CallStep]
    on_text: OnText

    def of(self, step: CallStep) -> OnText | None:
        return self.on_text if any(one is step for one in self.steps) else None


class Runner:
    """The `StepRunner` of one run."""

    __slots__ = ("_listener", "_means", "_options", "_origin")

    def __init__(
        self,
        means: Means,
        origin: Origin,
        options: RunOptions,
        listener: Listener | None = None,
    ) -> None:
        self._means = means
        self._origin = origin
        self._options = options
        self._listener = listener

    async def run(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        target = step.callee.target
        try:
            if isinstance(target, SavedPrompt):
                return await self._ask(step, target, arguments, attempt)
            if isinstance(target, Preset):
                return await self._ask_preset(step, target, arguments, attempt)
        except BrokenOffCall as error:
            raise StepFailed("cancelled", code="E503", used=error.used) from error
        assert isinstance(target, Function)
        if not target.cacheable or target.takes_context or attempt.cache == "off":
            # What a context gave is its caller's own; the gateway keeps what a model said.
            return await self._call(step, target, arguments, attempt)
        return await self._call_cacheable(step, target, arguments, attempt)

    def run_inline(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        try:
            return StepResult(run_inline(cast(Function, step.callee.target), arguments))
        except FunctionFailed as error:
            raise _failed(error) from error

    # --- Models

    async def _ask(
        self, step: CallStep, prompt: SavedPrompt, values: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        content = prompt.content
        try:
            # A prompt's variables are texts: the evaluator has converted them.
            texts = cast(Mapping[str, str], values)
            request = request_of(prompt.name, content, texts, model=attempt.model)
        except RenderedTooLarge as error:
            raise StepFailed(error.message.rstrip("."), code="E510") from error
        except AieyeError as error:
            raise StepFailed(error.message.rstrip("."), is_final=True) from error
        cache = self._cache_of(step, attempt)
        if attempt.number > 1 and content.schema is not None and cache in {None, "use"}:
            # An answer that held no object is in the cache: to get it once more would not help.
            cache = "refresh"
        on_text = None if content.schema is not None else self._listens(step, attempt)
        text, used = await self._means.models.ask(
            self._origin, attempt.path, request, cache, on_text=on_text, prompt=prompt
        )
        try:
            return used._replace(value=value_of_text(content, text))
        except NoValue as error:
            raise StepFailed(str(error), used=used) from error

    async def _ask_preset(
        self, step: CallStep, preset: Preset, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        # The parameter is a text: the evaluator has converted it.
        said = cast(str, arguments[INPUT])
        try:
            return await self._means.presets.call(
                self._origin, attempt.path, preset, said, self._cache_of(step, attempt),
                model=attempt.model, on_text=self._listens(step, attempt),
            )  # fmt: skip
        except AieyeError as error:
            raise StepFailed(error.message.rstrip("."), is_final=error.status < 500) from error

    def _listens(self, step: CallStep, attempt: Attempt) -> OnText | None:
        """Who is told what a model says. What was told already cannot be taken back: a further
        attempt is not listened to."""
        if self._listener is None or attempt.number > 1:
            return None
        return self._listener.of(step)

    def _cache_of(self, step: CallStep, attempt: Attempt) -> CacheMode | None:
        """The mode that somebody asked for; what is the default anyway is left to the settings."""
        is_said = step.options.cache is not None or self._options.cache != "use"
        return attempt.cache if is_said else None

    # --- Functions

    async def _call_cacheable(
        self, step: CallStep, function: Function, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        try:
            place = Place(function.source_hash, function.name, canonical(dict(arguments)))
        except Unmeasurable:
            return await self._call(step, function, arguments, attempt)
        results = self._means.results
        if attempt.cache != "refresh" and (found := results.find(place)) is not None:
            return StepResult(found[0], cache="hit")
        result = await self._call(step, function, arguments, attempt)
        results.keep(place, result.value)
        return result._replace(cache="refresh" if attempt.cache == "refresh" else "miss")

    async def _call(
        self, step: CallStep, function: Function, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        means = self._means
        context = RunContext(
            means.database, means.models, self._origin, attempt.path,
            self._cache_of(step, attempt), attempt.model,
        )  # fmt: skip
        try:
            value = await means.functions.call(
                function, arguments, context, attempt.timeout, self._origin.grant.user_id
            )
        except (FunctionFailed, FunctionTimeout) as error:
            if context.ended_by is None:
                failed = _failed(error, context.used)
                failed.waited_for_model = context.was_waiting
                raise failed from error
        except asyncio.CancelledError as error:
            raise StepFailed(
                "cancelled", code="E503", used=context.used, waited_for_model=context.was_waiting
            ) from error
        if context.ended_by is not None:
            # As it was: with its own cause, and not with what the function made of it.
            raise context.ended_by from context.ended_by.__cause__
        return context.used._replace(value=value)


def _failed(error: FunctionFailed | FunctionTimeout, used: StepResult | None = None) -> StepFailed:
    if isinstance(error, FunctionTimeout):
        return StepFailed(f"took longer than {error.seconds:g} s", code="E502", used=used)
    reason = error.message.rstrip(".")
    if isinstance(error, ArgumentRefused):
        return StepFailed(reason, code="E402", used=used)
    if isinstance(inner := error.__cause__, StepFailed):
        # The function passed on what a call of its own failed of.
        return StepFailed(
            inner.reason, code=inner.code, hint=error.detail or None, used=used,
            is_final=not inner.is_repeatable,
        )  # fmt: skip
    if error.detail:
        reason = f"{reason} ({error.detail})"
    return StepFailed(reason, is_final=isinstance(error, FunctionUnavailable), used=used)
