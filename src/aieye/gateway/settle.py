"""What an exchange came to: usage, money, and whether its answer is kept for others."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

from aieye.cache.entry import Entry, Provenance
from aieye.gateway.dispatch import Outcome
from aieye.gateway.exchange import Exchange
from aieye.gateway.faults import BrokenOff
from aieye.gateway.prepare import Plan
from aieye.gateway.tariff import NOT_KNOWN, NOTHING, Charge, Tariff
from aieye.gateway.usage import Usage, estimate_usage, is_complete, text_size, usage_of_body
from aieye.gateway.wire import stored_headers
from aieye.ledger.book import CallRecord

# Where providers charge by tokens, what they did not report is estimated.
_ESTIMATED = frozenset(
    {"chat/completions", "completions", "responses", "embeddings", "edits", "audio/speech"}
)
# Fields of an answer that a model has written.
_TEXTS = frozenset({"content", "text", "refusal", "reasoning_content", "arguments"})
# Answers whose bytes are not text: nothing to look at in a ledger.
MOST_BODY_BYTES = 2**20


class NotAnAnswer(BrokenOff):
    """The provider answered 200 with something that is no answer of its API."""

    code = "upstream_invalid"


@dataclass(frozen=True, slots=True)
class Settlement:
    """The facts that the rows of all who took part are written from.

    `model` is the one that answered, `counted_as` of a call that none answered the one that should have.
    """

    provider_id: int | None = None
    key_id: int | None = None
    model: str | None = None
    counted_as: str | None = None
    usage: Usage | None = None
    charge: Charge = NOTHING
    upstream_request_id: str | None = None
    response: bytes | None = None
    is_complete: bool = False

    def fill(self, record: CallRecord, *, pays: bool) -> None:
        """Write the facts into a record: the payer's has the cost, the others' what they saved."""
        record.provider_id, record.key_id = self.provider_id, self.key_id
        record.model, record.counted_as = self.model, self.counted_as
        record.upstream_request_id = self.upstream_request_id
        usage = self.usage
        if usage is not None:
            record.tokens_input, record.tokens_output = usage.input, usage.output
            record.tokens_cached, record.tokens_reasoning = usage.cached, usage.reasoning
            record.usage = usage.raw
        record.cost_state, record.price_id = self.charge.cost_state, self.charge.price_id
        if pays:
            record.cost_nano = self.charge.cost_nano
        else:
            record.cost_nano, record.cost_state = 0, "exact"
            record.saved_nano = self.charge.cost_nano


def settlement_of(exchange: Exchange, tariff: Tariff) -> Settlement:
    """The facts as of now; for an exchange that is cut short, what was used until then.

    Sets `error` of an exchange whose answer turns out to be none (`NotAnAnswer`).
    """
    outcome = exchange.outcome
    if outcome is None:
        return _unanswered(exchange, tariff)
    if outcome.status >= 400:
        return Settlement(
            provider_id=outcome.candidate.provider.id,
            key_id=outcome.key.id,
            counted_as=tariff.model_of_failure(outcome.candidate.provider, outcome.candidate.model),
            charge=_of_failures(exchange),
            upstream_request_id=outcome.request_id,
            response=outcome.body,
        )
    settlement = _answered(exchange, outcome, tariff)
    if settlement.is_complete:
        candidate = outcome.candidate
        tariff.note_answer(candidate.provider, candidate.model, settlement.model)
    return settlement


def _answered(exchange: Exchange, outcome: Outcome, tariff: Tariff) -> Settlement:
    if outcome.meter is not None:
        return _of_events(exchange, outcome, tariff)
    if outcome.body is not None:
        return _of_body(exchange, outcome, outcome.body, tariff)
    return _of_bytes(exchange, outcome, tariff)


def _unanswered(exchange: Exchange, tariff: Tariff) -> Settlement:
    """No answer: what was sent up and then abandoned is estimated, a refused connection is free."""
    if not exchange.attempts:
        return Settlement()
    last = exchange.attempts[-1]
    candidate = next(
        one for one in exchange.plan.candidates if one.provider.name == last["provider"]
    )
    settlement = Settlement(
        provider_id=candidate.provider.id,
        key_id=last["key_id"],
        counted_as=tariff.model_of_failure(candidate.provider, candidate.model),
        charge=_of_failures(exchange),
    )
    if not last.get("sent") or "ms" in last:
        return settlement
    usage = _estimate(exchange.plan, deltas=0, text_size=0)
    charge = tariff.charge(candidate.provider, candidate.model, usage)
    return replace(settlement, model=candidate.model, usage=usage, charge=charge)


def _of_failures(exchange: Exchange) -> Charge:
    """What attempts that failed cost: nothing, unless one was sent up and never answered."""
    is_unsure = any(one.get("sent") and one.get("status", 200) < 400 for one in exchange.attempts)
    return NOT_KNOWN if is_unsure else NOTHING


def _of_events(exchange: Exchange, outcome: Outcome, tariff: Tariff) -> Settlement:
    meter = outcome.meter
    if meter is None:
        return Settlement()
    usage = meter.reported
    if usage is None and not (meter.error is not None and not meter.has_content):
        usage = _estimate(exchange.plan, deltas=meter.deltas, text_size=meter.text_size)
    model = meter.model or outcome.candidate.model
    provider = outcome.candidate.provider
    return Settlement(
        provider_id=provider.id,
        key_id=outcome.key.id,
        model=model,
        usage=usage,
        charge=tariff.charge(provider, model, usage, asked=outcome.candidate.model),
        upstream_request_id=outcome.request_id,
        response=None if exchange.raw is None else b"".join(exchange.raw),
        is_complete=exchange.error is None and meter.complete,
    )


def _of_body(exchange: Exchange, outcome: Outcome, body: bytes, tariff: Tariff) -> Settlement:
    usage, model, finish = usage_of_body(body)
    if finish is None and not _is_object(body):
        exchange.error = NotAnAnswer(
            "The provider answered with something that is not a JSON object."
        )
    elif usage is None:
        usage = _estimate(exchange.plan, deltas=0, text_size=_said(body))
    model = model or outcome.candidate.model
    provider = outcome.candidate.provider
    return Settlement(
        provider_id=provider.id,
        key_id=outcome.key.id,
        model=model,
        usage=usage,
        charge=tariff.charge(provider, model, usage, asked=outcome.candidate.model),
        upstream_request_id=outcome.request_id,
        response=body,
        is_complete=is_complete(finish),
    )


def _is_object(body: bytes) -> bool:
    try:
        # Python's own reader takes what a provider may send and orjson refuses: half a surrogate.
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _said(body: bytes) -> int:
    """How long the text of an answer is, as opposed to what wraps it."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return 0
    stack, size = [answer.get("choices"), answer.get("output")], 0
    while stack:
        found = stack.pop()
        if isinstance(found, list):
            stack.extend(found)
        elif isinstance(found, dict):
            for name, value in found.items():
                if isinstance(value, str):
                    size += text_size(value) if name in _TEXTS else 0
                else:
                    stack.append(value)
    return size


