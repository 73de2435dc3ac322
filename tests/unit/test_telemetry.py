"""Logs without secrets, one line a record; metrics with bounded labels; the event loop's lag."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from aieye.access.secrets import make_secret, make_token
from aieye.telemetry import LoopLag, configure_logs, hide_secrets, redact, request_id
from aieye.telemetry.lag import REMEMBERED_SECONDS
from aieye.telemetry.metrics import LATENCY_BOUNDS, MOST_MODELS, Metrics

HEX = "3f2504e04f8941d39a0c0305e82c33013f2504e0"
SECRETS = [
    make_token().secret,
    make_secret(),
    "sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY",
    "sk-ant-api03-canary",
    HEX,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "AIzaSyD-canary-canary-canary-canary-0123",
    "gsk_canary0123456789canary",
]
# How secrets of any form appear in texts; `canary` stands for one.
NAMED = [
    "Authorization: Bearer canary",
    "authorization: Basic canary",
    "{'Authorization': 'Token canary'}",
    '{"api_key": "canary"}',
    r"{\"api_key\": \"canary\"}",
    "(b'x-api-key', b'canary')",
    "Cookie: a=b; sessionid=canary; c=d",
    "Set-Cookie: sessionid=canary; Path=/",
    "password=canary&next=/",
    "client_secret = canary",
    "https://example.org/v1/models?key=canary&x=1",
    "postgresql+asyncpg://aieye:canary@db/aieye",
    "redis://:ca/nary@canary@redis:6379/0",
]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged as JSON; the process' own set-up is put back afterwards."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    configure_logs(stream=stream, as_json=True)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)
    hide_secrets(())


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def without_other_handlers(stream: io.StringIO) -> None:
    """pytest's own handlers would fail a test at a record that cannot be formatted."""
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if getattr(one, "stream", None) is stream]


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("around", ["{}", "key {}, and", '"{}"', "x={}\n", "https://host/{}/x"])
def test_what_has_the_form_of_a_secret_is_not_written(secret: str, around: str) -> None:
    assert secret not in redact(around.format(secret))
    assert "[redacted]" in redact(around.format(secret))


