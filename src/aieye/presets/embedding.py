"""Texts embedded through the gateway: each call has a row in the ledger, as any other has.

Numpy is loaded with the first call, beside the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from aieye.access.snapshot import Grant
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.key import write_json
from aieye.gateway.calls import LEFT, Call, Reply
from aieye.gateway.faults import BrokenOff, UpstreamError
from aieye.gateway.relay import Relay
from aieye.gateway.service import Gateway
from aieye.gateway.wire import INFERENCE, header
from aieye.ledger.book import CallRecord
from aieye.presets.embedding_requests import batches, request_of
from aieye.presets.models import Preset
from aieye.presets.processing import tags_of
from aieye.presets.spaces import Space
from aieye.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from aieye.presets.embedding_answers import Embedded

EMBEDDINGS: Final = INFERENCE["/v1/embeddings"]
# What takes longer is noted as open in the ledger, as a client's call is.
SLOW_SECONDS: Final = 0.05
# Calls that one search has under way at once.
PARALLEL: Final = 4
# What a provider refuses for its size, or for one of its texts: halves of it may pass.
_TOO_MUCH: Final = frozenset({400, 413, 422})
# Answers of up to this many bytes are read where they are: a thread would take longer.
_READ_AT_ONCE: Final = 64 * 1024

_THREADS: Final = "OPENBLAS_NUM_THREADS"
_loaded: dict[str, ModuleType] = {}


class EmbeddingRefused(UpstreamError):
    """What the provider answered was an error; `status` is the provider's own where that tells the
    caller something, and `reply` all of it. `at` is the place of the text that it is about."""

    def __init__(self, message: str, reply: Reply, at: int | None = None) -> None:
        later = header(reply.headers, b"retry-after")
        super().__init__(
            message, headers={"Retry-After": later.decode("latin-1")} if later else None
        )
        self.reply = reply
        self.at = at
        self.status = reply.status if reply.status < 500 else 502  # type: ignore[misc] # per answer


@dataclass(slots=True)
class Payer:
    """Whom calls are booked on and for what. `calls` are those that were made, the oldest first."""

    grant: Grant
    controls: Controls = DEFAULT
    preset: Preset | None = None
    run_id: str | None = None
    step: str | None = None
    pipeline: str | None = None
    # What it means when the task is cancelled, as the ledger is to say it.
    cancelled_as: tuple[int, str] = LEFT
    calls: list[Call] = field(default_factory=list)

    def left(self) -> None:
        """Note that the client is gone, which ends what is under way."""
        for call in self.calls:
            call.cancelled_as = LEFT

    def uncached(self) -> Payer:
        """The same one, for texts whose vectors are kept elsewhere."""
        return replace(self, controls=Controls("off", is_explicit=True))


class Part(NamedTuple):
    """The vectors of some of the texts: of those from `start` on."""

    start: int
    embedded: Embedded


class Embedding:
    """Asks models for vectors. One a process."""

    def __init__(self, relay: Relay, gateway: Gateway, metrics: Metrics) -> None:
        self._relay = relay
        self._gateway = gateway
        self._metrics = metrics

    async def embed(self, texts: Sequence[str], space: Space, payer: Payer) -> Embedded:
        """The vectors of texts that fit into one call. Raises `AieyeError`."""
        record = CallRecord(
            EMBEDDINGS.endpoint.name,
            run_id=payer.run_id,
            step=payer.step,
            pipeline=payer.pipeline,
            preset=None if payer.preset is None else payer.preset.counted_as,
        )
        call = Call(
            EMBEDDINGS, space.grant, write_json(request_of(space, texts)), record,
            controls=payer.controls, cancelled_as=payer.cancelled_as,
            tags=None if payer.preset is None else tags_of(payer.preset),
        )  # fmt: skip
        payer.calls.append(call)
        reply = await self._infer(call)
        if reply.status >= 400:
            raise EmbeddingRefused(_message_of(reply), reply)
        if record.provider_id != space.provider.id:
            # An alias may have the name of a model at a provider.
            raise BrokenOff(f"Another provider than {space.provider.name} answered.")
        return await _read(reply.body or b"", len(texts))

    async def embed_all(
        self, texts: Sequence[str], space: Space, payer: Payer
    ) -> AsyncGenerator[Part]:
        """The vectors of any number of texts, in parts as they come, several calls at a time.

        After a failure no further call is made, and what is under way is given before it is raised.
        Whoever leaves early closes the iterator, which ends the calls. Raises `AieyeError`.
        """
        waiting: dict[asyncio.Task[None], list[Part]] = {}
        failure: Exception | None = None
        start = 0
        rest = batches(texts, space.provider)
        try:
            while True:
                while failure is None and len(waiting) < PARALLEL:
                    batch = next(rest, None)
                    if batch is None:
                        break
                    parts: list[Part] = []
                    asking = self._embed_batch(batch, start, space, payer, parts)
                    waiting[asyncio.create_task(asking)] = parts
                    start += len(batch)
                if not waiting:
                    break
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    for part in waiting.pop(task):
                        yield part
                    error = task.exception()
                    if failure is None and isinstance(error, Exception):
                        failure = error
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        if failure is not None:
            raise failure

    async def _embed_batch(
        self, texts: Sequence[str], start: int, space: Space, payer: Payer, parts: list[Part]
    ) -> None:
        """Add the vectors of a batch to `parts`; in halves where the provider finds it too large.

        `start` is its place. What came before a failure is in `parts` all the same.
        """
        try:
            parts.append(Part(start, await self.embed(texts, space, payer)))
            return
        except EmbeddingRefused as error:
            if error.reply.status not in _TOO_MUCH:
                raise
            if len(texts) == 1:
                raise EmbeddingRefused(error.message, error.reply, start) from error
        middle = len(texts) // 2
        await self._embed_batch(texts[:middle], start, space, payer, parts)
        await self._embed_batch(texts[middle:], start + middle, space, payer, parts)

    async def _infer(self, call: Call) -> Reply:
        self._metrics.began()
        noting = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._note_open, call.record)
        try:
            return await self._relay.infer(call)
        finally:
            noting.cancel()
            self._metrics.ended(call.record)

    def _note_open(self, record: CallRecord) -> None:
        if record.status is None:
            self._gateway.book.open(record)


async def _read(body: bytes, count: int) -> Embedded:
    """What an answer holds. Raises `BrokenOff`."""
    answers = await load_numpy("embedding_answers")
    try:
        if len(body) <= _READ_AT_ONCE:
            found = answers.read_answer(body, count)
        else:
            found = await asyncio.to_thread(answers.read_answer, body, count)
    except answers.NoVectors as error:
        raise BrokenOff(f"The provider did not embed the texts: {error}.") from error
    return found  # type: ignore[no-any-return] # a module that is loaded late


async def load_numpy(module: str) -> Any:
    """A module of presets that needs numpy, which most servers never do and which takes a while."""
    name = f"aieye.presets.{module}"
    if name not in _loaded:
        # Not asked of `sys.modules`, which has modules that are only half there.
        _loaded[name] = await asyncio.to_thread(_import, name)
    return _loaded[name]


def _import(name: str) -> ModuleType:
    """Import a module so that products of matrices take one core: the others are the event loop's,
    and wait for nobody who is held up on a busy machine."""
    if (given := os.environ.get(_THREADS)) is None:
        # Read when the library is loaded; functions' processes, which inherit, have their own wish.
        os.environ[_THREADS] = "1"
    try:
        return import_module(name)
    finally:
        if given is None:
            os.environ.pop(_THREADS, None)


def _message_of(reply: Reply) -> str:
    """What a provider says in OpenAI's error object."""
    try:
        return str(orjson.loads(reply.body or b"")["error"]["message"])[:500]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return f"The provider answered {reply.status}."