def _of_bytes(exchange: Exchange, outcome: Outcome, tariff: Tariff) -> Settlement:
    usage = _estimate(exchange.plan, deltas=0, text_size=0)
    candidate = outcome.candidate
    return Settlement(
        provider_id=candidate.provider.id,
        key_id=outcome.key.id,
        model=candidate.model,
        usage=usage,
        charge=tariff.charge(candidate.provider, candidate.model, usage),
        upstream_request_id=outcome.request_id,
        is_complete=exchange.error is None and exchange.done,
    )


def _estimate(plan: Plan, *, deltas: int, text_size: int) -> Usage | None:
    # What goes on in the background is used after all was said that is said here.
    if plan.endpoint.name not in _ESTIMATED or plan.document.get("background"):
        return None
    return estimate_usage(plan.document, deltas=deltas, output_size=text_size)


def entry_of(
    exchange: Exchange,
    settlement: Settlement,
    *,
    namespace: str,
    body_id: str | None,
    ttl_us: int | None,
) -> Entry | None:
    """The cache entry of a complete answer, under the key of the target that gave it."""
    outcome, plan = exchange.outcome, exchange.plan
    if outcome is None or outcome.status != 200 or not settlement.is_complete or not plan.keys:
        return None
    body = outcome.body
    if body is None:
        if exchange.raw is None:
            return None
        body = b"".join(exchange.raw)
    index = next(number for number, one in enumerate(plan.candidates) if one is outcome.candidate)
    created_at = time.time_ns() // 1000
    meter, usage = outcome.meter, settlement.usage
    return Entry(
        key=plan.keys[index],
        endpoint=plan.endpoint.name,
        provider_id=outcome.candidate.provider.id,
        namespace=namespace,
        model=outcome.candidate.model or "",
        is_stream=meter is not None,
        headers=stored_headers(exchange.headers),
        body=body,
        provenance=Provenance(
            model=settlement.model,
            key_id=settlement.key_id,
            body_id=body_id,
            cost_nano=settlement.charge.cost_nano,
            tokens_input=None if usage is None else usage.input,
            tokens_cached=None if usage is None else usage.cached,
            tokens_output=None if usage is None else usage.output,
            tokens_reasoning=None if usage is None else usage.reasoning,
            usage=None if usage is None else usage.raw,
            usage_span=None if meter is None else meter.usage_span,
            upstream_request_id=settlement.upstream_request_id,
            price_id=settlement.charge.price_id,
        ),
        created_at=created_at,
        expires_at=None if ttl_us is None else created_at + ttl_us,
    )
