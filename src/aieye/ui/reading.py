"""What was asked and answered in a call, as a person reads it: who said what. Pure.

From recorded texts, which may be anything: what is not understood is not shown here, and the page
shows the text itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MOST_PARTS = 60
MOST_CHARACTERS = 12_000


@dataclass(frozen=True, slots=True)
class Said:
    """A part of a conversation."""

    role: str
    text: str


def parsed(text: str | None) -> Any:
    """The JSON value of a text; None where it is none."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_stream(text: str | None) -> bool:
    """Whether a recorded answer is a stream of events."""
    return text is not None and text.lstrip().startswith(("data:", "event:"))


def events(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream's events, in their order."""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.startswith("data:"):
            value = parsed(line[5:])
            if isinstance(value, dict):
                yield value


def asked(request: str | None) -> Sequence[Said]:
    """The messages or the prompt of a request."""
    document = parsed(request)
    if not isinstance(document, dict):
        return ()
    parts: list[Said] = []
    if isinstance(document.get("instructions"), str):
        parts.append(Said("system", document["instructions"]))
    messages = document.get("messages", document.get("input", document.get("prompt")))
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        parts += [_message(one) for one in messages if isinstance(one, dict)]
    elif messages is not None:
        parts.append(Said("input", _words(messages)))
    return _bounded(parts)


def answered(response: str | None) -> Sequence[Said]:
    """What an answer says: a whole one, or a stream put together."""
    if is_stream(response):
        return _bounded(_streamed(response or ""))
    document = parsed(response)
    if not isinstance(document, dict):
        return ()
    error = document.get("error")
    if isinstance(error, dict):
        return _bounded([Said("error", _words(error.get("message") or error))])
    parts = [
        _message(choice.get("message") or {"content": choice.get("text")})
        for choice in _objects(document.get("choices"))
    ]
    parts += [_message(item) for item in _objects(document.get("output"))]
    data = _objects(document.get("data"))
    vectors = [one["embedding"] for one in data if "embedding" in one]
    if vectors:
        size = f" of {len(vectors[0])}" if isinstance(vectors[0], list) else ""
        parts.append(Said("vectors", f"{len(vectors)}{size}"))
    return _bounded(parts)


def ended_by(stream: str) -> str:
    """Why a streamed chat ended, in the provider's word; empty where it says nothing."""
    reasons = [
        choice.get("finish_reason")
        for event in events(stream)
        for choice in _objects(event.get("choices"))
    ]
    return next((one for one in reversed(reasons) if isinstance(one, str)), "")


def _streamed(response: str) -> list[Said]:
    texts: dict[int, list[str]] = {}
    calls: dict[int, list[str]] = {}
    errors: list[Said] = []
    for event in events(response):
        if isinstance(event.get("error"), dict):
            errors.append(Said("error", _words(event["error"].get("message"))))
        if event.get("type") == "response.output_text.delta":
            texts.setdefault(0, []).append(_words(event.get("delta")))
        for choice in _objects(event.get("choices")):
            index = choice.get("index")
            place = index if isinstance(index, int) else 0
            delta = choice.get("delta")
            delta = delta if isinstance(delta, dict) else {"content": choice.get("text")}
            texts.setdefault(place, []).append(_words(delta.get("content")))
            for call in _objects(delta.get("tool_calls")):
                function = call.get("function")
                if isinstance(function, dict):
                    named = _words(function.get("name"))
                    parts = calls.setdefault(place, [])
                    parts.append(f"{named} " if named else "")
                    parts.append(_words(function.get("arguments")))
    said = [Said("assistant", "".join(parts)) for _, parts in sorted(texts.items())]
    said += [Said("tool call", "".join(parts)) for _, parts in sorted(calls.items())]
    return [part for part in said if part.text] + errors


def _message(message: dict[str, Any]) -> Said:
    role = message.get("role")
    text = _words(message.get("content"))
    for call in _objects(message.get("tool_calls")):
        function = call.get("function")
        if isinstance(function, dict):
            text += f"\n→ {_words(function.get('name'))} {_words(function.get('arguments'))}"
    if not text:
        text = _words(message.get("refusal") or message.get("arguments") or message.get("summary"))
    return Said(role if isinstance(role, str) and role else "assistant", text.strip("\n"))


def _words(content: Any) -> str:
    """The text of a message's content: a text, or parts of which some are none."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, (_part(part) for part in content)))
    return json.dumps(content, ensure_ascii=False)


def _part(part: Any) -> str:
    if isinstance(part, dict):
        text = part.get("text")
        if isinstance(text, str):
            return text
        kind = part.get("type")
        return f"[{kind}]" if isinstance(kind, str) else "[part]"
    return part if isinstance(part, str) else json.dumps(part)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _bounded(parts: Sequence[Said]) -> Sequence[Said]:
    """As much as a page shows: the first parts, each up to its share of the characters."""
    shown: list[Said] = []
    left = MOST_CHARACTERS
    for part in parts[:MOST_PARTS]:
        text = part.text if len(part.text) <= left else f"{part.text[:left]}…"
        left -= len(text)
        shown.append(Said(part.role[:40], text))
        if left <= 0:
            break
    return shown
