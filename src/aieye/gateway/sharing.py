"""Answers from providers: calls that ask the same at the same time take part in one exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aieye.access.snapshot import KeyInfo
from aieye.errors import AieyeError
from aieye.gateway.accounts import Accounts
from aieye.gateway.answer_headers import headers_of_exchange, headers_of_other_form
from aieye.gateway.calls import Call, Reply
from aieye.gateway.dispatch import Dispatcher, Outcome
from aieye.gateway.exchange import Exchange, FlightId, Participant
from aieye.gateway.held import Held
from aieye.gateway.prepare import Plan
from aieye.gateway.replay import body_from
from aieye.gateway.results import Results
from aieye.gateway.routing import Candidate
from aieye.gateway.tariff import Tariff
from aieye.gateway.upstream import Upstream
from aieye.settings import Settings

# Whether it is a stream, and whether one with its usage.
_Form = tuple[bool, bool]


class Exchanges:
    """The exchanges under way. `flights` are those that may be shared, by what is asked and form."""

    def __init__(
        self,
        settings: Settings,
        dispatcher: Dispatcher,
        upstream: Upstream,
        tariff: Tariff,
        accounts: Accounts,
        results: Results,
    ) -> None:
        self.flights: dict[FlightId, dict[_Form, Exchange]] = {}
        self.held = Held()
        self._settings = settings
        self._dispatcher = dispatcher
        self._upstream = upstream
        self._tariff = tariff
        self._accounts = accounts
        self._results = results

    async def answer(self, call: Call, plan: Plan, *, keeps: bool, shares: bool) -> Reply:
        """Ask the provider, or take part where it is being asked the same.

        `keeps` says that the answer may be stored. Raises `AieyeError`, after the call was settled.
        """
        if not shares:
            return await self._take_part(call, self._begin(call, plan, keeps=keeps))
        form = (plan.is_stream, plan.is_stream and plan.wants_usage)
        flight_id = _flight_id(plan)
        tried: set[_Form] = set()
        # Those who waited for another form in vain find here what the first of them has begun.
        while flights := self.flights.get(flight_id):
            running = flights.get(form)
            if running is not None and running.is_joinable:
                call.record.cache = "shared"
                return await self._take_part(call, running)
            found = _other_form(flights, tried) if plan.endpoint.convertible else None
            if found is None:
                break
            tried.add(found)
            reply = await self._from_other_form(call, plan, flights[found])
            if reply is not None:
                return reply
        exchange = self._begin(call, plan, keeps=keeps)
        self.flights.setdefault(flight_id, {})[form] = exchange
        exchange.place = (flight_id, form)
        return await self._take_part(call, exchange)

    def _begin(self, call: Call, plan: Plan, *, keeps: bool) -> Exchange:
        exchange = Exchange(
            plan,
            self._dispatcher,
            self._open,
            total_seconds=self._settings.upstream_timeout,
            idle_seconds=self._settings.idle_timeout,
            keeps=keeps,
            keeps_for_ledger=self._settings.ledger_bodies,
            held=self.held,
            on_end=self._ended,
        )
        exchange.namespace = call.grant.namespace
        exchange.start()
        return exchange

    async def _open(
        self, plan: Plan, candidate: Candidate, key: KeyInfo, seconds: float
    ) -> Outcome:
        self._tariff.prepare(candidate.provider, candidate.model)
        outcome = await self._upstream.open(plan, candidate, key, seconds)
        await self._tariff.ready(candidate.provider, candidate.model)
        return outcome

    def _ended(self, exchange: Exchange) -> None:
        """Let nobody join any more, and see what it came to."""
        if exchange.place is not None:
            flight_id, form = exchange.place
            flights = self.flights.get(flight_id, {})
            if flights.get(form) is exchange:
                del flights[form]
                if not flights:
                    del self.flights[flight_id]
        self._results.settle(exchange)

    # -- taking part ------------------------------------------------------------------------

    async def _from_other_form(self, call: Call, plan: Plan, other: Exchange) -> Reply | None:
        """Wait for the same call under way in another form; its entry serves this one too."""
        participant = other.join(reads=False)
        call.on_upstream()
        try:
            await other.finished()
        except asyncio.CancelledError:
            self._accounts.settle_left(call, other, participant)
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
                call.carried.append(other)
            return None
        call.record.cache = "shared"
        self._accounts.fill(call, other, participant)
        self._accounts.settle_answer(call, 200, body)
        await self._accounts.durable(call)
        return Reply(200, headers_of_other_form(call, other, entry), body)

    async def _take_part(self, call: Call, exchange: Exchange) -> Reply:
        participant = exchange.join()
        call.on_upstream()
        try:
            await exchange.head()
        except asyncio.CancelledError:
            self._accounts.settle_left(call, exchange, participant)
            exchange.leave(participant)
            raise
        except AieyeError as error:
            self._accounts.fill(call, exchange, participant)
            exchange.leave(participant)
            await self._accounts.settle_failed(call, error)
            raise
        outcome = exchange.outcome
        if outcome is None:
            raise RuntimeError("an exchange ended with neither answer nor error")
        if outcome.body is None:
            # Whose it is may be asked before it ends: a streamed response can be cancelled.
            call.record.provider_id = outcome.candidate.provider.id
            call.record.key_id = outcome.key.id
            chunks = self._stream(call, exchange, participant)
            return Reply(outcome.status, headers_of_exchange(call, exchange), chunks=chunks)
        self._settle_plain(call, exchange, participant, outcome.status, outcome.body)
        await self._accounts.durable(call)
        return Reply(outcome.status, headers_of_exchange(call, exchange), outcome.body)

    def _settle_plain(
        self, call: Call, exchange: Exchange, participant: Participant, status: int, body: bytes
    ) -> None:
        record = call.record
        record.ttft_us = int(((exchange.first_byte_at or record.started) - record.started) * 1e6)
        if status >= 400:
            record.error = exchange.attempts[-1].get("error")
        self._accounts.fill(call, exchange, participant)
        exchange.leave(participant)
        self._accounts.settle_answer(call, status, body)

    async def _stream(
        self, call: Call, exchange: Exchange, participant: Participant
    ) -> AsyncIterator[bytes]:
        record = call.record
        try:
            while (data := await exchange.read(participant)) is not None:
                if record.ttft_us is None:
                    record.ttft_us = record.elapsed_us()
                yield data
            self._settle_stream(call, exchange, participant)
            end = await self._end_of(call, exchange, participant)
            if end:
                yield end
        except Exception:
            # Our own fault, told by whoever reads: here it only gets its row.
            if record.status is None:
                self._accounts.settle_crashed(call)
            raise
        finally:
            if record.status is None:
                self._accounts.settle_left(call, exchange, participant)
            exchange.leave(participant)

    def _settle_stream(self, call: Call, exchange: Exchange, participant: Participant) -> None:
        record = call.record
        self._accounts.fill(call, exchange, participant)
        record.status, record.error = exchange.status, exchange.failure
        if participant.error is not None:
            record.status, record.error = participant.error.status, participant.error.code
        self._accounts.settle(call)

    async def _end_of(self, call: Call, exchange: Exchange, participant: Participant) -> bytes:
        """The last bytes of a stream whose call is recorded by now, or the error it ends with.

        Raises the error where no event can say it.
        """
        error = participant.error or exchange.error
        try:
            await self._accounts.durable(call)
        except AieyeError as unrecorded:
            error = unrecorded
        if error is None:
            return exchange.tail
        if exchange.outcome is None or exchange.outcome.meter is None:
            raise error
        return exchange.outcome.meter.error_frame(_error_object(error))


def _other_form(flights: dict[_Form, Exchange], tried: set[_Form]) -> _Form | None:
    """A form in which the same is being asked. Each is waited for once, so that nobody waits for ever."""
    return next(
        (form for form, one in flights.items() if one.is_joinable and form not in tried), None
    )


def _flight_id(plan: Plan) -> FlightId:
    """What calls have in common that may share an exchange; a weighted route's order is by chance."""
    return frozenset(
        [
            (key, candidate.key_ids)
            for key, candidate in zip(plan.keys, plan.candidates, strict=True)
        ]
    )


def _error_object(error: AieyeError) -> dict[str, str | None]:
    return {
        "message": error.message,
        "type": error.type,
        "code": error.code,
        "param": error.param,
    }
