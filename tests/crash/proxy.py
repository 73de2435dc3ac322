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

# How the ledger's own connection is called, and its simple query that ends a transaction.
LEDGER = b"aieye ledger"
COMMIT = b"COMMIT"


class DatabaseProxy:
    """Listens on a port of its own; `url` is the database as seen through it.

    `cut` refuses and breaks all connections, `freeze` keeps them and passes nothing on, `heal` ends
    either. `cut_at_next_commit` lets one COMMIT of the ledger through and breaks that connection
    before its answer. `broken` counts the connections that were cut or frozen, so that a test can
    tell that its fault fired. A context manager.
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
        self._commit_armed = threading.Event()
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

    def cut_at_next_commit(self) -> None:
        """The ledger's next COMMIT is carried out, and nobody is told."""
        self._commit_armed.set()

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
            silenced = threading.Event()
            _start(self._ask, client, server, silenced)
            _start(self._answer, client, server, silenced)

    def _ask(self, client: socket.socket, server: socket.socket, silenced: threading.Event) -> None:
        """From the client to the server."""
        is_ledger = False
        with contextlib.suppress(OSError):
            while data := client.recv(2**16):
                self._flowing.wait()
                # It stands in the connection's first message.
                is_ledger = is_ledger or LEDGER in data
                if is_ledger and COMMIT in data and self._commit_armed.is_set():
                    self._commit_armed.clear()
                    silenced.set()
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(
        self, client: socket.socket, server: socket.socket, silenced: threading.Event
    ) -> None:
        """From the server to the client."""
        with contextlib.suppress(OSError):
            while data := server.recv(2**16):
                self._flowing.wait()
                if silenced.is_set():
                    # The answer to the COMMIT is here: it was carried out.
                    self.broken += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)


def _connect(address: URL) -> socket.socket:
    host = str(address.query.get("host", address.host or "localhost"))
    port = address.port or 5432
    if host.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return connection
    return socket.create_connection((host, port))


def _start(target: Callable[..., None], *arguments: socket.socket | threading.Event) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()
