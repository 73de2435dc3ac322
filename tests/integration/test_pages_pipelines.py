"""Functions and pipelines as pages: by forms alone, without scripts."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import httpx
import pytest

from aieye.db.tables import AuditEntry, Execution, Pipeline, RegisteredFunction, Token
from tests.integration.test_page_access import OWN, House, Person, database_kind, house
from tests.integration.test_pages_handing_out import rows, see, send, version

__all__ = ["database_kind", "house"]

TEXT = "param text: str;\nparam times: int = 2;\ntruncate(uppercase(text), times)\n"


@pytest.fixture(autouse=True)
def funcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of functions that tests may put files into."""
    directory = tmp_path / "funcs"
    directory.mkdir()
    monkeypatch.setenv("AIEYE_FUNCS_DIR", str(directory))
    return directory


async def make(person: Person, name: str = "triage", source: str = TEXT, **fields: str) -> int:
    made = await send(person, "/pipelines/new", name=name, source=source, **fields)
    assert made.status_code == 303, made.text
    return int(made.headers["location"].rpartition("/")[2])


async def run(person: Person, place: str, **fields: str) -> httpx.Response:
    """The run's form as a browser without scripts sends it; the page of the run."""
    answer = await send(person, place, **fields)
    assert answer.status_code == 303, answer.text
    return await person.client.get(answer.headers["location"])


# -- pipelines --------------------------------------------------------------------------------


async def test_a_pipeline_with_an_error_is_refused_at_its_place_and_fixed_by_a_button(
    house: House,
) -> None:
    wrong = TEXT.replace("uppercase", "upercase")
    refused = await send(house.user, "/pipelines/new", name="triage", source=wrong)
    text = unescape(refused.text)
    assert refused.status_code == 422
    assert "triage:3:10: error[E201]" in text
    assert "^^^^^^^^" in text
    assert wrong in text
    assert await rows(house, Pipeline) == []
    fixed = await send(house.user, "/pipelines/new", name="triage", source=wrong, act="fix:0:0")
    assert (fixed.status_code, TEXT in unescape(fixed.text)) == (200, True)
    assert "It takes <code>text</code>, <code>times</code>" in fixed.text


async def test_the_form_formats_and_checks_without_saving(house: House) -> None:
    formatted = await send(
        house.user, "/pipelines/new", name="x", source="uppercase( trim(a) )", act="format"
    )
    assert "uppercase(trim(a))\n</textarea>" in unescape(formatted.text)
    checked = await send(house.user, "/pipelines/new", name="x", source="f(", act="check")
    assert "E102" in checked.text
    assert await rows(house, Pipeline) == []


async def test_a_pipeline_is_saved_run_and_its_steps_opened(house: House) -> None:
    place = f"/pipelines/{await make(house.user, tags='demo, new')}"
    page = await see(house.user, place)
    assert all(word in page for word in ("truncate", "Explain first", "pipeline/triage", "demo"))
    wrong = await send(house.user, f"{place}/run", **{"arg-text": "abc", "arg-times": "many"})
    assert wrong.status_code == 422
    assert "This text cannot become int." in wrong.text
    assert "\nabc</textarea>" in wrong.text
    assert await rows(house, Execution) == []
    for times in ("0", "1"):
        await run(house.user, f"{place}/run", **{"arg-text": "", "arg-times": times})
    done = await run(house.user, f"{place}/run", **{"arg-text": "abc", "arg-times": "2"})
    text = unescape(done.text)
    assert "Run again" in text
    assert all(word in text for word in ("uppercase", "truncate", "ABC"))
    again = re.search(r"/pipelines/\d+\?again=\d+", text)
    assert again is not None
    assert "\nabc</textarea>" in await see(house.user, again[0])
    history = await see(house.user, f"{place}/executions")
    assert history.count('name="run"') == 3
    runs = [row.id for row in await rows(house, Execution)]
    compared = await house.user.client.get(f"{place}/executions?run={runs[2]}&run={runs[1]}")
    assert compared.headers["location"] == f"/pipelines/executions/{runs[1]}?with={runs[2]}"
    page = await see(house.user, compared.headers["location"])
    assert "differs" in page
    assert "what differs is marked, but for the time" in page
    assert f'<p class="pair-run">Run {runs[1]}</p>' in page


