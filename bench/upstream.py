"""The fast upstream: nginx from the system, which answers every call with the same JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import LOAD_CORE, find_tool
from bench.messages import PATH, answer
from bench.processes import Child, NotMeasured, free_port, get, running

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
    location = {path} {{ return 200 '{answer}'; }}
    location = /status {{ stub_status; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx."""

    child: Child
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def requests(self) -> int:
        """How many requests it has had, those for this figure included."""
        found = re.search(rb"\n +\d+ +\d+ +(\d+)", get(self.port, "/status")[1])
        if found is None:
            raise NotMeasured("nginx does not tell how many requests it has had.")
        return int(found[1])


@contextmanager
def running_nginx(directory: Path) -> Iterator[Nginx]:
    """nginx on the core of the load, with a configuration and a prefix of its own."""
    directory.mkdir(parents=True)
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(directory=directory, port=port, path=PATH, answer=answer().decode())
    )
    command = [find_tool("nginx") or "nginx", "-p", str(directory), "-c", str(config), "-e", "stderr"]
    with running(command, core=LOAD_CORE, directory=directory, name="nginx") as child:
        child.wait_for(port, "/status")
        yield Nginx(child, port)
