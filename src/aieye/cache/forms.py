"""The two forms of one answer: a stream of frames and a plain JSON body, each made of the other.

Pure. A client gets the form that it asked for whichever was stored, and the same text, tool calls
and usage in both. What cannot be carried over without loss or guesswork raises `CannotConvert`; the
call is then a miss. The shapes are those of OpenAI's API reference ("Chat", "Completions",
"Responses" and their streaming objects, https://platform.openai.com/docs/api-reference).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import orjson

Dialect = Literal["chat", "completions", "responses", "other"]
"""Whose answer it is: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, any other."""

_Object = dict[str, Any]

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})
# The padding that hides how long tokens are, and the name of the form itself.
_STREAM_ONLY: Final = frozenset({"object", "obfuscation"})
_EVERY_CHUNK: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")


class CannotConvert(Exception):
    """This answer has no faithful counterpart in the other form."""


def fold_frames(dialect: Dialect, frames: bytes) -> bytes:
    """Make the body that the provider would have sent plain out of its complete stream.

    Raises `CannotConvert` for a stream with an error or without its end, and for anything whose
    pieces cannot be put together with certainty.
    """
    if dialect == "chat":
        return _dump(_fold_choices(frames, "chat.completion", _ChatChoice))
    if dialect == "completions":
        return _dump(_fold_choices(frames, "text_completion", _TextChoice))
    if dialect == "responses":
        return _dump(_fold_response(frames))
    raise CannotConvert("only answers made of text have two forms")


def frame_body(dialect: Dialect, body: bytes, *, include_usage: bool) -> bytes:
    """Make the stream that the provider would have sent out of its plain body.

    A whole text is one delta. `include_usage` is the client's `stream_options.include_usage`:
    every chunk then says `usage: null` and a last one without choices has the numbers; a stream of
    the Responses API has its usage in any case. Raises `CannotConvert` for a body that is no
    finished answer, or has no usage to include.
    """
    answer = _load(body)
    if answer.get("error"):
        raise CannotConvert("the answer is an error")
    if dialect == "chat":
        chunks = _frame_choices(answer, "chat.completion.chunk", _chat_pieces, include_usage)
    elif dialect == "completions":
        chunks = _frame_choices(answer, "text_completion", _text_pieces, include_usage)
    elif dialect == "responses":
        return b"".join(
            b"event: %s\ndata: %s\n\n" % (event["type"].encode(), _dump(event))
            for event in _response_events(answer)
        )
    else:
        raise CannotConvert("only answers made of text have two forms")
    return b"".join(b"data: %s\n\n" % _dump(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def strip_usage(frames: bytes, span: tuple[int, int] | None) -> bytes:
    """Cut the usage-only frame, which lies at `span`, for a client that did not ask for it."""
    return frames if span is None else frames[: span[0]] + frames[span[1] :]


# Chat and completions: from chunks to a body.


class _Pieces(list[str]):
    """A text of which more may come; joined once at the end, so that long ones stay cheap."""

    def join(self) -> str:
        return "".join(self)


class _EncodedPieces(_Pieces):
    """Data of which more may come, each piece base64 of its own."""

    def join(self) -> str:
        try:
            data = b"".join(base64.b64decode(piece, validate=True) for piece in self)
        except (binascii.Error, ValueError) as exc:
            raise CannotConvert("the audio is no base64") from exc
        return base64.b64encode(data).decode()


class _Choice:
    """One choice of a stream, as far as it has been read."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.rest: _Object = {}

    def add(self, choice: _Object) -> None:
        """Add what a chunk says of this choice."""
        for key, value in choice.items():
            if key == "finish_reason":
                self.finish_reason = value or self.finish_reason
            elif key == "logprobs":
                _join_lists(self.rest, key, value)
            elif key != "index" and not self.add_content(key, value):
                _settle(self.rest, key, value)

    def add_content(self, key: str, value: object) -> bool:
        """Take in `value` if `key` is the part of a chunk that holds what was generated."""
        raise NotImplementedError

    def content(self) -> _Object:
        """What was generated, as a plain body names it."""
        raise NotImplementedError

    def fold(self) -> _Object:
        """The choice of a plain body."""
        if self.finish_reason is None:
            raise CannotConvert("a choice has no end")
        content = {key: _joined(value) for key, value in self.content().items()}
        return {"index": self.index, **content, **self.rest, "finish_reason": self.finish_reason}