async def test_an_argument_left_empty_is_run_with_and_remarked(house: House) -> None:
    place = f"/pipelines/{await make(house.user)}"
    remark = "Asked with nothing for text."
    given = {"arg-text": " ", "arg-times": "1"}
    assert remark in (await run(house.user, f"{place}/run", **given)).text
    headers = OWN | {"hx-request": "true", "hx-request-type": "partial"}
    form = {"csrf_token": house.user.csrf_token, **given}
    told = await house.user.client.post(f"{place}/run", data=form, headers=headers)
    # While it runs, and beside what came of it.
    assert told.text.count(remark) == 2
    told = await house.user.client.post(
        f"{place}/run", data=form | {"arg-text": "a"}, headers=headers
    )
    assert "Asked with nothing" not in told.text


async def test_a_pipeline_whose_function_is_gone_says_so_and_runs_no_more(
    house: House, funcs: Path
) -> None:
    (funcs / "custom_words.py").write_text("def shout(text):\n    return text + '!'\n")
    await send(house.administrator, "/functions")
    place = f"/pipelines/{await make(house.user, source='shout(text)')}"
    (funcs / "custom_words.py").unlink()
    said = unescape((await send(house.administrator, "/functions")).text)
    assert 'class="num">1</b> removed' in said
    page = await see(house.user, place)
    assert "cannot run as it is" in page
    assert "E201" in page
    refused = await send(house.user, f"{place}/run", **{"arg-text": "x"})
    assert (refused.status_code, "E201" in refused.text) == (422, True)
    assert await rows(house, Execution) == []


async def test_a_list_marks_what_cannot_run_by_what_it_calls_however_deep(
    house: House, funcs: Path
) -> None:
    (funcs / "custom_words.py").write_text("def shout(text):\n    return text + '!'\n")
    await send(house.administrator, "/functions")
    for name, source in (
        ("inner", "shout(text)"), ("outer", "inner(text)"), ("outermost", "outer(text)"),
        ("other", "uppercase(text)"),
    ):  # fmt: skip
        await make(house.user, name=name, source=source)
    assert "cannot run" not in await see(house.user, "/pipelines")
    (funcs / "custom_words.py").write_text("def shout(text, times):\n    return text * times\n")
    await send(house.administrator, "/functions")
    marked = r'data-row-link title="(\w+)"(?:(?!</tr>)[\s\S])*dot-bad">cannot run<'
    assert re.findall(marked, await see(house.user, "/pipelines")) == [
        "outermost",
        "outer",
        "inner",
    ]
    (funcs / "custom_words.py").write_text("def shout(text):\n    return text\n")
    await send(house.administrator, "/functions")
    assert "cannot run" not in await see(house.user, "/pipelines")


async def test_explaining_says_the_steps_and_runs_nothing(house: House) -> None:
    place = f"/pipelines/{await make(house.user)}"
    said = await send(house.user, f"{place}/run", act="explain")
    assert (said.status_code, "Nothing was run" in said.text) == (200, True)
    assert "Why figures are not known" not in said.text
    assert await rows(house, Execution) == []


async def test_explaining_says_why_a_figure_is_not_known(house: House) -> None:
    await send(house.user, "/prompts/new", name="brief", body="Title of {text}", model="gpt-4o")
    place = f"/pipelines/{await make(house.user, source='brief(uppercase(text))')}"
    said = await send(house.user, f"{place}/run", act="explain", **{"arg-text": "a"})
    assert "its text depends on what <code>uppercase</code> returns" in said.text


async def test_a_run_that_ends_is_told_to_the_list_of_last_runs_on_its_page(house: House) -> None:
    place = f"/pipelines/{await make(house.user)}"
    assert "It has not run yet." in await see(house.user, place)
    form = {"csrf_token": house.user.csrf_token, "arg-text": "a", "arg-times": "1"}
    headers = OWN | {"hx-request": "true", "hx-request-type": "partial"}
    told = await house.user.client.post(f"{place}/run", data=form, headers=headers)
    (execution,) = await rows(house, Execution)
    (part,) = re.findall(
        r'<hx-partial hx-target="#last-runs" hx-swap="outerHTML">(.*?)</hx-partial>',
        told.text.replace("\ndata: ", "\n"), re.DOTALL,
    )  # fmt: skip
    assert f'href="/pipelines/executions/{execution.id}" data-row-link' in part
    # What the page itself shows from then on.
    assert " ".join(part.split()) in " ".join((await house.user.client.get(place)).text.split())
    form = {"csrf_token": house.user.csrf_token, "arg-s": "a"}
    tried = await house.user.client.post("/functions/uppercase/try", data=form, headers=headers)
    assert "#run-output" in tried.text
    assert "#last-runs" not in tried.text


