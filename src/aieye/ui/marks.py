"""What was found in a pipeline's text, as its editor shows it. Pure.

The language counts code points, browsers count UTF-16: a character outside the first 65 536 is one and
two of these. A byte order mark at the beginning is not counted by the language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aieye.pipeline.language.errors import Diagnostic, render
from aieye.pipeline.language.fixes import fixes_of
from aieye.pipeline.language.source import Source

_BOM = "\ufeff"
_FIRST_PAIR = "\U00010000"
MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class ShownFix:
    """A fix with its place in UTF-16 of the text as it was sent."""

    label: str
    start: int
    end: int
    insert: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding with its place in UTF-16, None for what stands nowhere; `text` shows it with its line."""

    code: str
    severity: str
    message: str
    hint: str | None
    line: int | None
    column: int | None
    start: int | None
    end: int | None
    text: str
    fixes: Sequence[ShownFix]

    @property
    def place(self) -> str:
        return "" if self.line is None else f"{self.line}:{self.column}"

    def as_json(self) -> dict[str, Any]:
        """As `editor.js` reads it."""
        return {
            "from": self.start,
            "to": self.end,
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "fixes": [
                {"label": one.label, "from": one.start, "to": one.end, "insert": one.insert}
                for one in self.fixes
            ],
        }


def marks_of(diagnostics: Sequence[Diagnostic], sent: str, name: str = "") -> Sequence[Mark]:
    """The findings in `sent`, the errors first; `name` is what the texts call the pipeline."""
    source = Source(sent)
    units = _Units(sent)
    ordered = sorted(diagnostics, key=lambda one: (not one.is_error, one.offset or 0))
    return [_mark(one, source, units, name or "pipeline") for one in ordered[:MOST_SHOWN]]


def _mark(found: Diagnostic, source: Source, units: _Units, name: str) -> Mark:
    start = end = None
    if found.offset is not None and found.length is not None:
        start, end = units.at(found.offset), units.at(found.offset + found.length)
    fixes = [
        ShownFix(one.label, units.at(one.start), units.at(one.end), one.insert)
        for one in fixes_of(found, source.text)
    ]
    return Mark(
        found.code, found.severity, found.message, found.hint, found.line, found.column,
        start, end, render(found, source, name), fixes,
    )  # fmt: skip


class _Units:
    """Offsets of the language as offsets in UTF-16."""

    def __init__(self, sent: str) -> None:
        self._first = len(_BOM) if sent.startswith(_BOM) else 0
        self._sent = sent
        # Most texts have no pair at all: then nothing is counted.
        self._has_pairs = bool(sent) and max(sent) >= _FIRST_PAIR

    def at(self, offset: int) -> int:
        place = offset + self._first
        if not self._has_pairs:
            return place
        return place + sum(char >= _FIRST_PAIR for char in self._sent[:place])


def with_fix(sent: str, diagnostics: Sequence[Diagnostic], number: str) -> str:
    """The text with one of its fixes made: `FINDING:FIX` as the page counts them; else as it was."""
    first, _, second = number.partition(":")
    marks = marks_of(diagnostics, sent)
    if not (first.isdecimal() and second.isdecimal() and int(first) < len(marks)):
        return sent
    fixes = marks[int(first)].fixes
    if int(second) >= len(fixes):
        return sent
    fix = fixes[int(second)]
    units = sent.encode("utf-16-le", "surrogatepass")
    put = fix.insert.encode("utf-16-le")
    return (units[: 2 * fix.start] + put + units[2 * fix.end :]).decode(
        "utf-16-le", "surrogatepass"
    )
