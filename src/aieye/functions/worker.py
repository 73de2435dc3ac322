"""The worker process: `python -m aieye.functions.worker DESCRIPTOR`.

It serves one request at a time over the socket that it was given: loads a file, lists a file's
functions, calls one. Messages are JSON behind their length. It ends when the socket does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from aieye.functions.model import Function, Source, describe
from aieye.functions.module import (
    Unloadable,
    WrongArgument,
    explain,
    find_functions,
    load,
    message_of,
)
from aieye.functions.values import to_json

HEADER: Final = struct.Struct(">I")
BEGUN: Final = b"\x01"
"""Sent before a request is worked on: until then another process may do it instead."""

MOST_RESULT_BYTES: Final = 4 * 2**20
"""Four times what a value of a pipeline may be: above that the evaluator need not even see it."""

_MEMORY_BYTES: Final = 2 * 2**30
_FILE_BYTES: Final = 256 * 2**20
_OPEN_FILES: Final = 256
# The parent ends whoever takes too long. Should it be gone itself, the kernel does.
_ALARM_GRACE_SECONDS: Final = 5.0


def main(descriptor: int) -> None:
    """Serve until the other side closes."""
    _limit()
    connection = socket.socket(fileno=descriptor)
    # Programs that a function starts do not get it.
    connection.set_inheritable(False)
    files: dict[str, dict[str, Function]] = {}
    own = os.getpid()
    while (request := _receive(connection)) is not None:
        connection.sendall(BEGUN)
        with _alarm(request["seconds"]):
            answer = _answer(request, files)
        if os.getpid() != own:
            # A function forked and came back twice: only the first is ours to answer for.
            os._exit(0)
        connection.sendall(_framed({"id": request["id"], **answer}))


def _limit() -> None:
    for kind, limit in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        # Not every system knows every limit, and a lower one may be set already.
        with suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


class _alarm:  # noqa: N801 - used as a function: `with _alarm(seconds):`
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds + _ALARM_GRACE_SECONDS

    def __enter__(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *_error: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(request: dict[str, Any], files: dict[str, dict[str, Function]]) -> dict[str, Any]:
    """The answer; with `spent` this process should be given nothing more to do."""
    work: Callable[[dict[str, Any], dict[str, dict[str, Function]]], dict[str, Any]]
    work = {"load": _load, "call": _call}[request["do"]]
    try:
        return work(request, files)
    except MemoryError as error:
        return {"error": message_of(error), "detail": "", "spent": True}


def _load(request: dict[str, Any], files: dict[str, dict[str, Function]]) -> dict[str, Any]:
    content = request["content"].encode("latin-1")
    source = Source(request["name"], request["path"], content, request["is_builtin"])
    try:
        found, failures = find_functions(load(source), source)
    except Unloadable as error:
        return {"failures": [[error.failure.line, error.failure.reason]], "functions": None}
    files[source.hash] = {function.name: function for function in found}
    return {
        "functions": [describe(function) for function in found],
        "failures": [[failure.line, failure.reason] for failure in failures],
    }


def _call(request: dict[str, Any], files: dict[str, dict[str, Function]]) -> dict[str, Any]:
    function = files[request["hash"]][request["name"]]
    assert function.invoke is not None
    try:
        value = to_json(function.invoke(request["arguments"], None))
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 - the function's own code: SystemExit too is its fault
        message, detail = explain(error, function.source)
        is_refused = isinstance(error, WrongArgument)
        return {"error": message, "detail": detail, "refused": is_refused}
    return {"value": value}


def _framed(message: dict[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    if len(body) > MOST_RESULT_BYTES:
        reason = f"the result has more than {MOST_RESULT_BYTES >> 20} MiB as JSON"
        body = json.dumps({"id": message["id"], "error": reason, "detail": ""}).encode()
    return HEADER.pack(len(body)) + body


def _receive(connection: socket.socket) -> dict[str, Any] | None:
    header = _read(connection, HEADER.size)
    if header is None:
        return None
    body = _read(connection, HEADER.unpack(header)[0])
    return None if body is None else json.loads(body)


def _read(connection: socket.socket, size: int) -> bytes | None:
    parts = []
    while size:
        part = connection.recv(min(size, 2**20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main(int(sys.argv[1]))