async def test_who_may_call_a_pipeline_is_said_under_its_own_title(house: House) -> None:
    page = await see(house.user, f"/pipelines/{await make(house.user)}")
    shown = page[page.index("<h2>Sharing</h2>") :]
    assert "Only its owner and administrators see and call this pipeline." in shown
    assert "Share with everybody" in shown


async def test_what_somebody_else_saved_meanwhile_is_not_overwritten(house: House) -> None:
    place = f"/pipelines/{await make(house.user)}"
    opened = version(await see(house.user, f"{place}/edit"))
    other = TEXT.replace("uppercase", "lowercase")
    await send(
        house.administrator, f"{place}/edit", name="triage", source=other, tags="", version=opened
    )
    late = await send(
        house.user, f"{place}/edit", name="triage", source="uppercase(x)", tags="", version=opened
    )
    assert (late.status_code, "lowercase" in late.text) == (409, True)
    assert (
        "uppercase(x)\n</textarea>" in unescape(late.text) or "uppercase(x)</textarea>" in late.text
    )
    (row,) = await rows(house, Pipeline)
    assert row.version == 2
    assert "lowercase" in await see(house.user, f"{place}/diff")


async def test_another_user_sees_nothing_of_it_until_it_is_shared(house: House) -> None:
    place = f"/pipelines/{await make(house.administrator)}"
    for path in (place, f"{place}/edit", f"{place}/executions", f"{place}/versions"):
        await see(house.user, path, 404)
    assert (await send(house.user, f"{place}/run")).status_code == 404
    done = await run(house.administrator, f"{place}/run", **{"arg-text": "a", "arg-times": "1"})
    execution = done.url.path
    await see(house.user, execution, 404)
    assert (await send(house.user, f"{execution}/cancel")).status_code == 404
    assert "triage" not in await see(house.user, "/pipelines")
    await send(house.administrator, f"{place}/sharing", to="on")
    assert "root@example.org" in await see(house.user, "/pipelines")
    assert (await send(house.user, f"{place}/edit", act="check")).status_code == 403
    await see(house.user, f"{place}/edit", 403)
    # Who may call it runs it, and sees that run alone.
    await run(house.user, f"{place}/run", **{"arg-text": "b", "arg-times": "1"})
    assert (await see(house.user, f"{place}/executions")).count('name="run"') == 1
    assert (await see(house.administrator, f"{place}/executions")).count('name="run"') == 2


async def test_a_run_is_paid_by_a_token_of_ones_own_and_by_no_other(house: House) -> None:
    place = f"/pipelines/{await make(house.user)}"
    await send(house.user, "/tokens/new", name="mine", scope="proxy", cache_enabled="on")
    await send(house.administrator, "/tokens/new", name="theirs", scope="proxy", cache_enabled="on")
    page = await see(house.user, place)
    assert "the token mine" in page
    assert "the token theirs" not in page
    owned = {row.name: f"token:{row.id}" for row in await rows(house, Token)}
    own, others = owned["mine"], owned["theirs"]
    given = {"arg-text": "a", "arg-times": "1"}
    await run(house.user, f"{place}/run", **given, payer=own)
    assert (await rows(house, Execution))[0].token_id == int(own[6:])
    for payer in (others, "key:1", "token:x", "anything"):
        refused = await send(house.user, f"{place}/run", **given, payer=payer)
        assert refused.status_code == 422, payer


# -- what the editor asks ----------------------------------------------------------------------


async def test_the_editor_is_told_places_in_utf_16_with_fixes(house: House) -> None:
    source = "# \N{GRINNING FACE}\nupercase(text)"
    said = await house.user.client.post(
        "/pipelines/check", json={"source": source},
        headers=OWN | {"x-csrftoken": house.user.csrf_token, "accept": "application/json"},
    )  # fmt: skip
    (found,) = said.json()["diagnostics"]
    assert (found["code"], found["from"], found["to"]) == ("E201", 5, 13)
    (fix,) = found["fixes"]
    assert (fix["from"], fix["to"], fix["insert"]) == (5, 13, "uppercase")
    assert "upercase" in said.json()["parts"]["problems"]


async def test_the_editor_is_offered_what_the_visitor_may_call(house: House) -> None:
    await make(house.administrator, "hidden_one", "uppercase(a)")
    await make(house.user, "upwards", "uppercase(a)")
    offered = (await house.user.client.get("/pipelines/names?q=up")).json()
    assert [one["name"] for one in offered] == ["upwards", "uppercase"]
    assert (await house.user.client.get("/pipelines/names?q=hidden")).json() == []
    (called,) = (await house.user.client.get("/pipelines/names?name=upwards")).json()
    assert [one["name"] for one in called["parameters"]] == ["a"]


