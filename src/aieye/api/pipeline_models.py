"""`pipeline/NAME` as a model of `/v1/chat/completions`: any OpenAI client calls a saved pipeline.

The last message of the user is its argument; `metadata` names others. A stream gives what a model
says as it comes, where the pipeline ends with that; else its value in one piece. The run is on record as an
execution and its calls are rows of the ledger; the call itself has none, lest anything counts twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson

from aieye.access.snapshot import Grant, PipelineInfo
from aieye.api.pipeline_questions import PREFIX, arguments_of, check_place, check_question
from aieye.api.runners import by_grant, failure_of
from aieye.cache.controls import from_field
from aieye.cache.key import read_object
from aieye.errors import AieyeError
from aieye.gateway.calls import Call, Reply
from aieye.gateway.faults import BrokenOff
from aieye.gateway.models import Model
from aieye.gateway.routing import ModelNotAllowed, ModelNotFound, is_allowed
from aieye.gateway.sse import error_frame
from aieye.gateway.wire import INFER, Header
from aieye.ledger.pricing import format_usd
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.values import Json, text_of
from aieye.pipeline.options import RunOptions
from aieye.pipeline.run_record import Finished
from aieye.pipeline.running import Pipelines, new_run_id

# What metrics call such a call.
ENDPOINT: Final = "pipeline"


class PipelineModels:
    """One a process."""

    def __init__(self, pipelines: Pipelines) -> None:
        self._pipelines = pipelines

    def read(self, call: Call) -> Mapping[str, Any] | None:
        """The body of a call that asks a pipeline; None for any other.

        Raises `NotAtThisEndpoint`, and `InvalidRequest` for what pipelines do not take.
        """
        # Most bodies do not even hold the word; a slash may be written in two ways.
        if call.match.endpoint.kind != INFER or b"pipeline" not in call.body:
            return None
        document = read_object(call.body)
        model = document.get("model")
        if not isinstance(model, str) or not model.startswith(PREFIX):
            return None
        check_place(model, call.match.endpoint)
        check_question(document)
        return document

    def list(self, grant: Grant) -> list[Model]:
        """The pipelines that the caller may use, as models."""
        found = self._pipelines.list_callable(
            grant.user_id, is_administrator=grant.is_administrator
        )
        return [
            {
                "id": PREFIX + one.name,
                "object": "model",
                "created": one.created_at,
                "owned_by": "aieye",
            }
            for one in found
        ]

    async def answer(self, call: Call, document: Mapping[str, Any]) -> Reply:
        """Run the pipeline. Raises `ModelNotFound`, `ModelNotAllowed`, `InvalidPipeline`, `RunFailed`."""
        record, grant, model = call.record, call.grant, document["model"]
        record.endpoint, record.token_id, record.user_id = ENDPOINT, grant.token_id, grant.user_id
        if grant.models is not None and not is_allowed(model, grant.models):
            raise ModelNotAllowed(
                f"This token may not use the model {model[:100]!r}.", param="model"
            )
        info = self._pipelines.find(model.removeprefix(PREFIX), by_grant(grant).actor)
        if info is None:
            raise ModelNotFound(f"There is no model {model[:100]!r}.", param="model")
        mode = from_field(document.get("cache"), call.controls).mode
        options = self._pipelines.options(cache=mode)
        plan = await self._pipelines.plan(info)
        arguments = arguments_of(document, plan.parameters)
        call.on_upstream()
        record.cost_nano, record.cost_state = 0, "exact"
        if document.get("stream") is True:
            return await self._streamed(call, document, info, arguments, options)
        finished = await self._pipelines.run(info, arguments, grant, options)
        if finished.failure is not None:
            raise _failed(call, finished)
        record.status = 200
        return _reply(call, document, finished)

    async def _streamed(
        self,
        call: Call,
        document: Mapping[str, Any],
        info: PipelineInfo,
        arguments: Mapping[str, Json],
        options: RunOptions,
    ) -> Reply:
        """The value as it comes, where a model says it; an answer begins with its first word."""
        said: asyncio.Queue[str | None] = asyncio.Queue()
        run_id = new_run_id()
        run = asyncio.ensure_future(
            self._pipelines.run(
                info, arguments, call.grant, options, run_id=run_id, on_text=said.put_nowait
            )
        )
        run.add_done_callback(lambda _: said.put_nowait(None))
        try:
            first = await said.get()
            if first is None and (finished := await run).failure is not None:
                raise _failed(call, finished)
        except asyncio.CancelledError:
            await _give_up(run)
            raise
        headers = _headers(call, run_id)
        headers.append((b"content-type", b"text/event-stream; charset=utf-8"))
        return Reply(200, headers, chunks=_chunks(call, document, run, said, first, run_id))


def _failed(call: Call, finished: Finished) -> RunFailed:
    failure = failure_of(finished)
    call.record.status, call.record.error = failure.status, failure.code
    return failure


async def _give_up(run: asyncio.Future[Finished]) -> None:
    run.cancel()
    await asyncio.wait({run})


async def _chunks(
    call: Call,
    document: Mapping[str, Any],
    run: asyncio.Future[Finished],
    said: asyncio.Queue[str | None],
    first: str | None,
    run_id: str,
) -> AsyncIterator[bytes]:
    """The events of an answer. The run is over when these are, whoever ends them."""
    base = {
        "id": f"chatcmpl-{run_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": document["model"],
    }
    told = ""
    try:
        yield _event(base, {"role": "assistant", "content": ""})
        text = first
        while text is not None:
            told += text
            yield _event(base, {"content": text})
            text = await said.get()
        finished = await run
        if finished.failure is not None:
            yield _error(_failed(call, finished))
            return
        value = text_of(finished.value)
        if not value.startswith(told):
            # The step was attempted again, and the model said something else.
            failure = BrokenOff("The answer was made anew after it had begun: ask again.")
            call.record.status, call.record.error = failure.status, failure.code
            yield _error(failure)
            return
        if value != told:
            # What nobody said while it was made: a function's value, or what was known already.
            yield _event(base, {"content": value[len(told) :]})
        yield _event(base, {}, finish="stop")
        options = document.get("stream_options")
        if isinstance(options, dict) and options.get("include_usage") is True:
            yield _data({**base, "choices": [], "usage": _usage(finished)})
        call.record.status = 200
        yield b"data: [DONE]\n\n"
    except AieyeError as error:
        call.record.status, call.record.error = error.status, error.code
        raise
    finally:
        if not run.done():
            await _give_up(run)


def _error(error: AieyeError) -> bytes:
    shown = {"message": error.message, "type": error.type, "code": error.code, "param": None}
    return error_frame("chat", shown)


def _event(base: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _data({**base, "choices": [choice]})


def _data(chunk: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _reply(call: Call, document: Mapping[str, Any], finished: Finished) -> Reply:
    message = {"role": "assistant", "content": text_of(finished.value), "refusal": None}
    body = orjson.dumps(
        {
            "id": f"chatcmpl-{finished.run_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": document["model"],
            "choices": [
                {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            ],
            "usage": _usage(finished),
        }
    )
    headers = _headers(call, finished.run_id)
    headers.append((b"content-type", b"application/json"))
    if finished.totals.cost_nano is not None:
        headers.append((b"x-aieye-cost-usd", format_usd(finished.totals.cost_nano).encode()))
    return Reply(200, headers, body)


def _headers(call: Call, run_id: str) -> list[Header]:
    return [
        (b"x-request-id", call.record.request_id.encode()),
        (b"x-run-id", run_id.encode()),
        (b"x-aieye-cache", b"bypass"),
        (b"cache-status", b"aieye; fwd=bypass"),
    ]


def _usage(finished: Finished) -> dict[str, int]:
    totals = finished.totals
    return {
        "prompt_tokens": totals.tokens_input,
        "completion_tokens": totals.tokens_output,
        "total_tokens": totals.tokens_input + totals.tokens_output,
    }
