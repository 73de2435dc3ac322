"""Steps that call presets: what a preset asks, asked as part of a run, and its value.

A completion's value is its text, or a list of them where the preset has several prompts; a chat's
its answer's text; an embedding's its vector; a search's the list of its results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from aieye.access.snapshot import Grant
from aieye.cache.controls import DEFAULT, Controls
from aieye.errors import AieyeError
from aieye.pipeline.language.values import Json
from aieye.pipeline.model_calls import (
    CANCELLED,
    LONGEST_STEP,
    Inference,
    ModelCalls,
    OnText,
    Origin,
    ProviderFailed,
)
from aieye.pipeline.model_requests import NoValue, text_of_answer
from aieye.pipeline.step_runner import StepFailed, StepResult
from aieye.pipeline.steps import CacheMode
from aieye.pipeline.trace import misses_price, plus
from aieye.presets.asking import Asking, asking_of, texts_of_completion, vector_of
from aieye.presets.embedding import Payer
from aieye.presets.models import Preset
from aieye.presets.processing import Processing
from aieye.presets.search import Search
from aieye.presets.through_chat import NotACompletion

INPUT: Final = "input"
"""The one parameter of a preset."""


@dataclass(frozen=True, slots=True)
class PresetCalls:
    """One a process."""

    models: ModelCalls
    processing: Processing
    search: Search

    async def call(
        self,
        origin: Origin,
        step: str,
        preset: Preset,
        said: str,
        cache: CacheMode | None,
        *,
        model: str | None = None,
        on_text: OnText | None = None,
    ) -> StepResult:
        """The value of a preset for an input; `model` is asked instead of its own.

        `on_text` is told a chat preset's answer as it comes. Raises `StepFailed`, `InvalidRequest`.
        """
        if preset.type == "search":
            return await self._search(origin, step, preset, said, cache, model)
        through_chat = self._is_through_chat(origin.grant, preset, model)
        asking = _asking(preset, said, model, through_chat=through_chat)
        if preset.type == "chat":
            text, used = await self.models.ask(
                origin, step, asking.bodies[0], cache, on_text=on_text, preset=preset
            )
            return used._replace(value=text)
        try:
            return await self._ask(origin, step, preset, asking, cache)
        except StepFailed as failed:
            error = failed.__cause__
            if asking.completion is None or not (
                isinstance(error, ProviderFailed)
                and self.processing.is_wrong_way(
                    model or preset.model, error.reply, through_chat=through_chat
                )
            ):
                raise
        asking = _asking(preset, said, model, through_chat=not through_chat)
        return await self._ask(origin, step, preset, asking, cache)

    def inference(
        self, grant: Grant, preset: Preset, said: str, model: str | None
    ) -> Inference[Any] | None:
        """What `call` would ask, if that is one question. Raises `InvalidRequest` and its kin."""
        if preset.type == "search":
            return None
        through_chat = self._is_through_chat(grant, preset, model)
        asking = _asking(preset, said, model, through_chat=through_chat)
        if len(asking.bodies) > 1:
            return None

        def read(body: bytes) -> Json:
            try:
                return _value(preset, asking, [body])
            except NotACompletion as error:
                raise NoValue(error.message.rstrip(".")) from error

        return Inference(asking.match, asking.bodies[0], read)

    async def _search(
        self,
        origin: Origin,
        step: str,
        preset: Preset,
        said: str,
        cache: CacheMode | None,
        model: str | None,
    ) -> StepResult:
        payer = Payer(
            origin.grant,
            DEFAULT if cache is None else Controls(cache, is_explicit=True),
            run_id=origin.run_id,
            step=step[:LONGEST_STEP],
            pipeline=origin.pipeline,
            cancelled_as=CANCELLED,
        )
        if model is not None:
            preset = replace(preset, config={**preset.config, "engine_id": model})
        try:
            found = await self.search.best(preset, said, payer)
        except AieyeError as error:
            if not payer.calls:
                raise
            failed = self.models.failed(error, payer.calls[-1].record)
            failed.used = self._used_by(payer)
            raise failed from error
        results = cast(Json, found.as_json()["data"])
        return self._used_by(payer)._replace(value=results, model=found.model)

    def _used_by(self, payer: Payer) -> StepResult:
        return _sum([self.models.used(call.record) for call in payer.calls])

    def _is_through_chat(self, grant: Grant, preset: Preset, model: str | None) -> bool:
        if preset.type != "completion":
            return False
        return self.processing.is_through_chat(grant, model or preset.model)

    async def _ask(
        self, origin: Origin, step: str, preset: Preset, asking: Asking, cache: CacheMode | None
    ) -> StepResult:
        found = await asyncio.gather(
            *(
                self.models.infer(
                    origin, step, Inference(asking.match, body, bytes, preset=preset), cache
                )
                for body in asking.bodies
            ),
            return_exceptions=True,
        )
        failures = [one for one in found if isinstance(one, BaseException)]
        for failure in failures:
            if not isinstance(failure, StepFailed):
                raise failure
        answers = [one for one in found if not isinstance(one, BaseException)]
        used = _sum(
            [
                *(used for _, used in answers),
                *(one.used for one in cast("list[StepFailed]", failures) if one.used is not None),
            ]
        )
        if failures:
            failed = cast(StepFailed, failures[0])
            failed.used = used
            raise failed
        try:
            return used._replace(value=_value(preset, asking, [body for body, _ in answers]))
        except NotACompletion as error:
            raise StepFailed(error.message.rstrip("."), used=used) from error


def _asking(preset: Preset, said: str, model: str | None, *, through_chat: bool) -> Asking:
    # In a pipeline there is nobody to send a prompt: the input alone is asked where there is none.
    return asking_of(
        preset.type, preset.config, said, prompt="", model=model, through_chat=through_chat
    )


def _value(preset: Preset, asking: Asking, answers: Sequence[bytes]) -> Json:
    """What a step's value is. Raises `NotACompletion`, and `NoValue` for a chat without a text."""
    if preset.type == "chat":
        return text_of_answer(answers[0])
    if preset.type == "embeddings":
        return cast(Json, vector_of(answers[0]))
    texts = texts_of_completion(asking, preset.config, answers)
    if isinstance(preset.config.get("prompt"), list):
        return cast(Json, texts)
    return texts[0] if texts else ""


def _sum(parts: Sequence[StepResult]) -> StepResult:
    """What several calls of one step took together; of which model, the first says."""
    if not parts:
        return StepResult(None)
    total = parts[0]
    for one in parts[1:]:
        total = total._replace(
            tokens_input=total.tokens_input + one.tokens_input,
            tokens_output=total.tokens_output + one.tokens_output,
            cost_nano=plus(total.cost_nano, one.cost_nano),
            saved_nano=total.saved_nano + one.saved_nano,
            cost_input_nano=plus(total.cost_input_nano, one.cost_input_nano),
            misses_price=misses_price(total, one),
        )
    return total
