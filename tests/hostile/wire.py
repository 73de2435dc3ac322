"""HTTP/1.1 written by hand: requests that no client library would send, and answers as they come."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

# A server that has not answered by then hangs.
PATIENCE_SECONDS = 60.0
HEADER_END = b"\r\n\r\n"


class HangError(AssertionError):
    """Neither an answer nor the end of the connection came in time."""


@dataclass(frozen=True)
class Answer:
    """The first answer on a connection; `rest` is whatever came after it."""

    status: int
    headers: dict[str, str]
    body: bytes
    rest: bytes = b""

    def __str__(self) -> str:
        return f"{self.status} {self.body[:200]!r}"

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object; fails when the answer is not shaped like that."""
        assert self.headers.get("content-type", "").startswith("application/json"), str(self)
        body = self.json
        assert isinstance(body, dict), str(self)
        error = body.get("error")
        assert isinstance(error, dict), str(self)
        # A pipeline that is refused says all that is wrong beside the error.
        is_pipeline = error.get("code") == "invalid_pipeline"
        assert set(body) == ({"error", "diagnostics"} if is_pipeline else {"error"}), str(self)
        assert set(error) == {"message", "type", "code", "param"}, str(self)
        assert isinstance(error["message"], str), str(self)
        assert error["message"], str(self)
        return error


def request(
    method: str | bytes,
    target: str | bytes,
    headers: Iterable[tuple[str | bytes, str | bytes]] = (),
    body: bytes | None = None,
    *,
    host: str | bytes | None = "localhost",
) -> bytes:
    """A request's bytes, nothing checked; with a body comes its Content-Length."""
    lines = [b"%s %s HTTP/1.1" % (_raw(method), _raw(target))]
    if host is not None:
        lines.append(b"Host: " + _raw(host))
    lines += [b"%s: %s" % (_raw(name), _raw(value)) for name, value in headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + HEADER_END + (body or b"")


def exchange(
    port: int, data: bytes, *, half_close: bool = False, patience: float = PATIENCE_SECONDS
) -> Answer | None:
    """Send bytes and read one answer; None when the server closes without one.

    `half_close` ends our side after the last byte, for requests that announce more than they send.
    Raises `HangError`.
    """
    head_only = data.startswith(b"HEAD ")
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has answered before the end of what we had to say
        except TimeoutError as error:
            raise HangError(f"it does not read: {data[:200]!r}") from error
        return _read(connection, data, time.monotonic() + patience, head_only=head_only)


def _read(
    connection: socket.socket, data: bytes, deadline: float, *, head_only: bool
) -> Answer | None:
    received = b""
    while True:
        answer = _parse(received, head_only=head_only)
        if answer is not None:
            return answer
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            more = connection.recv(2**16)
        except TimeoutError as error:
            raise HangError(f"no answer to {data[:200]!r}, only {received[:200]!r}") from error
        except ConnectionResetError:
            more = b""
        if not more:
            return _parse(received, head_only=head_only, closed=True)
        received += more


def _parse(received: bytes, *, head_only: bool, closed: bool = False) -> Answer | None:
    head, separator, rest = received.partition(HEADER_END)
    if not separator:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1])
    if status == 100:
        return _parse(rest, head_only=head_only, closed=closed)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if head_only or status in {101, 204, 304}:
        return Answer(status, headers, b"", rest)
    if "content-length" in headers:
        length = int(headers["content-length"])
        if len(rest) < length and not closed:
            return None
        return Answer(status, headers, rest[:length], rest[length:])
    if headers.get("transfer-encoding") == "chunked":
        return _parse_chunks(status, headers, rest, closed=closed)
    return Answer(status, headers, rest) if closed else None


def _parse_chunks(
    status: int, headers: dict[str, str], rest: bytes, *, closed: bool
) -> Answer | None:
    body = b""
    while True:
        size_line, separator, after = rest.partition(b"\r\n")
        if separator:
            size = int(size_line, 16)
            if size == 0 and after.startswith(b"\r\n"):
                return Answer(status, headers, body, after[2:])
            if size and len(after) >= size + 2:
                body, rest = body + after[:size], after[size + 2 :]
                continue
        return Answer(status, headers, body) if closed else None


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