@pytest.mark.parametrize("text", NAMED)
def test_what_is_named_a_secret_is_not_written_whatever_its_form(text: str) -> None:
    assert "nary" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "calls: 40, tokens: 1200, token_id=3",
        "0193a5c2b4d87c3e9f10a2b3c4d5e6f7",
        "req_0193a5c2b4d87c3e9f10a2b3c4d5e6f7",
        "GET http://127.0.0.1:8000/api/v1/calls?limit=5 at 2026-11-20T12:00:00Z by ada@example.org",
        "aieye.ledger.retention and task-management, disk-usage",
        "text-embedding-3-small, gpt-4o-mini-2024-07-18, meta-llama/Llama-3-8b",
    ],
)
def test_ordinary_texts_are_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("piece", ["://a:", "eyJ-", "password \\", "A1-", "bearer ", " = "])
def test_a_hostile_text_takes_no_longer_than_its_length(piece: str) -> None:
    started = time.process_time()
    redact(piece * (100_000 // len(piece)))
    # Up to 0.35 s on an idle machine; a quadratic search would take minutes.
    assert time.process_time() - started < 5


def test_secrets_that_the_process_holds_are_known_whatever_their_form() -> None:
    hide_secrets(["plain-words-as-a-key", "plain-words-as-a-key-2", ""])
    try:
        assert redact("(plain-words-as-a-key-2)") == "([redacted])"
        assert redact("words") == "words"
    finally:
        hide_secrets(())
    assert redact("plain-words-as-a-key") == "plain-words-as-a-key"


def test_fields_named_like_secrets_are_not_written_however_deep(logged: io.StringIO) -> None:
    structlog.get_logger().warning(
        "refused",
        token="canary",
        tokens_input=5,
        headers={"Authorization": "canary", "cookie": b"canary", "x-ok": "shown"},
        raw=[(b"x-api-key", b"canary"), (b"accept", b"*/*")],
        request={"body": {"secrets": {"password": "canary"}}},
    )
    (record,) = records(logged)
    assert "canary" not in logged.getvalue()
    assert record["tokens_input"] == 5
    assert record["headers"]["x-ok"] == "shown"
    assert record["raw"][1] == ["accept", "*/*"]


def test_a_traceback_is_text_without_secrets_and_without_local_variables(
    logged: io.StringIO,
) -> None:
    canary = "".join(["sk-", "canary-in-a-message"])
    local = "".join(["local", "-canary"])
    try:
        raise ValueError(f"the key {canary} is wrong")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed with %s", canary)
    assert "canary-in-a-message" not in logged.getvalue()
    assert local not in logged.getvalue()
    assert all("ValueError: the key [redacted] is wrong" in r["exception"] for r in records(logged))


def test_objects_are_described_and_a_broken_description_breaks_nothing(
    logged: io.StringIO,
) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    @dataclass
    class Holder:
        key: str

    without_other_handlers(logged)
    structlog.get_logger().info("x", broken=Broken(), held=Holder("sk-canary-held"), n=float("nan"))
    (record,) = records(logged)
    assert "RuntimeError" in record["broken"]
    assert record["held"].endswith("Holder(key='[redacted]')")
    assert record["n"] == "nan"


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.binary()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_record_is_one_line_of_json_whatever_is_in_it(
    logged: io.StringIO, text: str, fields: dict[str, Any]
) -> None:
    logged.seek(0)
    logged.truncate()
    structlog.get_logger().info("event", text=text, fields=fields)
    logging.getLogger("other").info("%s", text)
    written = logged.getvalue()
    assert written.isascii()
    assert len(written.splitlines()) == len(records(logged)) == 2
    assert not any(ord(character) < 32 for character in written.replace("\n", ""))
    assert "\x7f" not in written


def test_a_record_bears_the_request_in_whose_course_it_was_written(logged: io.StringIO) -> None:
    token = request_id.set("req_1")
    structlog.get_logger().info("one")
    request_id.reset(token)
    structlog.get_logger().info("two")
    assert [record.get("request_id") for record in records(logged)] == ["req_1", None]


def test_libraries_and_the_web_server_log_through_the_same(logged: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    logging.getLogger("uvicorn.access").info('%s - "%s"', "127.0.0.1", "GET /?key=canary")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.org")
    first, second = records(logged)
    assert (first["logger"], first["level"]) == ("uvicorn.error", "error")
    assert "[redacted]" in second["event"]


def test_a_record_that_cannot_be_formatted_is_not_printed_raw(
    logged: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    without_other_handlers(logged)
    logging.getLogger("broken").error("%d", "sk-canary-argument")
    (record,) = records(logged)
    assert (record["event"], record["logger"]) == ("log_record_failed", "broken")
    printed = capsys.readouterr()
    assert "canary" not in logged.getvalue() + printed.out + printed.err


def test_a_person_at_a_terminal_gets_no_control_characters(logged: io.StringIO) -> None:
    stream = io.StringIO()
    configure_logs(stream=stream, as_json=False)
    structlog.get_logger().info("click\x1b[2J", name="a\nb")
    assert "\x1b[2J" not in stream.getvalue()
    assert "a\\nb" in stream.getvalue()
    assert "\x1b" not in stream.getvalue() or sys.stderr.isatty()


@dataclass
class Observation:
    """A call as the metrics see it."""

    endpoint: str = "chat/completions"
    provider_id: int | None = 1
    model: str | None = "gpt-4o-mini"
    status: int | None = 200
    cache: str = "miss"
    latency_us: int | None = 30_000
    tokens_input: int | None = 10
    tokens_cached: int | None = 4
    tokens_output: int | None = 5
    tokens_reasoning: int | None = None
    cost_nano: int | None = 1_500
    saved_nano: int | None = 0

    def elapsed_us(self) -> int:
        return 7_000


def counting() -> Metrics:
    metrics = Metrics()
    metrics.providers = {1: "openai"}
    metrics.knows_model = lambda name: name.startswith("gpt-")
    return metrics


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric, by the values of their labels in the order of the labels' names."""
    text = metrics.render()[0].decode()
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_calls_are_counted_by_endpoint_status_cache_and_provider() -> None:
    metrics = counting()
    for call in (Observation(), Observation(cache="hit"), Observation(status=429), Observation()):
        metrics.began()
        metrics.ended(call)
    assert samples(metrics, "aieye_requests_total") == {
        ("miss", "chat/completions", "openai", "2xx"): 2,
        ("hit", "chat/completions", "openai", "2xx"): 1,
        ("miss", "chat/completions", "openai", "4xx"): 1,
    }
    assert samples(metrics, "aieye_requests_in_flight") == {(): 0}


def test_tokens_and_money_are_counted_by_provider_and_model() -> None:
    metrics = counting()
    metrics.ended(Observation())
    metrics.ended(Observation(cost_nano=None, tokens_input=None))
    where = ("gpt-4o-mini", "openai")
    assert samples(metrics, "aieye_tokens_total")["input", *where] == 10
    assert samples(metrics, "aieye_cost_dollars_total") == {where: pytest.approx(1.5e-6)}
    assert samples(metrics, "aieye_unpriced_requests_total") == {where: 1}


def test_latencies_are_a_histogram_and_calls_without_one_count_the_time_since_their_start() -> None:
    metrics = counting()
    metrics.ended(Observation())
    metrics.ended(Observation(latency_us=None))
    metrics.ended(Observation(latency_us=10**10))
    buckets = samples(metrics, "aieye_request_duration_seconds_bucket")
    assert len(buckets) == len(LATENCY_BOUNDS) + 1
    found = {labels[-1]: count for labels, count in buckets.items()}
    assert (found["0.005"], found["0.01"], found["0.05"]) == (0, 1, 2)
    assert (found["600"], found["+Inf"]) == (2, 3)


def test_ten_thousand_names_from_clients_make_no_further_series() -> None:
    metrics = counting()
    for number in range(10_000):
        metrics.ended(Observation(model=f"text-{number}", endpoint=f"no/such/{number}"))
    assert len(metrics.series()) == 1
    assert set(samples(metrics, "aieye_cost_dollars_total")) == {("other", "openai")}


def test_no_more_than_a_hundred_known_models_have_series_of_their_own() -> None:
    metrics = counting()
    for number in range(2 * MOST_MODELS):
        metrics.ended(Observation(model=f"gpt-{number}"))
    assert len(samples(metrics, "aieye_cost_dollars_total")) == MOST_MODELS + 1


@pytest.mark.parametrize(
    ("endpoint", "label"),
    [
        ("chat/completions", "chat/completions"),
        ("files/{id}/content", "files"),
        ("v1/embeddings", "embeddings"),
        ("unknown", "other"),
        ("", "other"),
    ],
)
def test_an_endpoint_is_a_name_of_a_fixed_list(endpoint: str, label: str) -> None:
    metrics = counting()
    metrics.ended(Observation(endpoint=endpoint))
    assert [key.endpoint for key, _ in metrics.series()] == [label]


def test_figures_of_others_are_read_when_somebody_looks() -> None:
    metrics, backlog = counting(), [3.0]
    metrics.watch("aieye_backlog", "Rows.", lambda: backlog[0])
    metrics.watch("aieye_refused", "Rows.", lambda: 2, is_counter=True)
    metrics.watch("aieye_circuit", "State.", lambda: {"a": 1, "b": 0}, label="provider")
    backlog[0] = 4.0
    assert samples(metrics, "aieye_backlog") == {(): 4}
    assert samples(metrics, "aieye_refused_total") == {(): 2}
    assert samples(metrics, "aieye_circuit") == {("a",): 1, ("b",): 0}


def test_the_library_is_not_loaded_before_somebody_looks() -> None:
    script = (
        "import sys, aieye.telemetry.metrics as m; metrics = m.Metrics();"
        "assert 'prometheus_client' not in sys.modules; metrics.render();"
        "assert 'prometheus_client' in sys.modules"
    )
    import subprocess  # noqa: PLC0415 - this test alone needs a process of its own

    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_stalled_loop_shows_at_once_and_is_forgotten_some_seconds_later() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    assert lag.seconds == 0
    lag.expect(0.1)
    clock.now += 2.1
    assert lag.seconds == pytest.approx(2), "before the timer ran"
    lag.note()
    assert lag.seconds == pytest.approx(2), "after it ran"
    clock.now += REMEMBERED_SECONDS + 0.1
    assert lag.seconds == 0


async def test_a_loop_that_is_not_blocked_has_little_lag() -> None:
    import asyncio  # noqa: PLC0415 - one test's

    async def lag_of_a_quarter() -> float:
        lag = LoopLag()
        task = asyncio.create_task(lag.watch())
        await asyncio.sleep(0.25)
        task.cancel()
        return lag.seconds

    # Another process can hold one up, not all.
    assert min([await lag_of_a_quarter() for _ in range(4)]) < 0.2
