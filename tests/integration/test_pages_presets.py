"""Presets as pages: by forms alone, without scripts."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from aieye.access.audit import Actor
from aieye.db.tables import Preset, PresetUse, PresetVersion
from aieye.db.types import now
from aieye.presets import service as presets
from aieye.presets.fields import TYPES, PresetType
from aieye.state import change
from aieye.ui.preset_form import rearranged
from aieye.ui.preset_values import Message, Typed, read, shown
from tests.integration.test_page_access import OWN, House, Person, database_kind, house
from tests.integration.test_pages_handing_out import rows, see, send, version

__all__ = ["database_kind", "house"]

COMPLETION = {"name": "answers", "engine_id": "gpt-3.5-turbo-instruct", "prompt": "Q: "}
SEARCH = {"name": "films", "engine_id": "text-embedding-3-small"}
DOCUMENTS = ["A shark eats swimmers.", "A ship sinks in the ice.", "A robot\nfalls in love."]
# Configurations with whatever a form could lose.
ODD: dict[PresetType, dict[str, Any]] = {
    "completion": {
        "engine_id": "davinci", "prompt": [[1, 2], [3]], "stop": ["\n", "a\\n", "\t"], "logprobs": 0,
        "injectStart": ["\nA:", " "], "injectRestart": "\r\nQ: ", "echo": True, "overridable": [],
        "temperature": 0.3,
    },
    "search": {"engine_id": "ada", "documents": ["a\r\nb", " c "]},
    "chat": {
        "model": "gpt-4o", "stop": "END", "response_format": {"type": "json_object"}, "seed": 7,
        "messages": [
            {"role": "system", "content": "a\r\nb"}, {"role": "user", "content": [{"type": "text"}]},
            {"role": "user", "content": "x", "name": "Ada"},
        ],
        "overridable": ["temperature", "my_own"], "temperature": 0, "tools": [],
    },
    "embeddings": {"model": "e", "dimensions": 3, "encoding_format": "base64", "input_type": "query"},
}  # fmt: skip


def uid_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


async def make(person: Person, type_: str, **fields: str | list[str]) -> str:
    """A preset made by its form; its id."""
    return uid_of(await send(person, f"/presets/new/{type_}", **fields))


async def stored(house: House) -> dict[str, Any]:
    """What the newest version says that was stored last."""
    return (await rows_of_versions(house))[-1].config


async def rows_of_versions(house: House) -> list[PresetVersion]:
    from sqlalchemy import select  # noqa: PLC0415

    async with house.state.database.read() as session:
        statement = select(PresetVersion).order_by(PresetVersion.created_at, PresetVersion.number)
        return list(await session.scalars(statement))


@pytest.mark.parametrize("type_", list(ODD))
def test_a_form_that_is_sent_back_as_it_is_changes_nothing(type_: PresetType) -> None:
    config = ODD[type_]
    assert read(type_, shown(type_, config), config) == config


@pytest.mark.parametrize("type_", list(ODD))
def test_what_is_typed_anew_means_the_same(type_: PresetType) -> None:
    """Without what was stored before, but for line breaks and lists that are joined."""
    said = read(type_, shown(type_, ODD[type_]))
    wanted = json.loads(json.dumps(ODD[type_]).replace("\\r\\n", "\\n"))
    for name, value in wanted.items():
        if name in {"injectStart", "stop"} and isinstance(value, list) == isinstance(
            said[name], list
        ):
            assert said[name] == value
        elif name == "injectStart":
            assert said[name] == "".join(value)
        elif name == "stop":
            assert said[name] == [value]
        elif name != "tools":
            assert said[name] == value, name


def test_rows_are_added_moved_and_taken_out() -> None:
    typed = Typed({}, [Message("system", "a"), Message("user", "b")], ["x", "y"])
    assert rearranged(typed, "messages:add").messages[-1] == Message("assistant", "")
    assert rearranged(typed, "messages:up:1").messages == [typed.messages[1], typed.messages[0]]
    assert rearranged(typed, "messages:down:1").messages == list(typed.messages)
    assert rearranged(typed, "documents:remove:0").documents == ["y"]
    assert rearranged(typed, "documents:add").documents == ["x", "y", ""]
    for strange in ("", "x:add", "documents:remove:9", "documents:remove:-1", "documents:fly:0"):
        assert list(rearranged(typed, strange).documents) == ["x", "y"]


async def test_each_type_has_a_form_with_help_on_every_field(house: House) -> None:
    assert "No preset yet" in await see(house.user, "/presets")
    types = await see(house.user, "/presets/new")
    for type_, known in TYPES.items():
        assert f'href="/presets/new/{type_}"' in types
        form = await see(house.user, f"/presets/new/{type_}")
        for one in known.fields.values():
            if one.name not in {"messages", "documents", "overridable"}:
                assert f'name="{one.name}"' in form, one.name
                assert one.help in form, one.name


async def test_a_completion_is_made_edited_and_called_by_the_lines_on_its_page(
    house: House,
) -> None:
    uid = await make(
        house.user, "completion", **COMPLETION, injectStart="\r\nA:", max_tokens="30", temperature="0",
        stop="\\n\r\nQ:", overridable="some", overridden=["temperature", "max_tokens"],
    )  # fmt: skip
    config = await stored(house)
    assert (config["injectStart"], config["stop"], config["max_tokens"]) == (
        "\nA:",
        ["\n", "Q:"],
        30,
    )
    assert config["overridable"] == ["temperature", "max_tokens"]
    page = await see(house.user, f"/presets/{uid}")
    for text in ("preset/answers", f'"_id": "{uid}"', "/_saga/gpt3/process", "from openai import"):
        assert text in page
    form = await see(house.user, f"/presets/{uid}/edit")
    assert 'value="30"' in form
    sent = {"version": version(form), **COMPLETION, "prompt": "Question: "}
    saved = await send(house.user, f"/presets/{uid}/edit", **sent)
    assert saved.status_code == 303
    assert (await stored(house))["prompt"] == "Question: "
    # The same form once more: somebody has saved meanwhile, it was oneself.
    again = await send(house.user, f"/presets/{uid}/edit", **sent, max_tokens="99")
    assert again.status_code == 409
    assert "Somebody changed this meanwhile" in again.text
    assert "version=1" in await see(house.user, f"/presets/{uid}/versions")
    assert "Question" in await see(house.user, f"/presets/{uid}/diff?base=1&head=2")
    back = await send(house.user, f"/presets/{uid}/rollback", version="1")
    assert back.headers["location"] == f"/presets/{uid}"
    assert (await stored(house))["prompt"] == "Q: "
    await send(house.user, f"/presets/{uid}/labels", label="production", label_version="2")
    (row,) = await rows(house, Preset)
    assert row.served_version == 2


@pytest.mark.parametrize(
    ("type_", "fields", "said"),
    [
        ("completion", {"max_tokens": "many"}, "This should be a whole number from 0"),
        ("completion", {"temperature": "3"}, "This should be a number from 0 to 2"),
        ("completion", {"engine_id": ""}, "This is required: a line of 1 to 200 characters"),
        (
            "completion",
            {"stop": "a\nb\nc\nd\ne"},
            "This should be text, or a list of at most 4 texts",
        ),
        ("completion", {"prompt": "[", "prompt_as_json": "on"}, "This is not JSON"),
        ("chat", {"role": "json", "content": '{"content": "x"}'}, "an object with a role"),
        ("chat", {"more": '{"stream": true}'}, "is decided by who calls"),
        ("chat", {"more": '{"model": "x"}'}, "has a field of its own"),
        ("search", {"document": ["a", " ", "c"]}, "Document (1) is empty"),
        (
            "search",
            {"document": ["a", "x" * 100_001]},
            'document-1-error" role="alert">This has more than',
        ),
        ("embeddings", {"dimensions": "0"}, "This should be a whole number from 1"),
    ],
)
async def test_what_is_wrong_is_said_under_its_field_and_what_was_typed_stays(
    house: House, type_: str, fields: dict[str, Any], said: str
) -> None:
    base = {"name": "mine", "model": "m", "engine_id": "m"}
    refused = await send(house.user, f"/presets/new/{type_}", **{**base, **fields})
    assert refused.status_code == 422
    assert said in refused.text
    assert re.search(r'aria-invalid="true"[^>]* autofocus|autofocus aria-invalid', refused.text)
    assert not re.search(r'role="alert">[a-z]+_?[a-z]+ ', refused.text)
    assert 'value="mine"' in refused.text
    assert not await rows(house, Preset)


async def test_what_is_wrong_with_all_of_a_configuration_is_said_above_it(house: House) -> None:
    fields = {"name": "mine", "engine_id": "m", "prompt": "x" * 300_000}
    refused = await send(house.user, "/presets/new/completion", **fields)
    assert 'role="alert">The configuration has 262,144 bytes at most' in refused.text


@pytest.mark.parametrize("type_", ["completion", "search", "chat", "embeddings"])
async def test_a_new_preset_comes_with_a_model(house: House, type_: str) -> None:
    page = await see(house.user, f"/presets/new/{type_}")
    field = re.search(r'<input[^>]* name="(?:engine_id|model)"[^>]*>', page)
    assert field is not None
    assert re.search(r' value="[a-z0-9.-]+"', field[0])


async def test_a_search_without_documents_is_called_with_some(house: House) -> None:
    uid = await make(house.user, "search", **SEARCH)
    page = await see(house.user, f"/presets/{uid}")
    bodies = [json.loads(one) for one in re.findall(r"-d '(\{[^']*\})'", page) if '"text"' in one]
    assert {"_id", "top_k"} <= {name for one in bodies for name in one}
    assert all(len(one["documents"]) == 2 for one in bodies)
    assert "preset/films&" not in page
    assert 'films("' not in page
    await send(house.user, f"/presets/{uid}/edit", version=version(
        await see(house.user, f"/presets/{uid}/edit")), document=DOCUMENTS, **SEARCH)  # fmt: skip
    page = await see(house.user, f"/presets/{uid}")
    assert 'films("…")' in page
    assert '"documents": [' not in page


async def test_documents_are_rows_of_the_form_without_scripts(house: House) -> None:
    form = await send(house.user, "/presets/new/search", **SEARCH, act="documents:add")
    assert "Document (0)" in form.text
    filled = await send(
        house.user, "/presets/new/search", **SEARCH, document=DOCUMENTS, act="documents:add"
    )
    assert "Document (3)" in filled.text
    assert not await rows(house, Preset)
    uid = await make(house.user, "search", **SEARCH, document=[*DOCUMENTS, ""])
    page = await see(house.user, f"/presets/{uid}")
    assert "Document (2)" in page
    assert "waits for the next search" in page
    listed = await see(house.user, f"/presets/{uid}/documents")
    assert all(f"Document ({n})" in listed for n in range(3))
    # What was not touched is as it was stored.
    form_page = await see(house.user, f"/presets/{uid}/edit")
    sent: dict[str, Any] = {"version": version(form_page), **SEARCH, "document": DOCUMENTS}
    await send(house.user, f"/presets/{uid}/edit", **sent)
    assert len(await rows_of_versions(house)) == 1


async def upload(person: Person, uid: str, content: bytes, form: str = "json") -> httpx.Response:
    return await person.client.post(
        f"/presets/{uid}/documents",
        data={"csrf_token": person.csrf_token, "form": form},
        files={"file": ("documents.jsonl", content)},
        headers=OWN,
    )


async def test_documents_come_from_a_file_and_a_wrong_line_is_named(house: House) -> None:
    uid = await make(house.user, "search", **SEARCH)
    wrong = await upload(house.user, uid, b'"one"\n{"text": 3}\n')
    assert wrong.status_code == 422
    assert "Line 2 is no document" in wrong.text
    assert (await upload(house.user, uid, b"")).status_code == 422
    lines = "".join(json.dumps({"text": f"Document of {n}"}) + "\n" for n in range(230))
    sent = await upload(house.user, uid, lines.encode())
    assert sent.status_code == 303
    first = await see(house.user, f"/presets/{uid}/documents")
    assert "Document (49)" in first
    assert "Document of 50" not in first
    last = await see(house.user, f"/presets/{uid}/documents?cursor=aTIwMA")
    assert "Document (229)" in last
    # A form that shows none of them takes none away.
    form = await see(house.user, f"/presets/{uid}/edit")
    assert "230 documents from a file" in form.replace("\N{NARROW NO-BREAK SPACE}", " ")
    edit = {"version": version(form), **SEARCH, "engine_id": "text-embedding-3-large"}
    await send(house.user, f"/presets/{uid}/edit", **edit)
    (row,) = [one for one in await rows_of_versions(house) if one.number == 3]
    assert row.document_count == 230
    plain = await upload(house.user, uid, b"Ein Hai\r\nEin Schiff\n", "plain")
    assert plain.status_code == 303
    exported = await house.user.client.get(f"/presets/{uid}/documents/export")
    assert exported.text == '"Ein Hai"\n"Ein Schiff"\n'
    await house.state.search.close()


@pytest.mark.parametrize("type_", ["completion", "search", "chat", "embeddings"])
async def test_a_preset_is_tried_on_its_page(house: House, type_: str) -> None:
    fields: dict[str, Any] = {
        "completion": COMPLETION,
        "search": {**SEARCH, "document": DOCUMENTS},
        "chat": {"name": "c", "model": "gpt-4o-mini", "role": "system", "content": "Brief."},
        "embeddings": {"name": "e", "model": "text-embedding-3-small", "dimensions": "64"},
    }
    uid = await make(house.user, type_, **fields[type_])
    tried = await send(house.user, f"/presets/{uid}/try", text="a ship in ice")
    assert tried.status_code == 200, tried.text
    wanted = {
        "completion": 'aria-label="Answer"',
        "chat": 'aria-label="Answer"',
        "embeddings": "Vector of 64 numbers",
        "search": "Document (1)",
    }[type_]
    assert wanted in tried.text
    # The call that it made, and what it cost.
    assert 'href="/calls/' in tried.text
    if type_ == "search":
        found = tried.text[tried.text.index("What was found") :]
        assert found.index("Document (1)") < found.index("Document (0)")


async def test_what_an_attempt_cannot_do_is_said(house: House) -> None:
    uid = await make(house.user, "completion", name="bare", engine_id="gpt-3.5-turbo-instruct")
    tried = await send(house.user, f"/presets/{uid}/try", text="x")
    assert tried.status_code == 400
    assert "no prompt of its own" in tried.text
    given = await send(house.user, f"/presets/{uid}/try", text="x", prompt="Q: ")
    assert given.status_code == 200


async def test_of_an_attempt_that_failed_only_what_is_known_is_told(house: House) -> None:
    for model, is_there in (("nothing/here", False), ("gpt-4o", True)):
        uid = await make(house.user, "chat", name=f"p{is_there}", model=model)
        answer = await send(house.user, f"/presets/{uid}/try", text="Hello")
        used = answer.text.split('class="used"')[1].split("</p>")[0]
        assert ("<b>" in used, " in" in used) == (is_there, is_there), used
        assert "the call" in used


async def test_users_see_their_own_presets_and_what_is_shared(house: House) -> None:
    mine = await make(house.administrator, "chat", name="of_root", model="m")
    shared = await make(house.administrator, "chat", name="open", model="m", shared="on")
    listed = await see(house.user, "/presets")
    assert ("of_root" in listed, "open" in listed, "root@example.org" in listed) == (
        False, True, True,
    )  # fmt: skip
    paths = ("", "/edit", "/documents", "/versions", "/diff", "/index", "/delete", "/sharing")
    for path in paths:
        answer = await house.user.client.get(f"/presets/{mine}{path}")
        assert answer.status_code == 404, path
    assert (await send(house.user, f"/presets/{mine}/try", text="x")).status_code == 404
    assert (await house.user.client.get(f"/presets/{shared}/edit")).status_code == 403
    assert (await send(house.user, f"/presets/{shared}/edit", name="x")).status_code == 403
    page = await see(house.user, f"/presets/{shared}")
    assert "Share no more" not in page
    assert "Delete preset" not in page
    assert "open" in await see(house.user, "/presets?whose=shared&type=chat&q=OPE")
    assert "No preset passes" in await see(house.user, "/presets?whose=mine")


async def test_what_was_asked_through_a_shared_preset_is_told_to_its_owner_alone(
    house: House,
) -> None:
    uid = await make(house.administrator, "chat", name="open", model="m", shared="on")
    assert "no call" in await see(house.administrator, f"/presets/{uid}")
    (row,) = await rows(house, Preset)
    async with change(house.state) as session:
        today = int(now().timestamp()) // 86_400 * 86_400
        for day, calls in ((today, 2_718), (today - 40 * 86_400, 3)):
            session.add(
                PresetUse(
                    preset_id=row.id, number=1, bucket=day, calls=calls, unpriced=0,
                    cost_nano=2_000_000_000, saved_nano=0,
                )
            )  # fmt: skip
    for path in ("/presets", f"/presets/{uid}", f"/presets/{uid}/versions"):
        page = await see(house.administrator, path)
        assert "2\u202f718" in page, path
        assert "$2.00" in page, path
        assert "2\u202f718" not in await see(house.user, path), path


async def test_a_cost_that_is_known_in_part_is_not_told_as_the_whole(house: House) -> None:
    uid = await make(house.user, "chat", name="open", model="m")
    (row,) = await rows(house, Preset)
    today = int(now().timestamp()) // 86_400 * 86_400
    for cost, told in ((0, ">unknown</span>"), (2_000_000_000, ">at least</span> $2.00")):
        async with change(house.state) as session:
            await session.execute(delete(PresetUse))
            session.add(
                PresetUse(
                    preset_id=row.id, number=1, bucket=today, calls=2, unpriced=1, cost_nano=cost,
                    saved_nano=0,
                )
            )  # fmt: skip
        for path in ("/presets", f"/presets/{uid}", f"/presets/{uid}/versions"):
            page = await see(house.user, path)
            # On the page of one: beside its facts, and at its version.
            assert page.count(told) == (2 if path.endswith(uid) else 1), (path, told)


async def test_a_copy_of_a_shared_preset_begins_with_what_that_says(house: House) -> None:
    uid = await make(
        house.administrator, "chat", name="open", model="gpt-4o", role="system", content="Be brief.",
        shared="on",
    )  # fmt: skip
    assert "Be brief." in await see(house.user, f"/presets/new/chat?from={uid}")
    await see(house.user, f"/presets/new/search?from={uid}", 404)


async def test_a_preset_under_a_name_that_is_none_is_edited_and_keeps_it(house: House) -> None:
    async with change(house.state) as session:
        preset = await presets.create_preset(
            session, name="my old preset", type_="completion", config=ODD["completion"],
            any_name=True, actor=Actor(2, "ada", "user"),
        )  # fmt: skip
    assert "by its id alone" in await see(house.user, f"/presets/{preset.uid}")
    form = await see(house.user, f"/presets/{preset.uid}/edit")
    sent = {
        "version": version(form), "name": "my old preset", "engine_id": "curie",
        "prompt": "[[1,2],[3]]", "prompt_as_json": "on",
    }  # fmt: skip
    saved = await send(house.user, f"/presets/{preset.uid}/edit", **sent)
    assert saved.status_code == 303, saved.text
    assert (await stored(house))["prompt"] == [[1, 2], [3]]
