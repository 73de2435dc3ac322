"""The walk of who writes a prompt: variables seen while typing, tried with the answer coming in, saved
as a version, compared, rolled back; and a recorded call tried once more with other models."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.rig import Visits
from tests.live import LiveServer


def variables(page: Page) -> Locator:
    return page.locator("#variables code")


def outcome(page: Page) -> Locator:
    return page.locator("[data-outcome]")


def test_a_prompt_is_made_tried_saved_compared_and_rolled_back(
    visits: Visits, server: LiveServer
) -> None:
    page = visits()
    page.goto("/prompts")
    visits.check_accessible(page)
    page.get_by_role("link", name="New prompt").first.click()
    page.get_by_label("Name").fill("greet")
    page.get_by_label("Prompt", exact=True).press_sequentially("Say hello to {name}")
    expect(variables(page)).to_have_text(["name"])
    page.get_by_label("Prompt", exact=True).press_sequentially(", be {tone}.")
    expect(variables(page)).to_have_text(["name", "tone"])
    page.get_by_label("Temperature").fill("warm")
    visits.check_accessible(page)
    page.get_by_role("button", name="Create prompt").click()
    expect(page.get_by_role("alert")).to_contain_text("This should be a number")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Say hello to {name}, be {tone}.")
    page.get_by_label("Temperature").fill("0.2")
    page.get_by_role("button", name="Create prompt").click()
    expect(page).to_have_url(f"{server.base_url}/prompts/1")
    visits.check_accessible(page)

    page.get_by_role("link", name="Try in the playground").click()
    page.get_by_label("name", exact=True).fill("Ada")
    page.get_by_label("tone", exact=True).fill("kind")
    page.locator("[name=model]").fill("sim-slow-40")
    page.keyboard.press("Control+Enter")
    answer = page.locator("[data-answer]")
    # It comes in while it is being said.
    expect(answer).to_have_attribute("aria-busy", "true")
    expect(answer).to_contain_text("Simulated")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(answer).to_contain_text("Say hello to Ada, be kind.")
    expect(outcome(page)).to_contain_text("First token")
    expect(outcome(page)).to_contain_text("Latency")
    expect(answer).to_have_attribute("aria-busy", "false")
    visits.check_accessible(page)
    page.get_by_label("Prompt", exact=True).fill("Greet {name} warmly.")
    expect(page.get_by_label("tone", exact=True)).to_have_count(0)
    expect(page.get_by_label("name", exact=True)).to_have_value("Ada")
    page.locator("[name=model]").fill("gpt-4o")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Greet {name} warmly.")
    expect(page.get_by_label("Model")).to_have_value("gpt-4o")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page).to_have_url(f"{server.base_url}/prompts/1")

    page.get_by_role("link", name="What changed").click()
    expect(page.locator(".diff-changed del").first).to_have_text("Say hello to")
    expect(page.locator(".diff-changed ins").first).to_have_text("Greet")
    expect(page.get_by_role("region", name="Fields that differ")).to_contain_text("gpt-4o-mini")
    visits.check_accessible(page)
    page.get_by_role("link", name="Roll back to version 1").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("A new version 3 will say what version 1 does")
    visits.check_accessible(page)
    dialog.get_by_role("button", name="Roll back").click()
    expect(page).to_have_url(f"{server.base_url}/prompts/1")
    expect(page.get_by_role("region", name="Prompt", exact=True)).to_contain_text("Say hello")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Prompt", exact=True).fill("Only tried: {name}")
    page.get_by_role("button", name="Try it first").click()
    expect(page.get_by_role("heading", name="Playground")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Only tried: {name}")
    page.goto("/prompts/1")
    expect(page.get_by_role("row", name=re.compile("^Version 4"))).to_have_count(0)
    page.get_by_role("link", name="Labels").click()
    page.get_by_label("Label").fill("production")
    page.get_by_label("Version", exact=True).select_option("2")
    visits.check_accessible(page)
    page.get_by_role("button", name="Set label").click()
    expect(page.get_by_role("row", name=re.compile("^Version 2"))).to_contain_text("production")


def test_variables_without_a_value_are_named_when_they_are_asked(visits: Visits) -> None:
    page = visits()
    page.goto("/playground?as=prompt")
    page.get_by_label("Prompt", exact=True).fill("Say hello to {name}, be {tone}.")
    page.get_by_label("name", exact=True).fill("Ada")
    page.locator("[data-run]").click()
    hint = page.locator("[data-empty]")
    expect(hint).to_have_text("Asked with nothing for tone.")
    expect(page.locator("[data-answer]")).to_contain_text("Say hello to Ada, be .")
    page.get_by_label("tone", exact=True).fill("kind")
    page.locator("[data-run]").click()
    expect(hint).to_be_empty()


def test_a_recorded_call_is_asked_again_of_three_models_and_stopped(visits: Visits) -> None:
    page = visits()
    page.goto("/playground")
    page.get_by_label("Message 1", exact=True).fill("Count to five.")
    page.get_by_text("Parameters", exact=True).click()
    warmth = page.get_by_label("Temperature", exact=True)
    warmth.fill("warm")
    page.get_by_role("button", name="Run").last.click()
    expect(warmth).to_be_focused()
    expect(warmth).to_have_accessible_description("This should be a number, such as 0.2 or 400.")
    visits.check_accessible(page)
    warmth.fill("")
    page.get_by_role("button", name="Run").last.click()
    expect(outcome(page)).to_contain_text("The call")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("link", name="The call").click()
    page.get_by_role("link", name="Open in playground").click()
    expect(page.get_by_label("Message 1", exact=True)).to_have_value("Count to five.")
    page.get_by_role("button", name="Add column").click()
    page.get_by_role("button", name="Add column").click()
    expect(page.get_by_role("button", name="Add column")).to_be_hidden()
    models = page.locator("[name=model]")
    expect(models).to_have_count(3)
    models.nth(1).fill("sim-slow-2000")
    models.nth(2).fill("sim-error-429")
    page.locator("[data-run]").click()
    columns = page.locator("[data-column]")
    expect(columns.nth(0).locator("[data-outcome]")).to_contain_text("hit")
    # What was refused stands where the answer would, and its figures are those that are known.
    expect(columns.nth(2).get_by_role("alert")).to_be_visible()
    expect(columns.nth(2).locator("[data-answer]")).to_be_hidden()
    expect(columns.nth(2).locator("dt")).to_have_text(["Latency"])
    expect(columns.nth(1).locator("[data-answer]")).not_to_be_empty()
    expect(page).to_have_url(re.compile("model=sim-slow-2000"))
    page.get_by_role("button", name="Stop").click()
    expect(columns.nth(1)).to_contain_text("Stopped")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    visits.check_accessible(page)
    call = columns.nth(1).get_by_role("link", name="The call")
    call.click()
    expect(page.locator("main")).to_contain_text("499")
    page.go_back()
    page.get_by_role("button", name="Take this column out").nth(1).click()
    expect(models).to_have_count(2)
    # One is asked alone, and what it says is gone on from.
    models.nth(0).fill("gpt-4o")
    columns.nth(0).get_by_role("button", name="Run this one").click()
    expect(columns.nth(0).get_by_role("button", name="Go on")).to_be_visible()
    expect(columns.nth(1).get_by_role("button", name="Go on")).to_be_hidden()
    columns.nth(0).get_by_role("button", name="Go on").click()
    expect(page.get_by_label("Message 2", exact=True)).to_have_value(re.compile("^Simulated"))
    expect(page.get_by_label("Message 3", exact=True)).to_be_focused()
    columns.nth(0).get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("Simulated")
    visits.check_accessible(page)


@pytest.mark.parametrize("width", [1440, 1100, 390])
def test_figures_of_three_columns_stand_in_one_row_or_in_a_grid(visits: Visits, width: int) -> None:
    page = visits(width=width)
    page.goto("/playground?model=gpt-4o&model=gpt-4o-mini&model=gpt-4.1")
    page.get_by_label("Message 1", exact=True).fill("How wide?")
    page.locator("[data-run]").click()
    expect(page.locator(".play-figures")).to_have_count(3)
    for number in range(3):
        places = (
            page.locator(".play-figures")
            .nth(number)
            .locator("dt")
            .evaluate_all(
                "all => all.map(one => one.getBoundingClientRect()).map(box => [box.top, box.left])"
            )
        )
        # What has no room in the first row stands under something in it.
        first = {left for top, left in places if top == places[0][0]}
        assert len(first) > 1
        assert {left for _, left in places} == first, places


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_fit_a_phone_without_scripts_too(visits: Visits, theme: str) -> None:
    page = visits(width=390, theme=theme, scripts=False)  # type: ignore[arg-type] # one of the two
    page.goto("/playground?as=prompt")
    page.get_by_label("Prompt", exact=True).fill("Hello.")
    page.get_by_role("button", name="Add column").click()
    expect(page.locator("[name=model]")).to_have_count(2)
    page.locator("[data-run]").click()
    expect(page.locator("[data-answer]")).to_have_count(2)
    expect(outcome(page).first).to_contain_text("Latency")
    for path in ("/playground", "/prompts", "/prompts/new", "/prompts/1", "/prompts/1/versions"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_all_columns_of_functions_are_in_sight_on_a_small_screen(visits: Visits) -> None:
    page = visits(width=1280)
    page.goto("/functions")
    table = page.locator("main table")
    assert table.evaluate("one => one.scrollWidth <= one.parentElement.clientWidth")
