"""`/api/v1/pipelines`: checked when saved, in versions, who may see and change what, dependants."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from aieye.access import uses
from aieye.access.audit import Actor
from aieye.pipeline import catalogue
from aieye.pipeline.known_functions import KnownFunctions
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.nodes import Pipeline, Type
from aieye.pipeline.language.parser import parse
from aieye.ui import owned
from tests.integration.admin_api import AdminApi, error_of, running_admin_api

PIPELINES, PROMPTS = "/api/v1/pipelines", "/api/v1/prompts"
FUNCTIONS = {
    one.name: one
    for one in (
        Definition("upper", "function", (Parameter("s", Type("str")),), 1),
        Definition("length", "function", (Parameter("x"),), 2),
        Definition("foo", "function", (Parameter("x", Type("int")),), 3),
    )
}
WRONG_VALUES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": "a b"}, "name"),
    ({"name": "reduce"}, "name"),
    ({"name": 5}, "name"),
    ({"source": None}, "source"),
    ({"tags": "demo"}, "tags"),
    ({"tags": [" "]}, "tags"),
    ({"tags": ["x" * 51]}, "tags.0"),
    ({"tags": ["x"] * 21}, "tags"),
    ({"shared": None}, "shared"),
    ({"version": 2}, "version"),
)


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        running.state.function_catalogue = lambda: FUNCTIONS
        yield running


async def save(client: httpx.AsyncClient, name: str, source: str, **more: Any) -> Any:
    answer = await client.post(PIPELINES, json={"name": name, "source": source, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def prompt(client: httpx.AsyncClient, name: str, body: str, **more: Any) -> Any:
    given = {"name": name, "body": body, "model": "gpt-4o-mini", **more}
    answer = await client.post(PROMPTS, json=given)
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> list[tuple[str, str]]:
    """Code and message of each error of a pipeline that was refused."""
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert set(body) == {"error", "diagnostics"}
    assert body["error"]["code"] == "invalid_pipeline"
    errors = [found for found in body["diagnostics"] if found["severity"] == "error"]
    assert errors[0]["message"] in body["error"]["message"]
    return [(found["code"], found["message"]) for found in errors]


async def codes(client: httpx.AsyncClient, pipeline: Any) -> list[str]:
    """What is wrong with a saved pipeline by now."""
    shown = (await client.get(f"{PIPELINES}/{pipeline['id']}")).json()
    return [found["code"] for found in shown["diagnostics"]]


# -- saving ------------------------------------------------------------------------------------


async def test_a_pipeline_is_saved_with_what_it_asks_for(api: AdminApi) -> None:
    await prompt(api.ada.client, "two", "{x} vs {y}")
    source = "# compares\nupper(two(y, x))"
    made = await save(api.ada.client, "compare", source, tags=["b", "a", "b"])
    assert {key: made[key] for key in ("name", "version", "args", "diagnostics")} == {
        "name": "compare",
        "version": 1,
        "args": ["y", "x"],
        "diagnostics": [],
    }
    assert (made["source"], made["tags"], made["shared"]) == (source, ["b", "a"], False)
    assert (await api.ada.client.get(f"{PIPELINES}/{made['id']}")).json() == made


async def test_a_misspelt_nested_call_is_refused_with_its_place_and_a_suggestion(
    api: AdminApi,
) -> None:
    body = {"name": "triage", "source": "upper(\n  s=lenght(x))"}
    answer = await api.ada.client.post(PIPELINES, json=body)
    assert refused(answer) == [
        (
            "E201",
            "unknown function, prompt or pipeline 'lenght'; did you mean 'length'?",
        )
    ]
    (found,) = answer.json()["diagnostics"]
    assert (found["line"], found["column"], found["length"]) == (2, 5, 6)
    assert answer.json()["error"]["message"] == (
        "triage:2:5: error[E201]: unknown function, prompt or pipeline 'lenght'; "
        "did you mean 'length'?\n"
        "  2 |   s=lenght(x))\n"
        "    |     ^^^^^^"
    )
    assert (await api.ada.client.get(PIPELINES)).json()["data"] == []
    # The name is free after all.
    await save(api.ada.client, "triage", "upper(length(x))")


async def test_what_curl_sends_by_itself_is_told_to_be_json(api: AdminApi) -> None:
    body, headers = b'{"source": "x"}', {"content-type": "application/x-www-form-urlencoded"}
    answer = await api.ada.client.post(f"{PIPELINES}/check", content=body, headers=headers)
    assert (answer.status_code, "Content-Type: application/json" in answer.text) == (422, True)
    answer = await api.ada.client.post(PIPELINES, json={"name": "a" * 101, "source": "x"})
    message = answer.json()["error"]["message"]
    assert (answer.status_code, message) == (
        422,
        "name: String should have at most 100 characters",
    )


async def test_warnings_are_kept_and_refuse_nothing(api: AdminApi) -> None:
    made = await save(api.ada.client, "warned", "let a = length(x);\nupper(x)")
    assert [(found["code"], found["severity"]) for found in made["diagnostics"]] == [
        ("W601", "warning")
    ]
    assert (await api.ada.client.get(PIPELINES)).json()["data"] == [made]


async def test_a_pipeline_sees_its_owners_prompts_and_shared_ones_only(api: AdminApi) -> None:
    await prompt(api.ben.client, "bens", "{x}")
    await prompt(api.ben.client, "shown", "{x}", shared=True)
    await prompt(api.ada.client, "adas", "{x}")
    await save(api.ada.client, "fine", "shown(adas(x))")
    for client in (api.ada.client, api.administrator.client):
        answer = await client.post(PIPELINES, json={"name": "p", "source": "bens(x)"})
        (told,) = refused(answer)
        assert told[0] == "E201"
    # Whoever saves it, it is its owner's.
    mine = await save(api.ben.client, "mine", "bens(x)")
    path = f"{PIPELINES}/{mine['id']}"
    edited = await api.administrator.client.patch(path, json={"source": "bens(bens(x))"})
    assert edited.status_code == 200, edited.text
    refused(await api.administrator.client.patch(path, json={"source": "adas(x)"}))


async def test_a_name_is_unique_among_all_that_can_be_called(api: AdminApi) -> None:
    await prompt(api.ben.client, "taken", "{x}")
    saved = await save(api.ben.client, "saved", "upper(x)")
    for name in ("taken", "saved"):
        body = {"name": name, "source": "upper(x)"}
        told = error_of(await api.ada.client.post(PIPELINES, json=body), 409)
        assert (told["code"], told["param"]) == ("name_taken", "name")
    body = {"name": "saved", "body": "x", "model": "m"}
    error_of(await api.ada.client.post(PROMPTS, json=body), 409)
    path = f"{PIPELINES}/{saved['id']}"
    error_of(await api.ben.client.patch(path, json={"name": "taken"}), 409)
    assert (await api.ben.client.get(path)).json()["name"] == "saved"


async def test_wrong_values_are_refused_and_named(api: AdminApi) -> None:
    made = await save(api.ada.client, "kept", "upper(x)")
    for wrong, param in WRONG_VALUES:
        body = {"name": "other", "source": "upper(x)", **wrong}
        answer = await api.ada.client.post(PIPELINES, json=body)
        assert error_of(answer, 422)["param"] == param, wrong
        answer = await api.ada.client.patch(f"{PIPELINES}/{made['id']}", json=wrong)
        assert error_of(answer, 422)["param"] == param, wrong
    assert (await api.ada.client.get(PIPELINES)).json()["data"] == [made]


# -- who ---------------------------------------------------------------------------------------


async def test_people_see_their_own_and_shared_pipelines_and_administrators_all(
    api: AdminApi,
) -> None:
    await save(api.ada.client, "a1", "upper(x)", tags=["demo"])
    await save(api.ada.client, "a2", "upper(x)", shared=True, tags=["demo", "two"])
    await save(api.ben.client, "b1", "upper(x)", tags=["two"])

    async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
        page = (await client.get(PIPELINES, params=query)).json()
        return [pipeline["name"] for pipeline in page["data"]]

    assert await names(api.ben.client) == ["a2", "b1"]
    assert await names(api.ada.client) == ["a1", "a2"]
    assert await names(api.administrator.client) == ["a1", "a2", "b1"]
    assert await names(api.administrator.client, tag="two") == ["a2", "b1"]
    assert await names(api.ada.client, tag="two") == ["a2"]
    assert await names(api.ada.client, tag="t") == []
    assert await names(api.ben.client, name="a1") == []
    assert await names(api.ben.client, user_id=api.ada.id) == ["a2"]
    first = (await api.administrator.client.get(PIPELINES, params={"limit": 2})).json()
    query = {"limit": 2, "cursor": first["next_cursor"]}
    assert await names(api.administrator.client, **query) == ["b1"]


async def test_anothers_private_pipeline_does_not_exist(api: AdminApi) -> None:
    made = await save(api.ben.client, "bens", "upper(x)")
    calls: tuple[tuple[str, str, Any], ...] = (
        ("GET", "", None),
        ("PATCH", "", {"source": "upper(y)"}),
        ("DELETE", "", None),
        ("GET", "/versions", None),
        ("GET", "/diff?base=1", None),
        ("POST", "/rollback", {"version": 1}),
        ("POST", "/labels", {"label": "production", "version": 1}),
        ("GET", "/dependants", None),
    )
    for method, suffix, body in calls:
        messages = {
            error_of(
                await api.ada.client.request(method, f"{PIPELINES}/{id_}{suffix}", json=body), 404
            )["message"].replace(str(id_), "…")
            for id_ in (made["id"], 987)
        }
        assert len(messages) == 1, "another's and a missing one are told apart"
    assert (await api.ben.client.get(f"{PIPELINES}/{made['id']}")).json() == made


async def test_a_shared_pipeline_is_changed_by_its_owner_and_administrators_only(
    api: AdminApi,
) -> None:
    made = await save(api.ben.client, "bens", "upper(x)", shared=True)
    path = f"{PIPELINES}/{made['id']}"
    assert (await api.ada.client.get(path)).json() == made
    error_of(await api.ada.client.patch(path, json={"tags": []}), 403)
    error_of(await api.ada.client.delete(path), 403)
    error_of(await api.ada.client.post(f"{path}/rollback", json={"version": 1}), 403)
    label = {"label": "production", "version": 1}
    error_of(await api.ada.client.post(f"{path}/labels", json=label), 403)
    assert (await api.administrator.client.patch(path, json={"tags": ["x"]})).status_code == 200


# -- versions ----------------------------------------------------------------------------------


async def test_another_text_is_a_new_version_and_other_changes_are_none(api: AdminApi) -> None:
    made = await save(api.ada.client, "p", "upper(x)")
    path = f"{PIPELINES}/{made['id']}"
    for body, version in (
        ({"tags": ["t"], "shared": True}, 1),
        ({"source": "upper(x)"}, 1),
        ({"source": "upper(y)"}, 2),
        ({"name": "q"}, 2),
    ):
        changed = (await api.ada.client.patch(path, json=body)).json()
        assert (changed["version"], changed["latest_version"]) == (version, version), body
    refused(await api.ada.client.patch(path, json={"source": "upper(", "tags": []}))
    shown = (await api.ada.client.get(path)).json()
    assert (shown["name"], shown["args"], shown["tags"]) == ("q", ["y"], ["t"])
    first = (await api.ada.client.get(path, params={"version": 1})).json()
    assert (first["version"], first["source"], first["args"]) == (1, "upper(x)", ["x"])
    error_of(await api.ada.client.get(path, params={"version": 3}), 404)
    listed = (await api.ada.client.get(f"{path}/versions")).json()["data"]
    assert [one["source"] for one in listed] == ["upper(x)", "upper(y)"]


async def test_a_difference_shows_lines_and_what_is_asked_for(api: AdminApi) -> None:
    made = await save(api.ada.client, "p", "upper(x)")
    path = f"{PIPELINES}/{made['id']}"
    await api.ada.client.patch(path, json={"source": "upper(y)"})
    shown = (await api.ada.client.get(f"{path}/diff", params={"base": 1, "head": 2})).json()
    assert shown == {
        "base": 1,
        "head": 2,
        "text": "--- version 1\n+++ version 2\n@@ -1 +1 @@\n-upper(x)\n+upper(y)\n",
        "changes": [{"field": "args", "base": ["x"], "head": ["y"]}],
    }


async def test_the_version_that_is_called_production_is_the_one_that_others_call(
    api: AdminApi,
) -> None:
    inner = await save(api.ada.client, "inner", "upper(x)")
    path = f"{PIPELINES}/{inner['id']}"
    label = {"label": "production", "version": 1}
    shown = (await api.ada.client.post(f"{path}/labels", json=label)).json()
    assert (shown["labels"], shown["served_version"]) == ({"production": 1}, 1)
    await api.ada.client.patch(path, json={"source": "upper(builtin)"})
    refused(await api.ada.client.post(PIPELINES, json={"name": "o", "source": "inner(builtin=a)"}))
    await save(api.ada.client, "outer", "inner(x=a)")
    label = {"label": "production", "version": None}
    await api.ada.client.post(f"{path}/labels?force=true", json=label)
    await save(api.ada.client, "other", "inner(builtin=a)")


async def test_a_roll_back_means_what_the_old_version_meant(api: AdminApi) -> None:
    two = await prompt(api.ada.client, "two", "{x} vs {y}")
    made = await save(api.ada.client, "p", "two(1, 2)")
    path = f"{PIPELINES}/{made['id']}"
    await api.ada.client.patch(path, json={"source": "upper(x)"})
    await api.ada.client.patch(f"{PROMPTS}/{two['id']}", json={"name": "pair"})
    back = (await api.ada.client.post(f"{path}/rollback", json={"version": 1})).json()
    assert (back["version"], back["source"], back["args"]) == (3, "two(1, 2)", [])
    error_of(await api.ada.client.post(f"{path}/rollback", json={"version": 9}), 404)
    await api.ada.client.patch(path, json={"source": "upper(x)"})
    assert (await api.ada.client.delete(f"{PROMPTS}/{two['id']}")).status_code == 200
    told = refused(await api.ada.client.post(f"{path}/rollback", json={"version": 1}))
    assert told == [("E201", "the prompt 'two' is gone, or not shared any more")]
    assert (await api.ada.client.get(path)).json()["version"] == 4


# -- what pipelines call -----------------------------------------------------------------------


async def test_pipelines_that_call_it_are_listed_before_it_is_renamed_or_deleted(
    api: AdminApi,
) -> None:
    shared = await prompt(api.ada.client, "shared", "{x}", shared=True)
    caller = await save(api.ada.client, "caller", "shared(x)")
    await save(api.ben.client, "bens", "upper(shared(x))")
    path = f"{PROMPTS}/{shared['id']}"
    listed = (await api.ada.client.get(f"{path}/dependants")).json()
    assert listed == {
        "data": [{"id": caller["id"], "name": "caller", "user_id": api.ada.id, "version": 1}],
        "hidden": 1,
    }
    everything = (await api.administrator.client.get(f"{path}/dependants")).json()
    assert [one["name"] for one in everything["data"]] == ["bens", "caller"]
    for method, body in (("PATCH", {"name": "other"}), ("DELETE", None)):
        told = error_of(await api.ada.client.request(method, path, json=body), 409)
        assert told["code"] == "in_use"
        assert "caller and 1 more" in told["message"]
        assert "bens" not in told["message"]
    assert (await api.ada.client.get(path)).json()["name"] == "shared"
    # Other changes ask nobody.
    assert (await api.ada.client.patch(path, json={"body": "{x}!"})).status_code == 200


@pytest.mark.parametrize("kind", ["prompt", "pipeline"])
async def test_pipelines_of_others_are_listed_before_it_is_shared_no_more(
    api: AdminApi, kind: str
) -> None:
    if kind == "prompt":
        shared = await prompt(api.ada.client, "shared", "{x}", shared=True)
    else:
        shared = await save(api.ada.client, "shared", "upper(x)", shared=True)
    path = f"/api/v1/{kind}s/{shared['id']}"
    # Her own pipeline may call it in any case.
    await save(api.ada.client, "hers", "shared(x)")
    for again in (False, True):
        changed = await api.ada.client.patch(path, json={"shared": again})
        assert changed.json()["shared"] is again
    bens = await save(api.ben.client, "bens", "upper(shared(x))")
    told = error_of(await api.ada.client.patch(path, json={"shared": False}), 409)
    assert told["code"] == "in_use"
    assert "1 of other users" in told["message"]
    told = error_of(await api.administrator.client.patch(path, json={"shared": False}), 409)
    assert "bens" in told["message"]
    assert (await api.ada.client.patch(path, json={"shared": True})).status_code == 200
    assert await codes(api.ben.client, bens) == []
    forced = await api.ada.client.patch(f"{path}?force=true", json={"shared": False})
    assert forced.json()["shared"] is False
    assert await codes(api.ben.client, bens) == ["E201"]


async def test_a_pipeline_goes_on_calling_what_was_renamed(api: AdminApi) -> None:
    inner = await save(api.ada.client, "inner", "upper(x)")
    outer = await save(api.ada.client, "outer", "inner(x)")
    path = f"{PIPELINES}/{inner['id']}"
    error_of(await api.ada.client.patch(path, json={"name": "within"}), 409)
    answer = await api.ada.client.patch(f"{path}?force=true", json={"name": "within"})
    assert answer.json()["name"] == "within"
    # What has the name now is another thing.
    await prompt(api.ada.client, "inner", "{a} {b}")
    assert await codes(api.ada.client, outer) == []
    listed = (await api.ada.client.get(f"{path}/dependants")).json()["data"]
    assert [one["name"] for one in listed] == ["outer"]


async def test_what_is_registered_later_changes_no_saved_pipeline(api: AdminApi) -> None:
    made = await save(api.ada.client, "p", "upper(text)")
    await prompt(api.ada.client, "text", "Hello")
    shown = (await api.ada.client.get(f"{PIPELINES}/{made['id']}")).json()
    assert (shown["args"], shown["diagnostics"]) == (["text"], [])
    # Saved again, it means something else, and is another version.
    again = await api.ada.client.patch(f"{PIPELINES}/{made['id']}", json={"source": made["source"]})
    assert (again.json()["args"], again.json()["version"]) == ([], 2)


async def test_a_pipeline_says_what_it_lacks_by_now(api: AdminApi) -> None:
    two = await prompt(api.ben.client, "two", "{x} vs {y}", shared=True)
    await prompt(api.ben.client, "one", "{x}", shared=True)
    made = await save(api.ada.client, "p", "upper(two(x=1, y=one(length(z))))")
    path = f"{PROMPTS}/{two['id']}"

    async def messages() -> list[str]:
        shown = (await api.ada.client.get(f"{PIPELINES}/{made['id']}")).json()
        assert all(found["severity"] == "error" for found in shown["diagnostics"])
        return [found["message"] for found in shown["diagnostics"]]

    assert await messages() == []
    await api.ben.client.patch(path, json={"body": "{y}, then {x}"})
    assert await messages() == []
    await api.ben.client.patch(f"{path}?force=true", json={"body": "{y} and {w}"})
    assert await messages() == [
        "'two' has no parameter 'x' any more",
        "'two' has changed and asks for 'w' too",
    ]
    await api.ben.client.patch(f"{path}?force=true", json={"shared": False})
    assert await messages() == ["the prompt 'two' is gone, or not shared any more"]
    api.state.function_catalogue = lambda: {"upper": FUNCTIONS["upper"]}
    assert (await messages())[1:] == ["the function 'length' is not registered any more"]
    # Of another function that has the name the pipeline knows nothing.
    api.state.function_catalogue = lambda: (
        FUNCTIONS | {"length": Definition("length", "function", (Parameter("x"),), 9)}
    )
    assert (await messages())[1:] == ["the function 'length' is not registered any more"]
    known = KnownFunctions({}, {"length": "its file custom_a.py is gone"})
    known.update(upper=FUNCTIONS["upper"])
    api.state.function_catalogue = lambda: known
    assert (await messages())[1:] == [
        "the function 'length' cannot be called: its file custom_a.py is gone"
    ]


async def test_of_what_thousands_call_some_are_told(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(uses, "_MOST_NAMED", 1)
    shared = await prompt(api.ada.client, "shared", "{x}", shared=True)
    for name in ("one", "three", "two"):
        await save(api.ada.client, name, "shared(x)")
    path = f"{PROMPTS}/{shared['id']}"
    told = error_of(await api.ada.client.patch(path, json={"name": "other"}), 409)["message"]
    assert re.search(r"call it: (one|three|two) and at least 1 more", told)
    # One's own are told before those of others, and a pipeline is one however many versions may run.
    mine = await save(api.ben.client, "zebra", "shared(x)")
    await api.ben.client.post(
        f"{PIPELINES}/{mine['id']}/labels", json={"label": "production", "version": 1}
    )
    await api.ben.client.patch(f"{PIPELINES}/{mine['id']}", json={"source": "shared(upper(x))"})
    ben = Actor(mine["user_id"], "ben", "user")
    async with api.state.database.read() as session:
        for most, names in (
            (1, ["zebra"]),
            (2, ["one", "zebra"]),
            (4, ["one", "three", "two", "zebra"]),
        ):
            found = await uses.find_dependants(
                session, "prompt", shared["id"], limit=most, first=ben.user_id
            )
            assert [one.name for one in found] == names
            assert found[-1].version == 2
        monkeypatch.setattr(owned, "MOST_LOOKED_AT", 2)
        callers = await owned.callers_of(session, "prompt", shared["id"], ben)
    assert ([one.name for one in callers.shown], callers.hidden) == (["zebra"], 1)
    assert not callers.is_whole
    # Whoever asks for the list has it whole.
    listed = (await api.ada.client.get(f"{path}/dependants")).json()["data"]
    assert [one["name"] for one in listed] == ["one", "three", "two"]
    # Of an edit that breaks them no more is read than is told, of one that breaks none nothing.
    read: list[Sequence[int]] = []
    broken_of = uses._broken

    async def noted(session: Any, kind: Any, id_: int, ids: Sequence[int], *more: Any) -> Any:
        read.append(ids)
        return await broken_of(session, kind, id_, ids, *more)

    monkeypatch.setattr(uses, "_broken", noted)
    monkeypatch.setattr(uses, "_READ_AT_ONCE", 1)
    told = error_of(await api.ada.client.patch(path, json={"body": "{y}"}), 409)["message"]
    assert told.startswith("Pipelines would fail, for it takes no 'x' any more")
    assert "and at least 1 more" in told
    assert len(read) == 2
    assert (await api.ada.client.patch(path, json={"body": "Say {x}."})).status_code == 200
    assert len(read) == 2


async def test_a_version_counts_as_a_caller_while_it_is_the_newest_or_labelled(
    api: AdminApi,
) -> None:
    shared = await prompt(api.ada.client, "shared", "{x}")
    made = await save(api.ada.client, "caller", "shared(x)")
    path = f"{PIPELINES}/{made['id']}"
    for edit in range(10):
        await api.ada.client.patch(path, json={"source": f"upper('{edit}')"})

    async def versions() -> list[int]:
        answer = await api.ada.client.get(f"{PROMPTS}/{shared['id']}/dependants")
        return [one["version"] for one in answer.json()["data"]]

    assert await versions() == []
    # Eleven is not one, wherever either stands among the labels.
    steps: tuple[tuple[str, int | None, list[int]], ...] = (
        ("b", 11, []), ("a", 1, [1]), ("a", 10, []), ("c", 1, [1]), ("a", 1, [1]), ("c", None, [1]),
    )  # fmt: skip
    for label, number, expected in steps:
        body = {"label": label, "version": number}
        assert (await api.ada.client.post(f"{path}/labels", json=body)).status_code == 200
        assert await versions() == expected, (label, number)


async def test_an_edit_that_breaks_callers_is_refused_and_names_them(api: AdminApi) -> None:
    await prompt(api.ada.client, "summarise", "{text}", shared=True)
    digest = await save(api.ada.client, "digest", "upper(summarise(text))", shared=True)
    await save(api.ben.client, "bens", "summarise(text=t)")
    await save(api.ada.client, "outer", "digest(text=x)")
    path = f"{PROMPTS}/summarise"
    told = error_of(await api.ada.client.patch(path, json={"body": "{txt}"}), 409)
    assert told["code"] == "in_use"
    assert told["message"] == (
        "Pipelines would fail, for it takes no 'text' any more and it asks for 'txt' too: "
        "digest and 1 more. Add force=true to go on."
    )
    assert (await api.ada.client.get(path)).json()["version"] == 1
    # An edit that is not served breaks nothing; the label that serves it does.
    labels = f"{path}/labels"
    await api.ada.client.post(labels, json={"label": "production", "version": 1})
    assert (await api.ada.client.patch(path, json={"body": "{txt}"})).status_code == 200
    served = {"label": "production", "version": 2}
    assert error_of(await api.ada.client.post(labels, json=served), 409)["code"] == "in_use"
    assert (await api.ada.client.post(f"{labels}?force=true", json=served)).status_code == 200
    assert await codes(api.ada.client, digest) == ["E303", "E301"]
    # What is broken already keeps nothing from being changed.
    assert (await api.ada.client.patch(path, json={"body": "{t}"})).status_code == 200
    # The same of a pipeline that pipelines call; an argument with a default is no matter.
    path = f"{PIPELINES}/digest"
    told = error_of(await api.ada.client.patch(path, json={"source": "upper(s)"}), 409)
    assert "outer" in told["message"]
    more = {"source": 'param text;\nparam lang = "en";\nupper(text)'}
    assert (await api.ada.client.patch(path, json=more)).status_code == 200


async def test_a_name_stands_for_an_id_in_every_path(api: AdminApi) -> None:
    await prompt(api.ada.client, "hey", "{x}")
    made = await save(api.ada.client, "p", "hey(x)")
    client = api.ada.client
    for path in (f"{PROMPTS}/hey", f"{PIPELINES}/p"):
        number = (await client.get(path)).json()["id"]
        by_id = path.rpartition("/")[0] + f"/{number}"
        for below in ("", "/versions", "/diff", "/dependants"):
            assert (await client.get(path + below)).json() == (
                await client.get(by_id + below)
            ).json()
        label = {"label": "production", "version": 1}
        assert (await client.post(f"{path}/labels", json=label)).status_code == 200
        assert (await client.post(f"{path}/rollback", json={"version": 1})).status_code == 200
        assert error_of(await api.ben.client.get(path), 404)["code"] == "not_found"
    assert (await client.patch(f"{PIPELINES}/p", json={"tags": ["a"]})).json()["tags"] == ["a"]
    for none in ("nobody", "%00", "0", "9" * 30):
        assert (await client.get(f"{PIPELINES}/{none}")).status_code == 404
    gone = await client.delete(f"{PIPELINES}/p")
    assert gone.json() == {"id": made["id"], "deleted": True}


async def test_pipelines_never_call_each_other_in_a_circle(api: AdminApi) -> None:
    told = refused(await api.ada.client.post(PIPELINES, json={"name": "a", "source": "a(x)"}))
    assert told == [("E205", "pipelines call each other: a -> a")]
    a = await save(api.ada.client, "a", "upper(x)")
    await save(api.ada.client, "b", "a(x)")
    await save(api.ada.client, "c", "b(x)")
    path = f"{PIPELINES}/{a['id']}"
    told = refused(await api.ada.client.patch(path, json={"source": "upper(c(x))"}))
    assert told == [("E205", "pipelines call each other: c -> b -> a -> c")]
    # Neither under another name.
    body = {"source": "upper(c(x))", "name": "z"}
    told = refused(await api.ada.client.patch(f"{path}?force=true", json=body))
    assert told == [("E205", "pipelines call each other: c -> b -> z -> c")]


async def test_a_circle_is_found_although_it_leads_through_what_nobody_here_may_see(
    api: AdminApi,
) -> None:
    a = await save(api.ada.client, "a", "upper(x)", shared=True)
    await save(api.ben.client, "private", "a(x)")
    await save(api.ben.client, "b", "private(x)", shared=True)
    answer = await api.ada.client.patch(f"{PIPELINES}/{a['id']}", json={"source": "b(x)"})
    assert refused(answer) == [("E205", "pipelines call each other: b -> a -> b")]


async def test_no_label_and_no_roll_back_closes_a_circle(api: AdminApi) -> None:
    b = await save(api.ada.client, "b", "upper(x)")
    a = await save(api.ada.client, "a", "b(x)")
    path = f"{PIPELINES}/{a['id']}"
    await api.ada.client.patch(path, json={"source": "upper(x)"})
    answer = await api.ada.client.patch(f"{PIPELINES}/{b['id']}", json={"source": "a(x)"})
    assert answer.status_code == 200, answer.text
    circle = [("E205", "pipelines call each other: b -> a -> b")]
    label = {"label": "production", "version": 1}
    assert refused(await api.ada.client.post(f"{path}/labels", json=label)) == circle
    assert refused(await api.ada.client.post(f"{path}/rollback", json={"version": 1})) == circle
    shown = (await api.ada.client.get(path)).json()
    assert (shown["version"], shown["labels"]) == (2, {})


async def test_pipelines_call_each_other_eight_deep_and_no_deeper(api: AdminApi) -> None:
    await save(api.ada.client, "p0", "upper(x)")
    for number in range(8):
        await save(api.ada.client, f"p{number + 1}", f"p{number}(x)")
    answer = await api.ada.client.post(PIPELINES, json={"name": "p9", "source": "p8(x)"})
    assert [code for code, _ in refused(answer)] == ["E508"]


async def test_a_deleted_pipeline_is_gone_and_its_name_free(api: AdminApi) -> None:
    inner = await save(api.ada.client, "inner", "upper(x)")
    outer = await save(api.ada.client, "outer", "inner(x)")
    path = f"{PIPELINES}/{inner['id']}"
    error_of(await api.ada.client.delete(path), 409)
    answer = await api.ada.client.delete(f"{path}?force=true")
    assert answer.json() == {"id": inner["id"], "deleted": True}
    error_of(await api.ada.client.get(path), 404)
    await save(api.ada.client, "inner", "upper(x)")
    assert await codes(api.ada.client, outer) == ["E201"]
    assert (await api.ada.client.delete(f"{PIPELINES}/{outer['id']}")).status_code == 200


# -- check and format --------------------------------------------------------------------------


async def check(client: httpx.AsyncClient, source: str, **more: Any) -> Any:
    answer = await client.post(f"{PIPELINES}/check", json={"source": source, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_check_says_what_saving_would_and_saves_nothing(api: AdminApi) -> None:
    await prompt(api.ada.client, "prompt_buddy", "Hey {buddy}")
    assert await check(api.ada.client, "prompt_buddy( buddy = buddy_arg )") == {
        "diagnostics": [],
        "args": ["buddy_arg"],
        "tree": "(call prompt_buddy (buddy= (name buddy_arg)))",
        "source": "prompt_buddy(buddy=buddy_arg)\n",
    }
    found = await check(api.ada.client, "upper(\n  s=lenght(x))")
    assert found["tree"] == "(call upper (s= (call lenght (name x))))"
    assert [one["code"] for one in found["diagnostics"]] == ["E201"]
    found = await check(api.ada.client, "upper(")
    assert (found["tree"], found["source"], found["args"]) == (None, None, [])
    assert [(one["code"], one["column"]) for one in found["diagnostics"]] == [("E102", 6)]
    unknown = await check(api.ben.client, "prompt_buddy(x)")
    assert [one["code"] for one in unknown["diagnostics"]] == ["E201"]
    assert (await api.ada.client.get(PIPELINES)).json()["data"] == []


async def test_a_check_under_a_name_is_that_pipelines(api: AdminApi) -> None:
    await prompt(api.ben.client, "bens", "{x}")
    await save(api.ben.client, "p", "bens(value)")
    assert (await check(api.administrator.client, "bens(value)", name="p"))["diagnostics"] == []
    for client, name in ((api.administrator.client, None), (api.ada.client, "p")):
        found = await check(client, "bens(value)", name=name)
        assert [one["code"] for one in found["diagnostics"]] == ["E201"]
    found = await check(api.ben.client, "p(value)", name="p")
    assert [one["code"] for one in found["diagnostics"]] == ["E205"]


async def test_a_text_that_is_too_large_or_holds_anything_has_a_diagnostic(api: AdminApi) -> None:
    for source, code in (
        ("x" * 70_000, "E006"),
        ("", "E105"),
        ('"\0"', "E001"),
        ("f(" * 200, "E007"),
        ("é", "E008"),
    ):
        found = await check(api.ada.client, source)
        assert [one["code"] for one in found["diagnostics"]] == [code]
        answer = await api.ada.client.post(PIPELINES, json={"name": "p", "source": source})
        assert [one for one, _ in refused(answer)] == [code]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_large_text_is_looked_at_in_a_thread_so_that_the_loop_serves_others(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[threading.Thread] = []

    def noted(source: str) -> Pipeline:
        readers.append(threading.current_thread())
        return parse(source)

    for place in ("pipeline.checking", "pipeline.resolution", "api.pipeline_checks"):
        monkeypatch.setattr(f"aieye.{place}.parse", noted)
    client = api.administrator.client
    for name, calls, is_here in (("small", 2, True), ("large", 1_000, False)):
        source = "[" + ", ".join(f"upper('{number}')" for number in range(calls)) + "]"
        await client.post(f"{PIPELINES}/check", json={"source": source})
        await client.post(f"{PIPELINES}/format", json={"source": source})
        made = await save(client, name, source)
        await client.get(f"{PIPELINES}/{made['id']}")
        assert len(readers) == 4
        assert {one is threading.current_thread() for one in readers} == {is_here}
        readers.clear()


@pytest.mark.parametrize("at_once", [1, 1_000])
async def test_a_check_reads_nothing_of_prompts_that_the_text_does_not_name(
    api: AdminApi, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(catalogue, "_IDS_AT_ONCE", at_once)
    await prompt(api.administrator.client, "greet", "Hey {buddy}")
    await prompt(api.administrator.client, "other", "Bye {buddy}")
    await save(api.administrator.client, "inner", "greet(x)")
    await save(api.administrator.client, "outer", "upper(y)")
    made: list[str] = []

    def noted(name: str, *more: Any) -> Definition:
        made.append(name)
        return Definition(name, *more)

    async with api.state.database.read() as session:
        with monkeypatch.context() as during:
            during.setattr(catalogue, "Definition", noted)
            text = "inner(greet(a))"
            found = await catalogue.catalogue_of(session, FUNCTIONS, 1, text, is_whole=True)
    # Of thousands that are not named nothing is made that nobody asks for.
    assert made == ["greet", "inner"]
    asked = {name: [one.name for one in found[name].parameters] for name in found}
    assert asked == {
        "greet": ["buddy"], "other": [], "inner": ["x"], "outer": [],
        "upper": ["s"], "length": ["x"], "foo": ["x"],
    }  # fmt: skip
    # Of a text that is in order not even the names of others are read.
    monkeypatch.setattr(catalogue, "_names", None)
    client = api.administrator.client
    text = "param a: str; upper(greet(a))"
    answer = await client.post(f"{PIPELINES}/check", json={"source": text})
    assert answer.json()["diagnostics"] == []
    monkeypatch.undo()
    # Names are known all the same, so that a misspelt one is told what it might be.
    answer = await api.administrator.client.post(f"{PIPELINES}/check", json={"source": "othr(x)"})
    assert "did you mean 'other'?" in answer.json()["diagnostics"][0]["message"]


async def test_a_text_is_written_canonically(api: AdminApi) -> None:
    path = f"{PIPELINES}/format"
    answer = await api.ada.client.post(path, json={"source": "# why\nf( x,y = 1 ) ;"})
    assert answer.json() == {"source": "# why\nf(x, y=1)\n"}
    told = refused(await api.ada.client.post(path, json={"source": "f(x))"}))
    assert [code for code, _ in told] == ["E106"]


async def test_acts_are_in_the_audit(api: AdminApi) -> None:
    before = len(await api.audit())
    made = await save(api.ada.client, "p", "upper(x)")
    path = f"{PIPELINES}/{made['id']}"
    await api.ada.client.patch(path, json={"source": "upper(y)"})
    await api.ada.client.post(f"{path}/labels", json={"label": "production", "version": 1})
    await api.ada.client.post(f"{path}/rollback", json={"version": 1})
    await api.administrator.client.delete(path)
    acts = ("create", "update", "label", "roll_back", "delete")
    assert (await api.actions())[before:] == [f"pipeline.{act}" for act in acts]
