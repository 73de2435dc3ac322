"""The gateway: takes a call, finds its answer in the cache or at a provider, and sees it recorded.

Every call that is let in is settled exactly once, and its row is durable before the last bytes of
its answer are handed out. Settling itself never waits, so that it also works while a call is being
cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from aieye.access.directory import Directory
from aieye.access.snapshot import KeyInfo, Snapshot
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.entry import Entry
from aieye.cache.key import digest
from aieye.cache.service import Cache
from aieye.db.group_writer import GroupWriter
from aieye.errors import AieyeError
from aieye.gateway.admission import Admission, Overloaded
from aieye.gateway.calls import Call, Reply
from aieye.gateway.client import UpstreamClient
from aieye.gateway.dispatch import Circuits, Dispatcher, Outcome
from aieye.gateway.exchange import Exchange, FlightId, Participant
from aieye.gateway.prepare import Plan, prepare
from aieye.gateway.replay import body_from, fill_from_entry, headers_from, hit_headers, usd
from aieye.gateway.routing import Candidate, Router
from aieye.gateway.settle import MOST_BODY_BYTES, Settlement, entry_of, settlement_of
from aieye.gateway.tariff import Charge, Tariff
from aieye.gateway.upstream import Upstream
from aieye.gateway.wire import Endpoint, Header, beta_of
from aieye.ledger.book import UNKNOWN, Book
from aieye.ledger.redact import redact
from aieye.settings import Settings

log = structlog.get_logger()

# Bodies whose reading is remembered by the hash of their bytes.
_MOST_KNOWN = 8_192
# A body's hash, the path, the token and the trials it takes part in.
_Place = tuple[bytes, str, int, str]
_Form = tuple[bool, bool]


class CacheMiss(AieyeError):
    """The caller wants a stored answer or none (RFC 9111, 5.2.1.7), and there is none."""

    status = 504
    type = "invalid_request_error"
    code = "cache_miss"


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a body when it was read: enough to answer it from the cache."""

    endpoint: Endpoint
    key: bytes
    model: str | None
    is_stream: bool
    wants_usage: bool
    controls: Controls
    tags: dict[str, str] | None


