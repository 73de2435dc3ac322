"""Tools that some tests need and a machine may lack: said loudly, and not forgiven in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

NOT_RUN = "NOT RUN: "


def not_run(what: str, missing: str) -> NoReturn:
    """End the test because `missing` is not there: skipped and listed, in CI a failure."""
    reason = f"{NOT_RUN}{what} needs {missing}"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI it must run", pytrace=False)
    pytest.skip(reason)


def report_not_run(reporter: pytest.TerminalReporter) -> None:
    """List what was not run in a section of its own."""
    reasons = {
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    }
    lines = sorted(reason for reason in reasons if reason.startswith(NOT_RUN))
    if lines:
        reporter.section("tests that were NOT RUN", sep="!", yellow=True, bold=True)
        for line in lines:
            reporter.line(line, yellow=True)