class _TextChoice(_Choice):
    """One choice of a text completion."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.generated: _Object = {"text": _Pieces()}

    def add_content(self, key: str, value: object) -> bool:
        if key != "text":
            return False
        _grow(self.generated, key, value or "")
        return True

    def content(self) -> _Object:
        return self.generated


class _ChatChoice(_Choice):
    """One choice of a chat completion."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        # A plain message always says what its content is, if only that there is none.
        self.message: _Object = {"role": "assistant", "content": None}
        self.calls: dict[int, _Object] = {}

    def add_content(self, key: str, value: object) -> bool:
        if key != "delta":
            return False
        for name, piece in _object(value or {}).items():
            self.add_piece(name, piece)
        return True

    def add_piece(self, name: str, piece: object) -> None:
        """Add one field of a delta: texts grow, calls grow by index, anything else comes once."""
        message = self.message
        if name == "role":
            message[name] = piece or message[name]
        elif piece is None:
            message.setdefault(name, None)
        elif name == "tool_calls":
            message[name] = message.get(name) or []
            for call in _objects(piece):
                self.add_call(call)
        elif name == "function_call":
            _add_function(message, name, piece)
        elif name == "audio":
            _add_audio(message, piece)
        elif name == "annotations":
            _join_lists(message, name, piece)
        elif isinstance(piece, str):
            _grow(message, name, piece)
        elif name == "content":
            raise CannotConvert("the content is not text")
        else:
            _once(message, name, piece)

    def add_call(self, piece: _Object) -> None:
        """Add a piece of a tool call to the call with its index."""
        call = self.calls.setdefault(_index(piece), {})
        for key, value in piece.items():
            if key in ("function", "custom") and value is not None:
                _add_function(call, key, value)
            elif key != "index":
                _settle(call, key, value)

    def content(self) -> _Object:
        if self.calls:
            self.message["tool_calls"] = [self.calls[index] for index in sorted(self.calls)]
        return {"message": self.message}


def _fold_choices(
    frames: bytes, kind: str, choice_type: type[_ChatChoice] | type[_TextChoice]
) -> _Object:
    body: _Object = {"id": None, "object": kind, "created": None, "model": None, "choices": []}
    usage: _Object | None = None
    choices: dict[int, _Choice] = {}
    named: set[str] = set()
    for chunk in _chunks(frames):
        named |= chunk.keys()
        for key, value in chunk.items():
            if key == "choices":
                for choice in _objects(value or []):
                    index = _index(choice)
                    if index not in choices:
                        choices[index] = choice_type(index)
                    choices[index].add(choice)
            elif key == "usage":
                usage = _object(value) if value else usage
            elif key in ("id", "created", "model"):
                body[key] = body[key] or value  # some first chunks leave them empty
            elif key not in _STREAM_ONLY and (key not in body or body[key] != value):
                _settle(body, key, value)
    if not choices:
        raise CannotConvert("the stream has no choices")
    body["choices"] = [choices[index].fold() for index in sorted(choices)]
    if usage:
        body["usage"] = usage
    return {key: value for key, value in body.items() if key in named or key == "object"}


def _chunks(frames: bytes) -> Iterator[_Object]:
    """The chunks of a complete stream up to `[DONE]`."""
    for data in _payloads(frames):
        if data.startswith(_DONE):
            return
        chunk = _load(data)
        if chunk.get("error") or "choices" not in chunk:
            raise CannotConvert("the stream has an event that is no chunk")
        yield chunk
    raise CannotConvert("the stream has no end")


def _grow(target: _Object, key: str, piece: object, pieces_type: type[_Pieces] = _Pieces) -> None:
    """Add a piece to a text."""
    known = target.get(key)
    if not isinstance(known, _Pieces):
        known = target[key] = pieces_type([_string(known or "")])
    known.append(_string(piece))


