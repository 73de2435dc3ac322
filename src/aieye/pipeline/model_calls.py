"""Calls of models that a run makes: the same way as a client's call of `/v1` goes.

Each has a row in the ledger, marked with the run, the step and the pipeline. Whoever is cancelled
here closes the call at the provider, and what was used is booked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from aieye.access.snapshot import DEMO_ID, Grant
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.key import write_json
from aieye.errors import AieyeError
from aieye.gateway.admission import OverBudget
from aieye.gateway.calls import Call, Reply
from aieye.gateway.faults import BrokenOff, UpstreamError, UpstreamTimeout
from aieye.gateway.relay import Relay
from aieye.gateway.routing import resolve
from aieye.gateway.service import CacheMiss, Gateway
from aieye.gateway.usage import Usage, estimate_usage, normalise_usage
from aieye.gateway.wire import INFERENCE, Match
from aieye.ledger.book import CLIENT_LEFT, CallRecord
from aieye.pipeline.model_requests import NoValue, message_of_error, text_of_answer
from aieye.pipeline.step_runner import CacheState, StepFailed, StepResult
from aieye.pipeline.steps import CacheMode
from aieye.pipeline.streamed_text import EndedBadly, SaidTooMuch, StreamedText
from aieye.presets.models import Preset
from aieye.presets.processing import tags_of
from aieye.prompts.models import SavedPrompt
from aieye.telemetry.metrics import Metrics

CHAT: Final = INFERENCE["/v1/chat/completions"]
# What takes longer than this is noted as open in the ledger, as a client's call is.
SLOW_SECONDS: Final = 0.05
# Statuses that another attempt may change.
_PASSING: Final = frozenset({408, 409, 429})
LONGEST_STEP: Final = 200
OnText: TypeAlias = Callable[[str], None]
ValueT = TypeVar("ValueT")
CANCELLED: Final = (CLIENT_LEFT, "step_cancelled")


class BrokenOffCall(asyncio.CancelledError):
    """The call was cancelled; `used` is what it had used until then."""

    def __init__(self, used: StepResult) -> None:
        super().__init__()
        self.used = used


class ProviderFailed(UpstreamError):
    """What the provider answered was an error; `status` is the provider's own, `reply` all of it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(message_of_error(reply.body) or f"The provider answered {reply.status}.")
        self.status = reply.status  # type: ignore[misc] # per answer here
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that calls are made for, and who pays for them."""

    run_id: str
    pipeline: str | None
    grant: Grant


class Answer(NamedTuple):
    """What the model said; `used` has no value yet."""

    text: str
    used: StepResult


@dataclass(frozen=True, slots=True)
class Inference(Generic[ValueT]):
    """A body for an endpoint, and what reads the answer's body: it raises `NoValue`.

    `prompt` or `preset` is what the use is counted under too, and a preset marks the call's row.
    """

    match: Match
    request: Mapping[str, Any]
    read: Callable[[bytes], ValueT]
    prompt: SavedPrompt | None = None
    preset: Preset | None = None


@dataclass(frozen=True, slots=True)
class Prediction(Generic[ValueT]):
    """What a call would come to. With a `value`, in a tuple, it would be a hit, which costs nothing."""

    model: str | None
    value: tuple[ValueT] | None
    tokens_input: int | None
    tokens_output: int | None
    cost_nano: int | None
    saved_nano: int | None


class ModelCalls:
    """Asks models. One a process."""

    def __init__(self, relay: Relay, gateway: Gateway, metrics: Metrics) -> None:
        self._relay = relay
        self._gateway = gateway
        self._metrics = metrics

    async def ask(
        self,
        origin: Origin,
        step: str,
        request: Mapping[str, Any],
        cache: CacheMode | None,
        *,
        on_text: OnText | None = None,
        prompt: SavedPrompt | None = None,
        preset: Preset | None = None,
    ) -> Answer:
        """The text of the answer to a chat request; without a `cache` mode the settings decide.

        `on_text` is told what the model says as it comes; what fails after that cannot be repeated.
        Raises `StepFailed`.
        """
        inference = Inference(CHAT, request, text_of_answer, prompt, preset)
        if on_text is None:
            return Answer(*await self.infer(origin, step, inference, cache))
        inference = replace(inference, request={**request, "stream": True})
        receive = partial(_read_stream, on_text=on_text)
        return Answer(*await self._infer(origin, step, inference, cache, receive))

    async def infer(
        self, origin: Origin, step: str, inference: Inference[ValueT], cache: CacheMode | None
    ) -> tuple[ValueT, StepResult]:
        """What an answer of any endpoint says, and what it took. Raises `StepFailed`."""

        async def receive(reply: Reply) -> ValueT:
            return inference.read(reply.body or b"")

        return await self._infer(origin, step, inference, cache, receive)

    async def _infer(
        self,
        origin: Origin,
        step: str,
        inference: Inference[Any],
        cache: CacheMode | None,
        receive: Callable[[Reply], Awaitable[ValueT]],
    ) -> tuple[ValueT, StepResult]:
        prompt, preset = inference.prompt, inference.preset
        record = CallRecord(
            inference.match.endpoint.name,
            run_id=origin.run_id,
            step=step[:LONGEST_STEP],
            pipeline=origin.pipeline,
            prompt=None if prompt is None else (prompt.id, prompt.shown_version),
            preset=None if preset is None else preset.counted_as,
        )
        controls = DEFAULT if cache is None else Controls(cache, is_explicit=True)
        call = Call(
            inference.match, origin.grant, _written(inference.request), record,
            controls=controls, cancelled_as=CANCELLED,
            tags=None if preset is None else tags_of(preset),
        )  # fmt: skip
        self._metrics.began()
        noting = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._note_open, record)
        try:
            reply = await self._relay.infer(call)
            if reply.status >= 400:
                raise ProviderFailed(reply)
            value = await receive(reply)
            return value, self.used(record)
        except EndedBadly as error:
            raise StepFailed(str(error), is_final=True, used=self.used(record)) from (
                BrokenOff(str(error))
            )
        except AieyeError as error:
            raise self.failed(error, record) from error
        except NoValue as error:
            raise StepFailed(str(error), used=self.used(record)) from error
        except SaidTooMuch as error:
            raise StepFailed(str(error), code="E510", used=self.used(record)) from error
        except asyncio.CancelledError as error:
            raise BrokenOffCall(self.used(record)) from error
        finally:
            noting.cancel()
            self._metrics.ended(record)

    async def forecast(
        self, grant: Grant, inference: Inference[ValueT], cache: CacheMode | None
    ) -> Prediction[ValueT]:
        """What asking would come to, without asking. Raises `StepFailed` where it would fail at once."""
        request = inference.request
        record = CallRecord(inference.match.endpoint.name)
        controls = DEFAULT if cache is None else Controls(cache, is_explicit=True)
        call = Call(inference.match, grant, _written(request), record, controls=controls)
        try:
            found = await self._gateway.forecast(call)
        except AieyeError as error:
            raise self.failed(error, record) from error
        entry, model = found.entry, found.candidate.model
        if entry is not None and found.body is not None:
            made = entry.provenance
            with suppress(NoValue):
                return Prediction(
                    made.model or model, (inference.read(found.body),), made.tokens_input,
                    made.tokens_output, 0, made.cost_nano,
                )  # fmt: skip
        estimated = estimate_usage(dict(request), deltas=0, output_size=0)
        return Prediction(model, None, estimated.input, None, None, None)

    def quote(self, grant: Grant, model: str, tokens_input: int, tokens_output: int) -> int | None:
        """What so many tokens would cost, in nano-dollars; None where that is not known."""
        try:
            candidate = resolve(self._gateway.directory.current, grant, model)[0]
        except AieyeError:
            return None
        usage = Usage(input=tokens_input, output=tokens_output, estimated=True)
        return self._gateway.tariff.quote(candidate.provider, candidate.model, usage)

    def _note_open(self, record: CallRecord) -> None:
        if record.status is None:
            self._gateway.book.open(record)

    def failed(self, error: AieyeError, record: CallRecord) -> StepFailed:
        """The failure of a step whose call, which has this record, ended with an error."""
        used = self.used(record)
        if isinstance(error, CacheMiss):
            return StepFailed("there is no stored answer to this request", code="E505", used=used)
        reason = error.message.rstrip(".")
        if isinstance(error, OverBudget):
            return StepFailed(reason, code="E504", used=used)
        if isinstance(error, UpstreamTimeout):
            return StepFailed(reason, code="E502", used=used)
        is_final = error.status < 500 and error.status not in _PASSING
        return StepFailed(reason, is_final=is_final, used=used)

    def used(self, record: CallRecord) -> StepResult:
        """What a call took."""
        return StepResult(
            None,
            record.model or record.model_asked,
            cast(CacheState, record.cache),
            record.tokens_input or 0,
            record.tokens_output or 0,
            record.cost_nano,
            record.saved_nano or 0,
            self._input_cost(record),
            record.cost_nano is None and record.provider_id != DEMO_ID,
        )

    def _input_cost(self, record: CallRecord) -> int | None:
        """The part of what a call cost that its input is; not more exact than its tokens are."""
        cost = record.cost_nano
        if not cost:
            return cost
        provider = self._gateway.directory.current.providers_by_id.get(record.provider_id or 0)
        if provider is None:
            return None
        usage = normalise_usage(record.usage) or Usage(input=record.tokens_input or 0)
        usage = replace(usage, output=0, reasoning=0, output_audio=0, output_image=0)
        charge = self._gateway.tariff.charge(
            provider, record.model, usage, asked=record.model_asked
        )
        return None if charge.cost_nano is None else min(cost, charge.cost_nano)


async def _read_stream(reply: Reply, on_text: OnText) -> str:
    """Tell what a streamed answer says, and give all of it. Raises `EndedBadly`, `NoValue`, `SaidTooMuch`."""
    reader = StreamedText()
    if reply.chunks is None:
        for said in reader.feed(reply.body or b""):
            on_text(said)
        return reader.end()
    try:
        async for chunk in reply.chunks:
            for said in reader.feed(chunk):
                on_text(said)
    except AieyeError as error:
        raise EndedBadly(error.message.rstrip(".")) from error
    finally:
        # Closing settles the call; it does nothing to one that was read to its end.
        await reply.chunks.aclose()  # type: ignore[attr-defined] # an async generator, always
    return reader.end()


def _written(request: Mapping[str, Any]) -> bytes:
    try:
        return write_json(dict(request))
    except AieyeError as error:
        raise StepFailed(error.message.rstrip("."), is_final=True) from error
