"""The simulated provider on a port of its own, within a running event loop."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from aieye.demo.app import DemoProvider

if TYPE_CHECKING:
    import uvicorn


class DemoServer:
    """A running simulated provider. Made by `serve_demo`; `close` it when done."""

    def __init__(self, app: DemoProvider, server: uvicorn.Server, listener: socket.socket) -> None:
        self.app = app
        self.host, self.port = listener.getsockname()[:2]
        self._server = server
        self._listener = listener
        self._ticking = asyncio.create_task(server.main_loop())

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as `base_url`: the origin with `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/v1"

    async def close(self) -> None:
        """Stop listening and cut every connection, open streams included. May be repeated."""
        if self._server.should_exit:
            return
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            # Not `close`, which would wait for a client that does not read.
            connection.transport.abort()
        await self._ticking
        await self._server.shutdown(sockets=[self._listener])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError.

    asyncio turns Nagle's algorithm off only on sockets that name their protocol, which those of
    `socket.create_server` do not; with it on, every answer would wait 40 ms for an acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


async def serve_demo(
    host: str = "127.0.0.1", port: int = 0, *, app: DemoProvider | None = None
) -> DemoServer:
    """Run the simulated provider in this event loop; port 0 takes a free one.

    Without `app` it is a new instance with empty accounts. It answers when this returns, installs
    no signal handlers, and leaves the process's logging as it is: uvicorn's own settings would
    also change the logs of another server in the same process. Raises OSError when the address
    cannot be bound.
    """
    # The app itself needs no server, and importing this one costs a tenth of a second.
    import uvicorn  # noqa: PLC0415

    listener = _listen(host, port)
    provider = app or DemoProvider()
    config = uvicorn.Config(provider, lifespan="off", ws="none", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    # What `serve()` does, less the signal handlers, which belong to the process's main server.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    return DemoServer(provider, server, listener)
