"""Presets as steps of pipelines: their values, whose rights count, and what is on record of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.chat import chat_body, completion_body, embedding_body, error_body, usage
from tests.fakes.upstream import (
    Connection,
    FakeUpstream,
    Received,
    json_answer,
    realistic,
)
from tests.faults.harness import Gateway, Json, text_of
from tests.faults.house import House
from tests.faults.library import librarian

pytestmark = pytest.mark.live

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
OLD, NEW = "gpt-3.5-turbo-instruct", "gpt-4o-mini"


@pytest.fixture
async def study(house: House, upstream: FakeUpstream) -> House:
    """A house with presets of several types, before a provider that answers in capitals."""

    async def loudly(request: Received, connection: Connection) -> None:
        body, counts = request.json, usage(3, 2)
        if request.path == COMPLETIONS:
            answer: Json = completion_body(str(body["prompt"]).upper(), usage=counts, model=OLD)
        elif request.path == CHAT:
            said = body["messages"][-1]["content"].upper()
            answer = chat_body(said, usage=counts, model=body["model"])
        else:
            answer = embedding_body(model=body["model"])
        await json_answer(200, answer)(request, connection)

    upstream.default = loudly
    gateway = house.gateway
    system = {"role": "system", "content": "Be brief."}
    await gateway.add_preset("brief", "chat", {"model": NEW, "messages": [system]})
    around = {"prompt": "q: ", "injectStart": " a:", "injectRestart": " end"}
    await gateway.add_preset("old", "completion", {"engine_id": OLD, **around})
    await gateway.add_preset("new", "completion", {"engine_id": NEW, **around, "echo": True})
    await gateway.add_preset("pair", "completion", {"engine_id": NEW, "prompt": ["x", "y"]})
    await gateway.add_preset("bare", "completion", {"engine_id": OLD})
    await gateway.add_preset("vec", "embeddings", {"model": "text-embedding-3-small"})
    return house


async def test_a_presets_value_is_what_its_type_gives(study: House, upstream: FakeUpstream) -> None:
    for source, value in (
        ("brief(x)", "HI"),
        ("brief(input=x)", "HI"),
        ("old(x)", "Q: HI A: end"),
        ("new(x)", "q: hi a:Q: HI A: end"),
        ("pair(x)", ["XHI", "YHI"]),
        ("bare(x)", "HI"),
        ("vec(x)[0]", 1.0),
        ("old(brief(x))", "Q: HI A: end"),
        ("map(brief, ['a', 'b'])", ["A", "B"]),
        ('brief(x) @(model="gpt-4o")', "HI"),
        ("old(5)", "Q: 5 A: end"),
    ):
        assert await study.value(source, x="hi") == value, source
    assert upstream.calls()[0].json["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "gpt-4o" in {call.json["model"] for call in upstream.calls()}


async def test_what_a_preset_took_is_in_the_trace_and_in_the_ledger(study: House) -> None:
    id_ = await study.pipeline("p", "pair(old(x))")
    answer = await study.call(id_, {"x": "hi"}, query="?meta=1")
    assert answer.status_code == 200, answer.text
    run = await study.latest(id_)
    steps = {step.name: step for step in await study.steps(run)}
    assert {name: step.kind for name, step in steps.items()} == {"old": "preset", "pair": "preset"}
    assert [steps[name].tokens_input for name in ("old", "pair")] == [3, 6]
    assert steps["old"].model == OLD
    assert (steps["old"].cost_nano or 0) > 0
    rows = await study.gateway.rows(3)
    assert {row.run_id for row in rows} == {run.run_id}
    assert [row.step for row in rows] == ["old", "pair", "pair"]
    uids = [
        found.uid
        for name in ("old", "pair", "pair")
        if (found := study.gateway.state.presets.find_callable(name, None, is_administrator=True))
    ]
    assert [(row.tags or {})["preset"] for row in rows] == uids
    assert sum(row.cost_nano or 0 for row in rows) == (steps["old"].cost_nano or 0) + (
        steps["pair"].cost_nano or 0
    )
    again = await study.call(id_, {"x": "hi"})
    assert again.json() == {"success": True, "response": answer.json()["response"]}
    assert [row.cache for row in (await study.gateway.rows(6))[3:]] == ["hit"] * 3


async def test_a_pipeline_calls_presets_with_its_owners_rights_and_books_on_the_callers_token(
    study: House,
) -> None:
    gateway = study.gateway
    ada, ben = [await gateway.add_user(f"{name}@example.org") for name in ("ada", "ben")]
    await gateway.add_preset("mine", "chat", {"model": NEW}, user_id=ada)
    async with gateway.make_client(await gateway.add_token(user_id=ada, scope="admin")) as client:
        made = await client.post(
            "/api/v1/pipelines", json={"name": "ours", "source": "mine(x)", "shared": True}
        )
        assert made.status_code == 201, made.text
    token = await gateway.add_token(user_id=ben, scope="admin")
    called = await study.call(made.json()["id"], {"x": "hi"}, token=token)
    assert called.json() == {"success": True, "response": "HI"}
    (row,) = await gateway.rows(1)
    assert row.user_id == ben
    async with gateway.make_client(token) as client:
        refused = await client.post("/api/v1/pipelines", json={"name": "his", "source": "mine(x)"})
        assert refused.status_code == 422
        assert refused.json()["diagnostics"][0]["code"] == "E201"


async def test_a_preset_that_is_gone_is_a_diagnostic_and_one_that_changed_counts_at_once(
    study: House,
) -> None:
    id_ = await study.pipeline("p", "old(x)")
    preset = study.gateway.state.presets.find_callable("old", None, is_administrator=True)
    assert preset is not None
    assert (await study.call(id_, {"x": "hi"})).json()["response"] == "Q: HI A: end"
    uid = preset.uid
    changed = await study.admin.patch(
        f"/api/v1/presets/{uid}", json={"config": {"engine_id": OLD, "prompt": "k: "}}
    )
    assert changed.status_code == 200, changed.text
    assert (await study.call(id_, {"x": "hi"})).json()["response"] == "K: HI"
    assert (await study.admin.delete(f"/api/v1/presets/{uid}")).status_code == 409
    gone = await study.admin.delete(f"/api/v1/presets/{uid}?force=true")
    assert gone.status_code == 200, gone.text
    failed = await study.call(id_, {"x": "hi"})
    assert failed.status_code == 400
    assert "preset 'old' is gone" in failed.json()["diagnostics"][0]["message"]


async def test_a_providers_fault_is_the_steps_and_what_it_says_of_its_model_is_learned(
    study: House, upstream: FakeUpstream
) -> None:
    await study.gateway.add_preset("mine", "completion", {"engine_id": "mine", "max_tokens": 5})
    id_ = await study.pipeline("p", "mine(x)")
    wrong = "This is a chat model and not supported in the v1/completions endpoint."
    upstream.script(json_answer(404, error_body(wrong)))
    assert (await study.call(id_, {"x": "hi"})).json()["response"] == "HI"
    assert [call.path for call in upstream.calls()] == [COMPLETIONS, CHAT]
    upstream.default = json_answer(400, error_body("No."))
    failed = await study.call(id_, {"x": "ho"})
    assert failed.status_code == 400
    assert failed.json()["diagnostics"][0]["code"] == "E501"
    assert "No" in failed.json()["error"]


async def test_what_chat_cannot_do_fails_the_step_and_says_so(study: House) -> None:
    await study.gateway.add_preset("best", "completion", {"engine_id": NEW, "best_of": 2})
    failed = await study.call(await study.pipeline("p", "best(x)"), {"x": "hi"})
    assert failed.status_code == 400
    assert "best_of over 1" in failed.json()["error"]


async def test_a_run_is_explained_with_the_presets_in_it(study: House) -> None:
    id_ = await study.pipeline("p", "old(brief(x))")

    async def explained() -> list[Any]:
        body = {"name": "p", "args": {"x": "hi"}}
        answer = await study.admin.post("/api/v1/pipelines/explain", json=body)
        assert answer.status_code == 200, answer.text
        steps: list[Any] = answer.json()["steps"]
        return steps

    first = await explained()
    assert [(one["name"], one["kind"], one["cache"]) for one in first] == [
        ("brief", "preset", "miss"),
        ("old", "preset", None),
    ]
    assert first[0]["model"] == NEW
    assert first[1]["tokens_output"] == 16
    await study.call(id_, {"x": "hi"})
    assert [one["cache"] for one in await explained()] == ["hit", "hit"]


async def test_what_a_chat_preset_says_last_comes_as_it_is_said(
    study: House, upstream: FakeUpstream
) -> None:

    upstream.default = realistic()
    gateway: Gateway = study.gateway
    for name, source in (("said", "brief(x)"), ("whole", "new(x)")):
        await study.pipeline(name, source)
        body: Json = {"model": f"pipeline/{name}", "stream": True}
        body["messages"] = [{"role": "user", "content": "Why so?"}]
        answer = await gateway.ask(body)
        assert answer.status_code == 200, answer.text
        assert "Why so?" in text_of(answer)
    assert upstream.calls()[0].json["stream"] is True


async def test_a_search_gives_its_results_and_what_they_took(
    study: House, upstream: FakeUpstream
) -> None:
    upstream.default = librarian
    documents = ["a shark eats swimmers", "a ship sinks in the ice"]
    config = {"engine_id": "text-embedding-3-small", "documents": documents}
    await study.gateway.add_preset("films", "search", config)
    id_ = await study.pipeline("p", "films(x)[0].text")
    for rows in (2, 3):
        answer = await study.call(id_, {"x": "ice"})
        assert answer.json() == {"success": True, "response": documents[1]}
        run = await study.latest(id_)
        (step,) = await study.steps(run)
        assert (step.kind, step.model) == ("preset", "text-embedding-3-small")
        found = await study.gateway.rows(rows)
        assert {row.step for row in found} == {"films"}
        assert step.tokens_input == sum(
            row.tokens_input or 0 for row in found if row.run_id == run.run_id
        )
    upstream.default = json_answer(400, error_body("No."))
    failed = await study.call(id_, {"x": "ho"})
    assert failed.json()["diagnostics"][0]["code"] == "E501"
