"""Sends a request to one candidate after the other until an answer may be delivered.

Every attempt has its own deadline; what was tried is kept for the ledger. Nothing of an answer has
been given to a client before `run` returns, so trying again is always safe towards the client.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from aieye.access.snapshot import KeyInfo
from aieye.db.types import now
from aieye.gateway.circuits import Circuits
from aieye.gateway.client import ATTEMPT, UpstreamResponse
from aieye.gateway.faults import Unreachable, UpstreamError, UpstreamTimeout
from aieye.gateway.retry import (
    EXHAUSTED_CODES,
    LONGEST_RETRY_AFTER,
    MOST_RETRIES,
    RETRIES_PER_KEY,
    Circuit,
    RetryBudget,
    Verdict,
    delay_before,
    is_outage,
    judge,
    rest_seconds,
    retry_after_seconds,
)
from aieye.gateway.routing import Candidate
from aieye.gateway.sse import StreamMeter
from aieye.gateway.wire import Header, header
from aieye.ledger.redact import redact
from aieye.telemetry.loggers import get_logger

log = get_logger()

# Texts of provider errors go into the ledger up to this length.
_LONGEST_REASON = 300
# How often a key that goes on failing is logged.
LOG_SECONDS = 1.0


class ProviderRefusesKey(UpstreamError):
    """The provider does not accept our key: not the client's fault, and never shown as its 401."""

    code = "provider_auth"


class AllCircuitsOpen(UpstreamError):
    """Every key of the call has failed again and again; a probe is made in a while."""

    code = "upstream_unavailable"

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        names = " and ".join(dict.fromkeys(one.provider.name for one in candidates))
        super().__init__(
            f"All keys at {names} failed several times in a row and are left alone for a moment.",
            headers={"Retry-After": "30"},
        )


@dataclass(slots=True)
class Outcome:
    """An answer that has come: read whole (`body`), or open with what was read of its stream."""

    candidate: Candidate
    key: KeyInfo
    status: int
    headers: tuple[Header, ...]
    body: bytes | None = field(default=None, repr=False)
    response: UpstreamResponse | None = None
    meter: StreamMeter | None = None
    # Bytes of the stream that are there already, and what of them may be forwarded.
    first_raw: bytes = field(default=b"", repr=False)
    first: bytes = field(default=b"", repr=False)
    # The answer is an error although its status is 200.
    is_failed_stream: bool = False
    # What the provider calls it.
    request_id: str | None = None

    def __post_init__(self) -> None:
        found = header(self.headers, b"x-request-id")
        if found is not None and not self.key.is_in(found):
            self.request_id = found.decode("latin-1")[:200]


# The error of an attempt that nobody waited for any more: it may have reached the provider or not.
ABANDONED = "abandoned"
# One attempt as the ledger has it: `provider`, `key_id`, `status` or `error`, `ms`; where there was no
# connection, `cause`, and `detail` with the address, which only administrators are shown.
Attempt = dict[str, Any]
Send = Callable[[Candidate, KeyInfo, float], Awaitable[Outcome]]


