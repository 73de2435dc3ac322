"""The original AI-Eye's routes about pipelines, and the examples of its documentation as written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from aieye.ledger.retention import prune
from aieye.ledger.run_texts import NOT_KEPT
from aieye.settings import load_settings
from tests.fakes.chat import error_body
from tests.fakes.upstream import FakeUpstream, hang_before_headers, json_answer
from tests.faults.harness import Gateway, Json, StartGateway, both_databases
from tests.faults.house import CALL, House, as_session, echo

pytestmark = pytest.mark.live


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_curl_call_with_a_token(house: House, slash: str) -> None:
    my_pipeline = await house.pipeline("my_pipeline", "identity(s)")
    answer = await house.gateway.ask(
        {"pipeline_id": my_pipeline, "args": {"s": "abc"}}, path=CALL + slash
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"success": True, "response": "abc"}
    assert len(answer.headers["x-run-id"]) == 32


@pytest.mark.parametrize(
    ("text", "arguments", "value"),
    [
        ("foo(bar(fred(1,2,3)))", {}, "foo:60"),
        ("prompt_buddy(buddy)", {"buddy": "Ada"}, "Hey Ada"),
        ("prompt_buddy(buddy=buddy_arg)", {"buddy_arg": "Ada"}, "Hey Ada"),
        ("prompt_buddy(dude)", {"dude": "Ada"}, "Hey Ada"),
        ("p1(p1(p1(arg)))", {"arg": "x"}, "<<<x>>>"),
        ("p1(a1=p1(a1=p1(a1=arg)))", {"arg": "x"}, "<<<x>>>"),
        ("builtin_hi(buddy)", {"buddy": "Ada"}, "Hi, Ada"),
        ("builtin_hi(buddy=buddy_arg)", {"buddy_arg": "Ada"}, "Hi, Ada"),
        ("builtin_hi(dude)", {"dude": "Ada"}, "Hi, Ada"),
    ],
)
async def test_the_documentations_examples_work_as_written(
    house: House, text: str, arguments: dict[str, Any], value: str
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    await house.prompt("p1", "<{a1}>")
    assert await house.value(text, **arguments) == value


FUNCTIONS = """
def foo(bar, fred):
    return f"{bar} and {fred}"

def builtin_hi(buddy):
    return f"Hi, {buddy}"
