"""One exchange with a provider, for one client or for many that ask the same at the same time.

The exchange runs in a task of its own and belongs to nobody: clients join it and leave it. It goes
on while anyone is interested; when the last one leaves it is cancelled and the connection closed.
What it cost is booked on one of those who are there: the first, or, when that one leaves early, the
next (`payer`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import uuid_utils

from aieye.access.snapshot import KeyInfo
from aieye.cache.entry import Entry
from aieye.errors import AieyeError
from aieye.gateway.client import UpstreamResponse
from aieye.gateway.deadline import Deadline
from aieye.gateway.dispatch import Dispatcher, Outcome, clean_reason
from aieye.gateway.faults import BrokenOff, UpstreamError
from aieye.gateway.held import Held
from aieye.gateway.prepare import Plan
from aieye.gateway.routing import Candidate
from aieye.gateway.sse import EventTooLarge, StreamMeter
from aieye.gateway.wire import Header, response_headers
from aieye.telemetry.loggers import get_logger

log = get_logger()

if TYPE_CHECKING:
    from aieye.gateway.settle import Settlement

# The targets that may answer a call, in no order: of each the cache key and the ids of its keys.
FlightId = frozenset[tuple[bytes, tuple[int, ...]]]
# How far the provider may be ahead of the quickest reader before reading pauses, and about how much
# a reader is given at once.
MOST_AHEAD_BYTES = 64 * 1024
# An answer over this is passed on and not kept for the cache, nor for a reader that is so far behind.
MOST_KEPT_BYTES = 16 * 2**20
MOST_LEDGER_BYTES = 2**20
# A stream tells what it holds whenever it has grown by this much.
_NOTED_BYTES = 16 * 1024
# How long after the terminal event the end of the body is waited for.
LAST_BYTES_SECONDS = 0.05


class Opener(Protocol):
    """Sends one attempt; `aieye.gateway.upstream.Upstream.open`."""

    async def __call__(
        self, plan: Plan, candidate: Candidate, key: KeyInfo, seconds: float
    ) -> Outcome: ...


class Cancelled(AieyeError):
    """The exchange ended because nobody waited for it any more."""

    status = 499
    code = "client_closed_request"


class TooSlow(AieyeError):
    """The client is so far behind those who share the answer that it is not kept any longer."""

    status = 408
    type = "invalid_request_error"
    code = "client_too_slow"


@dataclass(slots=True, eq=False)
class Participant:
    """One client of an exchange: where it is in the stream, in pieces and in bytes.

    `error` is set when the exchange goes on without it.
    """

    position: int = 0
    read_bytes: int = 0
    error: AieyeError | None = None


class Exchange:
    """See the module. `done` says that nothing more comes; then either `error` is set or not."""

    def __init__(
        self,
        plan: Plan,
        dispatcher: Dispatcher,
        opener: Opener,
        *,
        total_seconds: float,
        idle_seconds: float,
        keeps: bool,
        keeps_for_ledger: bool,
        held: Held,
        on_end: Callable[[Exchange], None],
    ) -> None:
        self.plan = plan
        # Whether the answer may go into the cache, and whether its text goes into the ledger.
        self.keeps = keeps
        self.namespace = ""
        self.place: tuple[FlightId, tuple[bool, bool]] | None = None
        # Set when the exchange ends, before its clients are told.
        self.settlement: Settlement | None = None
        self.entry: Entry | None = None
        self.body_id = uuid_utils.uuid7().hex
        self.attempts: list[dict[str, Any]] = []
        self.outcome: Outcome | None = None
        self.error: AieyeError | None = None
        self.headers: list[Header] = []
        # Everything the provider sent of a stream, for the cache; dropped when it gets too large.
        self.raw: list[bytes] | None = [] if keeps or keeps_for_ledger else None
        self.tail = b""
        self.is_streaming = False
        self.done = False
        self.first_byte_at: float | None = None
        self.participants: list[Participant] = []
        self.sent_bytes = 0
        self._dispatcher = dispatcher
        self._opener = opener
        self._total_seconds = total_seconds
        self._idle_seconds = idle_seconds
        self._held = held
        self._on_end = on_end
        self._payer: Participant | None = None
        # The last one has left; the end follows at once.
        self._is_abandoned = False
        self._started = time.perf_counter()
        self._kept_bytes = 0
        self._chunks: list[bytes] = []
        self._dropped = 0
        self._dropped_bytes = 0
        self._unnoted_bytes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    # -- the clients' side ------------------------------------------------------------------

    def join(self, *, reads: bool = True) -> Participant:
        """Take part. The first one to join is the payer.

        One that does not read and only waits for the end is as far as a reader can be.
        """
        participant = Participant() if reads else Participant(sys.maxsize, sys.maxsize)
        self.participants.append(participant)
        return participant

    def leave(self, participant: Participant) -> None:
        """Lose interest; the last one to go ends the exchange."""
        if participant in self.participants:
            self.participants.remove(participant)
        if not self.participants and not self.done and self._task is not None:
            self._is_abandoned = True
            self._task.cancel()
        self._make_room()
        if not self.participants:
            self._held.note(self, 0)

    def is_payer(self, participant: Participant) -> bool:
        """Whether this client's row carries the cost: the first of those there when it ended."""
        if self.done:
            return self._payer is participant
        return self.participants == [participant]

    @property
    def failure(self) -> str | None:
        """Why the stream is no whole answer, in a word or a short sentence."""
        if self.error is not None:
            return self.error.code
        error = (
            None if self.outcome is None or self.outcome.meter is None else self.outcome.meter.error
        )
        if error is None:
            return None
        found = next((error[name] for name in ("code", "type", "message") if error.get(name)), "")
        key = self.outcome.key if self.outcome is not None else None
        text = str(found or "error in the stream")
        return text if key is None else clean_reason(text, key)

    @property
    def status(self) -> int:
        """What the rows of a stream's clients say: the provider's status, or the failure's."""
        if self.error is not None:
            return self.error.status
        outcome = self.outcome
        if outcome is None:
            return 200
        is_failed = outcome.meter is not None and outcome.meter.error is not None
        return UpstreamError.status if is_failed else outcome.status

    @property
    def is_joinable(self) -> bool:
        """Whether a newcomer would still get everything from the start."""
        is_failed = self.done and self.error is not None
        return not (self._dropped or self._is_abandoned or is_failed)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def head(self) -> None:
        """Wait until the answer is there (plain) or has begun (stream). Raises what went wrong."""
        while not self.done and not self.is_streaming:
            await self._wait()
        if self.error is not None and not self.is_streaming:
            raise self.error

    async def finished(self) -> None:
        """Wait until nothing more comes."""
        while not self.done:
            await self._wait()

    async def read(self, participant: Participant) -> bytes | None:
        """The stream's next bytes for this client, several events at once if they are there.

        None at its end: then `error`, or the participant's own, tells whether it broke off, and
        `tail` is still to be given.
        """
        while participant.error is None:
            index = participant.position - self._dropped
            if index < len(self._chunks):
                data = self._chunks[index]
                participant.position += 1
                if index + 1 < len(self._chunks):
                    data = self._with_next(participant, data)
                participant.read_bytes += len(data)
                self._make_room()
                return data
            if self.done:
                return None
            await self._wait()
        return None

    def _with_next(self, participant: Participant, data: bytes) -> bytes:
        """Add what comes next, up to a bound: what a slow client is given is held until it reads."""
        parts, size = [data], len(data)
        for part in islice(self._chunks, participant.position - self._dropped, None):
            size += len(part)
            if size > MOST_AHEAD_BYTES:
                break
            parts.append(part)
        participant.position += len(parts) - 1
        return b"".join(parts)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    # -- the provider's side ----------------------------------------------------------------

    async def _run(self) -> None:
        try:
            outcome = await self._dispatcher.run(self.plan.candidates, self._send, self.attempts)
            self.outcome = outcome
            self.first_byte_at = time.perf_counter()
            self.headers = response_headers(outcome.headers, outcome.key.hidden)
            if outcome.response is not None:
                await self._relay(outcome, outcome.response)
        except AieyeError as error:
            self.error = error
        except asyncio.CancelledError:
            self.error = Cancelled("Nobody waited for the answer any more.")
        except Exception as error:
            # The top of a task, as a worker loop is: nobody else would tell those who wait.
            log.exception("exchange_crashed", error=type(error).__name__)
            self.error = AieyeError("Something went wrong in AI-Eye itself.")
        finally:
            self._end()

    async def _send(self, candidate: Candidate, key: KeyInfo, seconds: float) -> Outcome:
        return await self._opener(self.plan, candidate, key, seconds)

    def _end(self) -> None:
        self.done = True
        self._payer = next(iter(self.participants), None)
        try:
            self._on_end(self)
        finally:
            self.raw = None
            self._drop_read()
            self._note()
            self._wake()

    async def _relay(self, outcome: Outcome, response: UpstreamResponse) -> None:
        """Pass a stream on as it comes."""
        try:
            self._take(outcome.first_raw, outcome.first)
            self.is_streaming = True
            self._wake()
            left = self._total_seconds - (time.perf_counter() - self._started)
            with Deadline(self._idle_seconds, "between events", left) as deadline:
                if outcome.meter is None:
                    await self._relay_bytes(response, deadline)
                else:
                    await self._relay_events(outcome.meter, response, deadline)
        except UpstreamError:
            # What broke off after the terminal event took nothing away.
            if outcome.meter is None or not outcome.meter.finished:
                raise
        finally:
            response.release()

    async def _relay_events(
        self, meter: StreamMeter, response: UpstreamResponse, deadline: Deadline
    ) -> None:
        try:
            while not meter.finished:
                chunk = await response.chunk()
                if not chunk:
                    break
                self._take(chunk, meter.feed(chunk))
                if self._is_ahead():
                    await self._let_catch_up(deadline)
                deadline.extend(self._idle_seconds, "between events")
        except EventTooLarge as error:
            self._take(b"", error.frames)
            raise BrokenOff(
                "An event of the provider's stream is larger than AIEYE_MAX_EVENT_BYTES."
            ) from error
        self._end_events(meter)
        # The end of the body usually comes with the last event; the connection is used again then.
        deadline.extend(LAST_BYTES_SECONDS, "the end of the stream")
        while chunk := await response.chunk():
            self._take(chunk, b"")
            meter.feed(chunk)
        self._end_events(meter)

    def _end_events(self, meter: StreamMeter) -> None:
        self.tail = meter.end()
        if self.outcome is not None:
            self.tail = self.outcome.key.taken_out_of(self.tail)
        if not meter.finished and meter.error is None:
            raise BrokenOff("The provider's stream ended before it was complete.")
        if meter.error is not None and not meter.failed:
            # Some providers close even a failed stream with [DONE]: that is for whole answers.
            self.tail = b""

    async def _relay_bytes(self, response: UpstreamResponse, deadline: Deadline) -> None:
        """Audio and the like: the last piece is held back until the call is recorded."""
        held = b""
        while chunk := await response.chunk():
            self._take(chunk, held)
            held = chunk
            if self._is_ahead():
                await self._let_catch_up(deadline)
            deadline.extend(self._idle_seconds, "between bytes")
        self.tail = held

    def _take(self, raw: bytes, forward: bytes) -> None:
        if self.outcome is not None:
            # Some providers repeat the key in an error, also in the middle of a stream.
            clean = self.outcome.key.taken_out_of(forward)
            if clean != forward or self.outcome.key.is_in(raw):
                self.raw = None
            forward = clean
        if raw and self.raw is not None:
            self._kept_bytes += len(raw)
            if self._kept_bytes > (MOST_KEPT_BYTES if self.keeps else MOST_LEDGER_BYTES):
                self.raw = None
            else:
                self.raw.append(raw)
        if forward:
            self._chunks.append(forward)
            self.sent_bytes += len(forward)
            self._wake()
        self._unnoted_bytes += len(raw)
        if self._unnoted_bytes >= _NOTED_BYTES:
            self._note()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- back-pressure ----------------------------------------------------------------------

    def _is_ahead(self) -> bool:
        """Whether the quickest reader has too much before it; slow ones must not hold it up."""
        self._drop_read()
        furthest = max((one.read_bytes for one in self.participants), default=0)
        return self.sent_bytes - furthest > MOST_AHEAD_BYTES

    async def _let_catch_up(self, deadline: Deadline) -> None:
        while self._is_ahead():
            # A client that reads slowly is not the provider's silence.
            deadline.extend(self._total_seconds, "a client that does not read")
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _drop_read(self) -> None:
        """Forget what everybody has read, unless somebody may still join: then it is kept anyway."""
        if self.raw is not None:
            return
        self._leave_behind()
        if not self.participants:
            return
        slowest = min(one.position for one in self.participants) - self._dropped
        slowest = min(slowest, len(self._chunks))
        if slowest > 0:
            self._dropped_bytes += sum(map(len, self._chunks[:slowest]))
            del self._chunks[:slowest]
            self._dropped += slowest

    def _furthest(self) -> int:
        """How much of the stream the quickest reader has been given, in bytes."""
        furthest = max((one.read_bytes for one in self.participants), default=0)
        return min(furthest, self.sent_bytes)

    def _leave_behind(self, most_bytes: int = MOST_KEPT_BYTES) -> None:
        """Go on without readers that lie so far behind others that too much would be held."""
        furthest = self._furthest()
        for one in list(self.participants):
            if furthest - one.read_bytes > most_bytes:
                one.error = TooSlow("The client reads this stream far more slowly than others do.")
                self.participants.remove(one)

    # -- what all streams may hold together ---------------------------------------------------

    def _note(self) -> None:
        self._unnoted_bytes = 0
        self._held.note(self, self._spare_bytes() if self.participants else 0)

    def _spare_bytes(self) -> int:
        """What is held that the quickest reader does not need."""
        kept = 0 if self.raw is None else self._kept_bytes
        stored = 0 if self.entry is None else len(self.entry.body)
        return kept + stored + max(self._furthest() - self._dropped_bytes, 0)

    def let_go(self) -> int:
        """Do without the cache first, and then without readers that lie far behind others."""
        if self.raw is None and self.entry is None:
            self._leave_behind(MOST_AHEAD_BYTES)
        self.raw = self.entry = None
        self._drop_read()
        return self._spare_bytes()
