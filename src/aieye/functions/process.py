"""One worker process, as the server holds it: started, asked, ended.

The only place that starts a program, and always the same one: `aieye.functions.worker`. It gets a
socket, an environment without a secret in it and a directory of its own to be in.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import Any, Final, cast

import orjson

from aieye.functions.worker import BEGUN, HEADER, MOST_RESULT_BYTES

# What Python and its libraries need to be found and to speak the right language.
_PASSED_ON: Final = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH"),
    *("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"),
)
# A pool of threads for each core would reserve more memory than a worker may have.
_FIXED: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_PATIENCE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.005
_LARGE_BYTES: Final = 64 << 10


class WorkerEnded(Exception):
    """The process ended before it answered; the message says how, as far as it is known.

    Unless `has_begun`, it did so before it worked on what was asked.
    """

    def __init__(self, how: str, *, has_begun: bool) -> None:
        super().__init__(how)
        self.has_begun = has_begun


class WorkerProcess:
    """A process that does one thing at a time. After any failure it is good for nothing more."""

    def __init__(self) -> None:
        self.is_usable = True
        self.loaded: set[str] = set()
        """The hashes of the files that it has loaded."""

        self._directory = tempfile.mkdtemp(prefix="aieye-function-")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own module, whatever is asked for
                    [sys.executable, "-P", "-m", "aieye.functions.worker", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=self._directory,
                    env=_environment(self._directory),
                    # A group of its own: what it starts ends with it, and Ctrl-C does not reach it.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                shutil.rmtree(self._directory, ignore_errors=True)
                raise
        self._socket = ours
        self._wire: _Wire | None = None
        self._number = 0
        self._ending: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, seconds: float, **request: Any) -> dict[str, Any]:
        """Its answer. Raises `TimeoutError`, `WorkerEnded`; the process is then ended.

        A caller that is cancelled ends it too.
        """
        self._number += 1
        body = _written({"id": self._number, "seconds": seconds, **request})
        wire: _Wire | None = None
        try:
            wire = self._wire or await self._connect()
            async with asyncio.timeout(seconds):
                answer = await wire.exchange(HEADER.pack(len(body)) + body)
            if answer.get("id") != self._number:
                raise _Closed
        except (_Closed, ConnectionError):
            how = _how(await self.end(patience=_PATIENCE_SECONDS))
            raise WorkerEnded(how, has_begun=wire is not None and wire.has_begun) from None
        except BaseException:
            self.kill()
            raise
        if answer.get("spent"):
            self.kill()
        return answer

    async def end(self, *, patience: float = 0) -> int:
        """End it and all that it started; its exit status, negative for a signal.

        For `patience` seconds it may end by itself, which tells how it did.
        """
        return await asyncio.shield(self.kill(patience=patience))

    def kill(self, *, patience: float = 0) -> asyncio.Task[int]:
        """Begin to end it; the task is done when it is gone."""
        self.is_usable = False
        if self._ending is None:
            self._ending = asyncio.create_task(asyncio.to_thread(self._reap, patience))
            if not patience:
                # A thread may be long in coming; a process that runs wild should not wait for it.
                self._signal()
            if self._wire is not None:
                self._wire.close()
        return self._ending

    def _signal(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _reap(self, patience: float) -> int:
        deadline = time.monotonic() + patience
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        # Not waited for yet, so the number is still its group's and nobody else's.
        self._signal()
        status = self._process.wait()
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        return status

    def _has_ended(self) -> bool:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid, options) is not None
        except ChildProcessError:
            return True

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        _, self._wire = await loop.create_connection(lambda: _Wire(self), sock=self._socket)
        return self._wire


class _Closed(Exception):
    """The other end of the wire is gone."""


class _Wire(asyncio.Protocol):
    """The server's end of the socket: frames out; back come for each `BEGUN` and one frame."""

    def __init__(self, owner: WorkerProcess) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self.has_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by class.
        self._transport = cast("asyncio.Transport", transport)

    async def exchange(self, frame: bytes) -> dict[str, Any]:
        assert self._transport is not None
        self.has_begun = False
        if self._transport.is_closing():
            raise _Closed
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(frame)
        try:
            return await self._answer
        finally:
            self._answer = None

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self.has_begun:
            self.has_begun = True
            if received[:1] != BEGUN:
                self._fail(_Closed())
                return
            del received[:1]
        if len(received) < HEADER.size:
            return
        (size,) = HEADER.unpack_from(received)
        if size > MOST_RESULT_BYTES:
            self._fail(_Closed())
        elif len(received) >= HEADER.size + size:
            body = bytes(received[HEADER.size : HEADER.size + size])
            del received[: HEADER.size + size]
            self._take(body)

    def connection_lost(self, _error: Exception | None) -> None:
        self._owner.is_usable = False
        self._fail(_Closed())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, body: bytes) -> None:
        answer = self._answer
        # Nobody asked: a function has written where only its worker should.
        if answer is None or answer.done() or self._received:
            self._fail(_Closed())
            return
        try:
            message = _read(body)
        except (ValueError, RecursionError):
            self._fail(_Closed())
            return
        answer.set_result(message)

    def _fail(self, error: Exception) -> None:
        self._owner.is_usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()


def _written(message: dict[str, Any]) -> bytes:
    """A message as JSON. Raises `ValueError`, `RecursionError`."""
    try:
        return orjson.dumps(message)
    except orjson.JSONEncodeError:
        # Integers above 64 bits, halves of surrogate pairs, and what is nested deeper.
        return json.dumps(message).encode()


def _read(body: bytes) -> Any:
    """What a worker says, as it is: a large value quickly, for this is the server's loop."""
    if len(body) > _LARGE_BYTES:
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    return json.loads(body)


def _environment(directory: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, **_FIXED, "HOME": directory, "TMPDIR": directory}


def _how(status: int) -> str:
    if status >= 0:
        return f"its process ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"its process was ended by {name}"
