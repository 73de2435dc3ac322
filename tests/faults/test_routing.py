"""Where a call goes: aliases over several providers, `provider/model`, pinned and limited tokens."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    FakeUpstream,
    by_model,
    chat_answer,
    cut_after,
    hang_before_headers,
    json_answer,
    refused_port,
)
from tests.faults.harness import (
    DONE_FRAME,
    MODEL,
    PROVIDER_KEY,
    Gateway,
    StartGateway,
    asked,
    both_databases,
    both_forms,
    error_code,
    question,
    text_of,
)

pytestmark = pytest.mark.live

SECOND_KEY = "sk-second-0123456789"


@pytest.fixture
async def two(gateway: Gateway, other: FakeUpstream) -> Gateway:
    """The gateway with a second provider, which answers with its name."""
    await gateway.add_provider("second", other, SECOND_KEY)
    other.default = chat_answer("From the second.")
    return gateway


FAULTS: dict[str, Behaviour] = {
    "500": json_answer(500, chat.error_body()),
    "429": json_answer(429, chat.error_body()),
    "429 for long": json_answer(429, chat.error_body(), {"Retry-After": "3600"}),
    "401": json_answer(401, chat.error_body()),
    "403": json_answer(403, chat.error_body()),
    "cut": cut_after(0),
    "a spend limit": json_answer(429, chat.error_body(code="insufficient_quota")),
    "silence": hang_before_headers(),
}


@both_forms
async def test_an_ordered_route_goes_on_to_the_next_target_when_one_fails(
    start_gateway: StartGateway, upstream: FakeUpstream, other: FakeUpstream,
    quick_retries: None, no_circuit: None, form: str,
) -> None:  # fmt: skip
    gateway = await start_gateway(first_byte_timeout=0.5)
    await gateway.add_provider("second", other, SECOND_KEY)
    await gateway.add_route(
        "fast", {"model": MODEL, "provider": "openai"}, {"model": "big", "provider": "second"}
    )
    other.default = chat_answer("From the second.", model="big")
    for number, (name, fault) in enumerate(FAULTS.items(), start=1):
        upstream.default = fault
        answer = await gateway.ask(asked(name, form, model="fast"))
        assert text_of(answer) == "From the second.", name
        assert answer.headers["x-aieye-provider"] == "second"
        row = (await gateway.rows())[-1]
        assert (row.model_asked, row.model, row.provider_id, row.status) == ("fast", "big", 2, 200)
        assert [one["provider"] for one in row.attempts][-1] == "second"
        assert number <= len(other.requests)
    assert {request.json["model"] for request in upstream.requests} == {MODEL}
    assert {request.json["model"] for request in other.requests} == {"big"}
    assert {request.key for request in other.requests} == {SECOND_KEY}


@both_forms
async def test_what_the_client_did_wrong_is_not_tried_elsewhere(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream, form: str
) -> None:
    await two.add_route(
        "fast", {"model": MODEL, "provider": "openai"}, {"model": "big", "provider": "second"}
    )
    upstream.default = json_answer(400, chat.error_body("Wrong."))

    answer = await two.ask(asked("Well?", form, model="fast"))

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "Wrong.")
    assert other.requests == []


async def test_when_all_targets_fail_the_last_failure_is_told(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream, quick_retries: None
) -> None:
    await two.add_route(
        "fast", {"model": MODEL, "provider": "openai"}, {"model": "big", "provider": "second"}
    )
    upstream.default = json_answer(500, chat.error_body("First."))
    other.default = json_answer(503, chat.error_body("Second."))

    answer = await two.ask(question(model="fast"))

    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "Second.")
    assert 2 <= len(upstream.requests) + len(other.requests) <= 6


async def test_a_stream_that_has_begun_is_not_tried_elsewhere(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    await two.add_route(
        "fast", {"model": MODEL, "provider": "openai"}, {"model": "big", "provider": "second"}
    )
    upstream.default = cut_after(700, chat_answer("one two three four five six"))

    answer = await two.ask(asked("Well?", "streamed", model="fast"))

    assert upstream.fired["cut"] == 1
    assert b"upstream_broken" in answer.content
    assert b"[DONE]" not in answer.content
    assert other.requests == []


async def test_a_weighted_route_shares_as_its_weights_say_and_falls_back(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream, quick_retries: None
) -> None:
    await two.add_route(
        "mixed",
        {"model": MODEL, "provider": "openai", "weight": 3},
        {"model": "big", "provider": "second", "weight": 1},
        strategy="weighted",
    )
    free = asyncio.Semaphore(20)

    async def ask(number: int) -> int:
        async with free:
            return (await two.ask(question(f"Number {number}", model="mixed"))).status_code

    assert set(await asyncio.gather(*(ask(number) for number in range(400)))) == {200}
    # 300 of 400 are expected; six standard deviations are 52.
    assert 248 <= len(upstream.requests) <= 352
    assert len(upstream.requests) + len(other.requests) == 400

    other.default = json_answer(500, chat.error_body())
    answers = [await two.ask(question(f"Again {n}", model="mixed")) for n in range(20)]
    assert {answer.status_code for answer in answers} == {200}


async def test_a_hit_is_looked_for_under_every_target_of_a_route(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream, quick_retries: None
) -> None:
    await two.add_route(
        "fast", {"model": MODEL, "provider": "openai"}, {"model": "big", "provider": "second"}
    )
    upstream.default = json_answer(500, chat.error_body())
    first = await two.ask(question(model="fast"))
    seen = len(upstream.requests)

    again = await two.ask(question(model="fast"))
    direct = await two.ask(question(model="second/big"))

    assert [one.headers["x-aieye-cache"] for one in (first, again, direct)] == [
        "miss",
        "hit",
        "hit",
    ]
    assert (len(upstream.requests), len(other.requests)) == (seen, 1)
    assert again.content == first.content


async def test_a_route_may_name_one_key_of_a_provider(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    key_id = await gateway.add_key(1, SECOND_KEY)
    await gateway.add_route("mine", {"model": MODEL, "provider": "openai", "key_id": key_id})

    assert (await gateway.ask(question(model="mine"))).status_code == 200
    assert [request.key for request in upstream.requests] == [SECOND_KEY]


ODD = (
    b' { "model" : "fast" , "temperature":1.0,"top_p":1e0,"seed":123456789012345678901234567890,\n'
    b'"messages":[{"role":"user","content":"\\u00e9\xc3\xa9\\/ \\"model\\": \\"fast\\""}],'
    b' "foo" : {"model":"fast","b":1,"a":[ ]}}\n '
)  # fmt: skip


async def test_of_a_body_for_another_model_only_the_model_changes(
    two: Gateway, other: FakeUpstream
) -> None:
    await two.add_route("fast", {"model": "big", "provider": "second"})

    answer = await two.ask(ODD)
    await two.ask(ODD.replace(b'"fast" ,', b'"second/large" ,', 1))

    assert answer.status_code == 200
    assert other.requests[0].json == {**orjson.loads(ODD), "model": "big"}
    assert b"1e0" in other.requests[0].body
    assert b"123456789012345678901234567890" in other.requests[0].body
    assert other.requests[0].body == ODD.replace(b'"fast"', b'"big"', 1)
    assert other.requests[1].body == ODD.replace(b'"fast"', b'"large"', 1)


async def test_a_body_full_of_models_is_not_slow_to_change(
    two: Gateway, other: FakeUpstream
) -> None:
    await two.add_route("fast", {"model": "big", "provider": "second"})
    inner = b",".join(b'{"model":"fast"}' for _ in range(5_000))
    text = b'\\"model\\":\\"fast\\"' * 5_000
    body = b'{"x":[%b],"y":"%b","messages":[],"model":"fast"}' % (inner, text)
    started = time.process_time()

    answer = await two.ask(body)

    assert answer.status_code == 200
    assert time.process_time() - started < 1
    assert other.requests[0].body == body[: -len(b'"fast"}')] + b'"big"}'


async def test_of_a_body_with_a_cache_field_only_that_field_goes(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    body = ODD.replace(b'"fast"', b'"gpt-4o-mini"', 1)
    with_field = body.replace(b'"foo"', b'"cache":{"mode":"off"},"foo"')

    await gateway.ask(with_field)

    sent = upstream.requests[0]
    assert sent.json == orjson.loads(body)
    assert b"1e0" in sent.body
    assert b"123456789012345678901234567890" in sent.body


@both_forms
async def test_a_provider_may_be_named_before_the_model(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream, form: str
) -> None:
    answer = await two.ask(asked("Well?", form, model="second/org/large:free"))
    unknown = await two.ask(asked("Well?", form, model="third/large"))

    assert text_of(answer) == "From the second."
    assert [request.json["model"] for request in other.requests] == ["org/large:free"]
    # No provider of that name: the default one may have such a model.
    assert unknown.status_code == 200
    assert [request.json["model"] for request in upstream.requests] == ["third/large"]
    row = (await two.rows(2))[0]
    assert (row.model_asked, row.provider_id) == ("second/org/large:free", 2)


async def test_an_alias_comes_before_a_provider_of_its_name(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    await two.add_route("second/big", {"model": MODEL, "provider": "openai"})

    await two.ask(question(model="second/big"))

    assert (len(upstream.requests), len(other.requests)) == (1, 0)


async def test_a_pinned_token_uses_its_key_and_no_other(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    key_id = await two.add_key(1, "sk-third-0123456789")
    pinned = await two.add_token(provider_key_id=key_id)
    upstream.default = json_answer(401, chat.error_body())
    await two.add_route("away", {"model": "big", "provider": "second"})
    await two.add_route(
        "both", {"model": "big", "provider": "second"}, {"model": MODEL, "provider": "openai"}
    )

    refused = await two.ask(question("One"), token=pinned)
    away = await two.ask(question("Two", model="away"), token=pinned)
    named = await two.ask(question("Three", model="second/big"), token=pinned)
    upstream.default = chat_answer("Here.")
    both = await two.ask(question("Four", model="both"), token=pinned)

    assert (refused.status_code, error_code(refused)) == (502, "provider_auth")
    assert (away.status_code, named.status_code) == (404, 404)
    assert text_of(both) == "Here."
    assert {request.key for request in upstream.requests} == {"sk-third-0123456789"}
    assert other.requests == []


async def test_a_token_pinned_to_another_providers_key_goes_there_by_default(
    gateway: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    (key_id,) = await gateway.add_provider("second", other, SECOND_KEY)
    pinned = await gateway.add_token(provider_key_id=key_id)

    answer = await gateway.ask(question(), token=pinned)

    assert answer.status_code == 200
    assert (len(upstream.requests), len(other.requests)) == (0, 1)


@both_databases
async def test_a_token_limited_to_models_may_use_and_see_no_other(
    two: Gateway, upstream: FakeUpstream, other: FakeUpstream
) -> None:
    await two.add_route("fast", {"model": "big", "provider": "second"})
    await two.add_route("slow", {"model": "big", "provider": "second"})
    limited = await two.add_token(models=["gpt-4o*", "fast"])
    upstream.default = chat_answer("Here.")

    statuses = {
        model: (await two.ask(question(model=model), token=limited)).status_code
        for model in ("gpt-4o", MODEL, "fast", "slow", "gpt-4", "second/big", "GPT-4o", "")
    }

    allowed = {"gpt-4o", MODEL, "fast"}
    assert {model for model, status in statuses.items() if status == 200} == allowed
    assert {status for model, status in statuses.items() if model not in allowed} <= {403, 404}
    upstream.default = json_answer(200, chat.models_body("gpt-4o", MODEL, "o3", "text-1"))
    seen = await two.get("/v1/models", token=limited)
    assert sorted(one["id"] for one in seen.json()["data"]) == ["fast", "gpt-4o", MODEL]
    assert (await two.get("/v1/models/o3", token=limited)).status_code in {403, 404}
    assert (await two.get("/v1/models/slow", token=limited)).status_code in {403, 404}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/transcriptions"])
async def test_a_token_limited_to_models_has_to_name_one(
    gateway: Gateway, upstream: FakeUpstream, path: str
) -> None:
    limited = await gateway.add_token(models=["gpt-4o*"])
    form = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    upstream.default = json_answer(200, {"text": "Here."})
    if path.endswith("transcriptions"):
        headers = {"content-type": "multipart/form-data; boundary=b"}
        answer = await gateway.ask(form, path=path, token=limited, headers=headers)
    else:
        answer = await gateway.ask({"messages": []}, path=path, token=limited)

    # The provider would choose one by itself.
    assert 400 <= answer.status_code < 500
    assert upstream.requests == []


async def test_models_are_the_providers_and_the_aliases(
    two: Gateway, upstream: FakeUpstream
) -> None:
    await two.add_route("fast", {"model": "big", "provider": "second"})
    upstream.default = json_answer(200, chat.models_body("gpt-4o", "o3"))

    answer = await two.get("/v1/models")

    assert [one["id"] for one in answer.json()["data"]] == ["gpt-4o", "o3", "fast"]
    assert {one["object"] for one in answer.json()["data"]} == {"model"}
    alias = await two.get("/v1/models/fast")
    assert (alias.status_code, alias.json()["id"]) == (200, "fast")
    async with two.sdk() as sdk:
        assert [model.id async for model in sdk.models.list()] == ["gpt-4o", "o3", "fast"]


async def test_without_aliases_the_list_of_models_comes_down_byte_for_byte(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    body = b'{"object": "list",\n "data":[ {"id":"x","object":"model","odd":1.0} ], "x":null}\n'
    upstream.default = json_answer(200, body)

    assert (await gateway.get("/v1/models")).content == body


async def test_a_model_that_the_provider_does_not_know_is_its_404(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    missing = chat.error_body("No such model.", code="model_not_found")
    upstream.default = by_model({"nothing": json_answer(404, missing)})

    answer = await gateway.ask(question(model="nothing"))

    assert (answer.status_code, error_code(answer)) == (404, "model_not_found")
    assert len(upstream.requests) == 1


async def test_a_route_to_a_dead_provider_and_a_living_one_is_no_failure(
    two: Gateway, other: FakeUpstream, quick_retries: None
) -> None:
    with refused_port() as port:
        await two.add_provider("dead", f"http://127.0.0.1:{port}/v1", "sk-dead-0123456789")
        await two.add_route(
            "fast", {"model": "x", "provider": "dead"}, {"model": "big", "provider": "second"}
        )
        answers = [await two.ask(question(f"{n}?", model="fast")) for n in range(10)]

    assert {answer.status_code for answer in answers} == {200}
    assert len(other.requests) == 10
    rows = await two.rows(10)
    assert len(rows[-1].attempts) == 1, "the dead provider is left alone by then"


@both_forms
async def test_the_first_key_that_works_is_used_and_the_row_names_it(
    gateway: Gateway, upstream: FakeUpstream, form: str
) -> None:
    answer = await gateway.ask(asked("Well?", form))

    row = await gateway.row()
    assert (row.provider_id, row.key_id) == (1, 1)
    assert upstream.requests[0].key == PROVIDER_KEY
    assert answer.headers["x-aieye-provider"] == "openai"
    assert answer.content.endswith(DONE_FRAME) == (form == "streamed")
