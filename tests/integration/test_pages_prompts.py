"""Prompts as pages: by forms alone, without scripts."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select, update

from aieye.access.audit import Actor
from aieye.db.tables import Pipeline, Prompt, PromptUse, PromptVersion
from aieye.db.types import now
from aieye.pipeline import service as pipelines
from aieye.prompts import service as prompts
from aieye.prompts.content import Content
from aieye.state import change
from tests.integration.test_page_access import House, Person, database_kind, house
from tests.integration.test_pages_handing_out import rows, see, send, version

__all__ = ["database_kind", "house"]

GREET = {
    "name": "greet", "model": "gpt-4o-mini", "body": "Say hello to {name}.\nBe {tone}.",
    "system": "You are brief.", "temperature": "0.2", "max_tokens": "40",
}  # fmt: skip


async def edit(person: Person, **fields: str) -> httpx.Response:
    """What a browser sends of the form: all that it shows, and what was typed over it."""
    page = await see(person, "/prompts/1/edit")
    return await send(person, "/prompts/1/edit", **{"version": version(page), **GREET, **fields})


async def pipeline_of(house: House, source: str) -> Pipeline:
    """A pipeline of Ada's, who made the prompt."""
    ada = Actor(2, "ada@example.org", "user")
    async with change(house.state) as session:
        await pipelines.create_pipeline(
            session, house.state.function_catalogue(), name="welcome", source=source, actor=ada
        )
    (row,) = await rows(house, Pipeline)
    assert isinstance(row, Pipeline)
    return row


async def test_a_prompt_is_made_in_one_form_and_shown_with_its_variables(house: House) -> None:
    empty = await see(house.user, "/prompts")
    assert "No prompt yet" in empty
    assert "/api/v1/prompts" in empty
    made = await send(house.user, "/prompts/new", **GREET, description="Greets somebody")
    assert made.headers["location"] == "/prompts/1"
    (stored,) = await rows_of_versions(house)
    assert stored.params == {"system": "You are brief.", "temperature": 0.2, "max_tokens": 40}
    assert stored.variables == ["name", "tone"]
    shown = await see(house.user, "/prompts/1")
    for text in ("Greets somebody", "gpt-4o-mini", "You are brief.", "greet(name=name, tone=tone)"):
        assert text in shown
    assert "Greets somebody" in await see(house.user, "/prompts?q=SOMEBODY")
    assert "No prompt passes these filters" in await see(house.user, "/prompts?q=nobody")


async def test_all_that_is_wrong_is_told_at_once(house: House) -> None:
    wrong = {
        "name": "a b",
        "model": " ",
        "temperature": "9",
        "max_tokens": "-3",
        "body": " ",
        "schema": "{",
    }
    answer = await send(house.user, "/prompts/new", **{**GREET, **wrong})
    assert answer.status_code == 422
    told = {name for name in (*wrong, "system", "params") if f'id="{name}-error"' in answer.text}
    assert told == set(wrong)


async def rows_of_versions(house: House) -> list[PromptVersion]:
    async with house.state.database.read() as session:
        found = await session.scalars(select(PromptVersion).order_by(PromptVersion.number))
        return list(found)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "two words"}, "name"),
        ({"body": " "}, "This should not be empty"),
        ({"temperature": "warm"}, "This should be a number"),
        ({"temperature": "3"}, "This should be a number from 0 to 2"),
        ({"max_tokens": "0.5"}, "This should be a whole number"),
        ({"schema": "{"}, "This is not JSON"),
        ({"params": "[1]"}, "This should be a JSON object"),
        ({"params": '{"temperature": 1}'}, "`temperature` has a field of its own"),
        ({"params": '{"temprature": 1}'}, "did you mean `temperature`"),
        ({"model": "pipeline/x"}, "A prompt asks a model"),
    ],
)
async def test_what_is_wrong_stands_under_its_field_and_what_was_typed_stays(
    house: House, fields: dict[str, str], said: str
) -> None:
    answer = await send(house.user, "/prompts/new", **{**GREET, **fields})
    assert answer.status_code == 422
    (name,) = fields
    assert f'id="{name}-error"' in answer.text
    assert said in answer.text.replace("&#39;", "'")
    assert "You are brief." in answer.text
    assert not await rows(house, Prompt)


