"""Names at their longest: no page scrolls sideways for them, on a phone or on a large screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.rig import Visits
from tests.browser.test_pipelines import make
from tests.browser.test_watching import ask
from tests.live import LiveServer

LONG, OTHER = "n" * 100, "m" * 100
TAGS = ["support", "production", "weekly", "of the board", "reviewed"]


@pytest.fixture(scope="module", autouse=True)
def things(server: LiveServer) -> None:
    """One of each kind, with the longest name there may be, and a run."""
    make(server, "prompts", name=LONG, body="{text}", model="gpt-4o-mini", description="d " * 400)
    for label in ("production", "what-the-board-has-seen", "staging"):
        make(server, f"prompts/{LONG}/labels", label=label, version=1)
    make(server, "pipelines", name=OTHER, source=f"{LONG}(text)", tags=TAGS)
    make(server, f"pipelines/{OTHER}/call", args={"text": "Hello"})
    make(server, "presets", name="p" * 100, type="chat", config={"model": "q" * 200})
    make(server, "tokens", name="t" * 100)
    user = make(server, "users", email=f"{'u' * 60}@{'example.' * 20}org", name="v" * 100)
    token = make(server, "tokens", name="documentation-prod", user_id=user["id"])
    ask(server, token["token"], "Hello")
    # With these nothing is simulated any more.
    provider = make(server, "providers", name="openai", base_url="https://api.openai.com/v1")
    make(server, "keys", provider_id=provider["id"], name="k" * 100, key="sk-0123456789abcdefx3fQ")


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_scrolls_sideways_for_a_long_name(visits: Visits, width: int) -> None:
    page = visits(width=width)
    paths = [
        *("/prompts", "/prompts/1", "/prompts/1/versions", "/prompts/1/delete"),
        *("/pipelines", "/pipelines/1", "/pipelines/1/executions", "/pipelines/executions/1"),
        *("/presets", "/tokens", "/tokens/2", "/users", "/users/2", "/search?q=nnnn", "/"),
    ]
    for path in paths:
        page.goto(path)
        found = page.evaluate("document.documentElement.scrollWidth")
        assert found <= width, (path, found)
    page.goto("/presets")
    page.get_by_role("link", name="pppp").first.click()
    page.get_by_role("heading", level=1).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1440])
def test_the_dialog_that_deletes_a_key_shows_all_of_a_long_name(visits: Visits, width: int) -> None:
    page = visits(width=width)
    page.goto("/providers/keys/1/edit")
    page.get_by_role("link", name="Delete key").click()
    box = page.locator(".confirm")
    expect(box).to_contain_text("k" * 100)
    assert box.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1024, 1280, 1440])
def test_no_heading_of_the_table_of_keys_is_cut(visits: Visits, width: int) -> None:
    page = visits(width=width)
    page.goto("/providers")
    cut = page.locator(".keys-of th").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
    )
    assert cut == []


def test_the_table_of_prompts_fits_a_large_screen(visits: Visits) -> None:
    page = visits()
    page.goto("/prompts")
    box = page.locator(".table-box").first
    assert box.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_the_list_of_calls_fits_a_large_screen(visits: Visits) -> None:
    page = visits()
    page.goto("/calls")
    row = page.locator("#calls tbody tr", has_text="documentation-prod")
    expect(row).to_have_count(1)
    # As one of a provider that came a while ago, of which more is written.
    for place, words in (
        (0, "30 min ago"),
        (1, "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        (6, "$0.00000964"),
    ):
        row.locator("td").nth(place).evaluate("(one, words) => { one.textContent = words; }", words)
    box = page.locator(".table-box").first
    assert box.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_a_list_tells_of_tags_that_have_no_room(visits: Visits) -> None:
    page = visits()
    page.goto("/pipelines")
    row = page.get_by_role("row", name="mmmm")
    assert row.locator(".tag").all_inner_texts() == ["support", "production", "weekly", "+2"]
    assert row.get_by_text("+2").get_attribute("title") == "of the board, reviewed"


def test_where_one_is_can_be_read_behind_long_names(visits: Visits) -> None:
    page = visits()
    page.goto("/pipelines/executions/1")
    here = page.locator(".crumbs [aria-current]")
    assert here.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_the_field_of_the_search_has_the_width_of_its_form(visits: Visits) -> None:
    page = visits()
    page.goto("/search")
    field, form = (
        page.locator(one).bounding_box() for one in (".search-page input", ".search-page")
    )
    assert field is not None
    assert form is not None
    assert field["width"] == form["width"]