class Dispatcher:
    """Tries candidates under the policy of `aieye.gateway.retry`."""

    def __init__(self, circuits: Circuits, *, total_seconds: float) -> None:
        self._circuits = circuits
        self._total_seconds = total_seconds
        self._budgets: dict[int, RetryBudget] = {}
        # When a failure of a key was last logged, and whether it was left alone then.
        self._told: dict[int, tuple[float, bool]] = {}

    async def run(
        self,
        candidates: Sequence[Candidate],
        send: Send,
        attempts: list[Attempt],
        *,
        may_repeat: Callable[[], bool] | None = None,
    ) -> Outcome:
        """The first answer to deliver, or the last failure's.

        Every key of every candidate has its turn; retries at the same key are bounded. Appends what
        was tried to `attempts`. `may_repeat` says after a failure whether the request can be sent
        once more. Raises `UpstreamError` and its kin when there is no answer at all.
        """
        deadline = time.monotonic() + self._total_seconds
        turns = self._circuits.in_order(
            [(candidate, key) for candidate in candidates for key in candidate.keys]
        )
        last: Outcome | UpstreamError | None = None
        retries_left = MOST_RETRIES
        budgets: dict[int, RetryBudget] = {}
        for number, (candidate, key) in enumerate(turns, 1):
            circuit = self._circuits.of(key)
            if not circuit.allows(time.monotonic()):
                continue
            provider_id = candidate.provider.id
            if provider_id not in budgets:
                budgets[provider_id] = self._earn(provider_id)
            retry = 0
            while True:
                result, verdict = await self._attempt(
                    candidate, key, circuit, send, attempts, deadline
                )
                if verdict is Verdict.DELIVER and isinstance(result, Outcome):
                    return result
                _discard(last)
                last = result
                if may_repeat is not None and not may_repeat():
                    return _last(last, is_spent=False)
                if verdict is not Verdict.RETRY or not min(retries_left, RETRIES_PER_KEY - retry):
                    break
                retry += 1
                retries_left -= 1
                wait = delay_before(retry, _asked(result))
                patience = 1.0 if number < len(turns) else LONGEST_RETRY_AFTER
                if (
                    wait > patience
                    or time.monotonic() + wait >= deadline
                    or not budgets[provider_id].spend()
                ):
                    break
                await asyncio.sleep(wait)
                if not circuit.allows(time.monotonic()):
                    break
            if time.monotonic() >= deadline:
                break
        return _last(last or AllCircuitsOpen(candidates), is_spent=True)

    def _earn(self, provider_id: int) -> RetryBudget:
        """The provider's budget, which a call earns its part for."""
        budget = self._budgets.get(provider_id)
        if budget is None:
            budget = self._budgets[provider_id] = RetryBudget()
        budget.earn()
        return budget

    async def _attempt(
        self,
        candidate: Candidate,
        key: KeyInfo,
        circuit: Circuit,
        send: Send,
        attempts: list[Attempt],
        deadline: float,
    ) -> tuple[Outcome | UpstreamError, Verdict]:
        started = time.monotonic()
        attempt: Attempt = {"provider": candidate.provider.name, "key_id": key.id}
        attempts.append(attempt)
        ATTEMPT.set(attempt)
        try:
            outcome = await send(candidate, key, deadline - started)
        except UpstreamError as error:
            circuit.failed(time.monotonic())
            attempt["error"] = error.code
            if isinstance(error, Unreachable):
                attempt["cause"], attempt["detail"] = error.cause, error.detail
            attempt["ms"] = round((time.monotonic() - started) * 1000)
            error.message = f"{error.message.rstrip('.')} (provider {candidate.provider.name})."
            self._tell(attempt, circuit)
            # After silence for minutes the next key may be asked, this one not once more.
            is_silence = isinstance(error, UpstreamTimeout)
            return error, Verdict.NEXT_KEY if is_silence else Verdict.RETRY
        except BaseException:
            circuit.abandoned()
            attempt["error"] = ABANDONED
            raise
        attempt["status"] = outcome.status
        attempt["ms"] = round((time.monotonic() - started) * 1000)
        verdict = _verdict(outcome)
        if verdict is Verdict.DELIVER:
            circuit.succeeded()
        else:
            attempt["error"] = _reason(outcome)
            self._note_failure(circuit, outcome)
            self._tell(attempt, circuit)
        return outcome, verdict

    def _note_failure(self, circuit: Circuit, outcome: Outcome) -> None:
        if outcome.status == 429 and _error_code(outcome) in EXHAUSTED_CODES:
            # A limit is not an outage: only an empty account closes the key's door.
            circuit.exhausted(time.monotonic())
        elif is_outage(outcome.status, _stream_error(outcome)):
            circuit.failed(time.monotonic())
        else:
            circuit.abandoned()
            rest = rest_seconds(outcome.status, _asked(outcome))
            if rest is not None:
                self._circuits.rest(outcome.key, outcome.candidate.model, rest)

    def _tell(self, attempt: Attempt, circuit: Circuit) -> None:
        """Log why calls fail: a line when it is news, for each key one a second at most.

        What the provider wrote may repeat what the client asked: that is the ledger's to keep.
        """
        moment = time.monotonic()
        key_id, is_left_alone = attempt["key_id"], circuit.is_open(moment)
        told_at, told = self._told.get(key_id, (-math.inf, False))
        if told == is_left_alone and moment - told_at < LOG_SECONDS:
            return
        self._told[key_id] = moment, is_left_alone
        reason = attempt.get("status", attempt["error"])
        if reason == 200:
            reason = "error_in_stream"
        log.warning(
            "upstream_failed",
            provider=attempt["provider"],
            key_id=key_id,
            reason=reason,
            **{name: attempt[name] for name in ("cause", "detail") if name in attempt},
            ms=attempt["ms"],
            left_alone=is_left_alone,
        )


def _stream_error(outcome: Outcome) -> Mapping[str, Any] | None:
    return outcome.meter.error if outcome.is_failed_stream and outcome.meter is not None else None


def _discard(result: Outcome | UpstreamError | None) -> None:
    """Close what another attempt replaces."""
    if isinstance(result, Outcome) and result.response is not None:
        result.response.close()


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.is_failed_stream:
        return Verdict.RETRY
    if outcome.status < 400:
        return Verdict.DELIVER
    return judge(outcome.status, _error_code(outcome) if outcome.status == 429 else None)


def _asked(result: Outcome | UpstreamError) -> float | None:
    if isinstance(result, UpstreamError):
        return None
    texts = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in result.headers
    }
    return retry_after_seconds(texts, now())


def _last(last: Outcome | UpstreamError, *, is_spent: bool) -> Outcome:
    """What a call comes to that nobody has answered well. Raises what is no answer.

    `is_spent` says that all retries were made that are to be made. Then the client is told so:
    OpenAI's SDKs would otherwise make each of them three times.
    """
    if isinstance(last, Outcome) and last.status in {401, 403}:
        last = ProviderRefusesKey(
            f"The provider {last.candidate.provider.name} does not accept the key that AI-Eye "
            "holds; an administrator finds in the log which it is, and replaces it at /api/v1/keys."
        )
    if isinstance(last, UpstreamError):
        if is_spent:
            last.headers["x-should-retry"] = "false"
        raise last
    if is_spent and last.status >= 400:
        last.headers = ((b"x-should-retry", b"false"), *last.headers)
    return last


def _error_object(outcome: Outcome) -> dict[str, Any]:
    try:
        parsed = orjson.loads(outcome.body or b"")
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _error_code(outcome: Outcome) -> str | None:
    error = _error_object(outcome)
    found = (error.get("code"), error.get("type"))
    return next((code for code in found if isinstance(code, str) and code in EXHAUSTED_CODES), None)


def _reason(outcome: Outcome) -> str:
    if outcome.meter is not None and outcome.meter.error is not None:
        message = outcome.meter.error.get("message", "error in the stream")
    else:
        message = _error_object(outcome).get("message") or f"status {outcome.status}"
    return clean_reason(str(message), outcome.key)


def clean_reason(text: str, key: KeyInfo) -> str:
    """What a provider said of an error, as it may be kept: short, and without secrets."""
    told = key.taken_out_of(text.replace("\0", "").encode("utf-8", "replace"))
    return redact(told).decode()[:_LONGEST_REASON]
