"""Several workers on PostgreSQL, and a process that runs out of what the system gives it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aieye.api.half_open import HEAD_SECONDS
from tests.crash.ledger import assert_recorded, assert_sums_agree, states
from tests.crash.load import Load, chat, fresh
from tests.installation import Installation, Made
from tests.live import LiveServer, LiveServers


def _workers(server: LiveServer) -> list[int]:
    """The processes that serve: those children that have the database open."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    named = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [int(pid) for pid, line in named.items() if b"resource_tracker" not in line]


def _is_answered(server: LiveServer, token: Made) -> bool:
    try:
        answer = httpx.post(
            f"{server.base_url}/v1/chat/completions",
            json=chat(fresh()),
            headers=token.headers,
            trust_env=False,
            timeout=20,
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 200


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_worker_that_is_killed_costs_no_finished_answer_and_is_replaced(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server({**installation.environment, "AIEYE_WORKERS": "2"})
    first = _workers(server)
    assert len(first) == 2
    with Load(server.base_url, token) as load:
        load.wait_for_each_kind()
        os.kill(first[0], signal.SIGKILL)
        before = len(load.seen.finished)
        time.sleep(1.5)
        # Before another can have started.
        assert len(load.seen.finished) > before + 3, "the other worker did not go on"
    deadline = time.monotonic() + 90
    while len(now := _workers(server)) < 2 or first[0] in now:
        assert time.monotonic() < deadline, "the worker was not replaced"
        time.sleep(0.1)
    assert_recorded(installation, set(load.seen.finished))
    assert server.terminate() == 0
    assert_sums_agree(installation)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_revocation_reaches_every_worker_within_a_second(
    installation: Installation, start_server: LiveServers
) -> None:
    token, admin = installation.add_token(), installation.add_token("admin")
    server = start_server({**installation.environment, "AIEYE_WORKERS": "2"})
    url = f"{server.base_url}/v1/models"
    assert httpx.get(url, headers=token.headers, trust_env=False).status_code == 200
    answer = httpx.delete(
        f"{server.base_url}/api/v1/tokens/{token.id}", headers=admin.headers, trust_env=False
    )
    assert answer.status_code == 200
    revoked, let_in = time.monotonic(), 0.0
    # A new connection each time, so that both workers are asked; what the last answer was asked at
    # counts, not when it came: a busy machine may be late with that.
    refused = 0
    while refused < 20:
        asked = time.monotonic()
        status = httpx.get(url, headers=token.headers, trust_env=False, timeout=20).status_code
        assert status in {200, 401}
        refused, let_in = (refused + 1, let_in) if status == 401 else (0, asked - revoked)
    assert let_in < 1


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_any_worker_tells_the_figures_of_all_also_after_one_was_replaced(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server({**installation.environment, "AIEYE_WORKERS": "2"})
    answered = 0

    def call_until_both_have_answered() -> dict[str, float]:
        nonlocal answered
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            # A new connection each time; the kernel gives it to either.
            answered += _is_answered(server, token)
            counted = _calls_by_worker(server)
            if set(counted) == {"0", "1"} and all(counted.values()):
                return counted
        raise AssertionError(f"one worker only: {_calls_by_worker(server)}")

    assert sum(call_until_both_have_answered().values()) == answered
    # Whoever is asked says the same.
    assert len({tuple(sorted(_calls_by_worker(server).items())) for _ in range(20)}) == 1
    first = _workers(server)
    os.kill(first[0], signal.SIGKILL)
    deadline = time.monotonic() + 90
    while len(now := _workers(server)) < 2 or first[0] in now:
        assert time.monotonic() < deadline, "the worker was not replaced"
        time.sleep(0.1)
    call_until_both_have_answered()
    assert server.terminate() == 0


def _calls_by_worker(server: LiveServer) -> dict[str, float]:
    """How many calls of `/v1` each worker has counted, as one of them tells it."""
    text = httpx.get(f"{server.base_url}/metrics", trust_env=False, timeout=5).text
    counted: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            worker = sample.labels["worker"]
            counted.setdefault(worker, 0)
            if sample.name == "aieye_requests_total":
                counted[worker] += sample.value
    return counted


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_several_workers_on_sqlite_are_refused(
    installation: Installation, start_server: LiveServers
) -> None:
    server = start_server.prepare({**installation.environment, "AIEYE_WORKERS": "2"})
    server.launch()
    assert server.wait(timeout_seconds=60) == 2
    assert "AIEYE_WORKERS" in server.output()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_server_without_free_file_descriptors_recovers(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server(installation.environment)
    assert _is_answered(server, token)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (90, 90))
    with ExitStack() as stack:
        for _ in range(150):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            stack.enter_context(connection)
        time.sleep(0.5)
        opened = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        assert opened >= 85, "it did not run out"
    deadline = time.monotonic() + 90
    while not _is_answered(server, token):
        assert time.monotonic() < deadline, server.output()[-2_000:]
        time.sleep(0.1)
    assert server.terminate() == 0
    assert set(states(installation)) == {"done"}


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_workers_close_requests_that_never_end_too(
    installation: Installation, start_server: LiveServers
) -> None:
    token = installation.add_token()
    server = start_server({**installation.environment, "AIEYE_WORKERS": "2"})
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(20)
        ]
        started = time.monotonic()
        for one in waiting:
            one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
            one.settimeout(2 * HEAD_SECONDS)
        assert _is_answered(server, token)
        answers = [one.recv(2**16) for one in waiting]
        seconds = time.monotonic() - started

    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert HEAD_SECONDS - 1 < seconds < HEAD_SECONDS + 5
