"""`/api/v1/functions`: everybody may look, administrators synchronise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aieye.access import audit_log
from aieye.access.audit_log import ActFilters
from tests.integration.admin_api import AdminApi, error_of, running_admin_api

FUNCTIONS = "/api/v1/functions"
FILE = '''
from aieye.functions import function

@function(isolate=False, timeout=2.5, cacheable=True)
def greet(buddy: str, times: int = 1) -> str:
    """Greets somebody."""
    return f"Hi, {buddy}" * times
'''


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[AdminApi]:
    async with running_admin_api(database_url, tmp_path) as running:
        directory = running.state.settings.funcs_dir
        directory.mkdir()
        (directory / "builtins.py").write_text("def shout(s: str):\n    return s.upper()\n")
        (directory / "custom_a.py").write_text(FILE)
        yield running


async def sync(api: AdminApi) -> Any:
    answer = await api.administrator.client.post(f"{FUNCTIONS}/sync")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_synchronisation_tells_what_it_did(api: AdminApi) -> None:
    nothing: dict[str, Any] = {"added": [], "changed": [], "removed": [], "failed": []}
    assert await sync(api) == {**nothing, "added": ["greet", "shout"]}
    assert await sync(api) == nothing
    directory = api.state.settings.funcs_dir
    (directory / "custom_b.py").write_text("def f(*x):\n    return x\n")
    (directory / "custom_c.py").write_text("\nimport nowhere_at_all\n")
    (directory / "custom_a.py").write_text(FILE.replace("Hi", "Hello"))
    (directory / "builtins.py").write_text("def whisper(s: str):\n    return s.lower()\n")
    assert await sync(api) == {
        "added": ["whisper"],
        "changed": ["greet"],
        "removed": ["shout"],
        "failed": [
            {
                "file": "custom_b.py",
                "line": 1,
                "reason": "f: it takes *x: a pipeline needs a name for each argument",
            },
            {
                "file": "custom_c.py",
                "line": 2,
                "reason": "ModuleNotFoundError: No module named 'nowhere_at_all'",
            },
        ],
    }
    assert (await api.actions()).count("function.sync") == 3


async def test_a_function_is_shown_with_its_signature(api: AdminApi) -> None:
    await sync(api)
    rows = (await api.ada.client.get(FUNCTIONS)).json()["data"]
    by_name = {row["name"]: row for row in rows}
    greet = by_name["greet"]
    assert {key: greet[key] for key in greet if key not in {"id", "created_at", "updated_at"}} == {
        "name": "greet",
        "description": "Greets somebody.",
        "docstring": "Greets somebody.",
        "parameters": [
            {"name": "buddy", "type": "str", "required": True, "default": None},
            {"name": "times", "type": "int", "required": False, "default": 1},
        ],
        "returns": "str",
        "kind": "custom",
        "file": "custom_a.py",
        "line": 5,
        "runs": "thread",
        "timeout": 2.5,
        "cacheable": True,
        "fault": None,
    }
    assert by_name["shout"]["kind"] == "builtin"
    assert (await api.ada.client.get(f"{FUNCTIONS}/{greet['id']}")).json() == greet


async def test_administrators_describe_a_function_and_its_docstring_is_the_default(
    api: AdminApi,
) -> None:
    await sync(api)
    rows = (await api.ada.client.get(FUNCTIONS)).json()["data"]
    (greet,) = [row for row in rows if row["name"] == "greet"]
    place = f"{FUNCTIONS}/{greet['id']}"
    said = {"description": "Says hello."}
    error_of(await api.ada.client.patch(place, json=said), 403)
    changed = await api.administrator.client.patch(place, json=said)
    assert changed.status_code == 200, changed.text
    shown = (await api.ada.client.get(place)).json()
    assert shown == changed.json()
    assert (shown["description"], shown["docstring"]) == ("Says hello.", "Greets somebody.")
    # Neither a synchronisation nor a time without the file takes it away.
    file = api.state.settings.funcs_dir / "custom_a.py"
    file.unlink()
    assert (await sync(api))["removed"] == ["greet"]
    error_of(await api.administrator.client.patch(place, json=said), 404)
    file.write_text(FILE.replace("Greets", "Addresses"))
    assert (await sync(api))["added"] == ["greet"]
    assert (await api.ada.client.get(place)).json()["description"] == "Says hello."
    for nothing in (None, "", " \n"):
        await api.administrator.client.patch(place, json=said)
        back = await api.administrator.client.patch(place, json={"description": nothing})
        assert back.json()["description"] == "Addresses somebody."
    for wrong in ("x" * 10_001, "a\0b"):
        refused = await api.administrator.client.patch(place, json={"description": wrong})
        error_of(refused, 422)
    unchanged = await api.administrator.client.patch(place, json={})
    assert unchanged.json()["description"] == "Addresses somebody."
    assert (await api.actions()).count("function.describe") == 7


async def test_a_description_is_on_record_with_what_was_before_whatever_the_name(
    api: AdminApi,
) -> None:
    name = "f" * 100
    path = api.state.settings.funcs_dir / "custom_a.py"
    path.write_text(FILE.replace("greet", name))
    await sync(api)
    rows = (await api.ada.client.get(FUNCTIONS)).json()["data"]
    (row,) = [row for row in rows if row["name"] == name]
    place = f"{FUNCTIONS}/{row['id']}"
    for text in ("Says hello.", "Greets."):
        changed = await api.administrator.client.patch(place, json={"description": text})
        assert changed.status_code == 200, changed.text
    async with api.state.database.read() as session:
        later, first, *_ = await audit_log.list_acts(
            session, ActFilters(action="function.describe"), limit=2
        )
        changes = [await audit_log.find_changes(session, act) for act in (first, later)]
    assert (first.object_id, first.details["name"]) == (str(row["id"]), name)
    told = [(one.name, one.before, one.after, one.is_known) for one in changes[0]]
    assert told == [("name", None, name, False), ("description", "", "Says hello.", True)]
    told = [(one.name, one.before, one.after, one.is_known) for one in changes[1]]
    assert told == [("name", name, name, True), ("description", "Says hello.", "Greets.", True)]


async def test_a_function_that_cannot_be_called_says_why(api: AdminApi) -> None:
    await sync(api)
    path = api.state.settings.funcs_dir / "custom_a.py"
    path.write_text("def greet(:\n")
    await sync(api)
    shown = {row["name"]: row for row in (await api.ada.client.get(FUNCTIONS)).json()["data"]}
    assert shown["greet"]["fault"] == "custom_a.py:1: SyntaxError: invalid syntax"
    assert shown["greet"]["parameters"][0]["name"] == "buddy"


async def test_lists_come_a_page_at_a_time(api: AdminApi) -> None:
    await sync(api)
    first = (await api.ada.client.get(FUNCTIONS, params={"limit": 1})).json()
    more = {"limit": 1, "cursor": first["next_cursor"]}
    second = (await api.ada.client.get(FUNCTIONS, params=more)).json()
    names = [page["data"][0]["name"] for page in (first, second)]
    assert (sorted(names), second["has_more"]) == (["greet", "shout"], False)


async def test_what_is_not_registered_is_not_there(api: AdminApi) -> None:
    await sync(api)
    (greet,) = [
        row
        for row in (await api.ada.client.get(FUNCTIONS)).json()["data"]
        if row["name"] == "greet"
    ]
    (api.state.settings.funcs_dir / "custom_a.py").unlink()
    await sync(api)
    for id_ in (greet["id"], 999_999):
        error_of(await api.ada.client.get(f"{FUNCTIONS}/{id_}"), 404)


async def test_only_administrators_synchronise(api: AdminApi) -> None:
    error_of(await api.ada.client.post(f"{FUNCTIONS}/sync"), 403)
    error_of(await api.proxy.post(f"{FUNCTIONS}/sync"), 403)
    assert (await api.ada.client.get(FUNCTIONS)).json()["data"] == []