class Gateway:
    """One a process. `infer` is the way of every call that asks a model."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        cache: Cache,
        writer: GroupWriter,
        book: Book,
        admission: Admission,
    ) -> None:
        self.circuits = Circuits()
        self.client = UpstreamClient(connect_timeout=settings.connect_timeout)
        self.dispatcher = Dispatcher(self.circuits, total_seconds=settings.upstream_timeout)
        self.tariff = Tariff(book)
        self.admission = admission
        self.book = book
        self.writer = writer
        self.directory = directory
        self._settings = settings
        self._cache = cache
        self._upstream = Upstream(self.client, settings)
        self._is_strict = settings.ledger_durability == "strict"
        self._default_ttl_us = (
            None if settings.cache_ttl is None else settings.cache_ttl * 1_000_000
        )
        self._known: OrderedDict[_Place, _Known] = OrderedDict()
        self._flights: dict[FlightId, dict[_Form, Exchange]] = {}
        self._router = Router(directory.current)
        directory.on_change(self._follow)

    async def close(self) -> None:
        await self.client.close()

    def _follow(self, snapshot: Snapshot) -> None:
        # What was found out about a body holds for the snapshot it was found out with.
        self._known.clear()
        self._router = Router(snapshot)
        self.tariff.follow(snapshot)
        self._cache.follow(snapshot)

    # -- the way of a call ------------------------------------------------------------------

    async def infer(self, call: Call) -> Reply:
        """Answer a call that asks a model. Raises `AieyeError`, after the call was settled."""
        try:
            return await self._infer(call)
        except AieyeError as error:
            if call.record.status is None:
                await self.settle_failed(call, error)
            raise
        except asyncio.CancelledError:
            if call.record.status is None:
                self.settle_left(call)
            raise
        except Exception:
            if call.record.status is None:
                self._settle_crashed(call)
            raise

    async def _infer(self, call: Call) -> Reply:
        record, grant = call.record, call.grant
        record.token_id, record.user_id = grant.token_id, grant.user_id
        self.admission.admit(grant, call.match.endpoint)
        beta = beta_of(call.headers)
        place = (digest(call.body), call.match.path, grant.token_id, beta)
        known = self._known.get(place) if call.controls is DEFAULT else None
        if known is not None:
            entry = self._cache.find_in_memory(known.key)
            if entry is not None and entry.is_fresh(record.created_at, known.controls.max_age_us):
                record.model_asked, record.tags = known.model, known.tags
                record.is_stream = known.is_stream
                reply = self._from_entry(call, entry, known)
                if reply is not None:
                    await self.durable()
                    return reply
        plan = self._prepare(call, beta)
        mode = self._mode(call, plan)
        if mode == "use" and call.controls is DEFAULT and len(plan.candidates) == 1:
            self._remember(place, plan)
        if mode in {"use", "only"}:
            reply = await self._look_up(call, plan)
            if reply is not None:
                await self.durable()
                return reply
            if mode == "only":
                record.cache = "miss"
                raise CacheMiss("There is no stored answer to this request.")
        record.cache = {"use": "miss", "refresh": "refresh"}.get(mode, "bypass")
        return await self._exchange(call, plan, mode)

    def _prepare(self, call: Call, beta: str) -> Plan:
        plan = prepare(
            call.match, call.body, call.grant, self._router, call.controls,
            key_id=call.key_id, beta=beta,
        )  # fmt: skip
        record = call.record
        record.model_asked, record.tags, record.is_stream = plan.model, plan.tags, plan.is_stream
        return plan

    def _mode(self, call: Call, plan: Plan) -> str:
        if not plan.keys or not call.grant.cache_enabled:
            if plan.controls.mode == "only":
                call.record.cache = "bypass"
                raise CacheMiss("This call cannot be answered from the cache.")
            return "off"
        if not self._settings.cache_default and not plan.controls.is_explicit:
            return "off"
        return plan.controls.mode

    def _remember(self, place: _Place, plan: Plan) -> None:
        self._known[place] = _Known(
            plan.endpoint, plan.keys[0], plan.model, plan.is_stream, plan.wants_usage,
            plan.controls, plan.tags,
        )  # fmt: skip
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    # -- answers from the cache -------------------------------------------------------------

    async def _look_up(self, call: Call, plan: Plan) -> Reply | None:
        for key in plan.keys:
            entry = await self._cache.find(key)
            if entry is None:
                continue
            if entry.is_fresh(call.record.created_at, plan.controls.max_age_us):
                reply = self._from_entry(call, entry, plan)
                if reply is not None:
                    return reply
        return None

    def _from_entry(self, call: Call, entry: Entry, asked: Plan | _Known) -> Reply | None:
        """The entry as a reply, booked as a hit."""
        body = body_from(
            entry, asked.endpoint, is_stream=asked.is_stream, wants_usage=asked.wants_usage
        )
        if body is None:
            return None
        record = call.record
        record.cache = "hit"
        fill_from_entry(record, entry)
        self._cache.touch(entry)
        record.status = 200
        self.settle(call)
        headers = self._own_headers(call)
        headers += headers_from(entry, is_stream=asked.is_stream)
        headers += hit_headers(entry)
        return Reply(200, headers, body)

    def _own_headers(self, call: Call) -> list[Header]:
        return [(b"x-request-id", call.record.request_id.encode())]

    # -- answers from a provider ------------------------------------------------------------

    async def _exchange(self, call: Call, plan: Plan, mode: str) -> Reply:
        form = (plan.is_stream, plan.is_stream and plan.wants_usage)
        flight_id = _flight_id(plan)
        flights = self._flights.get(flight_id) if mode == "use" else None
        if flights:
            running = flights.get(form)
            if running is not None and running.is_joinable:
                call.record.cache = "shared"
                return await self._take_part(call, running)
            reply = await self._from_other_form(call, plan, flights)
            if reply is not None:
                return reply
        exchange = Exchange(
            plan,
            self.dispatcher,
            self._open,
            total_seconds=self._settings.upstream_timeout,
            idle_seconds=self._settings.idle_timeout,
            keeps=bool(plan.keys) and mode != "off",
            keeps_for_ledger=self._settings.ledger_bodies,
            on_end=self._ended,
        )
        exchange.namespace = call.grant.namespace
        if mode == "use":
            self._flights.setdefault(flight_id, {})[form] = exchange
            exchange.place = (flight_id, form)
        exchange.start()
        return await self._take_part(call, exchange)

    async def _from_other_form(
        self, call: Call, plan: Plan, flights: dict[_Form, Exchange]
    ) -> Reply | None:
        """Wait for the same call under way in the other form; its entry serves this one too."""
        other = next((one for one in flights.values() if one.is_joinable), None)
        if other is None or not plan.endpoint.convertible:
            return None
        participant = other.join(reads=False)
        call.on_upstream()
        try:
            await other.finished()
        except asyncio.CancelledError:
            self._left(call, other, participant)
            raise
        finally:
            other.leave(participant)
        entry = other.entry
        body = None
        if entry is not None:
            body = body_from(
                entry, plan.endpoint, is_stream=plan.is_stream, wants_usage=plan.wants_usage
            )
        if entry is None or body is None:
            if other.is_payer(participant):
                # Nobody else is there to book what that exchange cost.
                call.carried = other
            return None
        call.record.cache = "shared"
        self._fill(call, other, participant)
        call.record.status = 200
        self.settle(call)
        await self.durable()
        headers = self._own_headers(call) + headers_from(entry, is_stream=plan.is_stream)
        return Reply(200, headers + _cache_headers("shared"), body)

    async def _open(
        self, plan: Plan, candidate: Candidate, key: KeyInfo, seconds: float
    ) -> Outcome:
        self.tariff.prepare(candidate.provider, candidate.model)
        outcome = await self._upstream.open(plan, candidate, key, seconds)
        await self.tariff.ready(candidate.provider, candidate.model)
        return outcome

    async def _take_part(self, call: Call, exchange: Exchange) -> Reply:
        participant = exchange.join()
        call.on_upstream()
        try:
            await exchange.head()
        except asyncio.CancelledError:
            self._left(call, exchange, participant)
            raise
        except AieyeError as error:
            self._fill(call, exchange, participant)
            exchange.leave(participant)
            await self.settle_failed(call, error)
            raise
        if exchange.is_streaming:
            return self._streaming(call, exchange, participant)
        return await self._plain(call, exchange, participant)

    async def _plain(self, call: Call, exchange: Exchange, participant: Participant) -> Reply:
        outcome = exchange.outcome
        if outcome is None or outcome.body is None:
            raise RuntimeError("an exchange ended with neither answer nor error")
        record = call.record
        record.ttft_us = int(((exchange.first_byte_at or record.started) - record.started) * 1e6)
        if outcome.status >= 400:
            record.error = exchange.attempts[-1].get("error")
        self._fill(call, exchange, participant)
        exchange.leave(participant)
        record.status = outcome.status
        self.settle(call)
        await self.durable()
        headers = self._answer_headers(call, exchange)
        if record.cost_nano is not None:
            headers.append((b"x-aieye-cost-usd", usd(record.cost_nano)))
        return Reply(outcome.status, headers, outcome.body)

    def _streaming(self, call: Call, exchange: Exchange, participant: Participant) -> Reply:
        outcome = exchange.outcome
        status = 200 if outcome is None else outcome.status
        return Reply(
            status,
            self._answer_headers(call, exchange),
            chunks=self._stream(call, exchange, participant),
        )

    async def _stream(
        self, call: Call, exchange: Exchange, participant: Participant
    ) -> AsyncIterator[bytes]:
        record = call.record
        try:
            while (data := await exchange.read(participant)) is not None:
                if record.ttft_us is None:
                    record.ttft_us = record.elapsed_us()
                yield data
            self._fill(call, exchange, participant)
            record.status, record.error = exchange.status, exchange.failure
            if participant.error is not None:
                record.status, record.error = participant.error.status, participant.error.code
            self.settle(call)
            end = exchange.tail
            error = participant.error or exchange.error
            try:
                await self.durable()
            except AieyeError as unrecorded:
                error = unrecorded
            if error is not None:
                if exchange.outcome is None or exchange.outcome.meter is None:
                    raise error
                end = exchange.outcome.meter.error_frame(_error_object(error))
            if end:
                yield end
        except Exception:
            if record.status is None:
                self._settle_crashed(call)
            raise
        finally:
            if record.status is None:
                self._left(call, exchange, participant)
            exchange.leave(participant)

    # -- settling ---------------------------------------------------------------------------

    def _ended(self, exchange: Exchange) -> None:
        """The exchange has ended: work out what it came to, keep the answer, let nobody join."""
        if exchange.place is not None:
            keys, form = exchange.place
            flights = self._flights.get(keys, {})
            if flights.get(form) is exchange:
                del flights[form]
                if not flights:
                    del self._flights[keys]
        try:
            exchange.settlement = settlement_of(exchange, self.tariff)
        except AieyeError as error:
            exchange.error = error
            exchange.settlement = Settlement()
        except Exception as error:
            log.exception("exchange_not_settled", error=type(error).__name__)
            exchange.error = AieyeError("Something went wrong in AI-Eye itself.")
            exchange.settlement = _unsettled(exchange)
        is_kept = self._settings.ledger_bodies and self._keep_texts(exchange)
        if not exchange.keeps:
            return
        controls = exchange.plan.controls
        exchange.entry = entry_of(
            exchange,
            exchange.settlement,
            namespace=exchange.namespace,
            body_id=exchange.body_id if self._settings.ledger_bodies else None,
            ttl_us=self._default_ttl_us if controls.ttl_us is None else controls.ttl_us,
        )
        if exchange.entry is not None:
            request = exchange.plan.canonical_of(exchange.entry.key)
            self._cache.keep(exchange.entry, request, is_kept=is_kept)

    def _keep_texts(self, exchange: Exchange) -> bool:
        """Keep what was asked and answered for the ledger; whether that is all of it, as it was."""
        settlement = exchange.settlement
        texts = exchange.plan.raw, None if settlement is None else settlement.response
        kept = [redact(text) if text and len(text) <= MOST_BODY_BYTES else None for text in texts]
        self.book.keep_body(exchange.body_id, time.time_ns() // 1000, *kept)
        return None not in kept and all(
            one is other for one, other in zip(kept, texts, strict=True)
        )

    def _fill(self, call: Call, exchange: Exchange, participant: Participant) -> None:
        """Write what the exchange came to into this client's record."""
        record = call.record
        settlement = exchange.settlement or settlement_of(exchange, self.tariff)
        pays = exchange.is_payer(participant)
        settlement.fill(record, pays=pays)
        record.attempts = exchange.attempts if pays else None
        if self._settings.ledger_bodies:
            record.body_id = exchange.body_id
        self._carry(call)

    def _carry(self, call: Call) -> None:
        """Add what an exchange cost that the call had waited for in vain, and has to pay."""
        other, call.carried = call.carried, None
        if other is None or other.settlement is None:
            return
        record, cost = call.record, other.settlement.charge.cost_nano
        known = record.cost_nano is not None and cost is not None
        record.cost_nano = (record.cost_nano or 0) + (cost or 0) if known else None
        if not known:
            record.cost_state = "unknown"
        record.attempts = other.attempts + (record.attempts or [])

    def _left(self, call: Call, exchange: Exchange, participant: Participant) -> None:
        """The client is gone: book what was used, on it if nobody else is there to pay."""
        record = call.record
        if record.status is not None:
            return
        record.status, record.error = call.cancelled_as
        if exchange.done or exchange.is_payer(participant):
            self._fill(call, exchange, participant)
        else:
            record.cost_nano, record.cost_state = 0, "exact"
        exchange.leave(participant)
        self.settle(call)

    def settle_left(self, call: Call) -> None:
        """Book a call whose client left before it cost anything."""
        record = call.record
        record.status, record.error = call.cancelled_as
        record.cost_nano, record.cost_state = 0, "exact"
        self.settle(call)

    async def settle_failed(self, call: Call, error: AieyeError) -> None:
        """Book a call that is answered with `error`."""
        record = call.record
        record.status, record.error = error.status, error.code or error.message[:300]
        if isinstance(error, Overloaded):
            # Not let in because no row can be written: one more in waiting would serve nobody.
            return
        if record.cost_nano is None and record.provider_id is None:
            record.cost_nano, record.cost_state = 0, "exact"
        self.settle(call)
        if self.writer.is_healthy:
            await self.durable()

    def _settle_crashed(self, call: Call) -> None:
        """Book a call that a fault of AI-Eye's own ended; what it cost, nobody knows."""
        record = call.record
        record.status, record.error = AieyeError.status, AieyeError.code
        self.settle(call)

    def settle(self, call: Call) -> None:
        """Write the call's row and count it; nothing is waited for."""
        self.book.settle(call.record)
        self.admission.settle(call.grant, call.record)

    async def durable(self) -> None:
        """Wait until what was settled until now is durable, where that was asked for."""
        if self._is_strict:
            await self.writer.durable()

    # -- headers ----------------------------------------------------------------------------

    def _answer_headers(self, call: Call, exchange: Exchange) -> list[Header]:
        headers = self._own_headers(call) + exchange.headers
        outcome = exchange.outcome
        if outcome is not None:
            headers.append((b"x-aieye-provider", outcome.candidate.provider.name.encode()))
            upstream_id = outcome.request_id
            if upstream_id is not None:
                headers.append((b"x-aieye-upstream-request-id", upstream_id.encode("latin-1")))
        return headers + _cache_headers(
            call.record.cache, is_stored=exchange.done and exchange.entry is not None
        )


