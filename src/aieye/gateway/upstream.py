"""One attempt at one provider with one key: the request as it goes up, the answer as it comes."""

from __future__ import annotations

from aieye.access.snapshot import KeyInfo
from aieye.gateway.client import Head, UpstreamClient, UpstreamResponse
from aieye.gateway.deadline import Deadline
from aieye.gateway.dispatch import Outcome
from aieye.gateway.faults import BrokenOff
from aieye.gateway.prepare import Plan
from aieye.gateway.routing import Candidate
from aieye.gateway.sse import EventTooLarge, StreamMeter
from aieye.gateway.wire import header
from aieye.settings import Settings

_JSON_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": "aieye",
}
_REST = "the rest of the answer"
_SSE = b"text/event-stream"
# A plain answer is held in memory; a hundred images as text are about this large.
MOST_ANSWER_BYTES = 256 * 2**20
_MOST_HEADS = 4_096


class Upstream:
    """Opens answers for the dispatcher."""

    def __init__(self, client: UpstreamClient, settings: Settings) -> None:
        self._client = client
        self._first_byte_seconds = settings.first_byte_timeout
        self._idle_seconds = settings.idle_timeout
        self._max_event_bytes = settings.max_event_bytes
        self._inject_usage = settings.stream_usage == "inject"
        # By base URL, path and key: built once.
        self._heads: dict[tuple[str, str, str], Head] = {}

    async def open(self, plan: Plan, candidate: Candidate, key: KeyInfo, seconds: float) -> Outcome:
        """Send `plan` and read the answer: whole, or up to its first event when it streams.

        `seconds` is what is left of the call's whole time. Raises `UpstreamError` and its kin.
        """
        body = plan.body_for(candidate, inject_usage=self._inject_usage)
        with Deadline(self._first_byte_seconds, "first byte", seconds) as deadline:
            response = await self._client.open(self._head(plan, candidate, key), body)
            try:
                return await self._read(plan, candidate, key, response, deadline)
            except BaseException:
                response.close()
                raise

    def _head(self, plan: Plan, candidate: Candidate, key: KeyInfo) -> Head:
        if plan.beta:
            # The client's own text: not one to remember.
            return _head_of(plan, candidate, key, {"OpenAI-Beta": plan.beta})
        place = (candidate.provider.base_url, plan.match.path, key.secret)
        known = self._heads.get(place)
        if known is None:
            if len(self._heads) > _MOST_HEADS:
                self._heads.clear()
            known = self._heads[place] = _head_of(plan, candidate, key, {})
        return known

    async def _read(
        self,
        plan: Plan,
        candidate: Candidate,
        key: KeyInfo,
        response: UpstreamResponse,
        deadline: Deadline,
    ) -> Outcome:
        outcome = Outcome(candidate, key, response.status, response.headers)
        if 300 <= response.status < 400:
            raise BrokenOff("The provider answered with a redirect, which is never followed.")
        kind = header(response.headers, b"content-type") or b""
        if response.status < 300 and kind.startswith(_SSE):
            await self._begin_events(plan, outcome, response)
        elif response.status < 300 and _is_media(plan, kind):
            outcome.response = response
        else:
            if not response.is_whole:
                deadline.extend(self._idle_seconds, _REST)
            body = await response.read(
                MOST_ANSWER_BYTES, lambda: deadline.extend(self._idle_seconds, _REST)
            )
            outcome.body = key.taken_out_of(body)
            response.release()
        return outcome

    async def _begin_events(self, plan: Plan, outcome: Outcome, response: UpstreamResponse) -> None:
        """Wait for the first event: until it is there, another candidate may still be asked."""
        meter = StreamMeter(
            plan.endpoint.dialect,
            withhold_usage=self._inject_usage and not plan.wants_usage,
            max_event_bytes=self._max_event_bytes,
        )
        raw, forward = await _first_events(response, meter)
        outcome.meter, outcome.response = meter, response
        outcome.first_raw, outcome.first = raw, forward
        if meter.error is not None and not meter.has_content:
            outcome.is_failed_stream = True
        if not raw:
            raise BrokenOff("The provider's stream ended before it began.")


def _head_of(plan: Plan, candidate: Candidate, key: KeyInfo, more: dict[str, str]) -> Head:
    headers = {**_JSON_HEADERS, "Authorization": f"Bearer {key.secret}", **more}
    return Head.of("POST", candidate.provider.base_url, plan.match.path, headers)


def _is_media(plan: Plan, kind: bytes) -> bool:
    """Whether an answer is passed on unread: sound. Everything else has to be JSON, whatever its
    provider calls it."""
    is_text = kind.startswith((b"application/json", b"text/"))
    return plan.endpoint.name == "audio/speech" and not is_text


async def _first_events(response: UpstreamResponse, meter: StreamMeter) -> tuple[bytes, bytes]:
    raw = b""
    try:
        while chunk := await response.chunk():
            raw += chunk
            forward = meter.feed(chunk)
            if forward or meter.finished or meter.error is not None:
                return raw, forward
    except EventTooLarge as error:
        raise BrokenOff(
            "An event of the provider's stream is larger than AIEYE_MAX_EVENT_BYTES."
        ) from error
    return raw, b""
