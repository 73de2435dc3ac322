"""Connections on which a request begins and does not end: closed after a while, with a 408.

The server itself waits for ever (uvicorn 0.54 limits only the idle time between requests). One timer
a connection looks every now and then whether it is the client that is waited for; a request costs
no timer of its own.
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

# From a connection's beginning, or a request's first byte, to the end of its head.
HEAD_SECONDS = 10.0
# Between any two pieces of a body. A slow one is taken as long as it goes on.
BODY_SECONDS = 30.0


class Connection(HttpToolsProtocol):
    """A client's connection to the server, as uvicorn has it, with an end to its patience."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._heard_at = self._began_at = self.loop.time()
        self._leftover: Any = None
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._began_at = self._heard_at
        super().on_message_begin()

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
        if self.timeout_keep_alive_task is not None:
            return now + HEAD_SECONDS
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
