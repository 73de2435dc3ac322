"""When a call is tried again: policy, budget and circuit. Pure: the time is always an argument.

Only what failed before its first byte is ever tried again. The waiting time is the provider's
`Retry-After` (RFC 9110, 10.2.3: seconds or a date) where it gave one, else exponential with full
jitter. A budget bounds what retries may add to a provider in trouble, and a circuit keeps calls
from a key that fails again and again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

RETRIED_STATUSES = frozenset({408, 409, 429})
KEY_REFUSED = frozenset({401, 403})
# A 429 with one of these means that the money is gone: the same key will not do better soon.
EXHAUSTED_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "enforced_spend_limit_reached",
     "billing_not_active"}
)  # fmt: skip
# What providers call an error of their own inside a stream.
OUTAGE_CODES = frozenset(
    {"server_error", "api_error", "overloaded_error", "internal_server_error",
     "InternalServerError", "service_unavailable"}
)  # fmt: skip

RETRIES_PER_KEY = 2
# Of one call, over all keys: each key has its first attempt besides.
MOST_RETRIES = 4
FIRST_DELAY = 0.25
LONGEST_DELAY = 8.0
# A provider that asks for more patience than this is left for the next one, or its 429 passed on.
LONGEST_RETRY_AFTER = 20.0
# How long a key that is limited comes after others: where its provider does not say, and at most.
USUAL_REST = 5.0
LONGEST_REST = 60.0

_NUMBER = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10})?")


class Verdict(Enum):
    """What to make of a finished attempt."""

    DELIVER = "deliver"
    RETRY = "retry"
    NEXT_KEY = "next key"


def judge(status: int, error_code: str | None = None) -> Verdict:
    """What an answer's status (and its error's `code`) calls for. Connection faults are RETRY."""
    if status in KEY_REFUSED:
        return Verdict.NEXT_KEY
    if status == 429 and error_code in EXHAUSTED_CODES:
        return Verdict.NEXT_KEY
    if status in RETRIED_STATUSES or status >= 500:
        return Verdict.RETRY
    return Verdict.DELIVER


def is_outage(status: int, stream_error: Mapping[str, Any] | None = None) -> bool:
    """Whether a failed answer says that its key or its provider is down.

    What one client's request alone can bring about (403 for a model that the key may not use, 404,
    408, 409) is none: else one client could have a key left alone for everybody. `stream_error` is
    the error that a stream of status 200 began with.
    """
    if stream_error is None:
        return status == 401 or status >= 500
    told = [stream_error.get("type"), stream_error.get("code")]
    return any(
        one >= 500 if isinstance(one, int) else one in OUTAGE_CODES
        for one in told
        if isinstance(one, int | str)
    )


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """What `Retry-After` (or OpenAI's `retry-after-ms`) asks for; None when absent or unreadable."""
    millis = headers.get("retry-after-ms")
    if millis is not None and _NUMBER.fullmatch(millis.strip()):
        return float(millis) / 1000
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def rest_seconds(status: int, asked: float | None) -> float | None:
    """How long other keys are asked first for the same model, after an answer; None: not at all.

    A limit passes when the provider says so (`asked`). Which models a key may use (403) changes
    seldom.
    """
    if status == 429:
        return min(USUAL_REST if asked is None else asked, LONGEST_REST)
    return LONGEST_REST if status == 403 else None


def delay_before(retry: int, asked: float | None, draw: float | None = None) -> float:
    """Seconds to wait before the `retry`-th retry (from 1). `draw` replaces the random number."""
    if asked is not None:
        return asked
    longest = min(LONGEST_DELAY, FIRST_DELAY * float(2 ** (retry - 1)))
    return longest * (random.random() if draw is None else draw)  # noqa: S311 - jitter, not secrets


class RetryBudget:
    """Retries may add `share` to the calls: each call earns a part of a retry, each retry costs one.

    `start` retries are there at first, so that a quiet gateway may retry too; `most` bounds what a
    long quiet time saves up.
    """

    def __init__(self, share: float = 0.2, start: float = 10, most: float = 100) -> None:
        self._share = share
        self._most = most
        self._left = start

    def earn(self) -> None:
        self._left = min(self._most, self._left + self._share)

    def spend(self) -> bool:
        """Whether a retry is in the budget; if so it is taken."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class Circuit:
    """Opens after `threshold` failures in a row; after `rest_seconds` lets one probe through."""

    threshold: int = 5
    rest_seconds: float = 30.0
    failures: int = 0
    open_until: float = 0.0
    _probing: bool = False

    def allows(self, now: float) -> bool:
        """Whether a call may go to this key at `now` (monotonic seconds)."""
        if self.failures < self.threshold:
            return True
        if now < self.open_until or self._probing:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self.failures = 0
        self._probing = False

    def failed(self, now: float) -> None:
        self.failures += 1
        self._probing = False
        if self.failures >= self.threshold:
            self.open_until = now + self.rest_seconds

    def abandoned(self) -> None:
        """A call ended without a verdict (its client left): the next may probe."""
        self._probing = False

    def exhausted(self, now: float) -> None:
        """The key has no money left: open at once."""
        self.failures = max(self.failures, self.threshold)
        self._probing = False
        self.open_until = now + self.rest_seconds

    def is_open(self, now: float) -> bool:
        """For display: whether calls are kept away at `now`."""
        return self.failures >= self.threshold and now < self.open_until
