"""Event streams: split into frames, read, and metered while they are relayed.

Pure: bytes in, bytes out. The grammar is the WHATWG event stream,
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. Only CR, LF
and CRLF end a line; U+2028 and its like are text, which is why `splitlines` has no place here.

A *frame* is the bytes of one event up to and including its blank line. What a provider sent is
never serialised again: frames are forwarded, cut out or held back, whole and unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any, Final, Literal, NamedTuple

import orjson

Dialect = Literal["chat", "completions", "responses", "other"]
"""What the events mean: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, any other."""

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = 0x0D
_BACKSLASH: Final = 0x5C
_DONE: Final = b"[DONE]"

# The end of a line and the blank line after it. While a stream runs, a CR that the LF of a CRLF
# may still follow ends nothing, so that a frame has the same bytes wherever the network cut it.
_BOUNDARY: Final = re.compile(rb"\n(?:\n|\r\n|\r(?=[^\n]))|\r\r")
_LAST_BOUNDARY: Final = re.compile(rb"\n(?:\n|\r\n?)|\r\r")
_WHOLE: Final = (b"\n\n", b"\n\r\n")  # bytes that end so end with a frame, whatever precedes

_RESPONSE_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_OTHER_ENDS: Final = frozenset(
    {
        "speech.audio.done",
        "transcript.text.done",
        "image_generation.completed",
        "image_edit.completed",
    }
)
_CONTENT_ENDINGS: Final = (".delta", ".partial_image", ".segment")


class EventTooLarge(Exception):
    """One event is larger than the cap; the rest of the stream is not read.

    `frames` holds what was complete before it in the same chunk and may still be sent.
    """

    def __init__(self, frames: bytes = b"") -> None:
        super().__init__("an event of the stream is larger than the limit")
        self.frames = frames


class Event(NamedTuple):
    """One dispatched event: its `span` (start, end) in the bytes read, its name and its data."""

    span: tuple[int, int]
    name: str
    data: bytes


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
        if _CR in chunk:
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
        while match := _BOUNDARY.search(self._tail, start):
            end = start = match.end()
        return end

    def _check(self, frames: bytes) -> None:
        start = 0
        while start < len(frames):
            end = _frame_end(frames, start, carriage=self.carriage)
            if end - start > self._limit:
                raise self._overflow(frames[:start])
            start = end

    def _overflow(self, frames: bytes) -> EventTooLarge:
        self._tail.clear()
        self._limit = -1  # the middle of an event must never be taken for the start of one
        return EventTooLarge(frames)


def iter_events(frames: bytes, *, flush: bool = False) -> Iterator[Event]:
    """Read every event of a stream, by the letter of the standard.

    An event without a name is a `message`; one without data is not dispatched, nor is, unless
    `flush` asks for it, a last one that no blank line ends.
    """
    start = len(_BOM) if frames.startswith(_BOM) else 0
    while start < len(frames):
        match = _LAST_BOUNDARY.search(frames, start)
        if match is None and not flush:
            return
        end = match.end() if match else len(frames)
        frame = frames[start:end].lstrip(b"\r\n")
        if read := _read_frame(frame):
            yield Event((end - len(frame), end), *read)
        start = end


def error_frame(dialect: Dialect, error: dict[str, Any], *, sequence_number: int = 0) -> bytes:
    """Write an error as the last event of a stream that can no longer answer with a status.

    `error` is the inner object of OpenAI's error body: message, type, param, code. The Responses
    API has an event type of its own for it (https://platform.openai.com/docs/api-reference,
    "Streaming events", `error`), with the number of the event in its stream.
    """
    if dialect != "responses":
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
    event = {
        "type": "error",
        "code": error.get("code"),
        "message": error.get("message"),
        "param": error.get("param"),
        "sequence_number": sequence_number,
    }
    return b"event: error\ndata: " + orjson.dumps(event) + b"\n\n"


class _Verdict(Enum):
    """What becomes of a frame."""

    PASS = auto()
    ORDINARY = auto()  # passes, and tells nothing but its text if it comes again
    WITHHOLD = auto()
    END = auto()


# Looked up once: an attribute of an enumeration costs as much as the rest of a verdict.
_PASS, _ORDINARY, _WITHHOLD, _END = _Verdict


class StreamMeter:
    """Observes one provider stream while it is relayed: what may go out, what was used.

    Feed it the provider's bytes; it returns what the client may have at once. It holds back an
    incomplete frame, the terminal frame with everything behind it (`tail`, to be sent after the
    ledger's commit), and with `withhold_usage` the usage-only frame. The bytes that it returned,
    the withheld frames in their places and `tail` are exactly the bytes that it was fed.

    A frame is parsed unless it equals one parsed before in everything but the text of its delta,
    its padding and its number (`_learn`), so no text of an answer can be taken for a signal.

    Attributes, all of them about the bytes fed so far:

    - `finished`: the provider ended properly. Chat, completions and other: `data: [DONE]`;
      responses: `response.completed`, `.incomplete` or `.failed`; other: the documented last
      event of speech, transcription and image streams too.
    - `failed`: it ended with `response.failed`.
    - `usage`: the provider's usage object, verbatim, the last one; `usage_span`: where the
      usage-only frame lies in the raw bytes, withheld or not.
    - `model`, `upstream_id`: as the first frame that names them says.
    - `error`: the first error event's object; `error_before_content`: nothing was generated yet.
    - `has_content`: text, a tool call or reasoning has been seen, not only a role.
    - `deltas`: events that carried such; `text_bytes`: about how many bytes of text they held;
      `events`: all events. For estimates where no usage comes.
    - `raw_length`: bytes fed.
    """

    __slots__ = (
        "_dialect",
        "_finishes",
        "_learned",
        "_limit",
        "_offset",
        "_open",
        "_splitter",
        "_tail",
        "_templates",
        "_usage_frames",
        "_valid",
        "_withhold",
        "deltas",
        "error",
        "error_before_content",
        "events",
        "failed",
        "finished",
        "has_content",
        "model",
        "raw_length",
        "text_bytes",
        "upstream_id",
        "usage",
        "usage_span",
    )

    def __init__(self, dialect: Dialect, *, withhold_usage: bool, max_event_bytes: int) -> None:
        self.finished = False
        self.failed = False
        self.usage: dict[str, Any] | None = None
        self.usage_span: tuple[int, int] | None = None
        self.model: str | None = None
        self.upstream_id: str | None = None
        self.error: dict[str, Any] | None = None
        self.error_before_content = False
        self.has_content = False
        self.events = 0
        self.deltas = 0
        self.text_bytes = 0
        self.raw_length = 0
        self._dialect = dialect
        self._withhold = withhold_usage
        self._limit = max_event_bytes
        self._splitter = FrameSplitter(max_event_bytes)
        self._tail = bytearray()
        self._offset = 0  # where in the raw bytes the next frame starts
        self._valid = True
        self._usage_frames = 0
        self._open: set[int] = set()
        self._finishes: dict[int, str] = {}
        self._templates: list[_Template] = []
        self._learned = 0

    @property
    def tail(self) -> bytes:
        """The terminal frame and everything after it; empty before `finished`."""
        return bytes(self._tail)

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended; for responses the status, or why it is incomplete."""
        return self._finishes[min(self._finishes)] if self._finishes else None

    @property
    def complete(self) -> bool:
        """Whether these bytes are a whole, successful answer that may be stored and replayed.

        Ordinary frames are held against a parsed one, not parsed: bytes inside their text that
        are no legal JSON or UTF-8 show up when the answer is converted, not here.
        """
        if not self.finished or self.error is not None or not self._valid:
            return False
        if self._dialect in ("chat", "completions") and (
            not self._open or self._usage_frames > 1 or self._open - self._finishes.keys()
        ):
            return False
        # Some providers close every kind of stream with [DONE]; any other event behind the
        # terminal one means that this was not the end.
        behind = list(iter_events(self.tail, flush=True))[1:]
        return all(event.data.startswith(_DONE) for event in behind)

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
            whole = event and (event.data.startswith(_DONE) or _load_object(event.data))
            if whole and self._observe(rest, self.raw_length - len(rest)) is _END:
                self.finished = True
                self._tail += rest
        return self.tail

    def error_frame(self, error: dict[str, Any]) -> bytes:
        """Write `error` as the next event of this stream, in its dialect's form."""
        return error_frame(self._dialect, error, sequence_number=self.events)

    def _relay(self, frames: bytes) -> bytes:
        """Observe complete frames in order; return them less what is withheld or held back."""
        size = len(frames)
        position = self._skim(frames, 0)
        sent_from, sent_to = 0, size
        parts = []
        while position < size:
            end = _frame_end(frames, position, carriage=self._splitter.carriage)
            frame = frames[position:end].lstrip(b"\r\n")
            start = end - len(frame)
            verdict = self._observe(frame, self._offset + start)
            if verdict is _END:
                self.finished = True
                self._tail += frames[start:] + self._splitter.take()
                sent_to = start
                break
            if verdict is _WITHHOLD:
                parts.append(frames[sent_from:start])
                sent_from = end
            elif verdict is _ORDINARY:
                self._learn(frame)
            position = self._skim(frames, end)
        self._offset += size
        if sent_to - sent_from == size:
            return frames
        parts.append(frames[sent_from:sent_to])
        return b"".join(parts)

    def _skim(self, frames: bytes, position: int) -> int:
        """Count the frames from `position` on that equal a template; return where they end."""
        size = len(frames)
        templates = self._templates
        carriage = self._splitter.carriage
        startswith, find = frames.startswith, frames.find
        count = text = 0
        while position < size:
            for template in templates:
                head, head_length, holes = template
                if not startswith(head, position):
                    continue
                at = position + head_length
                # No hole may contain the end of a line: there the event would end, too.
                line_end = find(b"\n", at)
                for kind, closing, literal, length in holes:
                    stop = find(closing, at, line_end)
                    if frames[stop - 1] == _BACKSLASH:
                        stop = _string_end(frames, at, line_end)
                    if stop <= at or not startswith(literal, stop):
                        break
                    if kind == _TEXT:
                        text += stop - at
                    elif kind == _NUMBER and not frames[at:stop].isdigit():
                        break
                    if carriage and _CR in frames[at:stop]:
                        break
                    at = stop + length
                else:
                    break
            else:
                break
            if template is not templates[0]:
                templates.remove(template)
                templates.insert(0, template)
            position = at
            count += 1
        if count:
            self.events += count
            self.deltas += count
            self.text_bytes += text
        return position

    def _learn(self, frame: bytes) -> None:
        """Keep an ordinary frame as a template, so that its like need not be parsed."""
        # A provider that changes more than the text in every frame teaches nothing.
        if self._learned < _MAX_LEARNED and (template := _template(frame)):
            self._learned += 1
            self._templates.insert(0, template)
            del self._templates[_MAX_TEMPLATES:]

    def _observe(self, frame: bytes, offset: int) -> _Verdict:
        """Take in one frame that lies at `offset` in the raw bytes."""
        read = _read_frame(frame.removeprefix(_BOM) if offset == 0 else frame)
        if read is None:
            return _PASS
        self.events += 1
        name, data = read
        if data.startswith(_DONE) and self._dialect != "responses":
            return _END
        event = _load_object(data)
        if event is None:
            self._valid = False
            if name == "error":
                self._fail({"message": data.decode(errors="replace")})
            return _PASS
        if name == "error" or event.get("error") or event.get("type") == "error":
            error = event.get("error") or event
            self._fail(error if isinstance(error, dict) else {"message": str(error)})
        if self._dialect in ("responses", "other"):
            return self._observe_typed(event, name)
        verdict = self._observe_choices(event)
        if verdict is not _WITHHOLD:
            return verdict
        self._usage_frames += 1
        self.usage_span = (offset, offset + len(frame))
        # An error is the client's business, whatever comes with it.
        return _WITHHOLD if self._withhold and self.error is None else _PASS

    def _observe_choices(self, event: dict[str, Any]) -> _Verdict:
        self._identify(event)
        used = self._use(event)
        choices = event.get("choices")
        if not choices:
            return _WITHHOLD if used else _PASS
        if not isinstance(choices, list):
            self._valid = False
            return _PASS
        content = False
        text = 0
        for choice in choices:
            delta = _choice_delta(choice)
            if delta is None:
                self._valid = False
                continue
            index = choice.get("index", 0)
            self._open.add(index)
            if reason := choice.get("finish_reason"):
                self._finishes.setdefault(index, str(reason))
            for key, value in delta.items():
                if value and key != "role":
                    content = True
                    text += _text_bytes(key, value)
        if content:
            self._count(text)
        return _ORDINARY if content and not used else _PASS

    def _observe_typed(self, event: dict[str, Any], name: str) -> _Verdict:
        response = event.get("response")
        body = response if isinstance(response, dict) else event
        self._identify(body)
        used = self._use(body)
        kind = event.get("type")
        if not isinstance(kind, str):
            kind = name
        if self._dialect == "responses" and kind in _RESPONSE_ENDS:
            self._end_response(kind, response)
            return _END
        if self._dialect == "other" and kind in _OTHER_ENDS:
            return _END
        delta = event.get("delta", True)
        if delta and kind.endswith(_CONTENT_ENDINGS):
            self._count(_text_bytes("delta", delta))
            return _PASS if used else _ORDINARY
        if kind == "response.output_item.done":
            self.has_content = True
        return _PASS

    def _end_response(self, kind: str, response: object) -> None:
        if not isinstance(response, dict):
            self._valid = False
            response = {}
        reason = kind.removeprefix("response.")
        details = response.get("incomplete_details")
        if reason == "incomplete" and isinstance(details, dict):
            reason = str(details.get("reason") or reason)
        self._finishes[0] = reason
        if kind == "response.failed":
            self.failed = True
            error = response.get("error")
            if not isinstance(error, dict):
                error = {"message": "the provider reports a failed response"}
            self._fail(error)

    def _identify(self, body: dict[str, Any]) -> None:
        """Keep the first model and id that are named; some first frames leave them empty."""
        if self.model is None and isinstance(model := body.get("model"), str):
            self.model = model or None
        if self.upstream_id is None and isinstance(upstream_id := body.get("id"), str):
            self.upstream_id = upstream_id or None

    def _use(self, body: dict[str, Any]) -> bool:
        usage = body.get("usage")
        if not isinstance(usage, dict):
            return False
        self.usage = usage
        return True

    def _count(self, text_bytes: int) -> None:
        self.has_content = True
        self.deltas += 1
        self.text_bytes += text_bytes

    def _fail(self, error: dict[str, Any]) -> None:
        if self.error is None:
            self.error = error
            self.error_before_content = not self.has_content


_Template = tuple[bytes, int, tuple[tuple[int, bytes, bytes, int], ...]]
"""An ordinary frame: its bytes up to the first hole, their number, and each hole.

A hole is what it may hold, the byte that closes it, the literal bytes from there on up to the next
hole or the end of the frame, and their number.
"""

_MAX_TEMPLATES: Final = 8
_MAX_LEARNED: Final = 64

_TEXT_KEYS: Final = frozenset(
    {"arguments", "content", "delta", "input", "reasoning", "reasoning_content", "refusal", "text"}
)
# In legal JSON, which the data of a learned frame is, `": "` after a word ends a key: what matches
# is a string and the key that it belongs to, never a piece of an answer's text.
_HOLE: Final = re.compile(
    rb'"(?:'
    rb'(?:%s)": ?"([^"\\]*(?:\\.[^"\\]*)*)"'
    rb'|obfuscation": ?"([^"\\]*)"'
    rb'|sequence_number": ?([0-9]+)'
    rb")" % "|".join(sorted(_TEXT_KEYS)).encode()
)
_TEXT, _PADDING, _NUMBER = 1, 2, 3  # the groups of _HOLE
_STRING: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*(?=")')


def _template(frame: bytes) -> _Template | None:
    """Make a template of a frame; None when it has no text."""
    spans = [
        (kind, *match.span(kind))
        for match in _HOLE.finditer(frame)
        for kind in (_TEXT, _PADDING, _NUMBER)
        if match[kind]
    ]
    if all(kind != _TEXT for kind, _, _ in spans):
        return None
    holes = []
    literal_ends = [start for _, start, _ in spans[1:]] + [len(frame)]
    for (kind, _, start), end in zip(spans, literal_ends, strict=True):
        literal = frame[start:end]
        holes.append((kind, literal[:1], literal, len(literal)))
    head = frame[: spans[0][1]]
    return head, len(head), tuple(holes)


def _string_end(frames: bytes, start: int, line_end: int) -> int:
    """Where the JSON string that `start` lies in is closed; -1 if not on its line."""
    match = _STRING.match(frames, start, line_end)
    return match.end() if match else -1


def _frame_end(frames: bytes, start: int, *, carriage: bool) -> int:
    """Where the frame that starts at `start` ends in a sequence of complete frames."""
    if not carriage:
        found = frames.find(b"\n\n", start)
        return len(frames) if found < 0 else found + 2
    match = _BOUNDARY.search(frames, start)
    return match.end() if match else len(frames)


def _read_frame(frame: bytes) -> tuple[str, bytes] | None:
    """The name and data of one frame without a byte order mark; None when it has no data."""
    carriage = _CR in frame
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


def _load_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in `data`; None when there is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        # Half a surrogate pair and NaN are not for orjson; the official client reads both.
        try:
            value = json.loads(data.decode())
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _choice_delta(choice: object) -> dict[str, Any] | None:
    """What a choice of a chunk adds, in both APIs that have choices; None when malformed."""
    if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
        return None
    delta = choice["delta"] if "delta" in choice else {"text": choice.get("text")}
    return delta if isinstance(delta, dict) else None


def _text_bytes(key: str, value: object) -> int:
    """How many bytes of generated text the value of `key` in a delta holds, at any depth."""
    if isinstance(value, str):
        return len(value.encode(errors="surrogatepass")) if key in _TEXT_KEYS else 0
    if isinstance(value, list):
        return sum(_text_bytes(key, item) for item in value)
    if isinstance(value, dict):
        return sum(_text_bytes(inner, item) for inner, item in value.items())
    return 0
