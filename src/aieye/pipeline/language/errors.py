"""What is wrong with a pipeline, where, and how it is shown.

A code that starts with E is an error and refuses the pipeline; W is a warning. A `Fault` is a
finding with offsets; a `Diagnostic` is what people and programs receive.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

from aieye.errors import Unprocessable
from aieye.pipeline.language.source import Source

Severity = Literal["error", "warning"]

_SHOWN_COLUMNS: Final = 120
_LEADING_COLUMNS: Final = 40
_UNSHOWABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_CONTROL_PICTURES: Final = 0x2400


class Fault(NamedTuple):
    """A finding in a text: from `start` up to `end`, in code points."""

    code: str
    message: str
    start: int
    end: int
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding as it is reported.

    `column` and `end_column` count from 1, and the character at `end_column` is no longer part of
    it. What has no place in the text (an argument that was not supplied) has no position at all.
    """

    code: str
    severity: Severity
    message: str
    line: int | None = None
    column: int | None = None
    end_line: int | None = None
    end_column: int | None = None
    offset: int | None = None
    length: int | None = None
    hint: str | None = None

    @classmethod
    def at(cls, fault: Fault, source: Source) -> Diagnostic:
        """The fault with its lines and columns in `source`."""
        code, message, start, end, hint = fault
        line, column = source.locate(start)
        end_line, end_column = source.locate(end)
        place = (line, column, end_line, end_column, start, end - start)
        return cls(code, _severity(code), message, *place, hint=hint)

    @classmethod
    def nowhere(cls, code: str, message: str, hint: str | None = None) -> Diagnostic:
        """A finding that stands nowhere in the text."""
        return cls(code, _severity(code), message, hint=hint)

    @property
    def is_error(self) -> bool:
        return self.severity == "error"

    def as_dict(self) -> dict[str, Any]:
        """The ten fields, for JSON."""
        return asdict(self)


class InvalidPipeline(Unprocessable):
    """The text is no pipeline, or not one that can run; `diagnostics` says why and where.

    The message shows the first error, in the line that it is in where `source` is given.
    """

    code = "invalid_pipeline"

    def __init__(
        self, *diagnostics: Diagnostic, source: Source | None = None, name: str | None = None
    ) -> None:
        first = next((found for found in diagnostics if found.is_error), diagnostics[0])
        shown = name or "pipeline"
        super().__init__(
            _headline(first, shown) if source is None else render(first, source, shown)
        )
        self.diagnostics = diagnostics


def render(diagnostic: Diagnostic, source: Source, name: str) -> str:
    """The text form: a headline, the line and a caret below what is meant, and the hint.

    What a terminal would obey, hide or turn round is shown by a stand-in of one column, and of a
    very long line only the part around the place.
    """
    lines = [_headline(diagnostic, name)]
    if diagnostic.line is not None:
        lines += _excerpt(diagnostic, source)
    if diagnostic.hint is not None:
        lines.append(f"  = hint: {diagnostic.hint}")
    return "\n".join(lines)


def _severity(code: str) -> Severity:
    return "error" if code.startswith("E") else "warning"


def _headline(found: Diagnostic, name: str) -> str:
    place = name if found.line is None else f"{name}:{found.line}:{found.column}"
    return f"{place}: {found.severity}[{found.code}]: {found.message}"


def _excerpt(found: Diagnostic, source: Source) -> tuple[str, str]:
    assert found.line is not None
    assert found.column is not None
    assert found.length is not None
    text = source.line(found.line)
    start = found.column - 1
    first = max(0, start - _LEADING_COLUMNS) if len(text) > _SHOWN_COLUMNS else 0
    shown = text[first : first + _SHOWN_COLUMNS]
    before = start - first
    carets = max(1, min(found.length, len(shown) - before))
    number = str(found.line)
    return (
        f"  {number} | {_UNSHOWABLE.sub(_stand_in, shown)}",
        f"  {' ' * len(number)} | {' ' * before}{'^' * carets}",
    )


def _stand_in(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\t":
        return " "
    return chr(_CONTROL_PICTURES + ord(character)) if character < " " else "\ufffd"
