"""What is said loudly at the end: tools that a machine lacks, not forgiven in CI, and flaky tests."""

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


def keep_end(config: pytest.Config, code: int) -> None:
    """Leave for `.ci/run` how the run ended: `make` has one code for everything."""
    cache = getattr(config, "cache", None)
    if cache is not None and not hasattr(config, "workerinput"):
        cache.set("ended", int(code))


def report_flaky(reporter: pytest.TerminalReporter) -> None:
    """List what failed in the run before and passes now, in a run of these alone (`--last-failed`)."""
    passed = sorted({report.nodeid for report in reporter.stats.get("passed", [])})
    if passed and reporter.config.getoption("lf", default=False):
        reporter.section(
            f"FLAKY, passed only alone: {len(passed)}", sep="!", yellow=True, bold=True
        )
        for test in passed:
            reporter.line(f"FLAKY: {test}", yellow=True)
