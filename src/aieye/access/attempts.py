"""How often a sign-in may fail in a quarter of an hour: ten times for an account from one address, a
hundred times for an account from anywhere, and from an address for any accounts.

So that whoever guesses locks out hardly anybody but themselves: neither the account's owner, who is
elsewhere, nor the neighbours behind the same router or proxy. A try is counted before the password is
looked at and taken back when it was right, so that tries at the same moment cannot slip through
together. Unknown accounts are counted as known ones are.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import LoginAttempt
from aieye.db.types import now, to_micros
from aieye.errors import AieyeError

# Of one account from one address.
MOST_FAILURES = 10
# Of one account from all addresses (as NIST SP 800-63B bounds it), and of one address for all accounts.
MOST_TOGETHER = 100
WINDOW = timedelta(minutes=15)

# The same on SQLite and PostgreSQL; the row stays locked until the transaction ends. All lock an
# account first, then its address, then both together, and nothing that may be locked after that:
# so nobody waits for somebody who waits for them.
_COUNT = text(
    """
    INSERT INTO login_attempts (subject, failures, window_started_at) VALUES (:subject, 1, :now)
    ON CONFLICT (subject) DO UPDATE SET
        failures = CASE WHEN login_attempts.window_started_at <= :ended THEN 1
                        ELSE login_attempts.failures + 1 END,
        window_started_at = CASE WHEN login_attempts.window_started_at <= :ended THEN :now
                                 ELSE login_attempts.window_started_at END
    """
)
_FORGIVE = text("UPDATE login_attempts SET failures = failures - 1 WHERE subject = :subject")


class TooManyAttempts(AieyeError):
    """Sign-ins failed too often for this account or from this address; `Retry-After` says when."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            "Too many sign-ins failed. Wait a while and try again.",
            headers={"Retry-After": str(retry_after_seconds)},
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody's try to sign in, by what its failures are counted under."""

    account: str
    address: str

    @property
    def pair(self) -> str:
        return f"{self.account} {self.address}"


def attempt_of(email: str, ip: str) -> Attempt:
    """A try for an account from an address."""
    return Attempt(_account_subject(email), _address_subject(ip))


async def count_attempt(session: AsyncSession, attempt: Attempt) -> None:
    """Count a try. Raises `TooManyAttempts`, and then the transaction must not be committed."""
    moment = now()
    ended = moment - WINDOW
    bounds = (
        (attempt.account, MOST_TOGETHER),
        (attempt.address, MOST_TOGETHER),
        (attempt.pair, MOST_FAILURES),
    )
    for subject, most in bounds:
        times = {"now": to_micros(moment), "ended": to_micros(ended)}
        await session.execute(_COUNT, {"subject": subject, **times})
        await _check(session, subject, most, moment)
    over = select(LoginAttempt.subject).where(LoginAttempt.window_started_at <= ended)
    # What somebody else has locked is theirs, or removed by them.
    free = over.with_for_update(skip_locked=True)
    await session.execute(delete(LoginAttempt).where(LoginAttempt.subject.in_(free)))


async def forgive_attempt(session: AsyncSession, attempt: Attempt) -> None:
    """Take a try back that was right: the account starts anew at this address, all else loses one."""
    for subject in (attempt.account, attempt.address):
        await session.execute(_FORGIVE, {"subject": subject})
    await session.execute(delete(LoginAttempt).where(LoginAttempt.subject == attempt.pair))


def _account_subject(email: str) -> str:
    """What an account's failures are counted under; hashed, since anything may be typed there."""
    return "account:" + hashlib.sha256(email.encode("utf-8", "surrogatepass")).hexdigest()


def _address_subject(ip: str) -> str:
    """What an address's failures are counted under; of IPv6, the network a customer gets whole."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "ip:unknown"
    if address.version == 6:
        return f"ip:{ipaddress.ip_network((int(address), 64), strict=False)}"
    return f"ip:{address}"


async def _check(session: AsyncSession, subject: str, most: int, moment: datetime) -> None:
    failures, started_at = (
        await session.execute(
            select(LoginAttempt.failures, LoginAttempt.window_started_at).where(
                LoginAttempt.subject == subject
            )
        )
    ).one()
    if failures > most:
        left = started_at + WINDOW - moment
        raise TooManyAttempts(max(1, round(left.total_seconds())))
