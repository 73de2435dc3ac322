"""A frame as the measure of others: what may differ in its like, and what must not."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import Final

from aieye.gateway.sse.frames import CR
from aieye.gateway.sse.payload import BACKSLASH, TEXT_KEYS, size_as_written

Likes = tuple[int, int, int]
"""Frames that are like one before: where they end, how many, and about how long their texts are."""

# After so many like frames the next ones are read at once, where there are enough bytes to gain by
# it; at most this many times the bytes that were like so far, so that the work stays linear.
_SINGLES: Final = 4
_ROW_BYTES: Final = 4_096
_FARTHER: Final = 32
# In legal JSON, which the data of a learned frame is, `": "` after a word ends a key: what matches
# is a string and the key that it belongs to, never a piece of an answer's text.
_HOLE: Final = re.compile(
    rb'"(?:'
    rb'(?:%s)": ?"([^"\\]*(?:\\.[^"\\]*)*)"'
    rb'|obfuscation": ?"([^"\\]*)"'
    rb'|sequence_number": ?([0-9]+)'
    rb")" % "|".join(sorted(TEXT_KEYS)).encode()
)
_TEXT, _PADDING, _NUMBER = 1, 2, 3  # the groups of _HOLE
# What may fill a hole. The end of a line would end the event, too.
_FILLINGS: Final = {
    _TEXT: rb'((?:[^"\\\r\n]++|\\[^\r\n])++)',
    _PADDING: rb'([^"\\\r\n]++)',
    _NUMBER: rb"([0-9]++)",
}
_Row = tuple[re.Pattern[bytes], re.Pattern[bytes], bytes]
_STRING: Final = re.compile(rb'(?:[^"\\\r\n]++|\\[^\r\n])*+(?=")')


class Template:
    """An ordinary frame: literal bytes, and holes between them for text, padding and number.

    Frames are like it when they have its literals, byte for byte, and something proper in each
    hole.
    """

    __slots__ = ("_head", "_head_length", "_holes", "_kinds", "_literals", "_row")

    def __init__(self, literals: list[bytes], kinds: list[int]) -> None:
        self._literals, self._kinds = literals, kinds
        self._head, self._head_length = literals[0], len(literals[0])
        self._holes = [
            (kind, literal[:1], literal, len(literal))
            for kind, literal in zip(kinds, literals[1:], strict=True)
        ]
        self._row: _Row | None = None

    @classmethod
    def of(cls, frame: bytes) -> Template | None:
        """Make a template of a frame; None when it has no text."""
        literals, kinds, start = [], [], 0
        for match in _HOLE.finditer(frame):
            kind = match.lastindex
            if kind is not None and match[kind]:
                literals.append(frame[start : match.start(kind)])
                kinds.append(kind)
                start = match.end(kind)
        return cls([*literals, frame[start:]], kinds) if _TEXT in kinds else None

    def match(self, frames: bytes, start: int, *, is_plain: bool) -> Likes:
        """Read the frames from `start` on, up to the first that is not like this one.

        `is_plain`: they hold no backslash, no CR and nothing beyond ASCII, so that a string ends at
        the next quote and its text is as long as it is written.
        """
        startswith, find = frames.startswith, frames.find
        head, head_length, holes = self._head, self._head_length, self._holes
        end, row_at = start, _SINGLES
        count = text_size = 0
        while startswith(head, end):
            if count >= row_at and len(frames) - end >= _ROW_BYTES:
                if row := self._match_row(frames, end, (end - start) * _FARTHER):
                    end, more, more_text = row
                    count += more
                    text_size += more_text
                    continue
                row_at = 2 * count
            at = end + head_length
            # No hole may contain the end of a line: there the event would end, too.
            line_end = find(b"\n", at)
            text = 0
            for kind, closing, literal, length in holes:
                stop = find(closing, at, line_end)
                if not is_plain and stop > at:
                    filling = frames[at:stop]
                    if BACKSLASH in filling or CR in filling:
                        filling = _string(frames, at, line_end)
                        stop = at + len(filling)
                if stop <= at or not startswith(literal, stop):
                    return end, count, text_size
                if kind == _TEXT:
                    text += stop - at if is_plain else size_as_written(frames[at:stop])
                elif kind == _NUMBER and not frames[at:stop].isdigit():
                    return end, count, text_size
                at = stop + length
            end = at
            count += 1
            text_size += text
        return end, count, text_size

    def _match_row(self, frames: bytes, start: int, most_bytes: int) -> Likes | None:
        """Read the frames from `start` on as far as they have this one's shape.

        None when not all of them are like it. The lengths of the literals tell where the holes
        must be; what is made of their fillings and the literals must then equal what is there.
        """
        one, row, form = self._row or self._prepare_row()
        found = row.match(frames, start, start + most_bytes)
        if found is None:
            return None
        rows = one.findall(frames, start, found.end())
        holes = len(self._kinds)
        fillings = tuple(rows if holes == 1 else chain.from_iterable(rows))
        rebuilt = form * len(rows) % fillings
        if not frames.startswith(rebuilt, start):
            return None
        texts = [fillings[place::holes] for place, kind in enumerate(self._kinds) if kind == _TEXT]
        return start + len(rebuilt), len(rows), sum(map(_size_of_row, texts))

    def _prepare_row(self) -> _Row:
        lengths = tuple(map(len, self._literals))
        form = b"%b".join([literal.replace(b"%", b"%%") for literal in self._literals])
        self._row = (*_shape(lengths, tuple(self._kinds)), form)
        return self._row


@lru_cache(maxsize=256)
def _shape(
    lengths: tuple[int, ...], kinds: tuple[int, ...]
) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Patterns of a frame, a group for each hole, and of a row of such, by their literals' lengths.

    New ones cost 0.3 ms; but providers write the same few shapes over and over.
    """
    *heads, last = lengths
    holes = [
        b"(?s:.{%d})" % length + _FILLINGS[kind] for length, kind in zip(heads, kinds, strict=True)
    ]
    # Besides the holes, the end of a line at its end is all that a frame is told by here.
    frame = b"".join([*holes, b"(?s:.{%d})[\r\n]" % (last - 1)])
    return re.compile(frame), re.compile(b"(?:%b)++" % frame)


def _string(frames: bytes, start: int, line_end: int) -> bytes:
    """The JSON string that begins at `start` and is closed on its line, without quotes, or nothing."""
    match = _STRING.match(frames, start, line_end)
    return match[0] if match else b""


def _size_of_row(written: tuple[bytes, ...]) -> int:
    """About how long the texts are together that these strings stand for."""
    lines = b"\n".join(written)  # an escape must not be made of two texts
    return size_as_written(lines) - len(written) + 1
