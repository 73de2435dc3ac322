"""The upstreams: nginx from the system for JSON, `bench.events` for streams."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.machine import LOAD_CORE, find_tool
from bench.messages import COMPLETIONS, PATH, answer, completion_answer
from bench.processes import Child, NotMeasured, free_port, get, python, running

_SETTLE_SECONDS = 0.2
_CONFIG = """\
daemon off;
master_process off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_buffer_size 64k;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    default_type application/json;
    add_header x-request-id req_bench0000000000000000000000000;
    add_header openai-processing-ms 312;
    add_header openai-version 2020-10-01;
    location = {chat} {{ return 200 '{answer}'; }}
    location = {completions} {{ return 200 '{completion}'; }}
    location = /status {{ stub_status; }}
  }}
}}
"""


class Upstream(Protocol):
    """Where a gateway sends calls, and how many came there."""

    @property
    def base_url(self) -> str: ...

    def calls(self) -> int: ...


@dataclass(slots=True)
class Nginx:
    """A running nginx."""

    child: Child
    port: int
    _asked: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def calls(self) -> int:
        """How many requests it has had, from some number on, those for this figure left out."""
        found = re.search(rb"\n +\d+ +\d+ +(\d+)", get(self.port, "/status")[1])
        if found is None:
            raise NotMeasured("nginx does not tell how many requests it has had.")
        self._asked += 1
        return int(found[1]) - self._asked


@dataclass(frozen=True, slots=True)
class Events:
    """The running streaming upstream, at one of its paths."""

    child: Child
    port: int
    path: str = "/instant"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}/v1"

    def calls(self) -> int:
        """How many streams it has begun."""
        return int(get(self.port, "/count")[1])


@contextmanager
def running_nginx(directory: Path) -> Iterator[Nginx]:
    """nginx on the core of the load, with a configuration and a prefix of its own."""
    directory.mkdir(parents=True)
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            directory=directory,
            port=port,
            chat=PATH,
            answer=answer().decode(),
            completions=COMPLETIONS,
            completion=completion_answer().decode(),
        )
    )
    command = [
        find_tool("nginx") or "nginx",
        "-p",
        str(directory),
        "-c",
        str(config),
        "-e",
        "stderr",
    ]
    with running(command, core=LOAD_CORE, directory=directory, name="nginx") as child:
        child.wait_for(port, "/status")
        yield Nginx(child, port)


@contextmanager
def running_events(directory: Path) -> Iterator[Events]:
    """The streaming upstream (`bench.events`), on the core of the load."""
    port = free_port()
    command = python("bench.events", str(port))
    with running(command, core=LOAD_CORE, directory=directory, name="events") as child:
        child.wait_for(port, "/count")
        yield Events(child, port)


def settled_calls(upstream: Upstream) -> int:
    """Its calls, once what a load left behind when it ended has come to its end too."""
    found = upstream.calls()
    while True:
        time.sleep(_SETTLE_SECONDS)
        before, found = found, upstream.calls()
        if found == before:
            return found


def check_calls(found: int, expected: int, *, in_flight: int) -> None:
    """See that the upstream was asked as often as it should have been. Raises `NotMeasured`."""
    if not expected <= found <= expected + in_flight:
        raise NotMeasured(
            f"The upstream was asked {found} times and not {expected} to {expected + in_flight}."
        )
