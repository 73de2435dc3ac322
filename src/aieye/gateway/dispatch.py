"""Sends a request to one candidate after the other until an answer may be delivered.

Every attempt has its own deadline; what was tried is kept for the ledger. Nothing of an answer has
been given to a client before `run` returns, so trying again is always safe towards the client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from aieye.access.snapshot import KeyInfo
from aieye.db.types import now
from aieye.gateway.client import ATTEMPT, UpstreamResponse
from aieye.gateway.faults import UpstreamError, UpstreamTimeout
from aieye.gateway.retry import (
    EXHAUSTED_CODES,
    LONGEST_RETRY_AFTER,
    MOST_ATTEMPTS,
    RETRIES_PER_KEY,
    Circuit,
    RetryBudget,
    Verdict,
    delay_before,
    judge,
    retry_after_seconds,
)
from aieye.gateway.routing import Candidate
from aieye.gateway.sse import StreamMeter
from aieye.gateway.wire import Header, header

# Texts of provider errors go into the ledger up to this length.
_LONGEST_REASON = 300


class ProviderRefusesKey(UpstreamError):
    """The provider does not accept our key: not the client's fault, and never shown as its 401."""

    code = "provider_auth"


class AllCircuitsOpen(UpstreamError):
    """Every key of the call has failed again and again; a probe is made in a while."""

    code = "upstream_unavailable"


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

    @property
    def request_id(self) -> str | None:
        found = header(self.headers, b"x-request-id")
        return None if found is None else found.decode("latin-1")[:200]


Send = Callable[[Candidate, KeyInfo, float], Awaitable[Outcome]]


class Circuits:
    """The circuit of each key, for as long as the process lives."""

    def __init__(self) -> None:
        self._circuits: dict[tuple[int, int], Circuit] = {}

    def of(self, key: KeyInfo) -> Circuit:
        place = (key.provider_id, key.id)
        found = self._circuits.get(place)
        if found is None:
            found = self._circuits[place] = Circuit()
        return found

    def open_keys(self) -> list[tuple[int, int]]:
        """(provider id, key id) of the open ones, for the metrics."""
        moment = time.monotonic()
        return [place for place, circuit in self._circuits.items() if circuit.is_open(moment)]


