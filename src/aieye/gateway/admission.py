"""Where a call is let in, and where what it used is made known: the place for limits and budgets."""

from __future__ import annotations

from typing import Protocol

from aieye.access.snapshot import Grant
from aieye.db.group_writer import GroupWriter
from aieye.errors import AieyeError, Unavailable
from aieye.gateway.wire import Endpoint
from aieye.ledger.book import CallRecord


class Overloaded(Unavailable):
    """The ledger cannot take more calls for the moment."""

    code = "overloaded"


class OverBudget(AieyeError):
    """What the caller may spend is spent. Of a step it ends the run (E504)."""

    status = 402
    type = "insufficient_quota"
    code = "over_budget"


class Admission(Protocol):
    """Every call of every path passes here, before its answer is looked up anywhere."""

    def admit(self, grant: Grant, endpoint: Endpoint) -> None:
        """Let the call in or raise why not: `OverBudget`, or another `AieyeError`."""

    def settle(self, grant: Grant, record: CallRecord) -> None:
        """The call has ended; `record` says what it used."""


class LedgerAdmission:
    """Lets in whatever can be recorded."""

    def __init__(self, writer: GroupWriter) -> None:
        self._writer = writer

    def admit(self, grant: Grant, endpoint: Endpoint) -> None:
        """Raises `Overloaded`."""
        if not self._writer.is_admitting:
            raise Overloaded("AI-Eye cannot record calls at the moment; try again shortly.")

    def settle(self, grant: Grant, record: CallRecord) -> None:
        return None
