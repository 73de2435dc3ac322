"""What is refused before any provider is asked: one row each, and nothing for strangers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from aieye.app import MOST_FORM_BYTES
from aieye.db.group_writer import NotRecorded
from aieye.db.tables import Call, LatencyRollup, UsageDimension, UsageRollup
from tests.fakes.upstream import FakeUpstream, chat_answer, held
from tests.faults.harness import (
    CHAT,
    MODEL,
    Gateway,
    Headers,
    StartGateway,
    both_databases,
    error_code,
    question,
)

pytestmark = pytest.mark.live

SMALL = {"max_json_bytes": 1_000, "max_upload_bytes": 2_000}
GZIP = {"content-encoding": "gzip"}
KEY = {"idempotency-key": "order-66", "cache-control": "no-store"}
FILES = "/v1/files"
# Method, path, bytes of the body, headers; then status, code and endpoint.
Case = tuple[str, str, int, Headers, int, str, str]
CASES: tuple[Case, ...] = (
    ("GET", "/v1/nothing", 0, {}, 404, "unknown_url", "unknown"),
    ("POST", "/v1/" + "x" * 1_000, 0, {}, 404, "unknown_url", "unknown"),
    ("GET", "/v1/embeddings", 0, {}, 405, "method_not_allowed", "unknown"),
    ("HEAD", "/v1/models", 0, {}, 405, "method_not_allowed", "unknown"),
    ("POST", CHAT, 1_001, {}, 413, "request_too_large", "chat/completions"),
    ("POST", FILES, 2_001, {}, 413, "request_too_large", "files"),
    ("POST", CHAT, 10, GZIP, 415, "unsupported_media_type", "chat/completions"),
    ("POST", FILES, 10, GZIP, 415, "unsupported_media_type", "files"),
    ("POST", CHAT, 10, {"idempotency-key": ""}, 400, "invalid_request", "chat/completions"),
)


async def send(gateway: Gateway, case: Case, **headers: str) -> httpx.Response:
    method, path, size, given, *_ = case
    return await gateway.client.request(
        method, path, content=b"x" * size, headers={**given, **headers}
    )


def said(row: Call) -> tuple[object, ...]:
    return row.status, row.error, row.endpoint, row.cost_nano, row.cost_state, row.state


async def counted(gateway: Gateway) -> dict[tuple[int, str], tuple[int, int]]:
    """By status and endpoint, how many calls the sums of an hour hold, and the latencies."""
    await gateway.state.writer.durable()
    found: dict[tuple[int, str], tuple[int, int]] = {}
    async with gateway.state.database.read() as session:
        for dimension in await session.scalars(select(UsageDimension)):
            sums = [
                await session.scalar(
                    select(func.sum(table.calls)).where(
                        table.dimension_id == dimension.id, table.grain == 3600
                    )
                )
                for table in (UsageRollup, LatencyRollup)
            ]
            found[dimension.status, dimension.endpoint] = (int(sums[0] or 0), int(sums[1] or 0))
    return found


@both_databases
async def test_what_the_edge_refuses_has_its_row_and_is_counted(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    gateway = await start_gateway(**SMALL)
    grant = gateway.state.directory.find_grant(gateway.token)
    assert grant is not None

    answers = [await send(gateway, case) for case in CASES]

    assert upstream.requests == []
    assert [answer.status_code for answer in answers] == [case[4] for case in CASES]
    rows = await gateway.rows(len(CASES))
    assert [said(row) for row in rows] == [
        (status, code, endpoint, 0, "exact", "done") for *_, status, code, endpoint in CASES
    ]
    assert [answer.headers["x-request-id"] for answer in answers] == [
        f"req_{row.id}" for row in rows
    ]
    assert {(row.token_id, row.user_id) for row in rows} == {(grant.token_id, grant.user_id)}
    expected: dict[tuple[int, str], int] = {}
    for *_, status, _code, endpoint in CASES:
        expected[status, endpoint] = expected.get((status, endpoint), 0) + 1
    assert await counted(gateway) == {place: (count, count) for place, count in expected.items()}


async def test_a_stranger_leaves_nothing_in_the_ledger(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(**SMALL)
    disabled = await gateway.add_token()
    await gateway.disable(disabled)

    for token in ("x", "x" * 300, disabled):
        for case in CASES:
            answer = await send(gateway, case, authorization=f"Bearer {token}")
            assert answer.status_code == 401, case
    assert (
        await gateway.client.get("/v1/models", headers={"authorization": ""})
    ).status_code == 401

    assert await gateway.rows() == []
    assert await counted(gateway) == {}


async def test_who_is_not_let_in_is_in_the_log_and_their_token_is_not(gateway: Gateway) -> None:
    limited = await gateway.add_token(models=["gpt-5"])
    canary = "canary-of-a-stranger"
    doors = (CHAT, "/api/openai/v1/chat/completions", "/api/v1/tokens")
    with capture_logs() as logs:
        for path in doors:
            answer = await gateway.ask(question(), path=path, token=canary)
            assert answer.status_code == 401
        answer = await gateway.ask(question(), path=doors[2], token=limited)
        assert answer.status_code == 403
    denied = [line for line in logs if line["event"] == "access_denied"]
    assert [(line["path"], line["status"]) for line in denied] == [
        *((path, 401) for path in doors), (doors[2], 403),
    ]  # fmt: skip
    assert {(line["ip"], line["method"], line["log_level"]) for line in denied} == {
        ("127.0.0.1", "POST", "warning")
    }
    assert canary not in str(logs)


@pytest.mark.parametrize(
    ("path", "kind", "shape", "framing"),
    [
        ("/login", "application/x-www-form-urlencoded", b"<html", "declared"),
        ("/login", "application/json", b'{"detail":', "declared"),
        ("/api/v1/tokens", "application/json", b'{"error":', "declared"),
        ("/api/v1/tokens", "application/json", b'{"error":', "chunked"),
    ],
)
async def test_a_form_that_is_too_large_is_refused_as_its_path_refuses(
    gateway: Gateway, path: str, kind: str, shape: bytes, framing: str
) -> None:
    size = MOST_FORM_BYTES + 1
    head = gateway.head(path, size if framing == "declared" else None)
    head = head.replace(b"application/json", kind.encode())
    async with gateway.raw() as client:
        await client.send(head)
        if framing == "chunked":
            await client.send(b"%x\r\n" % size + b"x" * size + b"\r\n")
        status, headers = await client.read_head()
        assert status == 413
        assert headers["x-request-id"].startswith("req_")
        assert headers["connection"] == "close"
        assert headers["x-content-type-options"] == "nosniff"
        await client.read_until(shape)


async def test_a_chunked_body_that_grows_too_large_has_one_row(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(**SMALL)
    for path in (CHAT, FILES):
        async with gateway.raw() as client:
            await client.send(gateway.head(path, None), b"1000\r\n" + b"x" * 4096 + b"\r\n")
            status, _ = await client.read_head()
            assert status == 413

    rows = await gateway.rows(2)
    assert [(row.status, row.error, row.endpoint) for row in rows] == [
        (413, "request_too_large", "chat/completions"),
        (413, "request_too_large", "files"),
    ]


async def test_a_body_that_breaks_off_has_one_row_that_costs_nothing(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    whole = gateway.request(question())
    # Nothing of the body, a part of it, and all of it but one byte.
    for cut in (whole.index(b"\r\n\r\n") + 4, len(whole) - 20, len(whole) - 1):
        async with gateway.raw() as client:
            await client.send(whole[:cut])
            await asyncio.sleep(0.02)
            client.abort()

    rows = await gateway.rows(3)
    assert [said(row) for row in rows] == [
        (499, "client_cancelled", "chat/completions", 0, "exact", "done")
    ] * 3
    assert upstream.requests == []


@both_databases
async def test_what_a_key_forbids_has_its_row(gateway: Gateway, upstream: FakeUpstream) -> None:
    gate = asyncio.Event()
    upstream.default = held(gate, chat_answer("one"))
    first = asyncio.create_task(gateway.ask(question(), headers=KEY))
    await upstream.wait_for(1)
    in_flight = await gateway.ask(question(), headers=KEY)
    gate.set()
    await first
    reused = await gateway.ask(question("Else?"), headers=KEY)

    assert (error_code(in_flight), error_code(reused)) == (
        "idempotency_key_in_flight", "idempotency_key_reused",
    )  # fmt: skip
    made, *refused = await gateway.rows(3)
    assert (made.status, made.error) == (200, None)
    assert [said(row) for row in refused] == [
        (409, "idempotency_key_in_flight", "chat/completions", 0, "exact", "done"),
        (422, "idempotency_key_reused", "chat/completions", 0, "exact", "done"),
    ]


async def test_what_names_anothers_object_has_its_row(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    mine = await gateway.ask({"model": MODEL, "input": "x"}, path="/v1/responses")
    theirs = await gateway.add_token(user_id=await gateway.add_user("ben@example.org"))

    answer = await gateway.ask(
        {"model": MODEL, "input": "x", "previous_response_id": mine.json()["id"]},
        path="/v1/responses",
        token=theirs,
    )

    assert answer.status_code == 404
    assert len(upstream.requests) == 1
    assert said((await gateway.rows(2))[-1]) == (
        404, error_code(answer), "responses", 0, "exact", "done",
    )  # fmt: skip


async def test_a_fault_of_our_own_has_its_row_whose_cost_nobody_knows(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_call: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(gateway.state.relay, "infer", crash)

    answer = await gateway.ask(question())

    assert (answer.status_code, error_code(answer)) == (500, "internal_error")
    assert said(await gateway.row()) == (
        500, "internal_error", "chat/completions", None, "unknown", "done",
    )  # fmt: skip


async def test_a_refusal_that_cannot_be_recorded_is_answered_all_the_same(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.state.writer, "is_healthy", False)

    answer = await gateway.get("/v1/nothing")

    assert (answer.status_code, error_code(answer)) == (404, "unknown_url")
    monkeypatch.undo()
    assert (await gateway.row()).status == 404


async def test_a_refusal_that_takes_too_long_to_record_is_503(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise NotRecorded("Not now.")

    monkeypatch.setattr(gateway.state.gateway.accounts, "durable", fail)

    answer = await gateway.get("/v1/nothing")

    assert (answer.status_code, error_code(answer)) == (503, "ledger_unavailable")
