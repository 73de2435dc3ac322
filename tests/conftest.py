"""Fixtures of all tests: new databases on both engines, live servers, tools."""

from __future__ import annotations

import gc
import shutil
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from tests.live import LiveServers
from tests.servers import DATABASE_KINDS, DatabaseKind, Databases
from tests.shared import hash_quickly, share_certificates, share_statements
from tests.tools import keep_end, not_run, report_flaky, report_not_run

NODE_DIRECTORY = Path(__file__).parent / "node"


def pytest_configure() -> None:
    # How long an example takes is the machine's business; what hangs is ended by pytest's timeout.
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")
    # A run that is told to end stops its servers, as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: no look at garbage goes through it again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    keep_end(session.config, exitstatus)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    report_not_run(terminalreporter)
    report_flaky(terminalreporter)


@pytest.fixture(scope="session", autouse=True)
def made_once() -> Iterator[None]:
    """What every client, engine and sign-in would do anew and at length (`tests.shared`)."""
    with pytest.MonkeyPatch.context() as patch:
        share_certificates(patch)
        share_statements(patch)
        hash_quickly(patch)
        yield


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Where databases come from; PostgreSQL starts when the first test asks for it."""
    with ExitStack() as stack:
        yield Databases(tmp_path_factory.mktemp("databases"), stack)


@pytest.fixture(params=DATABASE_KINDS)
def database_kind(request: pytest.FixtureRequest) -> DatabaseKind:
    """The engine of this test's databases: each test runs once on each.

    One engine alone: `@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)`.
    """
    kind: DatabaseKind = request.param
    return kind


@pytest.fixture
def empty_database_url(databases: Databases, database_kind: DatabaseKind) -> Iterator[str]:
    """The URL of a new database without a schema."""
    with databases.empty(database_kind) as url:
        yield url


@pytest.fixture
def database_url(databases: Databases, database_kind: DatabaseKind) -> Iterator[str]:
    """The URL of a new database with the newest schema."""
    with databases.migrated(database_kind) as url:
        yield url


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[LiveServers]:
    """Call it to start a real `aieye serve`: `start_server({"AIEYE_…": "…"})` is a `LiveServer`."""
    servers = LiveServers(tmp_path)
    try:
        yield servers
    finally:
        servers.close()


@pytest.fixture(scope="session")
def node_sdk() -> Path:
    """The directory in which `node FILE` finds OpenAI's SDK."""
    if shutil.which("node") is None:
        not_run("OpenAI's SDK for Node", "node (and npm)")
    if not (NODE_DIRECTORY / "node_modules" / "openai").is_dir():
        not_run("OpenAI's SDK for Node", "the package `openai`: run `make test` or `npm ci`")
    return NODE_DIRECTORY
