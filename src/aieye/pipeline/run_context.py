"""What an async function is given: the run that it belongs to, and the model through the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aieye.db.engine import Database
from aieye.errors import InvalidRequest
from aieye.pipeline.language.values import Unconvertible, text_of
from aieye.pipeline.model_calls import BrokenOffCall, ModelCalls, Origin
from aieye.pipeline.model_requests import request_of
from aieye.pipeline.step_runner import StepFailed, StepResult
from aieye.pipeline.steps import CacheMode
from aieye.pipeline.trace import misses_price, plus
from aieye.prompts.models import SavedPrompt
from aieye.prompts.service import get_usable, list_usable

_NOTHING: Final = StepResult(None)


@dataclass(slots=True)
class RunContext:
    """The context of one call of a function. `used` is the sum of what its calls of models used.

    `ended_by` is a failure that ends the run, whatever the function makes of it. `was_waiting`: a
    model had yet to answer when the function was told to end.
    """

    database: Database
    models: ModelCalls
    origin: Origin
    step: str
    cache: CacheMode | None
    model: str | None
    used: StepResult = _NOTHING
    ended_by: StepFailed | None = None
    was_waiting: bool = False

    @property
    def run_id(self) -> str:
        return self.origin.run_id

    async def prompt(self, name: str, /, **values: object) -> str:
        """The model's answer to a prompt. Raises `NotFound`, `MissingValue`, `StepFailed`."""
        prompt = await self._prompt(name)
        given = {key: _as_text(key, value) for key, value in values.items()}
        request = request_of(name, prompt.content, given, model=self.model)
        return await self._ask(request, prompt)

    async def complete(
        self,
        request: str | Sequence[Mapping[str, Any]],
        /,
        *,
        model: str | None = None,
        **params: object,
    ) -> str:
        """The model's answer to a text or to messages. Raises `StepFailed`, `InvalidRequest`."""
        asked = model or self.model
        if asked is None:
            raise InvalidRequest("complete() has to be told which model to ask.", param="model")
        messages = [{"role": "user", "content": request}] if isinstance(request, str) else request
        return await self._ask({"model": asked, "messages": list(messages), **params})

    async def prompts(self) -> Mapping[str, str]:
        """The descriptions of the prompts that may be used, by name."""
        async with self.database.read() as session:
            found = await list_usable(session, self.origin.grant.user_id)
        return {prompt.name: prompt.description for prompt in found}

    async def prompt_body(self, name: str, /) -> str:
        """The text of a prompt. Raises `NotFound`."""
        return (await self._prompt(name)).content.body

    async def _prompt(self, name: str) -> SavedPrompt:
        async with self.database.read() as session:
            return await get_usable(session, name, self.origin.grant.user_id)

    async def _ask(self, request: Mapping[str, Any], prompt: SavedPrompt | None = None) -> str:
        if request.get("stream"):
            raise InvalidRequest("Within a pipeline nothing is streamed.", param="stream")
        try:
            answer = await self.models.ask(
                self.origin, self.step, request, self.cache, prompt=prompt
            )
        except BrokenOffCall as error:
            self._count(error.used)
            self.was_waiting = True
            raise asyncio.CancelledError from error
        except StepFailed as failed:
            self._count(failed.used)
            if failed.ends_run:
                self.ended_by = failed
            raise
        self._count(answer.used)
        return answer.text

    def _count(self, used: StepResult | None) -> None:
        if used is None:
            return
        before = self.used
        self.used = StepResult(
            None,
            used.model,
            used.cache,
            before.tokens_input + used.tokens_input,
            before.tokens_output + used.tokens_output,
            plus(before.cost_nano, used.cost_nano),
            before.saved_nano + used.saved_nano,
            plus(before.cost_input_nano, used.cost_input_nano),
            misses_price(before, used),
        )


def _as_text(name: str, value: object) -> str:
    try:
        return text_of(value)  # type: ignore[arg-type] # whatever a function gives
    except (Unconvertible, TypeError) as error:
        raise InvalidRequest(f"The value of '{name}' is not JSON.", param=name) from error