def _joined(value: object) -> object:
    """A value with the pieces of its texts joined."""
    if isinstance(value, _Pieces):
        return value.join()
    if isinstance(value, list):
        return [_joined(item) for item in value]
    if isinstance(value, dict):
        return {key: _joined(item) for key, item in value.items()}
    return value


def _add_function(target: _Object, key: str, piece: object) -> None:
    """Add a piece of a call: the name comes once, the arguments (or free input) in pieces."""
    function = target[key] = target.get(key) or {}
    for name, value in _object(piece).items():
        if name in ("arguments", "input"):
            _grow(function, name, value or "")
        else:
            _settle(function, name, value)


def _add_audio(message: _Object, piece: object) -> None:
    """Add a piece of a spoken answer."""
    audio = message["audio"] = message.get("audio") or {}
    for name, value in _object(piece).items():
        if name == "transcript":
            _grow(audio, name, value or "")
        elif name == "data":
            _grow(audio, name, value or "", _EncodedPieces)
        else:
            _settle(audio, name, value)


def _join_lists(target: _Object, key: str, value: object) -> None:
    """Join lists, and objects of lists such as `logprobs`; null adds nothing."""
    known = target.get(key)
    if known is None:
        target[key] = value
    elif isinstance(known, list) and isinstance(value, list):
        known.extend(value)
    elif isinstance(known, dict) and isinstance(value, dict):
        for name, item in value.items():
            _join_lists(known, name, item)
    elif value is not None:
        raise CannotConvert(f"the pieces of {key} do not fit")


def _once(target: _Object, key: str, value: object) -> None:
    """Set a field of unknown meaning, which is whole only if it comes once."""
    if target.get(key) in _EMPTY:
        target[key] = value
    elif value not in _EMPTY:
        raise CannotConvert(f"{key} comes in pieces of unknown meaning")


def _settle(target: _Object, key: str, value: object) -> None:
    """Set a field that is not generated: it may be repeated and completed, never changed."""
    known = target.get(key)
    if isinstance(known, dict) and isinstance(value, dict):
        for name, item in value.items():
            _settle(known, name, item)
    elif isinstance(known, list) or known != value:
        _once(target, key, value)
    else:
        target[key] = value


# Chat and completions: from a body to chunks.


def _frame_choices(
    answer: _Object,
    kind: str,
    pieces_of: Callable[[_Object], Iterator[_Object]],
    include_usage: bool,
) -> Iterator[_Object]:
    usage = answer.get("usage")
    if include_usage and not isinstance(usage, dict):
        raise CannotConvert("the answer has no usage")
    choices = _objects(answer.get("choices") or [])
    if len({_index(choice) for choice in choices}) != len(choices) or not choices:
        raise CannotConvert("the answer has no distinct choices")
    every = {key: answer[key] for key in _EVERY_CHUNK if key in answer} | {"object": kind}
    own = (*_EVERY_CHUNK, "choices", "usage")
    first = {key: value for key, value in answer.items() if key not in own}
    no_usage = {"usage": None} if include_usage else {}
    for choice in choices:
        for piece in pieces_of(choice):
            yield every | {"choices": [piece]} | no_usage | first
            first = {}
    if include_usage:
        yield every | {"choices": [], "usage": usage}


