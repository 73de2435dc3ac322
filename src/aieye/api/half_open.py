"""A client's connection to the server: uvicorn's, with an end to its patience and quicker answers.

uvicorn 0.54 waits for ever for the rest of a request that has begun (it limits only the idle time
between requests). Here one timer a connection looks every now and then whether it is the client
that is waited for, and closes it with a 408; a request costs no timer of its own.

An answer that comes whole is written at once: uvicorn looks at each header by itself, which takes
longer than all that a hit costs in the cache.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from aieye.api.bodies import TIMED_OUT, RequestTimeout
from aieye.api.rendering import error_body
from aieye.gateway.wire import header
from aieye.headers import STOPPING

# From a connection's beginning, or a request's first byte, to the end of its head.
HEAD_SECONDS = 10.0
# Between any two pieces of a body. A slow one is taken as long as it goes on.
BODY_SECONDS = 30.0

# A larger body is written beside its head, not copied behind it.
COPIED_BYTES = 64 * 1024


class Connection(HttpToolsProtocol):
    """A client's connection to the server, as uvicorn has it, with an end to its patience."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._heard_at = self._began_at = self.loop.time()
        self._leftover: Any = None
        # Since when the connection rests between two requests, if it does.
        self._idle_since: float | None = None
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops: an answer without an end of its own is told to end."""
        cycle = self._unanswered()
        if cycle is not None:
            cycle.scope["state"][STOPPING] = True
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        self._idle_since = None
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._began_at = self._heard_at
        super().on_message_begin()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # uvicorn makes it and offers no other way to have it made.
        cycle.__class__ = Cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        # As uvicorn has it, but for the timer.
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()

    def _look(self) -> None:
        """Close the connection if its client is overdue; else look again, when it would be."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        due = self._due(now)
        # Timers may fire a little early.
        if due <= now + 0.002:
            self._give_up()
        else:
            self._timer = self.loop.call_at(min(due, now + HEAD_SECONDS), self._look)

    def _due(self, now: float) -> float:
        """Until when the client may still be silent."""
        cycle = self._unanswered()
        if cycle is not None:
            if not cycle.more_body:
                return now + BODY_SECONDS
            if self.flow.read_paused:
                # It is we who do not read.
                self._heard_at = now
            return self._heard_at + BODY_SECONDS
        if self._is_in_head():
            return self._began_at + HEAD_SECONDS
        if self._idle_since is not None:
            return self._idle_since + self.timeout_keep_alive
        # Something came behind a whole answer that is no request: the rest of a refused body, or
        # junk. It is bearable for once.
        if self._leftover is self.cycle:
            return now
        self._leftover = self.cycle
        return now + HEAD_SECONDS

    def _unanswered(self) -> RequestResponseCycle | None:
        """The request that the application has and has not answered to the end."""
        cycle: RequestResponseCycle | Any = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    def _is_in_head(self) -> bool:
        """Whether a request's head is waited for: of the first one always, else once it began."""
        scope: Any = self.scope
        return scope is None or "path" not in scope

    def _give_up(self) -> None:
        if self._idle_since is not None:
            # What is still on its way to a slow client goes there first.
            self.transport.close()
            return
        cycle = self._unanswered()
        if cycle is not None:
            cycle.scope["state"][TIMED_OUT] = True
            # What the application says from now on nobody hears.
            cycle.disconnected = True
            cycle.message_event.set()
            can_say = not cycle.response_started
        else:
            can_say = bool(self.scope) and self._is_in_head()
        if can_say:
            self._say_timeout()
            self.transport.close()
        else:
            self.transport.abort()

    def _say_timeout(self) -> None:
        error = RequestTimeout("The rest of the request did not come in time.")
        body = error_body(error)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join((STATUS_LINE[error.status], *lines, b"\r\n", body)))


class Cycle(RequestResponseCycle):
    """A request and its answer. What begins with its length is held back for the body to come."""

    _held: Any = None

    async def send(self, message: Any) -> None:
        held, self._held = self._held, None
        if self._can_hold(message):
            # Another beginning takes its place: the server's own, where the application failed.
            self._held = message
            return
        if held is not None:
            if self._send_whole(held, message):
                return
            await super().send(held)
        await super().send(message)

    def _can_hold(self, message: Any) -> bool:
        return (
            message["type"] == "http.response.start"
            and not self.response_started
            and self.keep_alive
            and header(message["headers"], b"content-length") is not None
            and self.scope["method"] != "HEAD"
        )

    def _send_whole(self, start: Any, message: Any) -> bool:
        """Write an answer at once; False where it has to go the usual way."""
        body = message.get("body", b"")
        if (
            message.get("more_body", False)
            or self.flow.write_paused
            or self.disconnected
            or message["type"] != "http.response.body"
        ):
            return False
        headers = [*self.default_headers, *start["headers"]]
        head = b"".join(
            (
                STATUS_LINE[start["status"]],
                *[b"%b: %b\r\n" % pair for pair in headers],
                b"\r\n",
            )
        )
        # A header that holds a line's end, or has something to say to the server, is for uvicorn.
        lines = len(headers) + 2
        if (
            head.count(b"\n") != lines
            or head.count(b"\r") != lines
            or b"\0" in head
            or b"\r\nconnection:" in head
            or b"\r\ncontent-length: %d\r\n" % len(body) not in head
        ):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        if len(body) <= COPIED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self.message_event.set()
        self.on_response()
        return True
