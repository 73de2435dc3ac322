"""The walk of who makes pipelines: a function added, a text written wrong and put right, explained, run
and watched, run again from the cache, compared, and called from a shell."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.rig import EMAIL, PASSWORD, Visits
from tests.fakes.recorded import Given, RecordedDemo, Seen
from tests.live import LiveServer

OTHER, OTHER_PASSWORD = "grace@example.org", "another quiet river"
FILE = '''def shout(text: str, times: int = 1) -> str:
    """The text, loudly."""
    return text.upper() + "!" * times
'''
WRONG = """param text: str;
param times: int = 2;
let title = uppercase(text);
concat(shuot(summarise(text),times=times), title)"""
# The first page of the editor with all that it needs, over the wire.
MOST_BYTES = 150 * 1024


class Provider:
    """A model that answers when it is let to."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()

    def answer(self, seen: Seen) -> Given | None:
        if seen.path.endswith("/chat/completions"):
            assert self.may_answer.wait(20), "the test never let the model answer"
        return None


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def funcs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("funcs")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider, funcs: Path
) -> Iterator[LiveServer]:
    """A server with a model that can be held up, a directory of functions, and a second user."""
    with RecordedDemo(provider.answer) as upstream:
        environment = {
            "AIEYE_ADMIN_EMAIL": EMAIL,
            "AIEYE_ADMIN_PASSWORD": PASSWORD,
            "AIEYE_FUNCS_DIR": str(funcs),
            "OPENAI_API_KEY": "sk-0123456789abcdefghij",
            "OPENAI_BASE_URL": upstream.base_url,
        }
        with LiveServer(tmp_path_factory.mktemp("server"), environment=environment) as started:
            make(started, "users", email=OTHER, password=OTHER_PASSWORD)
            yield started


def make(
    server: LiveServer, resource: str, *, who: tuple[str, str] = (EMAIL, PASSWORD), **fields: Any
) -> dict[str, Any]:
    """Something made by the API, as somebody who is signed in."""
    with httpx.Client(base_url=server.base_url, trust_env=False, timeout=30) as client:
        client.post("/login", data={"email": who[0], "password": who[1]})
        headers = {"x-csrftoken": client.cookies["csrftoken"]}
        answer = client.post(f"/api/v1/{resource}", json=fields, headers=headers)
    assert answer.status_code in {200, 201}, answer.text
    made: dict[str, Any] = answer.json()
    return made


def write(page: Page, text: str) -> None:
    """Put a text into the editor, as typing does."""
    editor = page.get_by_role("textbox", name="Text", exact=True)
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


def run(page: Page, text: str) -> None:
    page.locator("#arg-text").fill(text)
    page.get_by_role("button", name="Run", exact=True).click()


