"""Large texts are read as JSON in a thread, and the steps that need them go on with what they hold."""

from __future__ import annotations

import threading

import orjson
import pytest

from aieye.pipeline.evaluation import reading
from aieye.pipeline.language.values import Json, read_json
from tests.unit.pipeline.runs import Steps, failure, value

LARGE = orjson.dumps({"items": list(range(20_000)), "name": "Ada"}).decode()


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that read, one for each text that was read."""
    found: list[threading.Thread] = []

    def noted(text: str) -> Json:
        found.append(threading.current_thread())
        return read_json(text)

    monkeypatch.setattr(reading, "read_json", noted)
    return found


async def test_what_several_steps_read_in_a_large_text_is_read_once_and_elsewhere(
    readers: list[threading.Thread],
) -> None:
    assert await value("[x.name, x.items[3], same(x).name]", x=LARGE) == ["Ada", 3, "Ada"]
    assert len(readers) == 1
    assert readers[0] is not threading.current_thread()


async def test_steps_keep_their_order_while_a_text_is_read(
    readers: list[threading.Thread],
) -> None:
    steps = Steps()
    text = "[first(x.name), second(if(positive(x.items[1]), 'a', 'b'))]"
    assert await value(text, steps, x=LARGE) == ["Ada", "a"]
    assert steps.started == ["first", "second"]
    assert len(readers) == 1


async def test_a_large_text_that_is_not_json_fails_the_step_that_reads_it() -> None:
    error = await failure("[x.name, upper(x)]", x="x" * 100_000)
    assert (error.diagnostic.code, "is not JSON" in error.diagnostic.message) == ("E403", True)
    assert await value("try(x.name, 'none')", x="x" * 100_000) == "none"


async def test_a_run_may_end_while_a_text_is_read(readers: list[threading.Thread]) -> None:
    error = await failure("[x.name, fail(1)]", x=LARGE)
    assert error.diagnostic.code == "E501"


async def test_the_arguments_of_a_run_are_read_elsewhere_too() -> None:
    found = await value("param x: dict[str, any]; x.name", x=LARGE)
    assert found == "Ada"
