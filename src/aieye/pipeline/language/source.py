"""The text of a pipeline and where things stand in it.

Offsets count Unicode code points from 0, without a leading byte order mark; lines and columns count
from 1. CRLF, CR and LF each end a line, and nothing else does; a tab is one column.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from aieye.pipeline.language.limits import MAX_SOURCE_BYTES

_BOM: Final = "\ufeff"
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


class Source:
    """A text without its byte order mark; lines are counted when somebody asks for one.

    Bytes that are not UTF-8 become lone surrogates, one a byte, which no token and no string may
    hold: the lexer reports them where they stand. `is_oversized` is true above 64 KiB of UTF-8.
    """

    __slots__ = ("_line_starts", "is_oversized", "text")

    def __init__(self, text: str | bytes) -> None:
        if isinstance(text, bytes):
            self.is_oversized = len(text) > MAX_SOURCE_BYTES
            text = "" if self.is_oversized else text.decode("utf-8", "surrogateescape")
        else:
            self.is_oversized = _is_oversized(text)
        self.text = text.removeprefix(_BOM)
        self._line_starts: list[int] | None = None

    def locate(self, offset: int) -> tuple[int, int]:
        """The line and column of an offset, both from 1; the end of the text has them too."""
        starts = self._starts()
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without what ends it."""
        starts = self._starts()
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")

    def _starts(self) -> list[int]:
        if self._line_starts is None:
            ends = [match.end() for match in _LINE_END.finditer(self.text)]
            self._line_starts = [0, *ends]
        return self._line_starts


def _is_oversized(text: str) -> bool:
    if len(text) > MAX_SOURCE_BYTES:
        return True
    return not text.isascii() and len(text.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES
