"""A model asked from the playground: a call like any other, paid as whoever is signed in chose.

It goes through the gateway in the process, so that cache, limits, routes and the ledger's row are those
of a program's call. Whoever leaves closes it at the provider, and what was used is booked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
from fastapi import Request, Response

from aieye.access.snapshot import Grant
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.key import write_json
from aieye.errors import AieyeError
from aieye.gateway.calls import LEFT, Call
from aieye.gateway.wire import INFERENCE
from aieye.ledger.book import CallRecord
from aieye.pipeline.model_requests import NoValue, message_of_error
from aieye.pipeline.steps import CacheMode
from aieye.pipeline.streamed_text import EndedBadly, StreamedText
from aieye.state import State
from aieye.ui import reading
from aieye.waiting import ClientGone, ShuttingDown, unless_gone

CHAT: Final = INFERENCE["/v1/chat/completions"]
TAGS: Final[Mapping[str, str]] = {"from": "playground"}
# What takes longer than this is noted as open in the ledger, as a client's call is.
SLOW_SECONDS: Final = 0.05
STILL_THERE_SECONDS: Final = 15.0
# As much of an answer is read again at its end for what is no text.
_MOST_READ_AGAIN: Final = 1 << 20
OnText = Callable[[str], Awaitable[None]]


class Trial:
    """One question to one model. `record` is the call's row; `error` why there is no whole answer.

    `is_text` says that the answer is a text and not calls of tools, `ended_by` why it ended.
    """

    def __init__(
        self, state: State, grant: Grant, request: Mapping[str, Any], cache: CacheMode
    ) -> None:
        self._state = state
        self.record = CallRecord(CHAT.endpoint.name)
        body = write_json({**request, "stream": True})
        self.call = Call(
            CHAT, grant, body, self.record, tags=TAGS,
            controls=DEFAULT if cache == "use" else Controls(cache, is_explicit=True),
            cancelled_as=(ShuttingDown.status, ShuttingDown.code),
        )  # fmt: skip
        self.text = ""
        self.error = ""
        self.is_text = False
        self.ended_by = ""

    async def run(self, on_text: OnText) -> None:
        """Ask, and tell what the model says as it comes; a failure is kept in `error`."""
        metrics = self._state.metrics
        metrics.began()
        noting = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._note_open)
        try:
            await self._ask(on_text)
        except (AieyeError, EndedBadly, NoValue) as error:
            said = error.message if isinstance(error, AieyeError) else str(error)
            self.error = f"{said[:1].upper()}{said[1:].rstrip('.')}."
        finally:
            noting.cancel()
            metrics.ended(self.record)
        # The page links to the row.
        with suppress(AieyeError):
            await self._state.gateway.durable(self.call)

    def left(self) -> None:
        """The client is gone: what the row says of it."""
        self.call.cancelled_as = LEFT

    async def _ask(self, on_text: OnText) -> None:
        reply = await self._state.relay.infer(self.call)
        if reply.status >= 400:
            said = message_of_error(reply.body)
            raise EndedBadly(said or f"The provider answered {reply.status}.")
        reader, read = StreamedText(), bytearray()

        async def tell(chunk: bytes) -> None:
            if len(read) < _MOST_READ_AGAIN:
                read.extend(chunk)
            for said in reader.feed(chunk):
                await on_text(said)

        try:
            if reply.chunks is None:
                await tell(reply.body or b"")
            else:
                async for chunk in reply.chunks:
                    await tell(chunk)
        finally:
            self.text = reader.text
            if reply.chunks is not None:
                # Closing settles the call; it does nothing to one that was read to its end.
                await reply.chunks.aclose()  # type: ignore[attr-defined] # an async generator, always
        self.text = reader.end()
        again = read.decode("utf-8", "replace")
        self.is_text = bool(self.text)
        self.ended_by = reading.ended_by(again)
        if not self.text:
            # What a model answers with beside text: calls of tools.
            parts = reading.answered(again)
            self.text = "\n".join(part.text for part in parts)
            await on_text(self.text)

    def _note_open(self) -> None:
        if self.record.status is None:
            self.record.token_id = self.call.grant.token_id
            self.record.user_id = self.call.grant.user_id
            self._state.gateway.book.open(self.record)


class TrialStream(Response):
    """A trial as server-sent events: `begin` with the call's id, `text` again and again, then `end`.

    `finish` writes what the page shows at the end. The call ends when the client leaves.
    """

    media_type = "text/event-stream"

    def __init__(self, request: Request, trial: Trial, finish: Callable[[Trial], str]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        # A stream has no length.
        del self.headers["content-length"]
        self._request = request
        self._trial = trial
        self._finish = finish

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def tell(event: bytes) -> None:
            await send({"type": "http.response.body", "body": event, "more_body": True})

        async def on_text(said: str) -> None:
            await tell(event_of("text", said))

        trial = self._trial
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await tell(event_of("begin", trial.record.id))
        waiting = asyncio.ensure_future(_still_there(tell))
        try:
            await unless_gone(self._request, trial.run(on_text), at_leaving=trial.left)
        except ClientGone:
            return
        except ShuttingDown as error:
            trial.error = error.message
        finally:
            waiting.cancel()
        await tell(event_of("end", self._finish(trial)))
        await send({"type": "http.response.body", "body": b""})


def event_of(name: str, data: object) -> bytes:
    """One event, its data as JSON."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


async def _still_there(tell: Callable[[bytes], Awaitable[None]]) -> None:
    """What stands between may take a model's thinking for the end."""
    while True:
        await asyncio.sleep(STILL_THERE_SECONDS)
        await tell(b": still waiting\n\n")