def _chat_pieces(choice: _Object) -> Iterator[_Object]:
    """The deltas of one choice: its role, its texts, its calls, what else it has, its end."""
    message = _object(choice.get("message"))
    if not isinstance(message.get("content"), str | None):
        raise CannotConvert("the content is not text")
    logprobs = choice.get("logprobs")
    no_logprobs = {"logprobs": None} if "logprobs" in choice else {}

    def piece(delta: _Object) -> _Object:
        return {"index": choice["index"], "delta": delta, **no_logprobs, "finish_reason": None}

    whole = {name for name, value in message.items() if name == "role" or value in _EMPTY}
    opening = {"content": ""} if message.get("content") else {}
    yield piece({name: message[name] for name in message if name in whole} | opening)
    for name, value in sorted(message.items(), key=_generation_order):
        if name in whole:
            continue
        for delta in _deltas(name, value):
            spoken = name in ("content", "refusal") and logprobs is not None
            yield piece(delta) | ({"logprobs": logprobs} if spoken else {})
            logprobs = None if spoken else logprobs
    yield (
        piece({})
        | {name: value for name, value in choice.items() if name not in ("message", "logprobs")}
        | ({} if logprobs is None else {"logprobs": logprobs})
        | {"finish_reason": _string(choice.get("finish_reason"))}
    )


_ORDER: Final = {"content": 1, "refusal": 2}


def _generation_order(field: tuple[str, object]) -> int:
    """Reasoning and the like come before the content, calls and what is attached after it."""
    name, value = field
    return _ORDER.get(name, 0 if isinstance(value, str) else 3)


def _deltas(name: str, value: object) -> Iterator[_Object]:
    """The deltas that carry one field of a message."""
    if name == "function_call":
        for piece in _function_pieces(_object(value)):
            yield {name: piece}
    elif name == "tool_calls":
        for index, call in enumerate(_objects(value)):
            yield from ({name: [piece]} for piece in _call_pieces(index, call))
    else:
        yield {name: value}


def _call_pieces(index: int, call: _Object) -> Iterator[_Object]:
    """A tool call: what it is, then what it is called with."""
    kind = "custom" if "custom" in call else "function"
    opening, *rest = _function_pieces(_object(call.get(kind)))
    yield {"index": index, **call, kind: opening}
    for piece in rest:
        yield {"index": index, kind: piece}


def _function_pieces(function: _Object) -> list[_Object]:
    name = "input" if "input" in function else "arguments"
    text = _string(function.get(name))
    return [function | {name: ""}, {name: text}]


def _text_pieces(choice: _Object) -> Iterator[_Object]:
    """The chunks of one choice of a text completion: its text, its end."""
    end = {"text": "", "logprobs": None} if "logprobs" in choice else {"text": ""}
    text = {"text": _string(choice.get("text"))}
    logprobs = {"logprobs": choice["logprobs"]} if "logprobs" in choice else {}
    yield {**text, "index": choice["index"], **logprobs, "finish_reason": None}
    yield choice | end | {"finish_reason": _string(choice.get("finish_reason"))}


# Responses.

_PART_EVENTS: Final = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
}
_CALL_EVENTS: Final = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}


def _fold_response(frames: bytes) -> _Object:
    """The response of the terminal event, which is the plain body."""
    for data in _payloads(frames):
        if data.startswith(_DONE):
            break
        event = _load(data)
        if event.get("error") or event.get("type") in ("error", "response.failed"):
            raise CannotConvert("the stream has an error")
        if event.get("type") in ("response.completed", "response.incomplete"):
            return _object(event.get("response"))
    raise CannotConvert("the stream has no end")


def _response_events(response: _Object) -> Iterator[_Object]:
    """The events of a finished response, numbered."""
    status = response.get("status")
    if status not in ("completed", "incomplete"):
        raise CannotConvert("the response is not finished")
    not_yet = dict.fromkeys(("completed_at", "incomplete_details", "usage"))
    opening = {
        **response,
        **{key: value for key, value in not_yet.items() if key in response},
        "status": "in_progress",
        "output": [],
    }
    events = [
        _event("response.created", response=opening),
        _event("response.in_progress", response=opening),
    ]
    for output_index, item in enumerate(_objects(response.get("output"))):
        events.extend(_item_events(output_index, item))
    events.append(_event(f"response.{status}", response=response))
    for number, event in enumerate(events):
        yield {"type": event["type"], "sequence_number": number, **event}


def _event(kind: str, **fields: object) -> _Object:
    return {"type": kind, **fields}