def _flight_id(plan: Plan) -> FlightId:
    """What calls have in common that may share an exchange; a weighted route's order is by chance."""
    return frozenset(
        (key, tuple(one.id for one in candidate.keys))
        for key, candidate in zip(plan.keys, plan.candidates, strict=False)
    )


def _unsettled(exchange: Exchange) -> Settlement:
    """Of an exchange whose facts could not be found out: what it cost, nobody knows."""
    outcome, charge = exchange.outcome, Charge(None, UNKNOWN, None)
    if outcome is None:
        return Settlement(charge=charge)
    return Settlement(outcome.candidate.provider.id, outcome.key.id, charge=charge)


_STATUSES = {
    "miss": b"aieye; fwd=miss",
    "shared": b"aieye; fwd=miss; collapsed",
    "refresh": b"aieye; fwd=request",
    "bypass": b"aieye; fwd=bypass",
}


def _cache_headers(state: str, *, is_stored: bool = False) -> list[Header]:
    status = _STATUSES[state]
    if is_stored and state != "shared":
        status += b"; stored"
    return [(b"x-aieye-cache", state.encode()), (b"cache-status", status)]


def _error_object(error: AieyeError) -> dict[str, str | None]:
    return {
        "message": error.message,
        "type": error.type,
        "code": error.code,
        "param": error.param,
    }
