"""The `aieye` command in processes that begin where its modules have been imported.

To import what a server needs takes longer than most tests that start one. `python tests/forked.py` has
done it once and forks: each command is a process of its own all the same, with the arguments, directory,
environment, streams, signals and exit code that it would have had, and it is killed as any other.
`integration/test_forked.py` looks for a difference, and `integration/test_serve.py` starts it as people do.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

# What a process needs to run at all; everything else is given by the test.
PASSED_ON = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
MOST_BYTES = 2**17
# What a server and the commands beside it import when they run.
NEEDED = (
    "aieye.app",
    "aieye.cli.context",
    "aieye.cli.first",
    "aieye.cli.waiting",
    "aieye.collector",
    "aieye.db.exclusive",
    "aieye.db.migrate",
    "aieye.telemetry.colleagues",
    "alembic.command",
    "alembic.context",
    "aiosqlite",
    "asyncpg",
    "httptools",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvloop",
)


# -- in the process of the tests ---------------------------------------------------------------


class Forked:
    """A process of `aieye`; what there is of it is as in `subprocess.Popen`."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        streams: tuple[IO[Any], IO[Any], IO[Any]],
        start_new_session: bool = False,
    ) -> None:
        self.args = ("aieye", *arguments)
        self.returncode: int | None = None
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        body = {
            "arguments": list(arguments),
            "directory": str(cwd),
            "environment": dict(env),
            "session": start_new_session,
        }
        with theirs:
            socket.send_fds(
                _forker(),
                [json.dumps(body).encode()],
                [*(stream.fileno() for stream in streams), theirs.fileno()],
            )
        self.pid = self._told("pid", 60)

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, when it has ended."""
        if self.returncode is None:
            self.returncode = self._told("end", timeout)
            self._status.close()
        return self.returncode

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def __del__(self) -> None:
        self._status.close()

    def _told(self, what: str, seconds: float | None) -> int:
        self._status.settimeout(seconds)
        try:
            told, _, number = self._status.recv(64).decode().partition(" ")
        except (TimeoutError, BlockingIOError) as error:
            raise subprocess.TimeoutExpired(self.args, seconds or 0) from error
        if told != what:
            raise ChildProcessError(f"no {what} of a forked process, but {told!r} {number}")
        return int(number)


def run(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", timeout: float
) -> subprocess.CompletedProcess[str]:
    """A command to its end, as by `subprocess.run` with its output captured as text."""
    with _file(stdin) as given, _file() as out, _file() as err:
        process = Forked(arguments, cwd=cwd, env=env, streams=(given, out, err))
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(process.args, code, _read(out), _read(err))


def _file(text: str = "") -> IO[bytes]:
    # In memory: a command's output is short.
    file = os.fdopen(os.memfd_create("aieye"), "w+b")
    file.write(text.encode())
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


@functools.cache
def _forker() -> socket.socket:
    """The process that forks for this one; it ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={
                **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
                "LANG": "C.UTF-8",
            },
            start_new_session=True,
        )
    # Sockets and processes that are left to the garbage collector are errors in a test.
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


# -- in the process that forks -----------------------------------------------------------------


def main() -> None:
    """Fork for each request; returns in a child, which becomes the command."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in NEEDED:
        importlib.import_module(name)
    # What is imported lives as long as each child, whose collector need not look at it.
    gc.collect()
    gc.freeze()
    assert len(os.listdir("/proc/self/task")) == 1, "a thread would be missing in the children"
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    woken.recv(4_096)
                    _tell_ended(children)
                    continue
                body, fds, *_ = socket.recv_fds(control, MOST_BYTES, 4)
                if not body:
                    sys.exit()
                status = socket.socket(fileno=fds.pop())
                if pid := os.fork():
                    children[pid] = status
                    for fd in fds:
                        os.close(fd)
                    continue
                selector.close()
                for other in (control, woken, wakes, *children.values()):
                    other.detach()
                _become(json.loads(body), fds, status)
                return


def _tell_ended(children: dict[int, socket.socket]) -> None:
    while children:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with children.pop(pid) as status, suppress(OSError):
            status.send(f"end {os.waitstatus_to_exitcode(code)}".encode())


def _become(body: Mapping[str, Any], fds: Sequence[int], status: socket.socket) -> None:
    """Be as if Python had started with this command."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if body["session"]:
        os.setsid()
    os.chdir(body["directory"])
    os.environ.clear()
    os.environ.update(body["environment"])
    time.tzset()
    status.send(f"pid {os.getpid()}".encode())
    status.detach()
    for stream, fd in enumerate(fds):
        os.dup2(fd, stream)
    os.closerange(3, 1_024)
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout = io.TextIOWrapper(
            io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True
        )
    sys.path[0] = os.getcwd()
    sys.argv = ["aieye", *body["arguments"]]
    gc.enable()


if __name__ == "__main__":
    main()
    runpy.run_module("aieye", run_name="__main__", alter_sys=True)
