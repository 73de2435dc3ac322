"""What the events of one stream say: what was generated, used, named, and how it ended."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from aieye.gateway.sse.dialect import CONTENT_ENDINGS, DONE, OTHER_ENDS, RESPONSE_ENDS, Dialect
from aieye.gateway.sse.frames import BOM, read_frame
from aieye.gateway.sse.payload import choice_delta, load_object, size_of_texts
from aieye.gateway.usage import Usage, is_complete, latest_usage, normalise_usage


class Verdict(Enum):
    """What becomes of a frame."""

    PASS = auto()
    ORDINARY = auto()  # passes, and tells nothing but its text if it comes again
    USAGE = auto()  # says what was used and nothing else
    END = auto()


# Looked up once: an attribute of an enumeration costs as much as the rest of a verdict.
_PASS, _ORDINARY, _USAGE, _END = Verdict


class StreamObserver:
    """Reads one frame after the other; its attributes are what they have said so far.

    - `failed`: the stream ended with `response.failed`.
    - `usage`: the provider's usage object, verbatim, the last one; `reported`: what it comes to,
      with the tier that served the call, all reports considered (`latest_usage`); `usage_span`:
      where the usage-only frame lies in the raw bytes.
    - `model`, `upstream_id`: as the first frame that names them says.
    - `error`: the first error event's object; `error_before_content`: nothing was generated yet.
    - `has_content`: text, a tool call or reasoning has been seen, not only a role.
    - `deltas`: events that carried such; `text_size`: about how long their texts were
      (`aieye.gateway.usage.text_size`); `events`: all events. For estimates where no usage comes.
    """

    __slots__ = (
        "_dialect",
        "_finishes",
        "_open",
        "_usage_frames",
        "_valid",
        "deltas",
        "error",
        "error_before_content",
        "events",
        "failed",
        "has_content",
        "model",
        "reported",
        "text_size",
        "upstream_id",
        "usage",
        "usage_span",
    )

    def __init__(self, dialect: Dialect) -> None:
        self.failed = False
        self.usage: dict[str, Any] | None = None
        self.reported: Usage | None = None
        self.usage_span: tuple[int, int] | None = None
        self.model: str | None = None
        self.upstream_id: str | None = None
        self.error: dict[str, Any] | None = None
        self.error_before_content = False
        self.has_content = False
        self.events = 0
        self.deltas = 0
        self.text_size = 0
        self._dialect = dialect
        self._valid = True
        self._usage_frames = 0
        self._open: set[int] = set()
        self._finishes: dict[int, str] = {}

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended; for responses the status, or why it is incomplete."""
        return self._finishes[min(self._finishes)] if self._finishes else None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was wrong with what was said, and nothing that was begun is unfinished.

        Frames that equal an earlier one are not parsed: bytes inside their text that are no legal
        JSON or UTF-8 show up when the answer is converted, not here.
        """
        if self.error is not None or not self._valid:
            return False
        if not all(map(is_complete, self._finishes.values())):
            return False
        if self._dialect not in ("chat", "completions"):
            return True
        return bool(self._open) and self._usage_frames <= 1 and self._open <= self._finishes.keys()

    def observe(self, frame: bytes, offset: int) -> Verdict:
        """Take in one frame that lies at `offset` in the raw bytes."""
        read = read_frame(frame.removeprefix(BOM) if offset == 0 else frame)
        if read is None:
            return _PASS
        self.events += 1
        name, data = read
        if data.startswith(DONE) and self._dialect != "responses":
            return _END
        event = load_object(data)
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
        if verdict is _USAGE:
            self._usage_frames += 1
            self.usage_span = (offset, offset + len(frame))
        return verdict

    def _observe_choices(self, event: dict[str, Any]) -> Verdict:
        self._identify(event)
        used = self._use(event)
        choices = event.get("choices")
        if not choices:
            return _USAGE if used else _PASS
        if not isinstance(choices, list):
            self._valid = False
            return _PASS
        content = False
        text = 0
        for choice in choices:
            delta = choice_delta(choice)
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
                    text += size_of_texts(key, value)
        if content:
            self._count(text)
        return _ORDINARY if content and not used else _PASS

    def _observe_typed(self, event: dict[str, Any], name: str) -> Verdict:
        response = event.get("response")
        body = response if isinstance(response, dict) else event
        self._identify(body)
        used = self._use(body)
        kind = event.get("type")
        if not isinstance(kind, str):
            kind = name
        if self._dialect == "responses" and kind in RESPONSE_ENDS:
            self._end_response(kind, response)
            return _END
        if self._dialect == "other" and kind in OTHER_ENDS:
            return _END
        delta = event.get("delta", True)
        if delta and kind.endswith(CONTENT_ENDINGS):
            self._count(size_of_texts("delta", delta))
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
        if new := normalise_usage(usage, body.get("service_tier")):
            self.reported = latest_usage(self.reported, new)
        return True

    def _count(self, text_size: int) -> None:
        self.has_content = True
        self.deltas += 1
        self.text_size += text_size

    def _fail(self, error: dict[str, Any]) -> None:
        if self.error is None:
            self.error = error
            self.error_before_content = not self.has_content
