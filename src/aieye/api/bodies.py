"""Reading the body of a request to `/v1`: whole or as it comes, and never more than is allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from aieye.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia
from aieye.gateway.calls import Call
from aieye.waiting import ClientGone

Scope = dict[str, Any]
# Set in the state of a request's scope by whoever closes its connection for want of patience.
TIMED_OUT = "timed_out"


class RequestTimeout(InvalidRequest):
    """The rest of the request did not come."""

    status = 408
    code = "request_timeout"


async def read_body(scope: Scope, headers: dict[bytes, bytes], receive: Any, limit: int) -> bytes:
    """The whole body. Raises `PayloadTooLarge` as soon as it is known to be too large,
    `UnsupportedMedia`, `ClientGone`, `RequestTimeout`."""
    check_head(headers, limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if message["type"] == "http.disconnect":
            raise _broken_off(scope)
        if len(body) > limit:
            raise _too_large(limit)
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _broken_off(scope)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


async def stream_body(
    scope: Scope, receive: Any, call: Call, limit: int, at_end: Callable[[], None]
) -> AsyncIterator[bytes]:
    """An upload as it comes, never held whole. What ends it early is also its call's
    `upload_error`."""
    size = 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if message["type"] == "http.disconnect":
            call.upload_error = _broken_off(scope)
        elif size > limit:
            call.upload_error = _too_large(limit)
        if call.upload_error is not None:
            raise call.upload_error
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            at_end()
            return


def check_head(headers: dict[bytes, bytes], limit: int) -> None:
    """Raises `UnsupportedMedia`, `PayloadTooLarge` for what the head says of the body."""
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.strip().lower() not in {b"", b"identity"}:
        raise UnsupportedMedia("Request bodies are not taken compressed; send them as they are.")
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise _too_large(limit)


def _broken_off(scope: Scope) -> InvalidRequest:
    if scope.get("state", {}).get(TIMED_OUT):
        return RequestTimeout("The rest of the request did not come in time.")
    return ClientGone("The client left before its request was complete.")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request's body is larger than the {limit} bytes allowed here.")
