"""An answer that is passed on as it comes: files, sound, and the events of calls with files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from aieye.errors import AieyeError
from aieye.gateway.calls import Call
from aieye.gateway.client import UpstreamResponse
from aieye.gateway.deadline import Deadline
from aieye.gateway.dispatch import Outcome
from aieye.gateway.faults import BrokenOff
from aieye.gateway.sse import EventTooLarge, StreamMeter
from aieye.gateway.wire import header
from aieye.settings import Settings

# Records the call: why it broke off, if it did, and what its events said, if it had any.
Record = Callable[[AieyeError | None, StreamMeter | None], Awaitable[None]]


class Pieces:
    """The pieces of one answer."""

    def __init__(
        self, call: Call, outcome: Outcome, response: UpstreamResponse, settings: Settings
    ) -> None:
        self._record = call.record
        self._key = outcome.key
        self._response = response
        self._idle_seconds = settings.idle_timeout
        self._total_seconds = settings.upstream_timeout
        self._meter: StreamMeter | None = None
        self._late = b""
        if (header(outcome.headers, b"content-type") or b"").startswith(b"text/event-stream"):
            self._meter = StreamMeter(
                "responses" if call.match.endpoint.name == "responses/{id}" else "other",
                withhold_usage=False,
                max_event_bytes=settings.max_event_bytes,
            )

    async def read(self, record: Record) -> AsyncIterator[bytes]:
        """The answer, its last piece only when `record` has been awaited.

        Events that break off end with an event that says so; raises `AieyeError` for all else.
        """
        held, fault = b"", None
        try:
            try:
                while chunk := await self._next():
                    piece = self._whole(chunk)
                    if held and piece:
                        yield held
                    held = piece or held
            except AieyeError as error:
                # What broke off after the last event took nothing away.
                fault = None if self._meter is not None and self._meter.finished else error
            held += self._end(fault)
            await record(fault, self._meter)
            if fault is not None and self._meter is None:
                raise fault
            if held:
                yield held
        finally:
            self._response.release()

    async def _next(self) -> bytes:
        """The next bytes, b"" at the end, within the time between bytes and the call's whole time."""
        left = self._total_seconds - self._record.elapsed_us() / 1e6
        with Deadline(self._idle_seconds, "between bytes", max(left, 0.001)):
            chunk = await self._response.chunk()
        if chunk and self._record.ttft_us is None:
            self._record.ttft_us = self._record.elapsed_us()
        return chunk

    def _whole(self, chunk: bytes) -> bytes:
        """What of a chunk may go out: of events those that are whole, the last one held back."""
        if self._meter is None:
            return chunk
        try:
            return self._key.taken_out_of(self._meter.feed(chunk))
        except EventTooLarge as error:
            self._late = self._key.taken_out_of(error.frames)
            raise BrokenOff(
                "An event of the provider's stream is larger than AIEYE_MAX_EVENT_BYTES."
            ) from error

    def _end(self, fault: AieyeError | None) -> bytes:
        meter = self._meter
        if meter is None:
            return b""
        if fault is None:
            return self._key.taken_out_of(meter.end())
        error = {"message": fault.message, "type": fault.type, "code": fault.code, "param": None}
        return self._late + meter.error_frame(error)
