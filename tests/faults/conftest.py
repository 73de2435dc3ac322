"""A scripted provider, the gateway in front of it, and what makes waiting short."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aieye import app
from aieye.gateway import circuits, dispatch, retry
from aieye.ledger.pricing import PriceBook
from aieye.ledger.queries.ahead import Ahead
from tests.fakes.upstream import FakeUpstream
from tests.faults.harness import Gateway, StartGateway, settings_for
from tests.faults.house import FUNCTIONS, House, echo
from tests.servers import DatabaseKind


@pytest.fixture(scope="session", autouse=True)
def price_list() -> None:
    """The price list takes a while to load, which no test's timing should depend on."""
    PriceBook.load()


@pytest.fixture(scope="package", autouse=True)
def quick_starts() -> Iterator[None]:
    """What each start does once, and no call waits for, takes more than half of it; others test that.

    The check of all routes' policies, reading ahead for the overview, and removing what is old.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "assert_every_route_has_a_policy", lambda _app: None)
        patch.setattr(app, "keep_pruning", _never)
        patch.setattr(Ahead, "watch", _never)
        yield


async def _never(*_: object) -> None:
    """A task of the app that has nothing to do."""
    await asyncio.Event().wait()


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> DatabaseKind:
    """SQLite, unless the test is marked with `both_databases`."""
    kind: DatabaseKind = getattr(request, "param", "sqlite")
    return kind


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """The provider."""
    async with FakeUpstream() as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[FakeUpstream]:
    """A second provider."""
    async with FakeUpstream() as running:
        yield running


@pytest.fixture
async def start_gateway(
    tmp_path: Path, database_url: str, upstream: FakeUpstream
) -> AsyncIterator[StartGateway]:
    """Call it with settings to change: `await start_gateway(idle_timeout=0.3)`."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Gateway:
            gateway = Gateway(settings_for(tmp_path, database_url, upstream, **changes))
            await gateway.start()
            stack.push_async_callback(gateway.stop)
            return gateway

        yield start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    """The gateway with its default settings."""
    return await start_gateway()


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once, unless the provider asks for patience, and are always in the budget."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)
    monkeypatch.setattr(
        dispatch, "RetryBudget", partial(retry.RetryBudget, start=10**6, most=10**6)
    )


@pytest.fixture
def no_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key is ever left alone, so that every call reaches the provider."""
    monkeypatch.setattr(circuits, "Circuit", partial(retry.Circuit, threshold=10**9))


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that neither accepts nor refuses: its queue is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listening.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        yield port


@pytest.fixture
async def house(
    tmp_path: Path, start_gateway: StartGateway, upstream: FakeUpstream
) -> AsyncIterator[House]:
    """A service with functions, and whoever saves prompts and pipelines there."""
    upstream.default = echo
    directory = tmp_path / "funcs"
    directory.mkdir()
    (directory / "custom_house.py").write_text(FUNCTIONS)
    gateway = await start_gateway(funcs_dir=directory)
    async with gateway.make_client(await gateway.add_token(scope="admin")) as admin:
        synced = (await admin.post("/api/v1/functions/sync")).json()
        assert synced["failed"] == []
        yield House(gateway, admin)
