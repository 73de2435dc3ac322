"""The grammar of event streams: where a frame ends, and what it says.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Only CR, LF
and CRLF end a line; U+2028 and its like are text, which is why `splitlines` has no place here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

BOM: Final = b"\xef\xbb\xbf"
CR: Final = 0x0D

# The end of a line and the blank line after it. While a stream runs, a CR that the LF of a CRLF
# may still follow ends nothing, so that a frame has the same bytes wherever the network cut it.
BOUNDARY: Final = re.compile(rb"\n(?:\n|\r\n|\r(?=[^\n]))|\r\r")
_LAST_BOUNDARY: Final = re.compile(rb"\n(?:\n|\r\n?)|\r\r")


class Event(NamedTuple):
    """One dispatched event: its `span` (start, end) in the bytes read, its name and its data."""

    span: tuple[int, int]
    name: str
    data: bytes


def iter_events(frames: bytes, *, flush: bool = False) -> Iterator[Event]:
    """Read every event of a stream, by the letter of the standard.

    An event without a name is a `message`; one without data is not dispatched, nor is, unless
    `flush` asks for it, a last one that no blank line ends.
    """
    start = len(BOM) if frames.startswith(BOM) else 0
    while start < len(frames):
        match = _LAST_BOUNDARY.search(frames, start)
        if match is None and not flush:
            return
        end = match.end() if match else len(frames)
        frame = frames[start:end].lstrip(b"\r\n")
        if read := read_frame(frame):
            yield Event((end - len(frame), end), *read)
        start = end


def frame_end(frames: bytes, start: int, *, carriage: bool) -> int:
    """Where the frame that starts at `start` ends in a sequence of complete frames.

    `carriage`: a CR may be among them.
    """
    if not carriage:
        found = frames.find(b"\n\n", start)
        return len(frames) if found < 0 else found + 2
    match = BOUNDARY.search(frames, start)
    return match.end() if match else len(frames)


def read_frame(frame: bytes) -> tuple[str, bytes] | None:
    """The name and data of one frame without a byte order mark; None when it has no data."""
    carriage = CR in frame
    if not carriage and frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2:
        return "message", frame[6:-2]  # what follows is no slower for being general, only rarer
    if carriage:
        frame = frame.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    name, data = b"", []
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    if not data:
        return None
    return name.decode(errors="replace") or "message", b"\n".join(data)
