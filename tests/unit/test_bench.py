"""The parts of the benchmark that could make a figure wrong without anyone noticing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from aieye.cache.key import cache_key, canonical, read_object
from aieye.cache.store import Store
from aieye.cli.serving import _server_options
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.migrate import migrate
from bench import machine
from bench.blocks import SERVER_OPTIONS
from bench.fill import fill
from bench.ledger import booked, check_booked, mark
from bench.messages import EVENTS, PATH, REQUEST_BYTES, answer, frames, request
from bench.probe import sorted_latencies
from bench.processes import NotMeasured
from bench.report import Line, Result, Row, Target, table
from bench.upstream import check_calls


@pytest.mark.parametrize("is_stream", [False, True])
def test_every_request_has_two_kilobytes_and_its_own_number(is_stream: bool) -> None:
    template = request(is_stream=is_stream)
    bodies = [template.body(number) for number in (0, 7, 999_999_999_999, 10**15)]
    assert {len(body) for body in bodies} == {template.size} == {REQUEST_BYTES}
    documents = [json.loads(body) for body in bodies]
    assert len({document["messages"][1]["content"] for document in documents}) == len(bodies)
    assert all(document.get("stream", False) is is_stream for document in documents)


def test_the_answer_is_one_kilobyte_of_json_that_nginx_can_hold() -> None:
    assert 950 < len(answer()) < 1_100
    assert json.loads(answer())["object"] == "chat.completion"
    assert not set(answer()) & set(b"'$\\")


def test_a_client_that_asks_for_no_usage_receives_a_hundred_events() -> None:
    sent = frames()
    usage = [frame for frame in sent if b'"choices":[]' in frame]
    assert len(sent) - len(usage) == EVENTS
    assert sent[-1] == b"data: [DONE]\n\n"
    assert len(usage) == 1


def test_the_raw_blocks_run_as_the_product_does() -> None:
    product = _server_options()
    # One has nothing to begin and to end, is told to end at once, and is as patient as uvicorn is.
    for name in ("lifespan", "timeout_graceful_shutdown", "http"):
        product.pop(name)
    assert product == {name: one for name, one in SERVER_OPTIONS.items() if name != "http"}


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PATH", "/nowhere")
    found = "\n".join(machine.faults())
    assert "wrk, nginx, taskset" in found
    assert "apt-get install wrk nginx util-linux" in found


@pytest.mark.parametrize(
    ("target", "figure", "against", "verdict"),
    [
        (Target(0.45, 0.70, of="ratio"), 44, 100, "MISSED"),
        (Target(0.45, 0.70, of="ratio"), 45, 100, "met"),
        (Target(0.45, 0.70, of="ratio"), 70, 100, "aim met"),
        (Target(0.45, 0.70, of="ratio"), 70, None, "INVALID"),
        (Target(3.0, 1.7, is_ceiling=True), 3.1, None, "MISSED"),
        (Target(3.0, 1.7, is_ceiling=True), 3.0, None, "met"),
        (Target(3.0, 1.7, is_ceiling=True), 1.7, None, "aim met"),
        (Target(0, is_ceiling=True), 0, None, "met"),
        (Target(None, 50, is_ceiling=True), 51, None, "aim missed"),
    ],
)
def test_a_verdict_says_which_bound_was_reached(
    target: Target, figure: float, against: float | None, verdict: str
) -> None:
    assert Row("case", figure, "ms", against, target=target).verdict == verdict


def test_the_table_shows_figures_floors_and_faults() -> None:
    rows: list[Result] = [
        Row("hits", 9_512.3, "/s", 27_100, "raw", Target(0.35, 0.60, of="ratio")),
        Line("litellm", "not installed"),
        Line("sizes", "no disk", is_fault=True),
    ]
    lines = table(rows).splitlines()
    assert " ".join(lines[2].split()) == "hits 9,512 /s 27,100 /s raw 0.35 0.35 × 0.6 × met"
    assert lines[3:] == ["litellm: not installed", "sizes: INVALID, no disk"]


def test_percentiles_are_those_of_what_was_measured() -> None:
    latencies = sorted_latencies(range(99, -1, -1))
    assert (latencies.percentile(0.5), latencies.percentile(0.99)) == (50, 99)
    with pytest.raises(NotMeasured):
        sorted_latencies([1.0])


@pytest.mark.parametrize("found", [99, 117])
def test_calls_that_the_upstream_did_not_get_make_a_figure_invalid(found: int) -> None:
    check_calls(100, 100, in_flight=16)
    check_calls(116, 100, in_flight=16)
    with pytest.raises(NotMeasured):
        check_calls(found, 100, in_flight=16)


async def test_a_filled_database_answers_the_requests_that_the_load_sends(tmp_path: Path) -> None:
    path = tmp_path / "aieye.db"
    url = f"sqlite+aiosqlite:///{path}"
    template = request()
    migrate(url)
    fill(path, calls=40, entries=20, template=template)
    database = Database(url)
    store = Store(database, GroupWriter(database))
    await store.start()
    try:
        for number in (0, 19):
            body = canonical(read_object(template.body(number)))
            entry = await store.find(cache_key(PATH.removeprefix("/v1/"), 1, "default", body))
            assert entry is not None
            assert entry.body == answer()
    finally:
        await store.close()
        await database.close()


def test_calls_that_were_not_booked_as_they_should_make_a_figure_invalid(tmp_path: Path) -> None:
    path = tmp_path / "aieye.db"
    url = f"sqlite+aiosqlite:///{path}"
    migrate(url)
    fill(path, calls=40, entries=0, template=request())
    assert booked(url, "0").rows == {("miss", 200): 10, ("hit", 200): 20, ("shared", 200): 10}
    assert booked(url, mark()).total == 0
    with pytest.raises(NotMeasured, match="should have been booked as hit"):
        check_booked(url, "0", cache="hit", calls=40, in_flight=0)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE calls SET cache = 'hit'")
        connection.execute(
            "UPDATE calls SET cost_nano = NULL WHERE id = (SELECT max(id) FROM calls)"
        )
    connection.close()
    with pytest.raises(NotMeasured, match="1 calls were booked without a price"):
        check_booked(url, "0", cache="hit", calls=40, in_flight=0)
