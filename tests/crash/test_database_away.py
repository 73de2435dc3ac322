"""The database goes away and comes back: calls are refused in time, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy.engine import make_url

from tests.crash.conftest import PROVIDER_KEY
from tests.crash.ledger import assert_recorded, assert_sums_agree
from tests.crash.load import chat, fresh
from tests.crash.proxy import DatabaseProxy
from tests.fakes.recorded import RecordedDemo
from tests.installation import Installation, Made, Row, call_id
from tests.live import LiveServer, LiveServers, quickest

CHAT = "/v1/chat/completions"
# The ledger waits for five seconds; where nobody says that the database is away, a look into the
# cache has waited as well.
# And a busy machine takes its time: whoever waited for the database would wait for 30 seconds and more.
LONGEST_SECONDS = {"cut": 12.0, "freeze": 16.0}
# SQLite's file does not go away.
pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)


@dataclass
class Service:
    """A server that reaches its database through a proxy."""

    server: LiveServer
    installation: Installation
    proxy: DatabaseProxy
    token: Made
    admin: Made
    client: httpx.Client

    def ask(self, question: str) -> httpx.Response:
        return self.client.post(CHAT, json=chat(question))

    def status(self, path: str) -> int:
        return self.client.get(path).status_code


@pytest.fixture
def service(
    database_url: str, provider: RecordedDemo, start_server: LiveServers
) -> Iterator[Service]:
    installation = Installation(database_url)
    installation.add_provider(provider.base_url, PROVIDER_KEY)
    with DatabaseProxy(database_url) as proxy:
        environment = {**installation.environment, "AIEYE_DATABASE_URL": proxy.url}
        token, admin = installation.add_token(), installation.add_token("admin")
        server = start_server(environment)
        with httpx.Client(
            base_url=server.base_url, headers=token.headers, trust_env=False, timeout=60
        ) as client:
            yield Service(server, installation, proxy, token, admin, client)


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait until something holds; how long that took. Fails when it does not come in time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come in time"
        time.sleep(0.05)
    return time.monotonic() - started


def _assert_refused(answer: httpx.Response, started: float, *, fault: str) -> None:
    assert time.monotonic() - started < LONGEST_SECONDS[fault]
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] in {
        "ledger_unavailable",
        "overloaded",
        "database_unavailable",
    }


@pytest.mark.parametrize("fault", ["cut", "freeze"])
def test_calls_are_refused_while_the_database_is_away_and_recorded_when_it_is_back(
    service: Service, provider: RecordedDemo, fault: str
) -> None:
    assert service.ask("stored").status_code == 200
    assert service.status("/readyz") == 200
    service.proxy.cut() if fault == "cut" else service.proxy.freeze()
    assert service.proxy.broken > 0

    refused = []
    for question in (fresh(), "stored", fresh()) if fault == "cut" else (fresh(),):
        started = time.monotonic()
        answer = service.ask(question)
        _assert_refused(answer, started, fault=fault)
        refused.append(answer)
    assert service.status("/healthz") == 200
    until(lambda: service.status("/readyz") == 503, 30)
    assert service.client.get("/readyz").json()["reasons"]
    # Once that is known, nobody waits for it, and no provider is paid for nothing.
    before = len(provider.seen)

    def refuse() -> float:
        started = time.monotonic()
        _assert_refused(service.ask(fresh()), started, fault=fault)
        return time.monotonic() - started

    assert quickest(refuse, below=0.5) < 0.5
    assert len(provider.seen) == before
    started = time.monotonic()
    administration = service.client.get("/api/v1/users", headers=service.admin.headers)
    _assert_refused(administration, started, fault=fault)

    service.proxy.heal()
    until(lambda: service.status("/readyz") == 200, 30)
    answer = service.ask(fresh())
    assert answer.status_code == 200
    assert service.client.get("/api/v1/users", headers=service.admin.headers).status_code == 200
    assert_recorded(service.installation, {call_id(answer.headers)})
    # What was paid for while it was away is in the books as well, once.
    until(lambda: len(_missing(service, refused[:1])) == 0, 30)
    until(lambda: _said(service, refused[0]) == (503, "ledger_unavailable"), 30)
    assert_sums_agree(service.installation)


def _missing(service: Service, answers: list[httpx.Response]) -> set[str]:
    ids = {call_id(answer.headers) for answer in answers}
    return ids - {id_ for (id_,) in service.installation.query("SELECT id FROM calls")}


def _said(service: Service, answer: httpx.Response) -> Row:
    """The status and the error of an answer's row."""
    statement = "SELECT status, error FROM calls WHERE id = :id"
    return service.installation.query(statement, id=call_id(answer.headers))[0]


