"""Complete frames out of bytes that the network cut anywhere."""

from __future__ import annotations

from typing import Final

from aieye.gateway.sse.frames import BOUNDARY, CR, frame_end

_WHOLE: Final = (b"\n\n", b"\n\r\n")  # bytes that end so end with a frame, whatever precedes


class EventTooLarge(Exception):
    """One event is larger than the cap; the rest of the stream is not read.

    `frames` holds what was complete before it in the same chunk and may still be sent.
    """

    def __init__(self, frames: bytes = b"") -> None:
        super().__init__("an event of the stream is larger than the limit")
        self.frames = frames


class FrameSplitter:
    """Gives back the complete frames of a byte stream that arrives cut at any place.

    Every byte comes out once, in order and unchanged. An event is larger than `max_event_bytes`
    when its frame, blank line included, is. The work is linear in the bytes fed.
    """

    __slots__ = ("_limit", "_tail", "carriage")

    def __init__(self, max_event_bytes: int) -> None:
        self.carriage = False  # whether a CR has been seen, so that lines may end in three ways
        self._limit = max_event_bytes
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk, return the complete frames now available, one after the other.

        Raises `EventTooLarge`, then and ever after, once an event exceeds the cap.
        """
        if CR in chunk:
            self.carriage = True
        tail = self._tail
        if not tail and chunk.endswith(_WHOLE) and len(chunk) <= self._limit:
            return chunk
        scanned = max(0, len(tail) - 3)  # a boundary may have begun in the last three bytes
        tail += chunk
        end = self._last_boundary(scanned)
        frames = bytes(tail[:end])
        del tail[:end]
        if len(frames) > self._limit:
            self._check(frames)
        if len(tail) > self._limit:
            raise self._overflow(frames)
        return frames

    def take(self) -> bytes:
        """Return and forget the incomplete frame at the end."""
        rest = bytes(self._tail)
        self._tail.clear()
        return rest

    def _last_boundary(self, start: int) -> int:
        if self._tail.endswith(_WHOLE):
            return len(self._tail)
        if not self.carriage:
            found = self._tail.rfind(b"\n\n", start)
            return 0 if found < 0 else found + 2
        end = 0
        while match := BOUNDARY.search(self._tail, start):
            end = start = match.end()
        return end

    def _check(self, frames: bytes) -> None:
        start = 0
        while start < len(frames):
            end = frame_end(frames, start, carriage=self.carriage)
            if end - start > self._limit:
                raise self._overflow(frames[:start])
            start = end

    def _overflow(self, frames: bytes) -> EventTooLarge:
        self._tail.clear()
        self._limit = -1  # the middle of an event must never be taken for the start of one
        return EventTooLarge(frames)
