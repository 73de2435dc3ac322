"""Where calls are booked: each once, when it is known what it came to and who pays.

Settling never waits, so that it also works while a call is being cancelled; `durable` does, before
the last bytes of an answer are handed out.
"""

from __future__ import annotations

import orjson

from aieye.access.snapshot import Grant
from aieye.db.group_writer import GroupWriter, NotRecorded
from aieye.errors import AieyeError
from aieye.gateway.admission import Admission, Overloaded
from aieye.gateway.calls import Call
from aieye.gateway.dispatch import ABANDONED, Attempt
from aieye.gateway.exchange import Exchange, Participant
from aieye.gateway.settle import settlement_of
from aieye.gateway.tariff import Tariff
from aieye.ledger.book import EXACT, UNKNOWN, Book, CallRecord
from aieye.ledger.redact import redact
from aieye.settings import Settings


class Accounts:
    """Fills in the records of calls and writes them."""

    def __init__(
        self,
        settings: Settings,
        writer: GroupWriter,
        book: Book,
        admission: Admission,
        tariff: Tariff,
    ) -> None:
        self._writer = writer
        self._book = book
        self._admission = admission
        self._tariff = tariff
        self._is_strict = settings.ledger_durability == "strict"
        self._keeps_bodies = settings.ledger_bodies

    def settle(self, call: Call) -> None:
        """Write the call's row and count it; nothing is waited for."""
        self._book.settle(call.record)
        self._admission.settle(call.grant, call.record)

    def settle_answer(self, call: Call, status: int, body: bytes) -> None:
        """Book a call whose answer is there as a whole."""
        call.record.status = status
        if call.restate is not None:
            call.restate(body)
        self.settle(call)

    async def settle_refused(
        self, grant: Grant, record: CallRecord, error: AieyeError
    ) -> AieyeError:
        """Book a call that ended before the gateway had it; gives what to answer with.

        Only callers that are known get here: strangers must not be able to fill the ledger.
        """
        record.token_id, record.user_id = grant.token_id, grant.user_id
        record.status, record.error = error.status, error.code
        self._keep_words(record, error)
        self._book.settle(record)
        self._admission.settle(grant, record)
        try:
            if self._writer.is_healthy:
                await self.durable()
        except NotRecorded as unrecorded:
            self._book.withhold(record, unrecorded.status, unrecorded.code)
            return unrecorded
        return error

    async def durable(self, call: Call | None = None) -> None:
        """Wait until what was settled until now is durable, where that was asked for.

        Raises `NotRecorded`; `call`, if one is named, is booked as not answered then.
        """
        if not self._is_strict:
            return
        try:
            await self._writer.durable()
        except NotRecorded as error:
            if call is not None:
                self._book.withhold(call.record, error.status, error.code)
            raise

    def _keep_words(self, record: CallRecord, error: AieyeError) -> None:
        """Keep what a call was told that no provider has answered: its code alone says too little."""
        if not self._keeps_bodies or record.body_id is not None:
            return
        said = {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
        record.body_id = record.id
        self._book.keep_body(
            record.id, record.created_at, None, redact(orjson.dumps({"error": said}))
        )

    # -- what calls came to -----------------------------------------------------------------

    def fill(self, call: Call, exchange: Exchange, participant: Participant) -> None:
        """Write what the exchange came to into this client's record."""
        record = call.record
        settlement = exchange.settlement or settlement_of(exchange, self._tariff)
        pays = exchange.is_payer(participant)
        settlement.fill(record, pays=pays)
        record.attempts = exchange.attempts if pays else None
        if self._keeps_bodies:
            record.body_id = exchange.body_id
        _carry(call)

    def settle_left(
        self,
        call: Call,
        exchange: Exchange | None = None,
        participant: Participant | None = None,
    ) -> None:
        """Book a call whose client is gone: what was used, if nobody else is there to pay for it.

        Without an exchange it has cost nothing.
        """
        record = call.record
        record.cost_nano, record.cost_state = 0, EXACT
        if (
            exchange is not None
            and participant is not None
            and (exchange.done or exchange.is_payer(participant))
        ):
            self.fill(call, exchange, participant)
            record.attempts = _as_left(record.attempts)
        _carry(call)
        record.status, record.error = call.cancelled_as
        self.settle(call)

    async def settle_failed(self, call: Call, error: AieyeError) -> None:
        """Book a call that is answered with `error`."""
        record = call.record
        record.status, record.error = error.status, error.code or error.message[:300]
        if isinstance(error, Overloaded):
            # Not let in because no row can be written: one more in waiting would serve nobody.
            return
        self._keep_words(record, error)
        if record.cost_nano is None and record.provider_id is None:
            record.cost_nano, record.cost_state = 0, EXACT
        if call.restate is not None:
            call.restate(None)
        self.settle(call)
        if self._writer.is_healthy:
            await self.durable(call)

    def settle_crashed(self, call: Call) -> None:
        """Book a call that a fault of AI-Eye's own ended; what it cost, nobody knows."""
        record = call.record
        record.status, record.error = AieyeError.status, AieyeError.code
        self.settle(call)


def _as_left(attempts: list[Attempt] | None) -> list[Attempt] | None:
    """The attempts of an exchange that ends when its client is gone: the one under way is written
    down before it is cut off."""
    if not attempts or not attempts[-1].keys().isdisjoint({"status", "error"}):
        return attempts
    return [*attempts[:-1], {**attempts[-1], "error": ABANDONED}]


def _carry(call: Call) -> None:
    """Add what exchanges cost that the call had waited for in vain, and has to pay."""
    record, others = call.record, call.carried
    call.carried = []
    for other in reversed(others):
        if other.settlement is None:
            continue
        charge = other.settlement.charge
        if record.cost_nano is None or charge.cost_nano is None:
            record.cost_nano, record.cost_state = None, UNKNOWN
        else:
            record.cost_nano += charge.cost_nano
            # A sum is no surer than its parts.
            if record.cost_state == EXACT:
                record.cost_state = charge.cost_state
        record.attempts = other.attempts + (record.attempts or [])