def make_run_and_compare(
    page: Page, name: str, token: str, provider: Provider, check: Callable[[Page], None]
) -> None:
    """All that anybody does with pipelines of their own; `check` looks at the pages on the way."""
    story = f"a story of {name}"
    page.goto("/pipelines/new")
    page.get_by_label("Name", exact=True).fill(name)
    write(page, WRONG)
    found = page.locator(".finding", has_text="E201")
    expect(found).to_contain_text("did you mean 'shout'?")
    expect(found.locator("[data-goto]")).to_have_text("4:8")
    expect(page.locator(".editor .finding-error, .editor .finding")).to_have_text("shuot")
    page.get_by_role("button", name="Save pipeline").click()
    refused = page.get_by_text("This cannot be saved as it is")
    expect(refused).to_be_visible()
    check(page)
    found.get_by_role("button", name="Change to “shout”").click()
    expect(page.get_by_text("No fault. It takes")).to_be_visible()
    expect(refused).to_have_count(0)
    expect(page.locator(".plan-node", has_text="summarise")).to_be_visible()
    plan = page.locator("svg.plan")
    assert plan.evaluate("one => one.clientWidth") <= int(plan.get_attribute("width") or 0)
    page.get_by_role("textbox", name="Text", exact=True).press("Shift+Alt+f")
    expect(page.locator(".editor .cm-content")).to_contain_text(
        "concat(shout(summarise(text), times=times), title)"
    )
    page.get_by_role("button", name="Save pipeline").click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    check(page)

    page.locator("#arg-text").fill(story)
    page.get_by_role("button", name="Explain first").click()
    row = page.locator("#run-output tr", has_text="summarise")
    expect(row).to_contain_text("miss")
    why = page.get_by_role("region", name="Why figures are not known")
    expect(why).to_contain_text("how long its answer gets")
    check(page)
    last_runs = page.locator("#last-runs")
    expect(last_runs).to_contain_text("It has not run yet.")

    # The model is still thinking: what has ended before it can be seen already.
    provider.may_answer.clear()
    page.locator("#arg-times").fill("3")
    run(page, story)
    expect(page.locator("#run-live li")).to_have_count(1)
    expect(page.locator("#run-live li")).to_contain_text("uppercase")
    expect(page.locator("#run-count")).to_have_text("1\u202fstep ended")
    check(page)
    provider.may_answer.set()
    value = page.get_by_role("region", name="Value")
    expect(value).to_contain_text("!!!")
    page.locator(".run-step summary", has_text="summarise").click()
    expect(page.get_by_role("region", name="Input").first).to_contain_text(story)
    model = page.locator(".run-step-model", has_text="gpt-4o-mini")
    page.set_viewport_size({"width": 1265, "height": 900})
    assert model.evaluate("one => one.scrollWidth <= one.clientWidth")
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(last_runs.locator("tbody tr")).to_have_count(1)
    check(page)

    run(page, story)
    expect(page.locator(".run-step summary", has_text="from the cache")).to_be_visible()
    expect(value).to_contain_text("!!!")
    expect(last_runs.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Compare with the run before").click()
    expect(page.locator("tr.differs", has_text="summarise")).to_contain_text("cache")
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.locator("main tbody tr")).to_have_count(2)
    page.get_by_role("link", name=name).first.click()

    page.locator("#curl [data-copy]").click()
    line = page.evaluate("navigator.clipboard.readText()")
    said = subprocess.run(
        ["bash", "-c", line], env={"PATH": "/usr/bin:/bin", "AIEYE_TOKEN": token, "no_proxy": "*"},
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "!!" in json.loads(said.stdout)["response"], said.stdout

    provider.may_answer.clear()
    run(page, "never answered")
    expect(page.locator("#run-live li")).to_have_count(1)
    # Elsewhere it is seen to go on, and to end, without loading the page again.
    elsewhere = page.context.new_page()
    elsewhere.goto(f"{page.url}/executions?status=running")
    elsewhere.locator("main tbody a[data-row-link]").click()
    expect(elsewhere.get_by_text("It goes on")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run-output")).to_contain_text("cancelled")
    expect(elsewhere.locator("#execution .figures")).to_contain_text("cancelled")
    elsewhere.close()
    provider.may_answer.set()


@pytest.mark.timeout(240)
def test_from_a_function_to_a_pipeline_that_a_shell_calls(
    visits: Visits, server: LiveServer, provider: Provider, funcs: Path
) -> None:
    (funcs / "custom_words.py").write_text(FILE)
    (funcs / "custom_bad.py").write_text("def broken(:\n")
    make(
        server,
        "prompts",
        name="summarise",
        body="Summarise: {text}",
        model="gpt-4o-mini",
        shared=True,
    )
    page = visits()
    page.goto("/functions")
    page.get_by_role("button", name="Synchronise").click()
    expect(page.locator(".sync-counts")).to_contain_text("1 added")
    expect(page.get_by_text("custom_bad.py:1")).to_be_visible()
    visits.check_accessible(page)
    page.get_by_role("link", name="Refresh page").click()
    page.get_by_role("link", name="Custom", exact=True).click()
    page.get_by_role("link", name="shout").click()
    visits.check_accessible(page)
    run_form = page.locator("#run-form")
    run_form.get_by_role("button", name="Call it").click()
    expect(page.get_by_role("region", name="Value")).to_have_text("!")
    page.locator("#arg-times").fill("many")
    run_form.get_by_role("button", name="Call it").click()
    expect(run_form).to_contain_text("This text cannot become int.")
    page.locator("#arg-times").fill("3")
    run_form.get_by_role("button", name="Call it").click()
    expect(page.get_by_role("region", name="Value")).to_have_text("!!!")
    expect(run_form.locator(".error, [aria-invalid]")).to_have_count(0)
    page.get_by_role("link", name="Describe").click()
    visits.check_accessible(page)
    page.get_by_label("Description").fill("Louder than `text`.")
    page.get_by_role("button", name="Save description").click()
    expect(page.locator(".doc").first).to_have_text("Louder than text.")
    visits.check_accessible(page)
    token = make(server, "tokens", name="shell")["token"]
    make_run_and_compare(page, "triage", token, provider, visits.check_accessible)

    other = visits(OTHER, OTHER_PASSWORD)
    other.goto("/pipelines")
    expect(other.get_by_text("No pipeline yet")).to_be_visible()
    other.goto("/functions")
    expect(other.get_by_role("button", name="Synchronise")).to_have_count(0)
    assert other.goto("/pipelines/1").status == 404  # type: ignore[union-attr] # a page was loaded
    assert other.goto("/pipelines/executions/2").status == 404  # type: ignore[union-attr] # likewise
    token = make(server, "tokens", who=(OTHER, OTHER_PASSWORD), name="theirs")["token"]
    make_run_and_compare(other, "own_triage", token, provider, lambda _: None)
    other.goto("/pipelines")
    expect(other.locator("main tbody tr")).to_have_count(1)


def test_the_editor_completes_names_and_arguments(visits: Visits) -> None:
    page = visits()
    page.goto("/pipelines/new")
    write(page, "trunc")
    page.keyboard.press("Control+Space")
    offered = page.get_by_role("listbox")
    expect(offered.get_by_role("option").first).to_contain_text("truncate")
    offered.get_by_role("option").first.click()
    expect(page.locator(".editor .cm-content")).to_have_text("truncate()")
    # The bracket is typed by habit; the next one is meant.
    page.keyboard.type("(")
    expect(page.locator(".editor .cm-content")).to_have_text("truncate()")
    page.keyboard.type("(")
    expect(page.locator(".editor .cm-content")).to_have_text("truncate(())")
    page.keyboard.press("Backspace")
    page.keyboard.press("Control+Space")
    expect(offered.get_by_role("option").first).to_contain_text("=")
    page.keyboard.press("Escape")


def test_the_editor_marks_the_right_place_behind_characters_of_two_units(visits: Visits) -> None:
    page = visits()
    page.goto("/pipelines/new")
    write(page, 'concat("\N{GRINNING FACE}\N{GRINNING FACE}", upercase(a))')
    expect(page.locator(".editor .finding")).to_have_text("upercase")
    page.keyboard.press("Control+.")
    expect(page.locator(".editor .cm-content")).to_contain_text("uppercase(a)")


def test_the_editor_comes_over_the_wire_in_less_than_150_kb(visits: Visits) -> None:
    page = visits()
    weight = visits.weigh(page)
    page.goto("/pipelines/new")
    expect(page.get_by_text("No fault.")).to_be_visible()
    assert 0 < weight[0] < MOST_BYTES
    page.goto("/pipelines")
    assert page.locator("script[src*=editor]").count() == 0


def test_without_scripts_a_text_is_checked_fixed_saved_and_run_by_forms(visits: Visits) -> None:
    page = visits(scripts=False)
    page.goto("/pipelines/new")
    page.get_by_label("Name", exact=True).fill("plain")
    page.get_by_label("Text", exact=True).fill("upercase(text)")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("^^^^^^^^")).to_be_visible()
    page.get_by_role("button", name="Change to “uppercase”").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value("uppercase(text)")
    page.get_by_role("button", name="Save pipeline").click()
    page.locator("#arg-text").fill("quiet")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("region", name="Value")).to_contain_text("QUIET")


def test_pages_of_pipelines_fit_a_phone_by_night(visits: Visits) -> None:
    page = visits(width=390, theme="dark")
    runs = "/pipelines/executions"
    for path in (
        *("/functions", "/functions/truncate", "/functions/truncate/describe", "/pipelines"),
        *("/pipelines/new", "/pipelines/1"),
        *("/pipelines/1/executions", f"{runs}/2", f"{runs}/2?with=3"),
    ):
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, (path, width)
        visits.check_accessible(page)