# -- functions --------------------------------------------------------------------------------


async def test_functions_are_found_by_kind_and_name_and_tried(house: House) -> None:
    assert "built-in" in await see(house.user, "/functions?q=upper")
    assert "No function of your own yet" in await see(house.user, "/functions?kind=custom")
    page = await see(house.user, "/functions/truncate")
    assert "Call it" in page
    done = await run(house.user, "/functions/uppercase/try", **{"arg-s": "hi"})
    assert "HI" in done.text
    refused = await send(house.user, "/functions/truncate/try", **{"arg-s": "hi"})
    assert (refused.status_code, "This needs a value." in refused.text) == (422, True)
    await see(house.user, "/functions/no_such", 404)


async def test_administrators_synchronise_and_see_what_failed_where(
    house: House, funcs: Path
) -> None:
    (funcs / "custom_words.py").write_text("def shout(text):\n    return text + '!'\n")
    (funcs / "custom_bad.py").write_text("def broken(:\n")
    assert (await send(house.user, "/functions")).status_code == 403
    assert "Synchronise" not in await see(house.user, "/functions")
    said = unescape((await send(house.administrator, "/functions")).text)
    assert re.search(
        r"<b class=\"num\">1</b> added.*<b class=\"num\">1</b> failed", said, re.DOTALL
    )
    assert "custom_bad.py:1" in said
    assert "Refresh page" in said
    assert "shout" in [row.name for row in await rows(house, RegisteredFunction)]
    assert "custom_words.py:1" in await see(house.user, "/functions?kind=custom")


async def test_the_address_of_a_synchronisation_is_the_lists_and_no_functions(
    house: House, funcs: Path
) -> None:
    (funcs / "custom_words.py").write_text("def sync(text):\n    return text + '!'\n")
    page = await see(house.administrator, "/functions")
    address = re.search(
        r'<form method="post" action="([^"]+)"[^>]*>(?:(?!</form>).)*Synchronise', page
    )
    assert address is not None
    assert 'class="num">1</b> added' in unescape((await send(house.administrator, address[1])).text)
    assert "Synchronise" in await see(house.administrator, address[1])
    assert "sync(text)" in await see(house.user, "/functions/sync")


async def test_administrators_describe_a_function_for_lists_pages_and_the_editor(
    house: House, funcs: Path
) -> None:
    doc = "What `text` is, <b>loudly</b>: `<i>`."
    (funcs / "custom_words.py").write_text(f'def shout(text):\n    """{doc}"""\n    return text')
    await send(house.administrator, "/functions")
    place = "/functions/shout"
    as_shown = "What <code>text</code> is, &lt;b&gt;loudly&lt;/b&gt;: <code>&lt;i&gt;</code>."
    for path in (place, "/functions?q=shout"):
        assert as_shown in (await house.user.client.get(path)).text, path
    assert "Describe" not in await see(house.user, place)
    assert (await send(house.user, f"{place}/describe", description="x")).status_code == 403
    form = await see(house.administrator, f"{place}/describe")
    assert "At most 10\u202f000 characters." in form
    said = {"description": "Louder than `text`.\nBy far.", "version": version(form)}
    done = await send(house.administrator, f"{place}/describe", **said)
    assert (done.status_code, done.headers["location"]) == (303, place)
    (act,) = [one for one in await rows(house, AuditEntry) if one.action == "function.describe"]
    assert f'<a href="{place}">shout</a>' in await see(house.administrator, f"/audit/{act.id}")
    page = (await house.user.client.get(place)).text
    assert "Louder than <code>text</code>.\nBy far." in page
    assert as_shown in page
    assert "Louder than <code>text</code>.</td>" in await see(house.user, "/functions?q=shout")
    (offered,) = (await house.user.client.get("/pipelines/names?name=shout")).json()
    assert offered["about"] == "Louder than text."
    late = await send(house.administrator, f"{place}/describe", **{**said, "description": "Other"})
    assert (late.status_code, "Stored now: Louder than" in late.text) == (409, True)
    now = version(await see(house.administrator, f"{place}/describe"))
    long = {"description": "x" * 10_001, "version": now}
    refused = await send(house.administrator, f"{place}/describe", **long)
    assert (refused.status_code, "This has 10,000 characters at most." in refused.text) == (
        422,
        True,
    )
    await send(house.administrator, f"{place}/describe", description=" ", version=now)
    assert "Louder" not in await see(house.user, place)
    await see(house.administrator, "/functions/no_such/describe", 404)
