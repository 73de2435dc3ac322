"""What the analyser finds, and which of it is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from aieye.pipeline.language.errors import Diagnostic, Fault
from aieye.pipeline.language.limits import MAX_DIAGNOSTICS
from aieye.pipeline.language.source import Source


class Finding(NamedTuple):
    """A fault whose message is written only if it is among those that are reported."""

    code: str
    start: int
    end: int
    message: Callable[[], str]
    hint: str | None = None

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")


def report(findings: Iterable[Finding], source: Source) -> tuple[Diagnostic, ...]:
    """At most 50 diagnostics in order of their places.

    Errors come first into that number, so that no crowd of warnings hides why a pipeline is refused.
    """
    ordered = sorted(findings, key=_place)
    errors = [finding for finding in ordered if finding.is_error]
    warnings = [finding for finding in ordered if not finding.is_error]
    kept = sorted((errors + warnings)[:MAX_DIAGNOSTICS], key=_place)
    return tuple(Diagnostic.at(_fault(finding), source) for finding in kept)


def _place(finding: Finding) -> tuple[int, str]:
    return finding.start, finding.code


def _fault(finding: Finding) -> Fault:
    return Fault(finding.code, finding.message(), finding.start, finding.end, finding.hint)
