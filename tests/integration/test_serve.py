"""`aieye serve` as a process of its own: what it prints, that this works, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.live import PYTHON, LiveServer, LiveServers
from tests.servers import Databases

pytestmark = pytest.mark.live

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}'


@pytest.fixture(autouse=True)
def begun_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the server is as people start it, from the first import on."""
    monkeypatch.setattr(LiveServer, "program", PYTHON)


def _aieye(
    server: LiveServer, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command beside the server, in its directory and environment."""
    return subprocess.run(
        [sys.executable, "-m", "aieye", *arguments],
        cwd=server.directory,
        env=server.environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _status(server: LiveServer, token: str) -> int:
    """What a chat call with this token is answered with."""
    request = urllib.request.Request(
        f"{server.base_url}/v1/chat/completions",
        BODY,
        {"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def _wait_for(server: LiveServer, token: str, status: int) -> float:
    """Seconds for which the server answered otherwise: up to when it was asked for the last time so."""
    start, otherwise = time.monotonic(), 0.0
    while (asked := time.monotonic()) and _status(server, token) != status:
        otherwise = asked - start
        assert otherwise < 30, "not within half a minute"
        time.sleep(0.02)
    return otherwise


def _printed(server: LiveServer, pattern: str) -> Sequence[str]:
    return re.findall(pattern, server.output())


def test_the_first_start_prints_a_curl_line_that_works_as_printed(
    start_server: LiveServers,
) -> None:
    server = start_server()
    (line,) = _printed(server, r"(?m)^\s*(curl .*)$")
    assert shlex.split(line)[0] == "curl"
    answer = subprocess.run(
        ["sh", "-c", f"{line} --silent --show-error --noproxy '*'"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    body = json.loads(answer.stdout)
    assert "Hello" in body["choices"][0]["message"]["content"]
    # The simulated provider says what it is, and nothing of that is taken for a secret.
    assert body["system_fingerprint"] == "fp_simulated"
    assert "SIMULATED" in server.output()
    assert len(_printed(server, r"/setup\?token=\S+")) == 1


def test_a_later_start_prints_no_secret_again_and_keeps_what_was_made(
    start_server: LiveServers,
) -> None:
    server = start_server()
    (token,) = set(_printed(server, r"\baie_\w+"))
    server.terminate()
    server.log_file.write_text("")
    server.start()
    assert _status(server, token) == 200
    assert _printed(server, r"\baie_\w+|/setup\?token=|curl ") == []
    assert server.base_url in server.output()


def test_a_provider_without_a_key_stops_nothing_and_one_with_a_key_takes_over(
    start_server: LiveServers,
) -> None:
    server = start_server()
    (token,) = set(_printed(server, r"\baie_\w+"))
    _aieye(server, "provider", "add", "away", "--base-url", "http://127.0.0.1:1/v1")
    assert _status(server, token) == 200
    server.terminate()
    server.log_file.write_text("")
    server.start()
    assert _status(server, token) == 200
    assert "SIMULATED: no provider holds a key" in server.output()
    assert "set-up link that was printed before" in server.output()
    _aieye(server, "key", "add", "away", stdin="sk-0123456789abcdef")
    _wait_for(server, token, 502)
    server.terminate()
    server.log_file.write_text("")
    server.start()
    assert "go to away, http://127.0.0.1:1/v1" in server.output()
    assert str(server.data_dir) in server.output()
    assert "SIMULATED" not in server.output()


def test_a_second_server_on_the_same_file_is_refused(start_server: LiveServers) -> None:
    server = start_server()
    second = _aieye(server, "serve", "--port", "0")
    assert second.returncode == 2
    assert "stop it first" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_that_is_taken_is_one_line_and_a_3(
    start_server: LiveServers, tmp_path: Path
) -> None:
    server = start_server()
    other = start_server.prepare({"AIEYE_PORT": str(server.port)}, data_dir=tmp_path / "other")
    other.launch()
    assert other.wait() == 3
    assert f"Cannot listen on 127.0.0.1, port {server.port}: " in other.output()
    assert "Give another with --port or AIEYE_PORT." in other.output()
    assert "Traceback" not in other.output()


@pytest.mark.parametrize(("told", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_being_told_to_stop_is_a_good_end_and_an_interruption_is_130(
    start_server: LiveServers, told: signal.Signals, code: int
) -> None:
    server = start_server()
    os.kill(server.pid, told)
    assert server.wait() == code
    assert "Traceback" not in server.output()
    server.start()


def test_what_commands_change_the_server_knows_within_a_second(start_server: LiveServers) -> None:
    server = start_server()
    made = json.loads(_aieye(server, "token", "create", "ci", "--json").stdout)
    assert _wait_for(server, made["token"], 200) < 1
    assert _aieye(server, "token", "revoke", str(made["id"])).returncode == 0
    assert _wait_for(server, made["token"], 401) < 1


def test_a_backup_is_made_while_the_server_runs_and_restored_when_it_does_not(
    start_server: LiveServers,
) -> None:
    server = start_server()
    (token,) = set(_printed(server, r"\baie_\w+"))
    file = _aieye(server, "backup").stdout.strip()
    refused = _aieye(server, "restore", file, "--yes")
    assert (refused.returncode, _status(server, token)) == (2, 200)
    server.kill()
    for lost in server.data_dir.glob("aieye.db*"):
        lost.unlink()
    assert _aieye(server, "restore", file, "--yes").returncode == 0
    server.start()
    assert _status(server, token) == 200


def test_several_workers_share_one_first_start(
    start_server: LiveServers, databases: Databases
) -> None:
    with databases.empty("postgresql") as url:
        server = start_server({"AIEYE_DATABASE_URL": url}, arguments=["--workers", "2"])
        (token,) = set(_printed(server, r"\baie_\w+"))
        assert len(_printed(server, r"/setup\?token=\S+")) == 1
        assert {_status(server, token) for _ in range(20)} == {200}
        assert server.terminate() == 0
        assert "Traceback" not in server.output()


def test_the_simulated_provider_runs_alone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "aieye", "demo-upstream", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        request = urllib.request.Request(
            f"{base_url}/models", headers={"authorization": "Bearer x"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.status == 200
        process.terminate()
        assert process.wait(30) == 0
