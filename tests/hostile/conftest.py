"""A real server under attack: what is behind it is recorded, and so is whoever is not."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from aieye.gateway.wire import paths
from tests.fakes.recorded import RecordedDemo
from tests.hostile.wire import Answer, exchange, request
from tests.installation import Installation, Made
from tests.live import LiveServer, LiveServers
from tests.servers import DATABASE_KINDS, Databases

_ID = "[A-Za-z0-9][A-Za-z0-9_-]*"
_MODEL = "[A-Za-z0-9][A-Za-z0-9_.:@/-]*"
_LISTED = {
    (method, re.compile(re.escape(path).replace(r"\{id\}", _ID).replace(r"\{model\}", _MODEL)))
    for method, path in paths()
}
# What the log says when something went wrong that nobody had thought of.
CRASHES = ("_crashed", "Traceback", "Exception in ASGI", "row_refused", "background_task_ended")


@dataclass
class Target:
    """The server, whom it may call (`provider`) and whom never (`decoy`)."""

    server: LiveServer
    installation: Installation
    provider: RecordedDemo
    decoy: Decoy
    proxy: Made
    admin: Made
    # Where in the provider's log, and in the server's, this test began.
    start: int = field(default=0)
    log_start: int = field(default=0)

    @property
    def port(self) -> int:
        return self.server.port

    def ask(
        self,
        method: str,
        path: str | bytes,
        body: bytes | None = None,
        *,
        token: Made | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A proper request with the token (the proxy's one), whose body is JSON."""
        lines: dict[str, str] = dict((token or self.proxy).headers)
        if body is not None:
            lines["Content-Type"] = "application/json"
        data = request(method, path, (lines | dict(headers or {})).items(), body)
        answer = exchange(self.port, data)
        assert answer is not None, f"no answer to {method} {path!r}"
        return answer

    def assert_unharmed(self) -> None:
        """It still serves, has crashed nowhere, and called whom it may as it may."""
        assert self.ask("GET", "/healthz").status == 200
        crashes = [
            f"{line[:200]} … {line[-300:]}"
            for line in self.server.output()[self.log_start :].splitlines()
            if any(mark in line for mark in CRASHES)
        ]
        assert crashes == []
        assert self.decoy.connections == 0
        address = self.provider.base_url.removeprefix("http://").removesuffix("/v1")
        for seen in self.provider.seen[self.start :]:
            assert any(
                seen.method == method and pattern.fullmatch(seen.path)
                for method, pattern in _LISTED
            ), (seen.method, seen.raw_path)
            assert b"%" not in seen.raw_path, seen.raw_path
            assert seen.header("host") == address
            assert self.proxy.secret.encode() not in seen.text
            assert self.admin.secret.encode() not in seen.text


class Decoy:
    """A listener that nobody should ever connect to."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, name="decoy", daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture(scope="package", params=DATABASE_KINDS)
def running(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    servers = LiveServers(tmp_path_factory.mktemp("hostile"))
    with (
        databases.migrated(request.param) as url,
        RecordedDemo() as provider,
        closing(Decoy()) as decoy,
    ):
        installation = Installation(url)
        installation.add_provider(provider.base_url, "sk-provider-key-of-the-hostile-tests")
        proxy, admin = installation.add_token("proxy"), installation.add_token("admin")
        try:
            server = servers({**installation.environment, "AIEYE_MAX_JSON_BYTES": "4 MiB"})
            yield Target(server, installation, provider, decoy, proxy, admin)
        finally:
            servers.close()


@pytest.fixture
def target(running: Target) -> Iterator[Target]:
    """The server; after each test it must be unharmed."""
    running.start = len(running.provider.seen)
    running.log_start = len(running.server.output())
    yield running
    running.assert_unharmed()