"""


async def test_the_documentations_functions_and_prompts_work_as_written(
    start_gateway: StartGateway, upstream: FakeUpstream, tmp_path: Path
) -> None:
    upstream.default = echo
    directory = tmp_path / "their_funcs"
    directory.mkdir()
    (directory / "custom_funcs.py").write_text(FUNCTIONS)
    gateway = await start_gateway(funcs_dir=directory)
    async with gateway.make_client(await gateway.add_token(scope="admin")) as admin:
        assert (await admin.post("/api/v1/functions/sync")).json()["failed"] == []
        house = House(gateway, admin)
        await house.prompt("greeting", "Hello, {name}! How are you today?")
        values = [
            await house.value("greeting(name)", name="Ada"),
            await house.value("foo(bar, fred)", bar="x", fred="y"),
            await house.value("builtin_hi(buddy)", buddy="Ada"),
            await house.value("builtin_hi(buddy=buddy_arg)", buddy_arg="Ada"),
            await house.value("builtin_hi(dude)", dude="Ada"),
        ]
    assert values == ["Hello, Ada! How are you today?", "x and y", *["Hi, Ada"] * 3]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("123456789012345678901234567890", "64 bits"),
        ("1e999", "large"),
        (r'"\ud800"', "surrogate"),
    ],
)
async def test_a_value_that_could_not_be_kept_is_refused_by_its_reason(
    house: House, argument: str, said: str
) -> None:
    id_ = await house.pipeline("keeps", "identity(s)")
    body = b'{"pipeline_id": %d, "args": {"s": %s}}' % (id_, argument.encode())
    for path in (CALL, "/api/v1/pipelines/keeps/call"):
        sent = body if path == CALL else b'{"args": {"s": %s}}' % argument.encode()
        answer = await house.admin.post(
            path, content=sent, headers={"content-type": "application/json"}
        )
        assert answer.status_code in {400, 422}, answer.text
        assert said in answer.text


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', '{"a": 1e999}', '{"a": 1' + "0" * 30 + "}"])
async def test_json_in_a_text_that_could_not_be_answered_fails_its_step(
    house: House, text: str
) -> None:
    id_ = await house.pipeline("reads", "param x; x.a")
    for query in ("", "?typed=1", "?meta=1"):
        answer = await house.call(id_, {"x": text}, query=query)
        assert answer.status_code == 400, answer.text
        assert [one["code"] for one in answer.json()["diagnostics"]] == ["E403"]


# -- by session --------------------------------------------------------------------------------


async def test_a_session_where_no_key_is_kept_is_served_by_what_serves_by_default(
    house: House,
) -> None:
    id_ = await house.pipeline("p", "upper(s)")
    user_id = await house.gateway.add_user("root@example.org", role="administrator")
    headers = as_session(await house.sign_in(user_id))
    for key_id in house.gateway.state.directory.current.keys:
        assert (await house.admin.delete(f"/api/v1/keys/{key_id}")).status_code == 200
    body = {"pipeline_id": id_, "args": {"s": "abc"}}
    async with httpx.AsyncClient(base_url=house.gateway.url, trust_env=False) as curl:
        answer = await curl.post(CALL, json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "response": "ABC"})


async def key_of(gateway: Gateway) -> int:
    return min(gateway.state.directory.current.keys)


async def test_the_curl_call_with_a_session(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    my_pipeline = await house.pipeline("my_pipeline", "prompt_buddy(s)")
    user_id = await house.gateway.add_user("root@example.org", role="administrator")
    session = await house.sign_in(user_id)
    body = {
        "pipeline_id": my_pipeline,
        "args": {"s": "abc"},
        "openaikey_id": await key_of(house.gateway),
    }
    async with httpx.AsyncClient(base_url=house.gateway.url, trust_env=False) as curl:
        answer = await curl.post(CALL, json=body, headers=as_session(session))
        assert (answer.status_code, answer.json()) == (
            200,
            {"success": True, "response": "Hey abc"},
        )
        (row,) = await house.gateway.rows(1)
        assert (row.token_id, row.key_id) == (None, body["openaikey_id"])
        assert row.user_id == user_id
        assert (row.run_id, row.pipeline, row.step) == (
            answer.headers["x-run-id"],
            "my_pipeline",
            "prompt_buddy",
        )
        without_token = {"cookie": as_session(session)["cookie"]}
        refused = await curl.post(CALL, json=body, headers=without_token)
        assert refused.status_code == 403
        assert refused.json()["detail"].startswith("CSRF Failed: ")
        missing = await curl.post(
            CALL, json={"pipeline_id": my_pipeline, "args": {}}, headers=as_session(session)
        )
        assert (missing.status_code, missing.json()) == (
            400,
            {"openaikey_id": ["This field is required."]},
        )
        unknown = await curl.post(
            CALL, json={**body, "openaikey_id": 999}, headers=as_session(session)
        )
        assert (unknown.status_code, unknown.json()) == (404, {"detail": "There is no key 999."})
        args = await curl.get(
            "/api/pipeline/args?pipeline_name=my_pipeline",
            headers={**without_token, "content-type": "text/plain"},
        )
        assert args.json() == {
            "success": True,
            "response": ["s"],
            "params": [{"name": "s", "type": None, "required": True, "default": None}],
        }
        nobody = await curl.post(CALL, json=body)
        assert (nobody.status_code, nobody.json()) == (
            401,
            {"detail": "Authentication credentials were not provided."},
        )


# -- what else is asked ------------------------------------------------------------------------


async def test_arguments_are_told_in_order_with_types_and_defaults(house: House) -> None:
    id_ = await house.pipeline("typed", 'param b: int;\nparam a: str = "x";\nfred(b, b, b)')
    for query in ("pipeline_name=typed", f"pipeline_id={id_}"):
        answer = await house.gateway.get(f"/api/pipeline/args/?{query}")
        assert answer.json() == {
            "success": True,
            "response": ["b", "a"],
            "params": [
                {"name": "b", "type": "int", "required": True, "default": None},
                {"name": "a", "type": "str", "required": False, "default": "x"},
            ],
        }
    assert (await house.gateway.get("/api/pipeline/args")).json() == {
        "pipeline_name": ["This field is required."]
    }
    assert (await house.gateway.get("/api/pipeline/args?pipeline_name=none")).status_code == 404


async def test_the_value_is_text_unless_it_is_asked_for_as_it_is(house: House) -> None:
    id_ = await house.pipeline("p", '{"a": [1, x]}')
    assert (await house.call(id_, {"x": 2.5})).json()["response"] == '{"a": [1, 2.5]}'
    typed = await house.call(id_, {"x": 2.5}, query="/?typed=1")
    assert typed.json()["response"] == {"a": [1, 2.5]}


async def test_what_a_run_used_is_told_when_asked_for(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "upper(prompt_buddy(x))")
    first, again = [(await house.call(id_, {"x": "Ada"}, query="?meta=1")).json() for _ in range(2)]
    assert (first["response"], first["usage"]["total_tokens"]) == ("HEY ADA", 18)
    assert (float(first["cost_usd"]) > 0, first["saved_usd"]) == (True, "0")
    assert (again["cost_usd"], again["saved_usd"]) == ("0", first["cost_usd"])
    shown = [(step["path"], step["kind"], step["cache"], step["status"]) for step in first["steps"]]
    assert shown == [
        ("prompt_buddy", "prompt", "miss", "done"),
        ("upper", "function", None, "done"),
    ]
    assert again["steps"][0]["cache"] == "hit"
    assert first["run_id"] != again["run_id"]


async def test_own_pipelines_are_listed(house: House) -> None:
    id_ = await house.pipeline("one", "upper(x)", tags=["demo"])
    await house.pipeline("two", "upper(x)")
    other = await house.gateway.add_user("ada@example.org")
    token = await house.gateway.add_token(user_id=other)
    for slash in ("", "/"):
        found = (await house.gateway.get(f"/api/pipelines{slash}?tag=demo")).json()
        assert found == [{"id": id_, "name": "one", "body": "upper(x)", "tags": ["demo"]}]
    assert len((await house.gateway.get("/api/pipelines/")).json()) == 2
    assert (await house.gateway.get("/api/pipelines/", token=token)).json() == []


async def test_the_newest_run_is_shown_with_its_steps(house: House) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "upper(prompt_buddy(x))")
    logs = "/api/pipeline/logs/"
    none = await house.gateway.ask({"pipeline_id": id_}, path=logs)
    assert (none.status_code, none.json()) == (
        400,
        {"detail": "PipelineExecutionLog was not found"},
    )
    await house.call(id_, {"x": "Ada"})
    answer = (await house.gateway.ask({"pipeline_id": id_}, path=logs)).json()
    run, entries = answer["pipeline_execution"], answer["call_entries"]
    assert set(run) == {
        *("id", "pipeline", "status", "start_date", "end_date", "parameters", "output", "error"),
        *("total_prompt_tokens", "total_completion_tokens", "total_tokens"),
        *("total_prompt_cost", "total_completion_cost", "total_cost"),
    }
    assert (run["pipeline"], run["status"], run["output"]) == (id_, "success", "HEY ADA")
    assert (run["parameters"], run["error"]) == ({"x": "Ada"}, None)
    tokens = ("total_prompt_tokens", "total_completion_tokens", "total_tokens")
    assert [run[name] for name in tokens] == [11, 7, 18]
    assert 0 < run["total_prompt_cost"] < run["total_cost"]
    parts = run["total_prompt_cost"] + run["total_completion_cost"]
    assert parts == pytest.approx(run["total_cost"])
    shown = [
        (e["fn_name"], e["fn_type"], e["model"], e["parameters"], e["output"]) for e in entries
    ]
    assert shown == [
        ("prompt_buddy", "prompt", "gpt-4o-mini", {"buddy": "Ada"}, "Hey Ada"),
        ("upper", "builtin", None, {"s": "Hey Ada"}, "HEY ADA"),
    ]
    execution = f"/api/execution/{run['id']}"
    for slash in ("", "/"):
        assert (await house.gateway.get(execution + slash)).json() == {
            "execution_id": run["id"],
            "call_entries": entries,
        }
    stranger = await house.gateway.add_token(user_id=await house.gateway.add_user("a@example.org"))
    for path in (execution, "/api/execution/999/", "/api/execution/x"):
        refused = await house.gateway.get(path, token=stranger)
        assert (refused.status_code, refused.json()) == (
            404,
            {"detail": "A PipelineExecutionLog with the provided ID does not exist."},
        )
    other = await house.gateway.ask({"pipeline_id": id_}, path=logs, token=stranger)
    assert other.status_code == 400


@both_databases
async def test_a_run_whose_texts_are_gone_is_shown_without_them(house: House) -> None:
    made, failing = await house.pipeline("p", "upper(x)"), await house.pipeline("q", "bar(x)")
    await house.call(made, {"x": "Ada"})
    await house.call(failing, {"x": "Ada"})
    await prune(house.gateway.state.database, load_settings(ledger_retention_days=0))
    shown = []
    for id_ in (made, failing):
        answer = await house.gateway.ask({"pipeline_id": id_}, path="/api/pipeline/logs/")
        run, entries = answer.json()["pipeline_execution"], answer.json()["call_entries"]
        shown.append((run["status"], run["parameters"], run["output"], run["error"]))
        execution = (await house.gateway.get(f"/api/execution/{run['id']}/")).json()
        assert execution["call_entries"] == entries
        assert all(entry["parameters"] == {} and entry["output"] is None for entry in entries)
    assert shown == [("success", {}, None, None), ("error", {}, None, NOT_KEPT)]


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, {"pipeline_id": ["This field is required."]}),
        ({"pipeline_id": "x"}, 400, {"pipeline_id": ["A valid integer is required."]}),
        ({"pipeline_id": -1}, 400, {"pipeline_id": ["A valid integer is required."]}),
        ({"pipeline_id": True}, 400, {"pipeline_id": ["A valid integer is required."]}),
        ({"pipeline_id": 999}, 404, {"detail": "There is no pipeline 999."}),
        (b"", 400, {"detail": "Invalid data"}),
    ],
)
async def test_what_is_asked_wrongly_is_said(
    house: House, body: Json | bytes, status: int, said: Json
) -> None:
    answer = await house.gateway.ask(body, path=CALL)
    assert (answer.status_code, answer.json()) == (status, said)


async def test_another_users_pipeline_is_not_there(house: House) -> None:
    id_ = await house.pipeline("private", "upper(x)")
    stranger = await house.gateway.add_token(user_id=await house.gateway.add_user("a@example.org"))
    assert (await house.call(id_, {"x": "a"}, token=stranger)).status_code == 404
    await house.admin.patch(f"/api/v1/pipelines/{id_}", json={"shared": True})
    assert (await house.call(id_, {"x": "a"}, token=stranger)).json()["response"] == "A"


async def test_trouble_of_the_pipeline_is_told_with_its_place(house: House) -> None:
    id_ = await house.pipeline("p", "upper(fail())")
    answer = await house.call(id_)
    assert answer.status_code == 400
    body = answer.json()
    assert set(body) == {"success", "error", "diagnostics"}
    assert body["success"] is False
    (found,) = body["diagnostics"]
    assert (found["code"], found["line"], found["column"], found["length"]) == ("E501", 1, 7, 6)
    assert "no luck" in found["message"]
    assert "custom_house.py:" in found["message"]
    run = await house.gateway.ask({"pipeline_id": id_}, path="/api/pipeline/logs")
    shown = run.json()["pipeline_execution"]
    assert (shown["status"], shown["output"]) == ("error", None)
    assert shown["error"] in body["error"]
    assert answer.headers["x-run-id"]


async def test_an_argument_that_is_not_given_is_told_before_anything_runs(
    house: House, upstream: FakeUpstream
) -> None:
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "upper([prompt_buddy(a), b])")
    answer = await house.call(id_, {"a": "x"})
    assert answer.status_code == 400
    assert [found["code"] for found in answer.json()["diagnostics"]] == ["E507"]
    assert upstream.calls() == []


@pytest.mark.parametrize(("status", "told"), [(500, 502), (503, 502), (429, 502), (400, 400)])
async def test_a_providers_fault_is_told_as_such(
    house: House, upstream: FakeUpstream, quick_retries: None, status: int, told: int
) -> None:
    upstream.default = json_answer(status, error_body("Not now."))
    await house.prompt("prompt_buddy", "Hey {buddy}")
    answer = await house.call(await house.pipeline("p", "prompt_buddy(x)"), {"x": "a"})
    assert answer.status_code == told, answer.text
    (found,) = answer.json()["diagnostics"]
    assert (found["code"], "Not now" in found["message"]) == ("E501", True)


async def test_a_provider_that_is_silent_is_a_504_and_its_call_is_closed(
    house: House, upstream: FakeUpstream
) -> None:
    upstream.default = hang_before_headers()
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(x) @(timeout=0.2)")
    answer = await house.call(id_, {"x": "a"})
    assert answer.status_code == 504, answer.text
    assert [found["code"] for found in answer.json()["diagnostics"]] == ["E502"]
    (call,) = await upstream.wait_for(1)
    await call.wait_closed()
    (row,) = await house.gateway.rows(1)
    assert (row.status, row.error, row.step) == (499, "step_cancelled", "prompt_buddy")


async def test_a_client_that_leaves_ends_its_run(house: House, upstream: FakeUpstream) -> None:
    upstream.default = hang_before_headers()
    await house.prompt("prompt_buddy", "Hey {buddy}")
    id_ = await house.pipeline("p", "prompt_buddy(x)")
    async with house.gateway.raw() as client:
        await client.send(
            house.gateway.request({"pipeline_id": id_, "args": {"x": "a"}}, path=CALL)
        )
        (call,) = await upstream.wait_for(1)
        await asyncio.sleep(0.1)
    await call.wait_closed()
    await house.gateway.rows(1)
    run = await house.latest(id_)
    assert (run.status, run.error) == ("cancelled", None)
    assert [step.status for step in await house.steps(run)] == ["cancelled"]


async def test_the_server_goes_on_when_a_function_ends_its_process(house: House) -> None:
    answer = await house.call(await house.pipeline("p", "leave()"))
    assert answer.status_code == 400
    assert await house.value("upper(x)", x="a") == "A"