async def test_the_variables_are_found_as_the_text_is_typed(house: House) -> None:
    part = await house.user.client.post(
        "/prompts/variables",
        data={"body": "{a} and {{b}} and {a} {c}", "csrf_token": house.user.csrf_token},
        headers={"origin": "http://127.0.0.1:8000", "hx-request": "true"},
    )
    assert part.text.count("<code") == 2
    assert part.text.lstrip().startswith("<p id=")
    assert "as it stands" not in part.text


async def test_a_brace_that_stands_alone_is_told_beside_the_variables(house: House) -> None:
    body = "In {lang}: {text"
    part = await house.user.client.post(
        "/prompts/variables",
        data={"body": body, "csrf_token": house.user.csrf_token},
        headers={"origin": "http://127.0.0.1:8000", "hx-request": "true"},
    )
    hint = "<code>{text</code> is text as it stands: a variable is written {name}."
    assert hint in part.text
    made = await send(house.user, "/prompts/new", **{**GREET, "body": body})
    assert made.headers["location"] == "/prompts/1"
    assert hint in await see(house.user, "/prompts/1/edit")


async def test_an_edit_makes_a_version_unless_it_says_the_same(house: House) -> None:
    await send(house.user, "/prompts/new", **GREET)
    page = await see(house.user, "/prompts/1/edit")
    assert "saved as version 2" in page
    await edit(house.user, description="For guests")
    assert len(await rows_of_versions(house)) == 1
    await edit(house.user, temperature="0.7")
    await edit(house.user, body="Greet {name}.", temperature="0.7")
    assert [one.body for one in await rows_of_versions(house)][1:] == [
        GREET["body"],
        "Greet {name}.",
    ]
    difference = await see(house.user, "/prompts/1/diff?base=1&head=3")
    assert "<del>Say hello to</del>" in difference
    assert "temperature" in difference
    old = await see(house.user, "/prompts/1?version=1")
    assert "This is version 1 of 3" in old


async def test_what_was_saved_meanwhile_is_not_overwritten_unseen(house: House) -> None:
    await send(house.user, "/prompts/new", **GREET)
    page = await see(house.user, "/prompts/1/edit")
    await edit(house.user, model="gpt-4o")
    stale = await send(
        house.user, "/prompts/1/edit", **{**GREET, "body": "Mine", "version": version(page)}
    )
    assert stale.status_code == 409
    assert "Stored now: gpt-4o" in stale.text
    assert "Mine" in stale.text
    again = await send(
        house.user, "/prompts/1/edit", **{**GREET, "body": "Mine", "version": version(stale.text)}
    )
    assert again.status_code == 303


async def test_a_version_is_labelled_and_gone_back_to(house: House) -> None:
    await send(house.user, "/prompts/new", **GREET)
    await edit(house.user, body="Greet {name} {tone}.")
    named = await send(house.user, "/prompts/1/labels", label="production", label_version="1")
    assert named.headers["location"] == "/prompts/1/versions"
    (prompt,) = await rows(house, Prompt)
    assert (prompt.labels, prompt.served_version) == ({"production": 1}, 1)
    assert "production" in await see(house.user, "/prompts/1/versions")
    await send(house.user, "/prompts/1/labels", label="production", label_version="")
    assert "version 3 will say what version 1 does" in await see(
        house.user, "/prompts/1/rollback?version=1"
    )
    await send(house.user, "/prompts/1/rollback", version="1")
    (prompt,) = await rows(house, Prompt)
    assert (prompt.labels, prompt.version) == ({}, 3)
    assert (await rows_of_versions(house))[2].body == GREET["body"]
    for wrong in ({"label": "", "label_version": "1"}, {"label": "x", "label_version": "99"}):
        assert (await send(house.user, "/prompts/1/labels", **wrong)).status_code in {404, 422}
    assert (await send(house.user, "/prompts/1/rollback", version="9")).status_code == 404


