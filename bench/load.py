"""The load: wrk from the system, told by a generated script which bodies to send."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.machine import LOAD_CORE, find_tool
from bench.messages import SAME, Template
from bench.processes import NotMeasured

# Numbers set aside for one run of wrk, so that no two runs send the same body.
_RUN = 10**9
# Lua's numbers are exact to 2^53.
_runs = itertools.count(10**12, _RUN)
_TIMEOUT_SECONDS = 30

_SCRIPT = """\
local head = {head}
local tail = {tail}
local format, random = string.format, math.random
math.randomseed({first} % 2147483647)
local nonce = {first}
{request}
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(format('RESULT {{"requests": %d, "micros": %d, "bytes": %d, "p50_us": %.0f, ' ..
    '"p99_us": %.0f, "failed": %d}}\\n', summary.requests, summary.duration, summary.bytes,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
_REQUESTS = {
    "same": "local same = head .. format('%016d', {same}) .. tail\n"
    "request = function() return same end",
    "unique": "request = function() nonce = nonce + 1; "
    "return head .. format('%016d', nonce) .. tail end",
    "stored": "request = function() return head .. format('%016d', random(0, {last})) .. tail end",
}


@dataclass(frozen=True, slots=True)
class Bodies:
    """Which bodies are sent: always the same, always a new one, or any of the first `count`."""

    template: Template
    kind: Literal["same", "unique", "stored"] = "unique"
    count: int = 0

    def nonces(self) -> Iterator[int]:
        """The numbers for a client that makes its bodies itself."""
        if self.kind == "same":
            return itertools.repeat(SAME)
        if self.kind == "stored":
            return itertools.cycle(range(self.count))
        return itertools.count(next(_runs))


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk is to do to a port."""

    port: int
    bodies: Bodies
    connections: int
    token: str = field(default="sk-bench", repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a run of wrk came to. Every answer was 2xx, every connection lasted."""

    requests: int
    seconds: float
    size_bytes: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def request_head(template: Template, token: str, prefix: str = "") -> bytes:
    """The head of the request, up to where the body begins; `prefix` goes before its path."""
    return (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % (f"{prefix}{template.path}".encode(), token.encode(), template.size)
    )


def run(load: Load, seconds: float, directory: Path) -> Sample:
    """Drive wrk for about `seconds`. Raises `NotMeasured` when anything failed."""
    script = directory / "load.lua"
    script.write_bytes(_script(load))
    command = [
        find_tool("taskset") or "taskset", "-c", str(LOAD_CORE), find_tool("wrk") or "wrk",
        "--threads", "1", "--connections", str(load.connections),
        "--duration", f"{max(1, round(seconds))}s", "--timeout", f"{_TIMEOUT_SECONDS}s",
        "--script", str(script), f"http://127.0.0.1:{load.port}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if done.returncode or line is None:
        raise NotMeasured(f"wrk failed:\n{done.stdout}{done.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    if result["failed"] or not result["requests"]:
        raise NotMeasured(f"Not every request was answered well:\n{done.stdout}")
    return Sample(result["requests"], result["micros"] / 1e6, result["bytes"])


def _script(load: Load) -> bytes:
    template = load.bodies.template
    request = _REQUESTS[load.bodies.kind].format(same=SAME, last=load.bodies.count - 1)
    return _SCRIPT.format(
        head=_lua(request_head(template, load.token) + template.head),
        tail=_lua(template.tail),
        first=next(_runs),
        request=request,
    ).encode()


def _lua(data: bytes) -> str:
    """Bytes as a Lua string."""
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}" for byte in data
    )
    return f'"{"".join(plain)}"'
