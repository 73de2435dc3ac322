"""The playground as a form: where it begins, its columns and messages, and what is saved of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

import httpx
import pytest

from aieye.access import tokens
from aieye.access.audit import Actor
from aieye.db.tables import Prompt
from aieye.presets import service as presets
from aieye.presets.fields import PresetType
from aieye.prompts import service as prompts
from aieye.prompts.content import Content
from aieye.state import change
from tests.integration.test_page_access import House, Person, database_kind, house
from tests.integration.test_pages_handing_out import rows, see, send, version

__all__ = ["database_kind", "house"]

ADA = Actor(2, "ada@example.org", "user")
PROMPT = {
    "mode": "prompt", "system": "Be brief.", "body": "Greet {name}.", "value.name": "Ada",
    "model": "gpt-4o-mini", "temperature": "0.5", "max_tokens": "", "params": "",
}  # fmt: skip
MESSAGES = {
    "mode": "messages", "role": ["system", "user"], "content": ["Be {brief}.", "Hello {you}"],
    "model": ["gpt-4o-mini", "gpt-4o"], "temperature": ["0.5", ""], "max_tokens": ["", "9"],
    "params": ["", ""],
}  # fmt: skip


async def act(
    person: Person, act: str, form: Mapping[str, str | Sequence[str]], path: str = ""
) -> str:
    answer = await send(person, f"/playground{path}", **form, act=act)
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


def values(page: str, name: str) -> list[str]:
    """What the fields of a name hold, of selects what is chosen."""
    inputs = re.findall(rf'<input[^>]* name="{name}"[^>]* value="([^"]*)"', page)
    areas = re.findall(rf'<textarea[^>]* name="{name}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    selects = re.findall(rf'<select[^>]* name="{name}".*?</select>', page, re.DOTALL)
    chosen = [re.findall(r'value="([^"]*)" selected', one)[0] for one in selects]
    return [*inputs, *areas, *chosen]


async def make_prompt(house: House, *, actor: Actor = ADA, shared: bool = False) -> int:
    params = {"system": "Be brief.", "temperature": 0.5, "top_p": 0.9}
    async with change(house.state) as session:
        made = await prompts.create_prompt(
            session, name="greet", content=Content("Greet {name}.", "gpt-4o", params),
            shared=shared, actor=actor,
        )  # fmt: skip
    return made.id


async def call_of(house: House, **request: object) -> str:
    """A recorded call of Ada's: the playground's own, asked with these parameters."""
    answer = await send(
        house.user, "/playground/stream", mode="messages", role=["system", "user"],
        content=["Count.", "To five"], model="gpt-4o", temperature="0.25", max_tokens="7",
        params='{"seed": 3}',
    )  # fmt: skip
    found = re.search(r'event: begin\ndata: "([0-9a-f]{32})"', answer.text)
    assert found is not None, answer.text
    await house.state.writer.durable()
    return found[1]


async def recorded(house: House, path: str, body: object, status: int = 200) -> str:
    """A call that a program of Ada's made; its id."""
    async with change(house.state) as session:
        _, secret = await tokens.create_token(
            session, house.state.directory.digest, user_id=2, name=path, scope="proxy", actor=ADA
        )
    answer = await house.nobody.client.post(
        f"/v1/{path}", json=body, headers={"authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == status, answer.text
    await house.state.writer.durable()
    return answer.headers["x-request-id"].removeprefix("req_")


async def test_a_prompt_opens_with_its_texts_variables_model_and_parameters(house: House) -> None:
    await make_prompt(house)
    page = await see(house.user, "/playground?prompt=1&model=gpt-4o-mini&model=o4-mini")
    assert (values(page, "body"), values(page, "system")) == (["Greet {name}."], ["Be brief."])
    assert values(page, "model") == ["gpt-4o-mini", "o4-mini"]
    assert values(page, "temperature") == ["0.5", "0.5"]
    assert '"top_p": 0.9' in values(page, "params")[0]
    assert values(page, "value.name") == [""]
    assert "Save as version 2" in page


async def test_a_chat_preset_and_a_completion_preset_open_as_messages(house: House) -> None:
    chat: dict[str, object] = {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be kind."}],
        "top_p": 0.5,
    }
    completion: dict[str, object] = {
        "engine_id": "gpt-4o-mini",
        "prompt": "Once upon",
        "temperature": 0.1,
        "presence_penalty": 1,
        "best_of": 2,
        "injectRestart": "Q:",
    }
    kinds: list[tuple[str, PresetType, object]] = [
        ("kind", "chat", chat),
        ("tale", "completion", completion),
    ]
    uids = []
    async with change(house.state) as session:
        for name, type_, config in kinds:
            made = await presets.create_preset(
                session, name=name, type_=type_, config=config, actor=ADA
            )
            uids.append(made.uid)
    page = await see(house.user, f"/playground?preset={uids[0]}")
    assert values(page, "role") == ["system", "user", "user"]
    assert values(page, "content") == ["Be kind.", "", ""]
    assert '"top_p": 0.5' in values(page, "params")[0]
    page = await see(house.user, f"/playground?preset={uids[1]}")
    assert "left out: best_of, injectRestart" in page
    assert json.loads(values(page, "params")[0]) == {"presence_penalty": 1}
    assert "Once upon" in values(page, "content")[0]
    assert values(page, "model") == ["gpt-4o-mini"]


async def test_a_recorded_call_opens_with_what_it_asked(house: House) -> None:
    call = await call_of(house)
    assert f"/playground?call={call}" in await see(house.user, f"/calls/{call}")
    page = await see(house.user, f"/playground?call={call}")
    assert values(page, "content")[:2] == ["Count.", "To five"]
    assert (values(page, "model"), values(page, "temperature")) == (["gpt-4o"], ["0.25"])
    assert values(page, "max_tokens") == ["7"]
    assert values(page, "params") == ['{\n  "seed": 3\n}']


async def test_what_is_anothers_does_not_open(house: House) -> None:
    await make_prompt(house, actor=Actor(1, "root@example.org", "administrator"))
    call = await call_of(house)
    await see(house.user, "/playground?prompt=1", 404)
    await see(house.user, "/playground?prompt=x", 404)
    await see(house.user, "/playground?preset=nothing", 404)
    await see(house.user, f"/playground?call={'0' * 32}", 404)
    await see(house.administrator, f"/playground?call={call}")
    # An id that was put into the form shows nothing of the prompt behind it either.
    for form in (PROMPT, MESSAGES):
        page = await act(house.user, "mode:prompt", {**form, "prompt_id": "1"})
        assert "Save as version" not in page
        assert "/prompts/1" not in page


async def test_the_buttons_change_the_form_without_scripts_and_what_was_typed_stays(
    house: House,
) -> None:
    page = await act(house.user, "add", MESSAGES)
    assert values(page, "model") == ["gpt-4o-mini", "gpt-4o", "gpt-4o"]
    assert values(page, "content")[:2] == ["Be {brief}.", "Hello {you}"]
    page = await act(house.user, "remove:0", MESSAGES)
    assert values(page, "model") == ["gpt-4o"]
    assert values(page, "max_tokens") == ["9"]
    page = await act(house.user, "add-message", MESSAGES)
    assert values(page, "role")[:3] == ["system", "user", "assistant"]
    page = await act(house.user, "remove-message:0", MESSAGES)
    assert values(page, "content")[:1] == ["Hello {you}"]
    for odd in ("remove:99", "remove:x", "nonsense", "remove-message:-1"):
        assert values(await act(house.user, odd, MESSAGES), "model") == ["gpt-4o-mini", "gpt-4o"]


async def test_messages_become_a_prompt_and_a_prompt_messages(house: House) -> None:
    page = await act(house.user, "mode:prompt", MESSAGES)
    assert values(page, "system") == ["Be {brief}."]
    # What was no variable is none now.
    assert values(page, "body") == ["Hello {{you}}"]
    assert "No variables" in page
    page = await act(house.user, "mode:messages", PROMPT)
    assert values(page, "content")[:2] == ["Be brief.", "Greet Ada."]


async def test_a_run_without_scripts_shows_the_answer_its_cost_and_its_call(house: House) -> None:
    page = await act(house.user, "run", PROMPT)
    assert "Greet Ada." in page
    for text in ("First token", "Latency", "Tokens in, out", "/calls/"):
        assert text in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": " "}, "Say which model is to be asked"),
        ({"temperature": "hot"}, 'data-wrong="temperature" role="alert">This should be a number'),
        ({"params": "{"}, 'data-wrong="params" role="alert">This is not JSON'),
        ({"params": '{"stream": false}'}, "`stream` is decided by who calls"),
        ({"body": ""}, "Prompt: this should not be empty"),
        ({"schema": "{"}, "JSON schema: this is not JSON"),
        ({"temperature": "9"}, 'data-wrong="temperature" role="alert">This should be a number from 0 to 2'),
        ({"payer": "key:99"}, "Paid by: choose one of the list"),
        ({"model": "preset/x"}, 'data-wrong="model" role="alert">This is a preset, which is tried'),
        ({"model": "gpt-4o@preset/x"}, "Name the model itself"),
        ({"mode": "messages", "role": "user", "content": ""}, "all messages are empty"),
        ({"mode": "messages", "role": "json", "content": "{"}, "Message 1 is not JSON"),
        ({"mode": "messages", "role": "user", "content": "x", "params": '{"n": 2}'}, "decided by the"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_said_in_the_column_with_and_without_scripts(
    house: House, fields: dict[str, str], said: str
) -> None:
    for path in ("/playground", "/playground/stream"):
        answer: httpx.Response = await send(house.user, path, **{**PROMPT, **fields})
        assert answer.status_code == 422, answer.text
        assert said in unescape(answer.text)


async def test_an_answer_is_gone_on_from_and_one_column_is_asked_alone(house: House) -> None:
    answered = {**MESSAGES, "answer": ["", "Once\nand twice"]}
    page = await act(house.user, "continue:1", answered)
    assert values(page, "role")[:4] == ["system", "user", "assistant", "user"]
    assert values(page, "content")[2:4] == ["Once\nand twice", ""]
    # Nothing was answered there yet: only the next message is added.
    assert values(await act(house.user, "continue:0", answered), "role")[2:4] == ["user", "user"]
    page = await act(house.user, "run:0", answered)
    assert page.count("Latency") == 1
    assert values(page, "answer") == ["Simulated answer to: Hello {you}", "Once\nand twice"]
    # As Calls has it: no price is missing.
    assert '<dt>Cost</dt><dd class="num">simulated</dd>' in page
    assert values(await act(house.user, "remove:0", answered), "answer") == ["Once\nand twice"]


async def test_variables_without_a_value_are_named_once_they_were_asked(house: House) -> None:
    said = "Asked with nothing for name, tone."
    form = {
        **PROMPT,
        "body": "Greet {name}, be {tone}, {place}.",
        "value.name": " ",
        "value.tone": "",
        "value.place": "x",
    }
    assert said not in await act(house.user, "add", form)
    assert said in await act(house.user, "run", form)


async def test_the_form_of_an_answer_goes_with_the_question(house: House) -> None:
    """A prompt says it in fields of its own, messages among the parameters."""
    schema = {"name": "x", "schema": {"type": "object"}}
    asked = {"response_format": {"type": "json_schema", "json_schema": schema}, "seed": 1}
    form = {**MESSAGES, "params": [json.dumps(asked), "{"]}
    page = await act(house.user, "mode:prompt", form)
    assert json.loads(values(page, "schema")[0]) == schema
    assert [json.loads(values(page, "params")[0]), values(page, "params")[1]] == [{"seed": 1}, "{"]
    plain = {**MESSAGES, "params": ['{"response_format": {"type": "json_object"}}', ""]}
    page = await act(house.user, "mode:prompt", plain)
    assert re.search(r'name="json_mode"[^>]* checked', page)
    assert values(page, "params") == ["", ""]
    page = await act(house.user, "mode:messages", {**PROMPT, "schema": json.dumps(schema)})
    assert json.loads(values(page, "params")[0])["response_format"]["json_schema"] == schema
    saved = await act(house.user, "prompt:0", form, "/save")
    assert json.loads(values(saved, "schema")[0]) == schema


async def test_what_a_prompt_cannot_have_is_told_also_where_it_is_saved(house: House) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    message = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}
    form = {**MESSAGES, "role": ["system", "json"], "content": ["Be kind.", json.dumps(message)]}
    for path, name in (("", "mode:prompt"), ("/save", "prompt:0")):
        page = await act(house.user, name, form, path)
        assert values(page, "body") == ["What is it?"], path
        assert "so what else there was is left out" in page, path
        assert "left out" not in await act(house.user, name, MESSAGES, path), path


async def test_what_a_trial_cannot_have_of_a_call_is_told(house: House) -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    message = {"role": "user", "content": [{"type": "text", "text": "What?"}, picture]}
    asked = {
        "model": "gpt-4o", "n": 2, "tools": tools, "response_format": {"type": "json_object"},
        "messages": [message],
    }  # fmt: skip
    responses = {
        "model": "gpt-4o",
        "input": "Hi",
        "tools": tools,
        "text": {},
        "max_output_tokens": 9,
    }
    pages = []
    for path, body in (("chat/completions", asked), ("responses", responses)):
        call = await recorded(house, path, body)
        pages.append(await see(house.user, f"/playground?call={call}"))
    chat, texts = pages
    assert "blacked out; left out: n" in chat
    assert json.loads(values(chat, "content")[0]) == message
    params = json.loads(values(chat, "params")[0])
    assert params == {"tools": tools, "response_format": {"type": "json_object"}}
    assert "it was a call of /v1/responses; left out: text, tools" in texts
    assert values(texts, "max_tokens") == ["9"]


@pytest.mark.parametrize(
    "odd", [{"n": []}, {"n": {}}, {"messages": 5}, {"messages": {}}, {"messages": "Hi", "n": [1]}]
)
async def test_a_call_that_makes_no_sense_opens_too(house: House, odd: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    body = {"model": "gpt-4o", "messages": messages, **odd}
    call = await recorded(house, "chat/completions", body, 400)
    page = await see(house.user, f"/playground?call={call}")
    assert values(page, "model") == ["gpt-4o"]
    assert ("left out: n" in page) == ("n" in odd)


async def test_what_was_tried_is_saved_as_a_version_or_as_a_prompt(house: House) -> None:
    await make_prompt(house)
    page = await see(house.user, "/playground?prompt=1")
    seen = re.search(r'name="row_version" value="(\d+)"', page)
    assert seen is not None
    tried = {**PROMPT, "body": "Welcome {name}.", "prompt_id": "1", "row_version": seen[1]}
    form = await act(house.user, "version:0", tried, "/save")
    assert 'action="/prompts/1/edit"' in form
    assert (values(form, "name"), values(form, "model")) == (["greet"], ["gpt-4o-mini"])
    assert version(form) == seen[1]
    saved = await send(
        house.user, "/prompts/1/edit", version=version(form), name="greet", model="gpt-4o-mini",
        body="Welcome {name}.", system="Be brief.", temperature="0.5",
    )  # fmt: skip
    assert saved.headers["location"] == "/prompts/1"
    (row,) = await rows(house, Prompt)
    assert row.version == 2
    form = await act(house.user, "prompt:1", MESSAGES, "/save")
    assert 'action="/prompts/new"' in form
    assert values(form, "model") == ["gpt-4o"]
    assert values(form, "body") == ["Hello {{you}}"]
    broken = await send(house.user, "/playground/save", **{**PROMPT, "params": "{"}, act="prompt:0")
    assert broken.status_code == 422
    # Of what is another's there is no new version, but a prompt of one's own.
    other = await act(house.administrator, "version:0", {**tried, "prompt_id": "99"}, "/save")
    assert 'action="/prompts/new"' in other


async def test_a_prompt_is_tried_before_it_is_saved(house: House) -> None:
    await make_prompt(house)
    answer = await send(
        house.user, "/playground/draft?prompt=1", name="greet", model="gpt-4o", body="Hi {who}",
        system="S", temperature="1", max_tokens="", params="", version="7",
    )  # fmt: skip
    page = unescape(answer.text)
    assert values(page, "body") == ["Hi {who}"]
    assert values(page, "value.who") == [""]
    assert values(page, "row_version") == ["7"]


async def test_the_fields_for_variables_follow_the_text_and_keep_what_was_typed(
    house: House,
) -> None:
    part = await house.user.client.post(
        "/playground/variables",
        data={**PROMPT, "body": "{name} and {place}", "csrf_token": house.user.csrf_token},
        headers={"origin": "http://127.0.0.1:8000", "hx-request": "true"},
    )
    assert values(part.text, "value.name") == ["Ada"]
    assert values(part.text, "value.place") == [""]
    assert "<html" not in part.text
