"""The real `aieye serve` in a process of its own, for tests over real sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from tests.forked import PASSED_ON, Forked
from tests.servers import free_port

PYTHON = ("-m", "aieye")
POLL_INTERVAL_SECONDS = 0.05
SHOWN_OUTPUT_CHARACTERS = 8_000

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LiveServerError(AssertionError):
    """The server did not do what its process should; the message holds the end of its output."""


class LiveServer:
    """One `aieye serve` on a free loopback port, with its own directory and environment.

    The process sees nothing of the outer environment: no `OPENAI_API_KEY`, no `AIEYE_` variable, no
    `.env` file. Its output goes to `log_file`. After `kill` or `terminate`, `start` brings it back
    on the same port and data. All methods block: in an async test whose own event loop the server
    talks to, call them through `asyncio.to_thread`.
    """

    # What Python runs, where a test asks for that: something else before the command line begins, or
    # `PYTHON` itself. Without it the process begins with everything imported (`tests.forked`).
    program: tuple[str, ...] = ()

    def __init__(
        self,
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        arguments: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        self.directory = directory
        self.data_dir = data_dir or directory / "data"
        self.port = port or free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log_file = directory / "server.log"
        self.arguments = tuple(arguments)
        self.environment = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "AIEYE_HOST": "127.0.0.1",
            "AIEYE_PORT": str(self.port),
            "AIEYE_DATA_DIR": str(self.data_dir),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | Forked | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        return self._running().pid

    def processor_seconds(self) -> float:
        """What the server's first process has taken of the processors since it started."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        # The name before the bracket may hold blanks; user and system time are fields 14 and 15.
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, *, timeout_seconds: float = 90) -> Self:
        """Start the process and wait until `/readyz` answers 200.

        Raises `LiveServerError` when it ends before that or takes longer.
        """
        self.launch()
        try:
            self.wait_ready(timeout_seconds=timeout_seconds)
        except BaseException:
            self.close()
            raise
        return self

    def launch(self) -> None:
        """Start the process without waiting, for tests of a start that fails."""
        if self._process is not None:
            raise LiveServerError("the server runs already")
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = self._begin(log)

    def _begin(self, log: IO[bytes]) -> subprocess.Popen[bytes] | Forked:
        # A process group of its own, so that `kill` takes the workers along.
        if self.program:
            return subprocess.Popen(
                [sys.executable, *self.program, "serve", *self.arguments],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with Path(os.devnull).open("rb") as nothing:
            return Forked(
                ["serve", *self.arguments],
                cwd=self.directory,
                env=self.environment,
                streams=(nothing, log, log),
                start_new_session=True,
            )

    def wait_ready(self, *, timeout_seconds: float = 90) -> None:
        """Wait until `/readyz` answers 200; raises `LiveServerError`."""
        process = self._running()
        deadline = time.monotonic() + timeout_seconds
        while not self._is_ready():
            if process.poll() is not None:
                raise LiveServerError(self._report(f"the server ended with {process.returncode}"))
            if time.monotonic() > deadline:
                raise LiveServerError(self._report(f"not ready within {timeout_seconds} s"))
            time.sleep(POLL_INTERVAL_SECONDS)

    def wait(self, *, timeout_seconds: float = 90) -> int:
        """Wait until the process ends by itself, and return its exit code."""
        try:
            code = self._running().wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise LiveServerError(
                self._report(f"still running after {timeout_seconds} s")
            ) from error
        self.kill()
        return code

    def terminate(self, *, timeout_seconds: float = 90) -> int:
        """Ask the server to stop (SIGTERM), wait for it, and return its exit code."""
        self._running().terminate()
        return self.wait(timeout_seconds=timeout_seconds)

    def kill(self) -> None:
        """End the server and all its workers at once (SIGKILL), as a crash would."""
        process = self._running()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None

    def close(self) -> None:
        """End whatever still runs."""
        if self._process is not None:
            self.kill()

    def output(self) -> str:
        """All that the server has printed, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _running(self) -> subprocess.Popen[bytes] | Forked:
        if self._process is None:
            raise LiveServerError("the server does not run")
        return self._process

    def _is_ready(self) -> bool:
        try:
            with _direct.open(f"{self.base_url}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _report(self, what: str) -> str:
        return f"{what}; its output ends with:\n{self.output()[-SHOWN_OUTPUT_CHARACTERS:]}"


def quickest(measure: Callable[[], float], *, below: float, attempts: int = 5) -> float:
    """The least of a few measurements: other work on the machine makes one long, and never short."""
    least = measure()
    while least >= below and (attempts := attempts - 1):
        least = min(least, measure())
    return least


class LiveServers:
    """Starts live servers under one directory and ends them all: what `start_server` gives."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: list[LiveServer] = []

    def __call__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        data_dir: Path | None = None,
        arguments: Sequence[str] = (),
        timeout_seconds: float = 90,
    ) -> LiveServer:
        """A server that is ready; for the parameters see `LiveServer`."""
        server = self.prepare(environment, data_dir=data_dir, arguments=arguments)
        return server.start(timeout_seconds=timeout_seconds)

    def prepare(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        data_dir: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> LiveServer:
        """A server that is not started yet."""
        server = LiveServer(
            self._directory / f"server-{len(self._servers) + 1}",
            environment=environment,
            data_dir=data_dir,
            arguments=arguments,
        )
        self._servers.append(server)
        return server

    def close(self) -> None:
        """End them all, and print what they printed: pytest shows it when the test failed."""
        for server in self._servers:
            server.close()
            print(f"--- {server.log_file}\n{server.output()[-SHOWN_OUTPUT_CHARACTERS:]}")
