"""A TCP proxy in front of PostgreSQL that a test can cut, freeze and bring back."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy.engine import URL, make_url

from tests.servers import free_port


class DatabaseProxy:
    """Listens on a port of its own; `url` is the database as seen through it.

    `cut` refuses and breaks all connections, `freeze` keeps them and passes nothing on, `heal` ends
    either. `broken` counts the connections that were cut or frozen, so that a test can tell that
    its fault fired. A context manager.
    """

    def __init__(self, url: str) -> None:
        self._address = make_url(url)
        self._port = free_port()
        self.url = self._address.set(host="127.0.0.1", port=self._port, query={}).render_as_string(
            hide_password=False
        )
        self.broken = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self.heal()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.cut()
        self._flowing.set()

    def cut(self) -> None:
        """Nobody listens any more, and what was open is broken off."""
        with self._lock:
            if self._listener is not None:
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            pairs, self._pairs = self._pairs, []
            self.broken += len(pairs)
            for one in (end for pair in pairs for end in pair):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def freeze(self) -> None:
        """Connections stay and can be made, and nothing comes through."""
        with self._lock:
            self.broken += len(self._pairs)
        self._flowing.clear()

    def heal(self) -> None:
        """Everything works."""
        self._flowing.set()
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
                _start(self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = _connect(self._address)
            except OSError:
                client.close()
                return
            with self._lock:
                if self._listener is not listener:
                    client.close()
                    server.close()
                    return
                self._pairs.append((client, server))
            _start(self._copy, client, server)
            _start(self._copy, server, client)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(2**16):
                self._flowing.wait()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _connect(address: URL) -> socket.socket:
    host = str(address.query.get("host", address.host or "localhost"))
    port = address.port or 5432
    if host.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return connection
    return socket.create_connection((host, port))


def _start(target: Callable[..., None], *arguments: socket.socket) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()