def test_a_stream_that_cannot_be_recorded_ends_in_an_error_event(service: Service) -> None:
    body = chat(fresh(), model="sim-slow-100-long-20", stream=True)
    with service.client.stream("POST", CHAT, json=body) as stream:
        pieces = stream.iter_raw()
        received = next(pieces)
        service.proxy.cut()
        started = time.monotonic()
        received += b"".join(pieces)
    assert time.monotonic() - started < 4 + LONGEST_SECONDS["cut"]
    assert b"[DONE]" not in received
    last = received.rstrip().rpartition(b"\n\n")[2]
    assert b'"error"' in last
    assert b"ledger_unavailable" in last
    service.proxy.heal()
    until(lambda: not _missing(service, [stream]), 30)
    until(lambda: _said(service, stream) == (503, "ledger_unavailable"), 30)


def test_a_commit_whose_answer_is_lost_counts_once(
    service: Service, provider: RecordedDemo
) -> None:
    ids = set()
    for number in range(1, 6):
        service.proxy.cut_at_next_commit()
        answer = service.ask(fresh())
        assert answer.status_code == 200, answer.text
        ids.add(call_id(answer.headers))
        until(lambda: service.proxy.broken >= number, 30)  # noqa: B023 - used up within the turn
    until(lambda: service.status("/readyz") == 200, 30)
    assert_recorded(service.installation, ids)
    assert len(provider.seen) == 5
    assert service.server.terminate() == 0
    assert_sums_agree(service.installation)


def test_under_load_no_seen_answer_lacks_its_row_after_the_database_was_away(
    service: Service,
) -> None:
    finished: set[str] = set()
    stop = threading.Event()

    def call() -> None:
        with httpx.Client(
            base_url=service.server.base_url,
            headers=service.token.headers,
            trust_env=False,
            timeout=20,
        ) as client:
            while not stop.is_set():
                answer = client.post(CHAT, json=chat(fresh()))
                assert answer.status_code in {200, 503}
                if answer.status_code == 200:
                    finished.add(call_id(answer.headers))

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    # Calls are finished before the first cut, between all of them and after the last one.
    for _ in range(3):
        _until_finished(finished, 12)
        service.proxy.cut()
        time.sleep(0.2)
        service.proxy.heal()
    until(lambda: service.status("/readyz") == 200, 30)
    _until_finished(finished, 12)
    stop.set()
    for thread in threads:
        thread.join()
    assert_recorded(service.installation, finished)
    assert service.server.terminate() == 0
    assert_sums_agree(service.installation)


def _until_finished(finished: set[str], more: int) -> None:
    goal = len(finished) + more
    until(lambda: len(finished) >= goal, 30)


def test_a_revocation_made_while_the_database_was_away_counts_when_it_is_back(
    service: Service,
) -> None:
    assert service.status("/v1/models") == 200
    service.proxy.cut()
    service.installation.execute(
        "UPDATE tokens SET disabled_at = 1 WHERE id = :id", id=service.token.id
    )
    service.installation.execute("UPDATE revision SET value = value + 1")
    service.proxy.heal()
    until(lambda: service.status("/v1/models") == 401, 30)


def test_a_server_that_starts_without_its_database_waits_for_it(
    database_url: str, start_server: LiveServers
) -> None:
    installation = Installation(database_url)
    with DatabaseProxy(database_url) as proxy:
        proxy.cut()
        server = start_server.prepare({**installation.environment, "AIEYE_DATABASE_URL": proxy.url})
        server.launch()

        def answers(path: str, status: int) -> bool:
            try:
                return httpx.get(f"{server.base_url}{path}", trust_env=False).status_code == status
            except httpx.TransportError:
                return False

        until(lambda: answers("/healthz", 200), 30)
        assert answers("/readyz", 503)
        proxy.heal()
        server.wait_ready(timeout_seconds=60)


def test_neither_the_log_nor_an_error_tells_the_databases_password(
    database_url: str, start_server: LiveServers
) -> None:
    password = "database-canary-4711"
    url = make_url(database_url).set(
        host="127.0.0.1", port=1, username="postgres", password=password, query={}
    )
    server = start_server.prepare({"AIEYE_DATABASE_URL": url.render_as_string(hide_password=False)})
    server.launch()
    time.sleep(1.5)
    server.close()
    assert password not in server.output()
