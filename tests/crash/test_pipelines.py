"""Real servers and runs of pipelines: what a killed one left is told, what others change is followed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.installation import Installation, Made
from tests.live import LiveServer, LiveServers
from tests.servers import DatabaseKind

FILE = "import time\ndef sleep(seconds: float):\n    time.sleep(seconds)\n    return seconds\n"


def _post(server: LiveServer, token: Made, path: str, body: Any, status: int = 200) -> Any:
    answer = httpx.post(
        server.base_url + path, json=body, headers=token.headers, trust_env=False, timeout=60
    )
    assert answer.status_code == status, answer.text
    return answer.json()


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_whose_server_was_killed_is_told_so_at_the_next_start(
    installation: Installation, start_server: LiveServers, tmp_path: Path
) -> None:
    funcs = tmp_path / "functions"
    funcs.mkdir()
    (funcs / "custom_a.py").write_text(FILE)
    token = installation.add_token("admin")
    server = start_server({**installation.environment, "AIEYE_FUNCS_DIR": str(funcs)})
    _until(lambda: bool(installation.query("SELECT 1 FROM functions")))
    _post(server, token, "/api/v1/functions/sync", {})
    made = _post(
        server, token, "/api/v1/pipelines", {"name": "p", "source": "sleep(s)"}, status=201
    )
    call = {"pipeline_id": made["id"], "args": {"s": 0}}
    assert _post(server, token, "/api/pipeline/call", call)["response"] == "0.0"

    def hang() -> None:
        body = {**call, "args": {"s": 25}}
        try:
            httpx.post(
                f"{server.base_url}/api/pipeline/call", json=body, headers=token.headers,
                trust_env=False, timeout=60,
            )  # fmt: skip
        except httpx.HTTPError:
            return

    hanging = threading.Thread(target=hang)
    hanging.start()
    running = "SELECT 1 FROM executions WHERE status = 'running'"
    _until(lambda: bool(installation.query(running)))
    server.kill()
    hanging.join()
    server.start()
    logs = _post(server, token, "/api/pipeline/logs/", {"pipeline_id": made["id"]})
    run = logs["pipeline_execution"]
    assert (run["status"], run["error"], run["output"]) == ("error", "the process ended", None)
    assert run["end_date"] is not None
    assert installation.query(running) == []


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_run_is_ended_through_another_server_on_the_same_database(
    installation: Installation, start_server: LiveServers, tmp_path: Path
) -> None:
    funcs = tmp_path / "functions"
    funcs.mkdir()
    (funcs / "custom_a.py").write_text(FILE)
    token = installation.add_token("admin")
    environment = {**installation.environment, "AIEYE_FUNCS_DIR": str(funcs)}
    server, other = start_server(environment), start_server(environment)
    _until(lambda: bool(installation.query("SELECT 1 FROM functions")))
    _post(server, token, "/api/v1/functions/sync", {})
    _post(server, token, "/api/v1/pipelines", {"name": "p", "source": "sleep(25)"}, status=201)
    answers: list[httpx.Response] = []

    def call() -> None:
        url = f"{server.base_url}/api/v1/pipelines/p/call"
        answers.append(httpx.post(url, json={}, headers=token.headers, trust_env=False, timeout=60))

    calling = threading.Thread(target=call)
    calling.start()
    _until(lambda: bool(installation.query("SELECT 1 FROM executions WHERE status = 'running'")))
    ((run_id,),) = installation.query("SELECT run_id FROM executions")
    told = _post(other, token, f"/api/v1/executions/{run_id}/cancel", {})
    assert told == {"run_id": run_id, "status": "cancelling"}
    calling.join(10)
    (answer,) = answers
    assert (answer.status_code, answer.json()["diagnostics"][0]["code"]) == (422, "E503")
    assert installation.query("SELECT status FROM executions") == [("cancelled",)]


def test_every_process_runs_a_pipeline_as_it_was_saved_last(
    installation: Installation, start_server: LiveServers, database_kind: DatabaseKind
) -> None:
    workers = "1" if database_kind == "sqlite" else "2"
    token = installation.add_token("admin")
    server = start_server({**installation.environment, "AIEYE_WORKERS": workers})
    _until(lambda: bool(installation.query("SELECT 1 FROM functions WHERE name = 'uppercase'")))
    made = _post(
        server, token, "/api/v1/pipelines", {"name": "p", "source": "uppercase(s)"}, status=201
    )

    def says(value: str) -> bool:
        body = {"pipeline_id": made["id"], "args": {"s": "Abc"}}
        answer = httpx.post(
            f"{server.base_url}/api/pipeline/call", json=body, headers=token.headers,
            trust_env=False, timeout=30,
        )  # fmt: skip
        return bool(answer.status_code == 200 and answer.json()["response"] == value)

    def says_everywhere(value: str) -> bool:
        # Each connection is taken by whichever process is first.
        return all(says(value) for _ in range(10))

    _until(lambda: says_everywhere("ABC"))
    httpx.patch(
        f"{server.base_url}/api/v1/pipelines/{made['id']}", json={"source": "lowercase(s)"},
        headers=token.headers, trust_env=False, timeout=30,
    ).raise_for_status()  # fmt: skip
    _until(lambda: says_everywhere("abc"))
