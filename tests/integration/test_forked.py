"""A forked `aieye` is a process as one that Python has started: the rig that most live tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.commands import aieye, aieye_forked
from tests.live import PYTHON, LiveServer

# Of `/proc/PID/status`: signals that are blocked, ignored and caught, and what new files may not be.
ALIKE = ("SigBlk", "SigIgn", "SigCgt", "Umask", "NoNewPrivs")


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("version",), {}),
        (("frobnicate",), {"PYTHONUNBUFFERED": "1"}),
        (("check", "none.txt"), {}),
        (("token", "list"), {"AIEYE_PORT": "x"}),
    ],
)
def test_a_command_says_the_same_and_ends_the_same(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    real = aieye(tmp_path, *arguments, **environment)
    assert aieye_forked(tmp_path, *arguments, **environment) == real


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, LiveServer]]:
    """A server of each kind."""
    begun = LiveServer(tmp_path_factory.mktemp("begun"))
    begun.program = PYTHON
    with begun, LiveServer(tmp_path_factory.mktemp("forked")) as other:
        yield begun, other


def test_a_server_has_streams_signals_and_a_group_of_its_own(
    two: tuple[LiveServer, LiveServer],
) -> None:
    begun, other = map(_traits, two)
    assert other == begun
    for server in two:
        assert os.getsid(server.pid) == os.getpgid(server.pid) == server.pid
        assert Path(f"/proc/{server.pid}/cwd").readlink() == server.directory


def _traits(server: LiveServer) -> dict[str, object]:
    process = Path(f"/proc/{server.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    streams = [(process / "fd" / str(number)).readlink() for number in range(3)]
    assert streams[1:] == [server.log_file] * 2
    kinds = {
        os.readlink(fd).partition(":")[0].replace(str(server.directory), "")
        for fd in (process / "fd").iterdir()
    }
    return {name: status[name] for name in ALIKE} | {"stdin": streams[0], "open": kinds}


def test_it_is_killed_and_asked_to_stop_as_any_other(two: tuple[LiveServer, LiveServer]) -> None:
    codes = []
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        for server in two:
            os.kill(server.pid, number)
            codes.append(server.wait())
            server.start()
    assert codes[::2] == codes[1::2] == [-signal.SIGKILL, 130, 0]


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run(["demo-upstream", "--port", "0"], cwd=tmp_path, env={}, timeout=1)


def test_what_is_written_to_a_command_is_read(tmp_path: Path) -> None:
    environment = {"AIEYE_DATA_DIR": str(tmp_path)}
    ended = forked.run(
        ["provider", "add", "x", "--base-url", "http://127.0.0.1:9/v1"],
        cwd=tmp_path, env=environment, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ended = forked.run(
        ["key", "add", "x"], cwd=tmp_path, env=environment, stdin="sk-0123456789\n", timeout=60
    )
    assert (ended.returncode, "Stored the key" in ended.stderr) == (0, True), ended


def test_those_that_forked_end_with_whom_they_did_it_for(tmp_path: Path) -> None:
    text = (
        "import sys, pathlib\n"
        "from tests import forked\n"
        "forked.run(['version'], cwd=pathlib.Path(sys.argv[1]), env={}, timeout=60)\n"
        "print(pathlib.Path('/proc/thread-self/children').read_text())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not Path(f"/proc/{ended.stdout.strip()}").exists()
