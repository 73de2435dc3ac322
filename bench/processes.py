"""Children of the benchmark: each on one core, its output in a file, ended with its block."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine import find_tool

ROOT = Path(__file__).parents[1]
# What a process needs to run at all; nothing else of the environment gets through.
_PASSED_ON = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
READY = "ready"
_STOP_SECONDS = 15
_SHOWN_CHARACTERS = 3_000


class NotMeasured(Exception):
    """Something is not as it has to be for a figure to mean anything."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, port: int, path: str, *, seconds: float = 30) -> None:
        """Wait until `path` is answered with 200. Raises `NotMeasured`."""
        deadline = time.monotonic() + seconds
        while (answer := look(port, path)) != READY:
            name = self.log_file.stem
            if self.process.poll() is not None:
                raise NotMeasured(f"{name} ended by itself:\n{self.output()}")
            if time.monotonic() > deadline:
                raise NotMeasured(f"{name} did not get ready ({answer}):\n{self.output()}")
            time.sleep(0.001)

    def output(self) -> str:
        """The end of what it printed."""
        return self.log_file.read_text(errors="replace")[-_SHOWN_CHARACTERS:]

    def memory_mb(self) -> float:
        """What it holds of the machine's memory (resident set), in MB of a million bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1_024 / 1_000_000
        raise NotMeasured("The system does not tell how much memory a process has.")

    def processor_seconds(self) -> tuple[float, float]:
        """Processor time so far: of the first thread, which runs the event loop, and of the others."""
        ticks = os.sysconf("SC_CLK_TCK")
        loop = others = 0.0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            spent = (int(fields[11]) + int(fields[12])) / ticks
            if task.name == str(self.pid):
                loop += spent
            else:
                others += spent
        return loop, others


@contextmanager
def running(
    command: Sequence[str],
    *,
    core: int,
    directory: Path,
    name: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Child]:
    """A child process on one core, with `directory` as its own; it is ended with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    log_file = directory / f"{name}.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [find_tool("taskset") or "taskset", "-c", str(core), *command],
            cwd=directory,
            env=clean_environment(directory, environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Child(process, log_file)
    finally:
        _stop(process)


def clean_environment(directory: Path, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without the settings and keys of whoever runs the benchmark."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(ROOT),
        **(own or {}),
    }


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def look(port: int, path: str) -> str:
    """What comes of a GET: `READY` when it is answered with 200."""
    try:
        status, body = get(port, path)
    except OSError as error:
        return str(error)
    return READY if status == 200 else f"{status} {body.decode(errors='replace')}"


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # The group: a child that was killed may leave children of its own.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