def _item_events(output_index: int, item: _Object) -> Iterator[_Object]:
    """The events of one output item; what is not generated text appears whole at once."""
    opening = dict(item)
    inner: Iterator[_Object] = iter(())
    kind = str(item.get("type"))
    if kind in ("message", "reasoning") or kind in _CALL_EVENTS:
        opening |= {"status": "in_progress"} if "status" in item else {}
        where = {"item_id": _string(item.get("id")), "output_index": output_index}
        if kind in _CALL_EVENTS:
            name, field = _CALL_EVENTS[kind]
            opening[field] = ""
            inner = _text_events(name, field, _string(item.get(field)), where)
        else:
            opening |= {name: [] for name in ("content", "summary") if item.get(name)}
            inner = _part_lists(item, where)
    yield _event("response.output_item.added", output_index=output_index, item=opening)
    yield from inner
    yield _event("response.output_item.done", output_index=output_index, item=item)


def _part_lists(item: _Object, where: _Object) -> Iterator[_Object]:
    for index, part in enumerate(_objects(item.get("summary") or [])):
        yield from _summary_events(part, where | {"summary_index": index})
    for index, part in enumerate(_objects(item.get("content") or [])):
        yield from _part_events(part, where | {"content_index": index})


def _summary_events(part: _Object, where: _Object) -> Iterator[_Object]:
    name = "response.reasoning_summary_part"
    text = _string(part.get("text"))
    yield _event(f"{name}.added", **where, part=part | {"text": ""})
    yield from _text_events("response.reasoning_summary_text", "text", text, where)
    yield _event(f"{name}.done", **where, part=part)


def _part_events(part: _Object, where: _Object) -> Iterator[_Object]:
    name, field = _PART_EVENTS.get(str(part.get("type")), ("", ""))
    if not name:
        raise CannotConvert("a part of the content is of an unknown type")
    empty: _Object = {key: [] for key in ("annotations", "logprobs") if part.get(key)}
    extra = {"logprobs": part.get("logprobs") or []} if name == "response.output_text" else {}
    yield _event("response.content_part.added", **where, part=part | empty | {field: ""})
    for event in _text_events(name, field, _string(part.get(field)), where | extra):
        if event["type"].endswith(".done"):
            yield from _annotation_events(part, where)
        yield event
    yield _event("response.content_part.done", **where, part=part)


def _annotation_events(part: _Object, where: _Object) -> Iterator[_Object]:
    for index, annotation in enumerate(part.get("annotations") or []):
        yield _event(
            "response.output_text.annotation.added",
            **where,
            annotation_index=index,
            annotation=annotation,
        )


def _text_events(name: str, field: str, text: str, where: _Object) -> Iterator[_Object]:
    if text:
        yield _event(f"{name}.delta", **where, delta=text)
    yield _event(f"{name}.done", **where, **{field: text})


# Reading and writing.


def _payloads(frames: bytes) -> Iterator[bytes]:
    """The data of each event of a stored stream, the last one included if no blank line ends it.

    The gateway's reader lies above this package. Of the standard's fields only the data matter:
    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream.
    """
    lines = frames.removeprefix(_BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    data = []
    for line in lines:
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


def _load(data: bytes) -> _Object:
    try:
        value = orjson.loads(data)
        # An integer beyond 64 bits would become a float.
        exact = not _LONG_INTEGER.search(data) or json.loads(data) == value
    except (ValueError, RecursionError) as exc:
        raise CannotConvert("this is no JSON that can be read exactly") from exc
    if not exact:
        raise CannotConvert("a number is too large")
    return _object(value)


def _dump(value: _Object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as exc:  # deeper than orjson writes
        raise CannotConvert("the answer is too deep") from exc


def _object(value: object) -> _Object:
    if not isinstance(value, dict):
        raise CannotConvert("an object is missing")
    return value


def _objects(value: object) -> list[_Object]:
    if not isinstance(value, list):
        raise CannotConvert("a list is missing")
    return [_object(item) for item in value]


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise CannotConvert("a text is missing")
    return value


def _index(value: _Object) -> int:
    index = value.get("index")
    if type(index) is not int:
        raise CannotConvert("an index is missing")
    return index
