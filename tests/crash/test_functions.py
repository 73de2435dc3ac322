"""Real servers follow the files of functions, and end the processes that they started for them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.conftest import Aieye
from tests.installation import Installation, Made
from tests.live import LiveServer, LiveServers
from tests.servers import DatabaseKind


def _shown(server: LiveServer, token: Made) -> dict[str, Any]:
    """The functions, as the process that takes a new connection shows them."""
    answer = httpx.get(
        f"{server.base_url}/api/v1/functions?limit=1000",
        headers=token.headers,
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return {row["name"]: row for row in answer.json()["data"]}


def _until(is_so: Callable[[], bool], *, times: int = 1) -> None:
    """Wait until it is so this many times in a row: several processes are asked."""
    deadline = time.monotonic() + 20
    in_a_row = 0
    while in_a_row < times:
        assert time.monotonic() < deadline
        in_a_row = in_a_row + 1 if is_so() else 0
        time.sleep(0.02)


def test_what_is_registered_beside_a_server_reaches_each_of_its_processes(
    installation: Installation,
    start_server: LiveServers,
    aieye: Aieye,
    tmp_path: Path,
    database_kind: DatabaseKind,
) -> None:
    funcs = tmp_path / "functions"
    funcs.mkdir()
    file = funcs / "custom_a.py"
    file.write_text("def greet(buddy):\n    return buddy\n")
    environment = {
        **installation.environment,
        "AIEYE_FUNCS_DIR": str(funcs),
        "AIEYE_WORKERS": "1" if database_kind == "sqlite" else "2",
    }
    token = installation.add_token("admin")
    server = start_server(environment)
    _until(lambda: "uppercase" in _shown(server, token))
    assert "greet" not in _shown(server, token)
    assert aieye("funcs", "sync", environment=environment).returncode == 0
    _until(lambda: "greet" in _shown(server, token), times=10)
    file.write_text("def greet(someone):\n    return someone\n")

    def parameter() -> str:
        name: str = _shown(server, token)["greet"]["parameters"][0]["name"]
        return name

    _until(lambda: parameter() == "someone", times=10)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_server_that_is_killed_while_a_file_is_imported_leaves_no_process_behind(
    installation: Installation, start_server: LiveServers, tmp_path: Path
) -> None:
    funcs = tmp_path / "functions"
    funcs.mkdir()
    note = tmp_path / "pid"
    (funcs / "custom_a.py").write_text(
        f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    server = start_server({**installation.environment, "AIEYE_FUNCS_DIR": str(funcs)})
    _until(lambda: note.exists() and note.read_text() != "")
    pid = int(note.read_text())
    os.kill(server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 40
    while Path(f"/proc/{pid}/cmdline").exists() and b"aieye" in _line(pid):
        assert time.monotonic() < deadline, "the worker process outlived its server"
        time.sleep(0.1)


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
