"""`/api/v1/pipelines/{name}/call` and `/explain`: runs with their steps, and what they would come to."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import httpx
import pytest

from aieye.ledger.pricing import parse_usd
from aieye.pipeline import known_values
from aieye.pipeline.language.values import read_json
from tests.fakes.chat import error_body
from tests.fakes.upstream import FakeUpstream, hang_before_headers, json_answer
from tests.faults.harness import Budget, StartGateway, error_code
from tests.faults.house import House, as_session

pytestmark = pytest.mark.live

PIPELINES = "/api/v1/pipelines"


async def call(house: House, name: object, **body: Any) -> httpx.Response:
    return await house.admin.post(f"{PIPELINES}/{name}/call", json=body)


async def explain(house: House, **body: Any) -> Any:
    answer = await house.admin.post(f"{PIPELINES}/explain", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- calls -------------------------------------------------------------------------------------


async def test_a_call_gives_the_value_with_what_it_took(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("greet", "[upper(prompt_buddy(x)), 1]")
    answer = await call(house, "greet", args={"x": "Ada"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["value"] == ["HEY ADA", 1]
    assert (body["tokens_input"], body["tokens_output"], body["saved_usd"]) == (11, 7, "0")
    assert parse_usd(body["cost_usd"]) > 0
    assert answer.headers["x-run-id"] == body["run_id"]
    (step, upper) = body["steps"]
    assert (step["path"], step["within"], step["offset"], step["length"]) == (
        "prompt_buddy", None, 7, 15,
    )  # fmt: skip
    assert (step["status"], step["cache"], step["input"], step["output"]) == (
        "done", "miss", '{"buddy":"Ada"}', "Hey Ada",
    )  # fmt: skip
    assert (upper["kind"], upper["model"], upper["cost_usd"]) == ("function", None, "0")
    assert (await call(house, id_, args={"x": "Ada"})).json()["value"] == ["HEY ADA", 1]


async def test_an_argument_that_nothing_asks_for_is_ignored_and_named(house: House) -> None:
    await house.pipeline("greet", 'param text: str;\nparam lang = "en";\n[text, lang]')
    ran = (await call(house, "greet", args={"text": "a", "langg": "de", "zz": 1})).json()
    warnings = ["not asked for: 'langg'; did you mean 'lang'?", "not asked for: 'zz'"]
    assert (ran["value"], ran["warnings"]) == (["a", "en"], warnings)
    assert (await call(house, "greet", args={"text": "a"})).json()["warnings"] == []
    away = await call(house, "greeet", args={})
    assert away.status_code == 404
    assert away.json()["error"]["message"] == "There is no pipeline 'greeet'; did you mean 'greet'?"
    missing = await call(house, "greet", args={"txt": "a"})
    (found,) = missing.json()["diagnostics"]
    assert (missing.status_code, found["code"]) == (422, "E507")
    assert found["hint"] == "not asked for: 'txt'; did you mean 'text'?"
    assert (await explain(house, name="greet", args={"langg": "de"}))["warnings"] == warnings[:1]


async def test_a_call_says_what_it_wants_of_the_cache_and_of_time(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("greet", "prompt_buddy(x)")
    missed = await call(house, "greet", args={"x": "Ada"}, cache="only")
    assert (missed.status_code, error_code(missed)) == (422, "run_failed")
    assert missed.json()["diagnostics"][0]["code"] == "E505"
    assert upstream.calls() == []
    wrong: tuple[dict[str, Any], ...] = (
        {"timeout": 0}, {"timeout": 1e9}, {"cache": "x"}, {"args": []}, {"key_id": 1},
    )  # fmt: skip
    for body in wrong:
        refused = await call(house, "greet", **body)
        assert refused.status_code == 422, body


async def test_times_and_items_are_settings(
    start_gateway: StartGateway, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    gateway = await start_gateway(pipeline_map_items=2, pipeline_model_timeout=0.1)
    async with gateway.make_client(await gateway.add_token(scope="admin")) as admin:
        house = House(gateway, admin)
        await house.prompt("prompt_buddy", "Hey {buddy}")
        ids = {
            "many": await house.pipeline("many", "map(identity, [x, 1, 2])"),
            "slow": await house.pipeline("slow", "prompt_buddy(x)"),
        }
        for name, code in (("many", "E508"), ("slow", "E502")):
            ways = {
                f"{PIPELINES}/{name}/call": {"args": {"x": "Ada"}, "timeout": 86_400},
                "/api/pipeline/call": {"pipeline_id": ids[name], "args": {"x": "Ada"}},
                "/v1/chat/completions": {
                    "model": f"pipeline/{name}", "messages": [{"role": "user", "content": "Ada"}],
                },
            }  # fmt: skip
            for path, body in ways.items():
                answer = await admin.post(path, json=body)
                assert answer.is_error
                assert code in answer.text


async def test_whose_fault_it_was_is_in_the_status(
    house: House, upstream: FakeUpstream, quick_retries: None
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("greet", "prompt_buddy(x)")
    await house.pipeline("broken", "fail()")
    upstream.default = json_answer(503, error_body())
    statuses = {}
    for name in ("greet", "broken", "none"):
        answer = await call(house, name, args={"x": "Ada"})
        statuses[name] = (answer.status_code, error_code(answer))
    assert statuses == {
        "greet": (502, "run_failed"),
        "broken": (422, "run_failed"),
        "none": (404, "not_found"),
    }


@pytest.mark.parametrize(
    "source",
    [
        "prompt_buddy(prompt_buddy(x)) @(retries=2)",
        'try(prompt_buddy(prompt_buddy(x)), "no matter")',
        "ask(ask(x))",
    ],
)
async def test_a_step_over_budget_ends_the_run_whatever_is_around_it(
    house: House, upstream: FakeUpstream, quick_retries: None, source: str
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("greet", source)
    ways = {
        f"{PIPELINES}/greet/call": {"args": {"x": "Ada"}},
        "/api/pipeline/call": {"pipeline_id": id_, "args": {"x": "Ben"}},
        "/v1/chat/completions": {
            "model": "pipeline/greet", "messages": [{"role": "user", "content": "Cleo"}],
        },
    }  # fmt: skip
    for number, (path, body) in enumerate(ways.items(), start=1):
        house.gateway.state.gateway.admission = Budget(calls=1)
        answer = await house.admin.post(path, json=body)
        assert answer.status_code == 402, (path, answer.text)
        (found,) = answer.json()["diagnostics"]
        assert found["code"] == "E504", found
        assert "budget of this token is spent" in found["message"]
        run = await house.latest(id_)
        assert run.run_id == answer.headers["x-run-id"]
        # What the first step used is on record, and the second went nowhere.
        assert (run.status, run.tokens_input) == ("failed", 11)
        rows = await house.gateway.rows(2 * number)
        assert [row.status for row in rows[-2:]] == [200, 402]
        assert len(upstream.calls()) == number


async def test_a_session_calls_with_the_key_that_it_names(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.pipeline("greet", "prompt_buddy(x)")
    user_id = await house.gateway.add_user("root@example.org", role="administrator")
    session = await house.sign_in(user_id)
    (key_id,) = house.gateway.state.directory.current.keys
    async with httpx.AsyncClient(base_url=house.gateway.url, trust_env=False) as browser:
        browser.headers.update(as_session(session))
        body = {"args": {"x": "Ada"}, "key_id": key_id}
        answer = await browser.post(f"{PIPELINES}/greet/call", json=body)
        assert answer.json()["value"] == "Hey Ada"
        unknown = await browser.post(f"{PIPELINES}/greet/call", json={**body, "key_id": 999})
        assert unknown.status_code == 404
    (row,) = await house.gateway.rows(1)
    assert (row.token_id, row.user_id, row.key_id) == (None, user_id, key_id)


# -- looking through ---------------------------------------------------------------------------


async def test_what_is_known_is_looked_up_and_the_rest_told_from_the_request_or_the_cap(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.prompt("brief", "Title of {text}", params={"max_tokens": 50})
    source = "upper(brief(prompt_buddy(x)))"
    await house.pipeline("p", source)
    (buddy, brief, upper) = (await explain(house, source=source, args={"x": "Ada"}))["steps"]
    assert (buddy["cache"], buddy["input_basis"], buddy["output_basis"]) == (
        "miss",
        "request",
        None,
    )
    assert buddy["tokens_input"] > 3
    assert (buddy["cost_usd"], buddy["tokens_output"]) == (None, None)
    assert (brief["cache"], brief["tokens_input"], brief["output_basis"]) == (None, None, "cap")
    assert (upper["kind"], upper["cost_usd"], upper["model"]) == ("function", "0", None)
    assert upstream.calls() == []

    await call(house, "p", args={"x": "Ada"})
    asked = len(upstream.calls())
    replay = await explain(house, name="p", args={"x": "Ada"})
    assert [step["cache"] for step in replay["steps"]] == ["hit", "hit", None]
    assert (replay["cost_usd"], parse_usd(replay["saved_usd"]) > 0) == ("0", True)
    other = await explain(house, name="p", args={"x": "Ben"})
    assert [step["output_basis"] for step in other["steps"]] == ["history", "history", None]
    assert [step["input_basis"] for step in other["steps"]] == ["request", "history", None]
    assert parse_usd(other["cost_usd"]) > 0
    assert (await explain(house, name="p", args={"x": "Ada"}, cache="refresh"))["steps"][0][
        "cache"
    ] == "miss"
    assert len(upstream.calls()) == asked
    rows = await house.gateway.rows()
    assert len(rows) == asked


async def test_why_a_figure_is_not_known_is_said(house: House) -> None:
    await house.prompt("brief", "Title of {text}", params={"max_tokens": 50})
    await house.prompt("free", "Title of {text}")
    await house.prompt("pair", "{a} or {b}", params={"max_tokens": 50})
    await house.pipeline("inner", "upper(x)")
    unbounded = "how long its answer gets: it sets no `max_tokens`, and no run has shown it yet"
    upper = "what `upper` returns"
    rows: tuple[tuple[str, dict[str, list[str]]], ...] = (
        # (text, why by path): all but `x` is given
        ("brief(a)", {"brief": []}),
        ("brief(x)", {"brief": ["its text depends on the argument `x`"]}),
        ("free(a)", {"free": [unbounded]}),
        ("brief(upper(a))", {"brief": [f"its text depends on {upper}"]}),
        ("brief([upper(a).y, a])", {"brief": [f"its text depends on {upper}"]}),
        ("pair(upper(a), x)", {"pair": [f"its text depends on {upper} and the argument `x`"]}),
        ("brief(free(a))", {"free": [unbounded], "brief": ["its text depends on what `free` answers"]}),
        ("brief(inner(a))", {"brief": [f"its text depends on {upper}"]}),
        ("brief(inner(a) @(retries=1))", {"brief": [f"its text depends on {upper}"]}),
        ("brief(if(true, upper(a), x))", {"brief": [f"its text depends on {upper}"]}),
        ("brief(map(upper, a))", {"brief": [f"its text depends on {upper}"]}),
        ("map(brief, [1, 2])", {"map/brief": ["its text depends on the items of `map`"]}),
        ("map(brief, x)", {"map/brief": ["its text depends on the argument `x`",
                                         "how often it is called depends on the argument `x`"]}),
        ("reduce(pair, [1], a)", {"reduce/pair": [
            "its text depends on what comes of the items before and the items of `reduce`"]}),
        ("brief([upper(a), x, y, z])", {"brief": [
            f"its text depends on {upper}, the argument `x` and more"]}),
        ("ask(a)", {"ask": ["it calls models by itself, at what cost is not known before it has"]}),
    )  # fmt: skip
    for source, told in rows:
        found = await explain(house, source=source, args={"a": "A"})
        why = {one["path"]: one["unknown"] for one in found["steps"] if one["path"] in told}
        assert why == told, source
    house_has_no = await explain(
        house, source='brief(a) @(model="nobody-priced-this")', args={"a": "A"}
    )
    (brief,) = house_has_no["steps"]
    assert brief["unknown"] == ["no price of `nobody-priced-this` is known"]


async def test_branches_and_items_are_counted(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}", params={"max_tokens": 10})
    source = "[if(c, prompt_buddy(a), prompt_buddy(b)), map(prompt_buddy, [1, 2, 3])]"

    async def steps(**args: Any) -> list[tuple[object, ...]]:
        found = await explain(house, source=source, args=args)
        return [(step["path"], step["certain"], step["times"]) for step in found["steps"]]

    in_map = ("map/prompt_buddy", True, 3)
    assert await steps() == [
        ("prompt_buddy", False, 1),
        ("prompt_buddy#2", False, 1),
        in_map,
    ]
    assert await steps(c=True) == [("prompt_buddy", True, 1), in_map]
    await house.pipeline("p", "map(prompt_buddy, xs)")
    await call(house, "p", args={"xs": ["a", "b"]})
    (forecast,) = (await explain(house, name="p", args={"xs": ["c", "d", "e"]}))["steps"]
    assert (forecast["tokens_input"], forecast["tokens_output"], forecast["times"]) == (11, 7, 3)


async def test_identical_calls_are_counted_once_as_they_are_made(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}", params={"max_tokens": 10})
    await house.prompt("two", "{x} or {y}", params={"max_tokens": 10})
    await house.pipeline("greet", "prompt_buddy(name)")
    rows: tuple[tuple[str, dict[str, Any], list[tuple[str, int, list[str]]]], ...] = (
        # (text, arguments, paths with how often and at which other paths, calls that are really made)
        ("[prompt_buddy(a), prompt_buddy(a)]", {"a": "A"},
         [("prompt_buddy", 1, ["prompt_buddy#2"])]),
        ("[prompt_buddy(a), prompt_buddy(b)]", {"a": "A", "b": "A"},
         [("prompt_buddy", 1, ["prompt_buddy#2"])]),
        ("[prompt_buddy(a), prompt_buddy(b)]", {"a": "A", "b": "B"},
         [("prompt_buddy", 1, []), ("prompt_buddy#2", 1, [])]),
        ("[prompt_buddy(prompt_buddy(a)), prompt_buddy(prompt_buddy(a))]", {"a": "A"},
         [("prompt_buddy", 1, ["prompt_buddy#3"]), ("prompt_buddy#2", 1, ["prompt_buddy#4"])]),
        ("[greet(a), prompt_buddy(a), greet(a) @(retries=1)]", {"a": "A"},
         [("greet/prompt_buddy", 1, ["prompt_buddy", "greet#2/prompt_buddy"])]),
        ('[prompt_buddy(a), prompt_buddy(a) @(cache="use")]', {"a": "A"},
         [("prompt_buddy", 1, []), ("prompt_buddy#2", 1, [])]),
        ("[map(prompt_buddy, xs), map(prompt_buddy, xs)]", {"xs": ["A", "B", "A"]},
         [("map/prompt_buddy", 2, ["map#2/prompt_buddy"])]),
        ("map(two, xs, y=prompt_buddy(a))", {"xs": ["A", "B", "A"], "a": "x"},
         [("prompt_buddy", 1, []), ("map/two", 2, [])]),
        ("reduce(two, xs, prompt_buddy(a))", {"xs": ["A", "A"], "a": "x"},
         [("prompt_buddy", 1, []), ("reduce/two", 2, [])]),
    )  # fmt: skip
    for number, (source, args, told) in enumerate(rows):
        known = await explain(house, source=source, args=args)
        steps = [(step["path"], step["times"], step["also_at"]) for step in known["steps"]]
        assert steps == told, source
        await house.pipeline(f"p_{number}", source)
        run = (await call(house, f"p_{number}", args=args, cache="off")).json()
        made = [step for step in run["steps"] if step["kind"] == "prompt"]
        assert len(made) == sum(times for _, times, _ in told), source


async def test_what_a_function_may_ask_is_not_known_before_it_has(house: House) -> None:
    await house.pipeline("p", "[ask(x), upper(x)]")
    before = await explain(house, name="p", args={"x": "A"})
    asking, upper = before["steps"]
    assert (asking["may_call_models"], upper["may_call_models"]) == (True, False)
    assert (asking["cost_usd"], asking["tokens_input"], upper["cost_usd"]) == (None, None, "0")
    assert (before["cost_usd"], before["tokens_input"]) == (None, None)
    await call(house, "p", args={"x": "A"})
    after = await explain(house, name="p", args={"x": "B"})
    assert (after["steps"][0]["input_basis"], after["tokens_input"]) == ("history", 11)
    assert after["cost_usd"] is None


async def test_a_text_is_refused_with_all_that_is_wrong(house: House) -> None:
    answer = await house.admin.post(f"{PIPELINES}/explain", json={"source": "uper(x)"})
    assert answer.status_code == 422
    assert answer.json()["diagnostics"][0]["code"] == "E201"
    neither: tuple[dict[str, str], ...] = ({}, {"name": "p", "source": "x"})
    for body in neither:
        both = await house.admin.post(f"{PIPELINES}/explain", json=body)
        assert both.status_code == 422
    missing = await house.admin.post(f"{PIPELINES}/explain", json={"name": "none"})
    assert missing.status_code == 404


async def test_others_are_served_while_a_large_pipeline_is_looked_through(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    source = "[" + ", ".join(f"prompt_buddy('{number}')" for number in range(1_000)) + "]"
    # To look for what is no longer needed takes its own time.
    gc.disable()
    try:
        explaining = asyncio.ensure_future(explain(house, source=source))
        longest, last = 0.0, time.thread_time()
        while not explaining.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
    finally:
        gc.enable()
    assert len((await explaining)["steps"]) == 1_000
    # Looked through at once it is most of a second.
    assert longest < 0.1


async def test_a_text_that_many_steps_read_in_is_read_once_to_explain_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(text: str) -> Any:
        read.append(text)
        return read_json(text)

    monkeypatch.setattr(known_values, "read_json", noted)
    await house.prompt("prompt_buddy", "Hey {buddy}")
    source = "[" + ", ".join(f"prompt_buddy(x.a[{number}])" for number in range(50)) + "]"
    found = await explain(house, source=source, args={"x": '{"a": ' + str(list(range(50))) + "}"})
    assert len(found["steps"]) == 50
    assert len(read) == 1


# -- the document ------------------------------------------------------------------------------


async def test_a_caller_finds_each_pipeline_they_may_use_in_the_document(house: House) -> None:
    source = "param who: str;\nparam tags: list[int]? = null;\nparam n: int = 2;\n[who, tags, n]"
    await house.pipeline("greet", source)
    path = f"{PIPELINES}/greet/call"
    operation = (await house.gateway.get("/openapi.json")).json()["paths"][path]["post"]
    assert operation["operationId"] == "pipelines_call_greet"
    assert [one["name"] for one in operation["parameters"]] == []
    body = operation["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["args"] == {
        "type": "object",
        "properties": {
            "who": {"type": "string"},
            "tags": {
                "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}],
                "description": "`null` if left out.",
            },
            "n": {"type": "integer", "description": "`2` if left out."},
        },
        "required": ["who"],
        "additionalProperties": True,
    }
    assert (await call(house, "greet", **body["example"])).json()["value"] == ["text", None, 2]
    stranger = await house.gateway.add_token(user_id=await house.gateway.add_user("a@example.org"))
    for token in (stranger, "nobody"):
        document = (await house.gateway.get("/openapi.json", token=token)).json()
        assert path not in document["paths"]
        assert f"{PIPELINES}/{{name}}/call" in document["paths"]
