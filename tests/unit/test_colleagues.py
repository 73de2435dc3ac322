"""The figures of several workers in one scrape."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aieye.telemetry.colleagues import Colleagues
from aieye.telemetry.metrics import Metrics

FIGURE = "aieye_figure"


@pytest.fixture
def shared() -> Iterator[Path]:
    """Short, since a socket's path has some hundred characters at most."""
    with TemporaryDirectory(prefix="eye") as directory:
        yield Path(directory)


@asynccontextmanager
async def worker(shared: Path, figure: int) -> AsyncIterator[Colleagues]:
    metrics = Metrics()
    metrics.watch(FIGURE, "A figure.", lambda: figure)
    running = Colleagues(shared, 2, metrics)
    await running.start()
    try:
        yield running
    finally:
        await running.close()


async def told_by(asked: Colleagues) -> dict[str, float]:
    """What `asked` says of the figure, by worker."""
    text, media_type = await asked.render()
    assert media_type.startswith("text/plain")
    assert text.count(b"# TYPE " + FIGURE.encode()) == 1
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == FIGURE
    }


async def test_whoever_is_asked_tells_the_figures_of_all(shared: Path) -> None:
    async with worker(shared, 7) as first, worker(shared, 11) as second:
        assert await told_by(first) == await told_by(second) == {"0": 7, "1": 11}


async def test_who_is_gone_is_left_out_and_replaced_under_the_same_number(shared: Path) -> None:
    async with worker(shared, 11) as second:
        async with worker(shared, 7):
            pass
        assert await told_by(second) == {"0": 11}
        # As one that was killed leaves it.
        (shared / "1.sock").touch()
        assert await told_by(second) == {"0": 11}
        async with worker(shared, 13):
            assert await told_by(second) == {"0": 11, "1": 13}


async def test_a_worker_without_a_socket_still_tells_its_own(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    async with worker(deep, 7) as alone:
        assert await told_by(alone) == {"0": 7}
