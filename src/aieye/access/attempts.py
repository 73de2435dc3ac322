"""How often a sign-in may fail: per account and per address, ten times in a quarter of an hour.

A try is counted before the password is looked at and taken back when it was right, so that tries at
the same moment cannot slip through together. Unknown accounts are counted as known ones are.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import LoginAttempt
from aieye.db.types import now, to_micros
from aieye.errors import AieyeError

MOST_FAILURES = 10
WINDOW = timedelta(minutes=15)

# The same on SQLite and PostgreSQL; the row stays locked until the transaction ends.
_COUNT = text(
    """
    INSERT INTO login_attempts (subject, failures, window_started_at) VALUES (:subject, 1, :now)
    ON CONFLICT (subject) DO UPDATE SET failures = login_attempts.failures + 1
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


def account_subject(email: str) -> str:
    """What an account's failures are counted under; hashed, since anything may be typed there."""
    return "account:" + hashlib.sha256(email.encode("utf-8", "surrogatepass")).hexdigest()


def address_subject(ip: str) -> str:
    """What an address's failures are counted under; of IPv6, the network a customer gets whole."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "ip:unknown"
    if address.version == 6:
        return f"ip:{ipaddress.ip_network((int(address), 64), strict=False)}"
    return f"ip:{address}"


async def count_attempt(session: AsyncSession, subjects: Iterable[str]) -> None:
    """Count a try. Raises `TooManyAttempts`, and then the transaction must not be committed."""
    moment = now()
    await session.execute(
        delete(LoginAttempt).where(LoginAttempt.window_started_at <= moment - WINDOW)
    )
    for subject in subjects:
        await session.execute(_COUNT, {"subject": subject, "now": to_micros(moment)})
        await _check(session, subject, moment)


async def forgive_attempt(session: AsyncSession, *, account: str, address: str) -> None:
    """Take a try back that was right: the account starts anew, the address loses one."""
    await session.execute(delete(LoginAttempt).where(LoginAttempt.subject == account))
    await session.execute(_FORGIVE, {"subject": address})


async def _check(session: AsyncSession, subject: str, moment: datetime) -> None:
    failures, started_at = (
        await session.execute(
            select(LoginAttempt.failures, LoginAttempt.window_started_at).where(
                LoginAttempt.subject == subject
            )
        )
    ).one()
    if failures > MOST_FAILURES:
        left = started_at + WINDOW - moment
        raise TooManyAttempts(max(1, round(left.total_seconds())))
