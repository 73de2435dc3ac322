"""The meter of a stream: bytes in, what may go out at once, what was used."""

from __future__ import annotations

from typing import Any

from aieye.gateway.sse.dialect import DONE, Dialect, error_frame
from aieye.gateway.sse.frames import CR, frame_end, iter_events
from aieye.gateway.sse.likeness import Likeness
from aieye.gateway.sse.observer import StreamObserver, Verdict
from aieye.gateway.sse.payload import BACKSLASH, load_object
from aieye.gateway.sse.splitter import EventTooLarge, FrameSplitter

# Looked up once: an attribute of an enumeration costs as much as the rest of a verdict.
_ORDINARY, _USAGE, _END = Verdict.ORDINARY, Verdict.USAGE, Verdict.END


class StreamMeter(StreamObserver):
    """Observes one provider stream while it is relayed: what may go out, what was used.

    Feed it the provider's bytes; it returns what the client may have at once. It holds back an
    incomplete frame, the terminal frame with everything behind it (`tail`, to be sent after the
    ledger's commit), and with `withhold_usage` the usage-only frame. The bytes that it returned,
    the withheld frames in their places and `tail` are exactly the bytes that it was fed.

    What the stream says is in its attributes, see `StreamObserver`, and, always about the bytes
    fed so far:

    - `finished`: the provider ended properly. Chat, completions and other: `data: [DONE]`;
      responses: `response.completed`, `.incomplete` or `.failed`; other: the documented last
      event of speech, transcription and image streams too.
    - `raw_length`: bytes fed.
    """

    __slots__ = (
        "_likeness",
        "_limit",
        "_offset",
        "_splitter",
        "_tail",
        "_withhold",
        "finished",
        "raw_length",
    )

    def __init__(self, dialect: Dialect, *, withhold_usage: bool, max_event_bytes: int) -> None:
        super().__init__(dialect)
        self.finished = False
        self.raw_length = 0
        self._withhold = withhold_usage
        self._limit = max_event_bytes
        self._splitter = FrameSplitter(max_event_bytes)
        self._likeness = Likeness()
        self._tail = bytearray()
        self._offset = 0  # where in the raw bytes the next frame starts

    @property
    def tail(self) -> bytes:
        """The terminal frame and everything after it; empty before `finished`."""
        return bytes(self._tail)

    @property
    def complete(self) -> bool:
        """Whether these bytes are a whole, successful answer that may be stored and replayed."""
        if not (self.finished and self.is_whole):
            return False
        # Some providers close every kind of stream with [DONE]; any other event behind the
        # terminal one means that this was not the end.
        behind = list(iter_events(self.tail, flush=True))[1:]
        return all(event.data.startswith(DONE) for event in behind)

    def feed(self, chunk: bytes) -> bytes:
        """Take the provider's next bytes, return what may be sent to the client now.

        Raises `EventTooLarge`, whose `frames` may still be sent, when one event or what follows
        the terminal one exceeds the cap.
        """
        self.raw_length += len(chunk)
        if self.finished:
            self._tail += chunk
            if len(self._tail) > 2 * self._limit:
                raise EventTooLarge
            return b""
        try:
            frames = self._splitter.feed(chunk)
        except EventTooLarge as exc:
            exc.frames = self._relay(exc.frames)
            raise
        return self._relay(frames)

    def end(self) -> bytes:
        """Note that the provider closed the stream; return `tail`, all that may still be sent.

        A terminal event that no blank line ends counts if it is whole; any other unfinished frame
        is metered if it is whole and never sent.
        """
        if not self.finished:
            rest = self._splitter.take().lstrip(b"\r\n")
            event = next(iter_events(rest, flush=True), None)
            whole = event and (event.data.startswith(DONE) or load_object(event.data))
            if whole and self.observe(rest, self.raw_length - len(rest)) is _END:
                self.finished = True
                self._tail += rest
        return self.tail

    def error_frame(self, error: dict[str, Any]) -> bytes:
        """Write `error` as the next event of this stream, in its dialect's form."""
        return error_frame(self._dialect, error, sequence_number=self.events)

    def _relay(self, frames: bytes) -> bytes:
        """Observe complete frames in order; return them less what is withheld or held back."""
        is_plain = BACKSLASH not in frames and CR not in frames and frames.isascii()
        position = self._skim(frames, 0, is_plain)
        forwarded = frames if position == len(frames) else self._read(frames, position, is_plain)
        self._offset += len(frames)
        return forwarded

    def _read(self, frames: bytes, position: int, is_plain: bool) -> bytes:
        """Read what is like no frame before; return all frames less what is not to be sent."""
        sent_from, sent_to = 0, len(frames)
        parts = []
        while position < len(frames):
            end = frame_end(frames, position, carriage=self._splitter.carriage)
            frame = frames[position:end].lstrip(b"\r\n")
            start = end - len(frame)
            verdict = self.observe(frame, self._offset + start)
            if verdict is _END:
                self.finished = True
                self._tail += frames[start:] + self._splitter.take()
                sent_to = start
                break
            if verdict is _USAGE and self._withholds():
                parts.append(frames[sent_from:start])
                sent_from = end
            elif verdict is _ORDINARY:
                self._likeness.learn(frame)
            position = self._skim(frames, end, is_plain)
        parts.append(frames[sent_from:sent_to])
        return b"".join(parts)

    def _skim(self, frames: bytes, position: int, is_plain: bool) -> int:
        """Take in the frames from `position` on that need no parsing; return where they end."""
        position, count, text_size = self._likeness.skim(frames, position, is_plain=is_plain)
        self.events += count
        self.deltas += count
        self.text_size += text_size
        return position

    def _withholds(self) -> bool:
        # An error is the client's business, whatever comes with it.
        return self._withhold and self.error is None