class Dispatcher:
    """Tries candidates under the policy of `aieye.gateway.retry`."""

    def __init__(self, circuits: Circuits, *, total_seconds: float) -> None:
        self._circuits = circuits
        self._total_seconds = total_seconds
        self._budgets: dict[int, RetryBudget] = {}

    async def run(
        self,
        candidates: Sequence[Candidate],
        send: Send,
        attempts: list[dict[str, Any]],
        *,
        most_attempts: int = MOST_ATTEMPTS,
    ) -> Outcome:
        """The first answer to deliver, or the last failure's.

        Appends what was tried to `attempts`, `most_attempts` at most. Raises `UpstreamError` and
        its kin when there is no answer at all.
        """
        deadline = time.monotonic() + self._total_seconds
        last: Outcome | UpstreamError = AllCircuitsOpen(
            "The provider failed several times in a row and is left alone for a moment.",
            headers={"Retry-After": "30"},
        )
        pairs = [(candidate, key) for candidate in candidates for key in candidate.keys]
        for index, (candidate, key) in enumerate(pairs):
            circuit = self._circuits.of(key)
            if not circuit.allows(time.monotonic()):
                continue
            has_more = index + 1 < len(pairs)
            result = await self._try_key(
                candidate,
                key,
                send,
                attempts,
                deadline=deadline,
                has_more=has_more,
                most=most_attempts,
            )
            if isinstance(result, Outcome) and _verdict(result) is Verdict.DELIVER:
                return result
            _discard(last)
            last = result
            if len(attempts) >= most_attempts or time.monotonic() >= deadline:
                break
        return _last(last)

    async def _try_key(
        self,
        candidate: Candidate,
        key: KeyInfo,
        send: Send,
        attempts: list[dict[str, Any]],
        *,
        deadline: float,
        has_more: bool,
        most: int,
    ) -> Outcome | UpstreamError:
        """One key, with its retries."""
        budget = self._budgets.setdefault(candidate.provider.id, RetryBudget())
        budget.earn()
        retry = 0
        while True:
            result = await self._attempt(candidate, key, send, attempts, deadline)
            if not _may_retry(result) or retry >= RETRIES_PER_KEY or len(attempts) >= most:
                return result
            retry += 1
            wait = delay_before(retry, _asked(result))
            patience = 1.0 if has_more else LONGEST_RETRY_AFTER
            if wait > patience or time.monotonic() + wait >= deadline or not budget.spend():
                return result
            circuit = self._circuits.of(key)
            await asyncio.sleep(wait)
            if not circuit.allows(time.monotonic()):
                return result
            _discard(result)

    async def _attempt(
        self,
        candidate: Candidate,
        key: KeyInfo,
        send: Send,
        attempts: list[dict[str, Any]],
        deadline: float,
    ) -> Outcome | UpstreamError:
        circuit = self._circuits.of(key)
        started = time.monotonic()
        attempt: dict[str, Any] = {"provider": candidate.provider.name, "key_id": key.id}
        attempts.append(attempt)
        ATTEMPT.set(attempt)
        try:
            outcome = await send(candidate, key, deadline - started)
        except UpstreamError as error:
            circuit.failed(time.monotonic())
            attempt["error"] = error.code
            attempt["ms"] = round((time.monotonic() - started) * 1000)
            return error
        except BaseException:
            circuit.abandoned()
            attempt["error"] = "abandoned"
            raise
        attempt["status"] = outcome.status
        attempt["ms"] = round((time.monotonic() - started) * 1000)
        self._judge_key(circuit, outcome, attempt)
        return outcome

    def _judge_key(self, circuit: Circuit, outcome: Outcome, attempt: dict[str, Any]) -> None:
        verdict = _verdict(outcome)
        if verdict is Verdict.DELIVER:
            circuit.succeeded()
            return
        attempt["error"] = _reason(outcome)
        if outcome.status == 429:
            # A limit is not an outage: only an empty account closes the key's door.
            if _error_code(outcome) in EXHAUSTED_CODES:
                circuit.exhausted(time.monotonic())
            else:
                circuit.abandoned()
        else:
            circuit.failed(time.monotonic())


def _discard(result: Outcome | UpstreamError) -> None:
    """Close what another attempt replaces."""
    if isinstance(result, Outcome) and result.response is not None:
        result.response.close()


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.is_failed_stream:
        return Verdict.RETRY
    if outcome.status < 400:
        return Verdict.DELIVER
    return judge(outcome.status, _error_code(outcome) if outcome.status == 429 else None)


def _may_retry(result: Outcome | UpstreamError) -> bool:
    if isinstance(result, UpstreamTimeout):
        # Silence for minutes: the next candidate may be asked, this one not once more.
        return False
    return isinstance(result, UpstreamError) or _verdict(result) is Verdict.RETRY


def _asked(result: Outcome | UpstreamError) -> float | None:
    if isinstance(result, UpstreamError):
        return None
    texts = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in result.headers
    }
    return retry_after_seconds(texts, now())


def _last(last: Outcome | UpstreamError) -> Outcome:
    if isinstance(last, UpstreamError):
        raise last
    if last.status in {401, 403}:
        raise ProviderRefusesKey(
            "The provider does not accept the key that AI-Eye holds; an administrator can replace "
            "it."
        )
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
        return str(outcome.meter.error.get("message", "error in the stream"))[:_LONGEST_REASON]
    message = _error_object(outcome).get("message")
    return str(message or f"status {outcome.status}")[:_LONGEST_REASON].replace("\0", "")