async def test_what_would_break_pipelines_names_them_and_is_done_only_when_it_was_said(
    house: House,
) -> None:
    await send(house.user, "/prompts/new", **GREET)
    await pipeline_of(house, 'greet("Ada", "kind")')
    assert "welcome" in await see(house.user, "/prompts/1")
    renamed = await edit(house.user, name="hello")
    assert renamed.status_code == 409
    assert "welcome" in renamed.text
    assert "force=true" not in renamed.text
    broken = await edit(house.user, body="Say hello to {name}.")
    assert (broken.status_code, "'tone'" in broken.text.replace("&#39;", "'")) == (409, True)
    assert (await edit(house.user, name="hello", force="on")).status_code == 303
    await edit(house.user, name="hello", body="{name}", force="on")
    back = await send(house.user, "/prompts/1/labels", label="production", label_version="1")
    assert back.status_code == 303
    moved = await send(house.user, "/prompts/1/labels", label="production", label_version="2")
    assert (moved.status_code, "welcome" in moved.text) == (409, True)


async def test_anothers_prompt_is_seen_only_where_it_is_shared_and_never_changed(
    house: House,
) -> None:
    root = Actor(1, "root@example.org", "administrator")
    async with change(house.state) as session:
        for name, shared in (("secret_plan", False), ("common", True)):
            await prompts.create_prompt(
                session, name=name, content=Content("Plan {x}", "gpt-4o"), shared=shared, actor=root
            )
    listed = await see(house.user, "/prompts")
    assert "common" in listed
    assert "root@example.org" in listed
    assert "secret_plan" not in listed
    assert "common" not in await see(house.user, "/prompts?whose=mine")
    for path in ("", "/edit", "/versions", "/diff"):
        await see(house.user, f"/prompts/1{path}", 404)
    page = await see(house.user, "/prompts/2")
    assert "/prompts/2/edit" not in page
    assert "/prompts/2/delete" not in page
    await see(house.user, "/prompts/2/edit", 403)
    for path, fields in (
        ("edit", {**GREET, "version": "0"}),
        ("rollback", {"version": "1"}),
        ("labels", {"label": "production", "label_version": "1"}),
    ):
        assert (await send(house.user, f"/prompts/2/{path}", **fields)).status_code == 403, path
    assert "secret_plan" in await see(house.administrator, "/prompts")


async def test_what_a_shared_prompt_was_used_for_is_told_to_its_owner_alone(house: House) -> None:
    root = Actor(1, "root@example.org", "administrator")
    async with change(house.state) as session:
        made = await prompts.create_prompt(
            session, name="common", content=Content("Plan", "gpt-4o"), shared=True, actor=root
        )
        today = int(now().timestamp()) // 86_400 * 86_400
        session.add(
            PromptUse(
                prompt_id=made.id, number=1, bucket=today, calls=2_718, unpriced=0, cost_nano=10,
                saved_nano=0,
            )
        )  # fmt: skip
    for path in ("/prompts", "/prompts/1", "/prompts/1/versions"):
        assert "2\u202f718" in await see(house.administrator, path), path
        assert "2\u202f718" not in await see(house.user, path), path
    async with change(house.state) as session:
        await session.execute(update(PromptUse).values(unpriced=1))
    for path in ("/prompts", "/prompts/1", "/prompts/1/versions"):
        assert ">at least</span> $" in await see(house.administrator, path), path


async def test_what_a_file_of_another_system_left_in_a_prompt_survives_an_edit_beside_it(
    house: House,
) -> None:
    ada = Actor(2, "ada@example.org", "user")
    params = {"temperature": None, "top_p": 0.5, "system": "A\r\nB"}
    content = Content("One\r\nTwo {x}", "gpt-4o", params, json_mode=True, schema={"type": "object"})
    async with change(house.state) as session:
        await prompts.create_prompt(session, name="imported", content=content, actor=ada)
    page = await see(house.user, "/prompts/1/edit")
    assert '"temperature": null' in page
    shown = {
        "name": "imported", "model": "gpt-4o", "body": "One\r\nTwo {x}", "system": "A\r\nB",
        "json_mode": "on", "schema": '{\r\n  "type": "object"\r\n}',
        "params": '{\r\n  "temperature": null,\r\n  "top_p": 0.5\r\n}',
    }  # fmt: skip
    answer = await send(
        house.user, "/prompts/1/edit", **shown, version=version(page), description="Beside"
    )
    assert answer.status_code == 303, answer.text
    (stored,) = await rows_of_versions(house)
    assert (stored.body, stored.params) == (content.body, params)
    (row,) = await rows(house, Prompt)
    assert row.description == "Beside"
