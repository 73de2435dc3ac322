"""/v1/responses: making, continuing and cancelling them."""

from __future__ import annotations

from collections.abc import Iterator

from aieye.demo.accounts import Kept
from aieye.demo.answers import CREATED, FINGERPRINT, Json, Outcome, Stream, digest, event
from aieye.demo.calls import Call
from aieye.demo.errors import ProviderError, wrong_type
from aieye.demo.models import check_kind
from aieye.demo.params import required, section, string
from aieye.demo.prompts import content_text, last_user_text
from aieye.demo.replies import Reply, answer
from aieye.demo.tokens import count_tokens, split_tokens


def create(call: Call) -> Outcome:
    """Echo the last message of the user, and keep the response unless `store` is false."""
    check_kind(call.model, "chat")
    params, items = call.params, _input_items(call)
    tokens = sum(count_tokens(content_text(item.get("content"))) for item in items)
    tokens += count_tokens(content_text(params.get("instructions"))) + _previous_tokens(call)
    form, limit = section(section(params, "text"), "format"), params.get("max_output_tokens")
    [reply] = answer(call, last_user_text(items), form, limit=limit)
    response = _response(call, reply, tokens)
    if response["store"]:
        kept = call.shelf.put(response["id"], Kept(response))
        for index, item in enumerate(items):
            kept.children.put(str(index), Kept(item))
    return Stream(_events(response)) if call.streamed else response


def _input_items(call: Call) -> list[Json]:
    """The input as stored items: messages with content parts and ids, other items with ids."""
    given = required(call.params, "input", str | list, "a string or an array")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    items = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise wrong_type(f"input[{index}]", "an object")
        items.append(_input_item(item, f"msg_{digest(call.digest, str(index))[:32]}"))
    return items


def _input_item(item: Json, id_: str) -> Json:
    if "role" not in item:
        return {"id": id_, **item}
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item["role"] == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    return {"id": id_, "type": "message", "status": "completed", **item, "content": content}


def _previous_tokens(call: Call) -> int:
    """What the response that this one continues adds to its input; raises 400 if it is gone."""
    if call.params.get("previous_response_id") is None:
        return 0
    id_ = string(call.params, "previous_response_id")
    previous = call.account.shelves["responses"].get(id_)
    if previous is None:
        message = f"Previous response with id '{id_}' not found."
        code = "previous_response_not_found"
        raise ProviderError(400, message, param="previous_response_id", code=code)
    return int(previous.public["usage"]["total_tokens"])


def _response(call: Call, reply: Reply, input_tokens: int) -> Json:
    params = call.params
    # The account is in the id: at the real provider no two accounts ever share one.
    id_ = digest(call.account.key, call.digest)[:48]
    incomplete = reply.finish == "length"
    status = "incomplete" if incomplete else "completed"
    return {
        "id": f"resp_{id_}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": params.get("background") is True,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "instructions": params.get("instructions"),
        "max_output_tokens": params.get("max_output_tokens"),
        "metadata": params.get("metadata") or {},
        "model": call.model,
        "output": [_output_item(id_, reply, status)],
        "parallel_tool_calls": params.get("parallel_tool_calls", True),
        "previous_response_id": params.get("previous_response_id"),
        "service_tier": "default",
        "store": params.get("store") is not False,
        "system_fingerprint": FINGERPRINT,
        "temperature": params.get("temperature", 1.0),
        "text": params.get("text") or {"format": {"type": "text"}},
        "tool_choice": params.get("tool_choice") or "auto",
        "tools": params.get("tools") or [],
        "top_p": params.get("top_p", 1.0),
        "usage": {
            "input_tokens": input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": reply.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input_tokens + reply.tokens,
        },
    }


def _output_item(id_: str, reply: Reply, status: str) -> Json:
    if reply.function:
        return {
            "id": f"fc_{id_}",
            "type": "function_call",
            "status": status,
            "arguments": reply.text,
            "call_id": reply.call_id,
            "name": reply.function,
        }
    return {
        "id": f"msg_{id_}",
        "type": "message",
        "status": status,
        "content": [_text_part(reply.text)],
        "role": "assistant",
    }


def _events(response: Json) -> Iterator[bytes]:
    """The numbered events that lead to `response`; there is no [DONE] on this endpoint."""
    begun = {**response, "status": "in_progress", "incomplete_details": None}
    begun |= {"output": [], "usage": None}
    [item] = response["output"]
    events = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        *(_call_events(item) if item["type"] == "function_call" else _message_events(item)),
        (f"response.{response['status']}", {"response": response}),
    ]
    for number, (name, fields) in enumerate(events):
        data = {"type": name, "sequence_number": number, **fields}
        yield b"event: " + name.encode() + b"\n" + event(data)


def _text_part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _call_events(item: Json) -> Iterator[tuple[str, Json]]:
    place, arguments = {"item_id": item["id"], "output_index": 0}, item["arguments"]
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield "response.output_item.added", {"output_index": 0, "item": begun}
    for token in split_tokens(arguments):
        yield "response.function_call_arguments.delta", {**place, "delta": token}
    yield "response.function_call_arguments.done", {**place, "arguments": arguments}
    yield "response.output_item.done", {"output_index": 0, "item": item}


def _message_events(item: Json) -> Iterator[tuple[str, Json]]:
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun, [part] = {**item, "status": "in_progress", "content": []}, item["content"]
    yield "response.output_item.added", {"output_index": 0, "item": begun}
    yield "response.content_part.added", {**place, "part": _text_part("")}
    for token in split_tokens(part["text"]):
        yield "response.output_text.delta", {**place, "delta": token, "logprobs": []}
    yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {"output_index": 0, "item": item}


def cancel(call: Call) -> Outcome:
    """A background response as it is: those are done at once too."""
    if not call.kept.public["background"]:
        raise ProviderError(400, "Cannot cancel a synchronous response.")
    return call.kept.public
