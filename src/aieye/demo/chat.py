"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from aieye.demo.answers import Json, Outcome
from aieye.demo.calls import Call
from aieye.demo.choices import chat_logprobs, finish, head, usage
from aieye.demo.errors import invalid, missing, wrong_type
from aieye.demo.models import check_kind
from aieye.demo.params import required, section
from aieye.demo.prompts import content_text, last_user_text
from aieye.demo.replies import Reply, answer
from aieye.demo.tokens import count_tokens, split_tokens


def create(call: Call) -> Outcome:
    """Echo the last message of the user, `n` times."""
    check_kind(call.model, "chat")
    params, messages = call.params, _messages(call.params)
    replies = answer(
        call,
        last_user_text(messages),
        section(params, "response_format"),
        limit=params.get("max_completion_tokens") or params.get("max_tokens"),
        variants=params.get("n") or 1,
    )
    asked_tokens = sum(count_tokens(content_text(item.get("content"))) for item in messages)
    return finish(
        call,
        head(call, "chatcmpl-", "chat.completion.chunk" if call.streamed else "chat.completion"),
        (_choice(index, reply, params) for index, reply in enumerate(replies)),
        _deltas(replies, params),
        usage(asked_tokens, sum(reply.tokens for reply in replies)),
    )


def _messages(params: Json) -> list[Json]:
    messages: list[Any] = required(params, "messages", list, "an array of objects")
    if not messages:
        raise invalid("messages", "empty array. Expected at least one message.", "empty_array")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object")
        if not isinstance(message.get("role"), str):
            raise missing(f"messages[{index}].role")
        if not isinstance(message.get("content"), str | list | None):
            raise wrong_type(f"messages[{index}].content", "a string")
    return messages


def _choice(index: int, reply: Reply, params: Json) -> Json:
    message: Json = {**_opening(reply, reply.text), "annotations": []}
    logprobs = None if reply.function else chat_logprobs(split_tokens(reply.text), params)
    return _numbered(index, {"message": message}, logprobs, reply.finish)


def _opening(reply: Reply, text: str, **place: int) -> Json:
    """A message with `text`, or with the function call (at a `place`) that has it as arguments."""
    message = {"role": "assistant", "content": text, "refusal": None}
    if not reply.function:
        return message
    function = {"name": reply.function, "arguments": text}
    tool_call = {**place, "id": reply.call_id, "type": "function", "function": function}
    return {**message, "content": None, "tool_calls": [tool_call]}


def _deltas(replies: Sequence[Reply], params: Json) -> Iterator[Json]:
    """The choices of all chunks: roles, then the tokens of all replies in turn, then finishes."""
    for index, reply in enumerate(replies):
        yield _numbered(index, {"delta": _opening(reply, "", index=0)})
    for row in zip_longest(*(split_tokens(reply.text) for reply in replies)):
        for index, token in enumerate(row):
            if token is None:
                continue
            if replies[index].function:
                calls = [{"index": 0, "function": {"arguments": token}}]
                yield _numbered(index, {"delta": {"tool_calls": calls}})
            else:
                logprobs = chat_logprobs([token], params)
                yield _numbered(index, {"delta": {"content": token}}, logprobs)
    for index, reply in enumerate(replies):
        yield _numbered(index, {"delta": {}}, finish_reason=reply.finish)


def _numbered(
    index: int, said: Json, logprobs: Json | None = None, finish_reason: str | None = None
) -> Json:
    return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish_reason}
