"""The two forms of one answer: a stream of frames and a plain JSON body, each made of the other.

Pure. A client gets the form that it asked for whichever was stored, and the same text, tool calls
and usage in both. What cannot be carried over without loss or guesswork raises `CannotConvert`; the
call is then a miss. The shapes are those of OpenAI's API reference ("Chat", "Completions",
"Responses" and their streaming objects, https://platform.openai.com/docs/api-reference).
"""

from __future__ import annotations

from typing import Literal

from aieye.cache.forms.choices import ChatChoice, TextChoice
from aieye.cache.forms.fold_choices import fold_choices
from aieye.cache.forms.frame_choices import chat_pieces, frame_choices, text_pieces
from aieye.cache.forms.reading import CannotConvert, dump, load
from aieye.cache.forms.responses import fold_response, response_events

__all__ = ["CannotConvert", "Dialect", "fold_frames", "frame_body", "strip_usage"]

Dialect = Literal["chat", "completions", "responses", "other"]
"""Whose answer it is: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, any other."""


def fold_frames(dialect: Dialect, frames: bytes) -> bytes:
    """Make the body that the provider would have sent plain out of its complete stream.

    Raises `CannotConvert` for a stream with an error or without its end, and for anything whose
    pieces cannot be put together with certainty.
    """
    if dialect == "chat":
        return dump(fold_choices(frames, "chat.completion", ChatChoice))
    if dialect == "completions":
        return dump(fold_choices(frames, "text_completion", TextChoice))
    if dialect == "responses":
        return dump(fold_response(frames))
    raise CannotConvert("only answers made of text have two forms")


def frame_body(dialect: Dialect, body: bytes, *, include_usage: bool) -> bytes:
    """Make the stream that the provider would have sent out of its plain body.

    A whole text is one delta. `include_usage` is the client's `stream_options.include_usage`:
    every chunk then says `usage: null` and a last one without choices has the numbers; a stream of
    the Responses API has its usage in any case. Raises `CannotConvert` for a body that is no
    finished answer, or has no usage to include.
    """
    answer = load(body)
    if answer.get("error"):
        raise CannotConvert("the answer is an error")
    if dialect == "chat":
        chunks = frame_choices(answer, "chat.completion.chunk", chat_pieces, include_usage)
    elif dialect == "completions":
        chunks = frame_choices(answer, "text_completion", text_pieces, include_usage)
    elif dialect == "responses":
        return b"".join(
            b"event: %s\ndata: %s\n\n" % (event["type"].encode(), dump(event))
            for event in response_events(answer)
        )
    else:
        raise CannotConvert("only answers made of text have two forms")
    return b"".join(b"data: %s\n\n" % dump(chunk) for chunk in chunks) + b"data: [DONE]\n\n"


def strip_usage(frames: bytes, span: tuple[int, int] | None) -> bytes:
    """Cut the usage-only frame, which lies at `span`, for a client that did not ask for it."""
    return frames if span is None else frames[: span[0]] + frames[span[1] :]
