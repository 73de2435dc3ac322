"""What was written and not saved is not left without a question."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.rig import Visits


def leave(page: Page) -> None:
    """Click elsewhere, and wait for what comes of it."""
    page.locator("#rail").get_by_role("link", name="Calls").click(no_wait_after=True)
    page.wait_for_timeout(300)


def test_unsaved_work_is_left_only_after_a_question(visits: Visits) -> None:
    page = visits()
    page.goto("/prompts/new")
    leave(page)
    expect(page).to_have_url(f"{visits.base_url}/calls")
    assert visits.asked == 0

    page.goto("/prompts/new")
    page.get_by_label("Name", exact=True).fill("two words")
    page.get_by_label("Prompt", exact=True).fill("Say hello to {name}.")
    visits.may_leave = False
    leave(page)
    assert visits.asked == 1
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Say hello to {name}.")
    # What was refused is no more saved than what was not sent.
    page.get_by_role("button", name="Create prompt").click()
    expect(page.locator("#name-error")).to_be_visible()
    leave(page)
    assert visits.asked == 2
    visits.may_leave = None
    page.get_by_label("Name", exact=True).fill("greet")
    page.get_by_role("button", name="Create prompt").click()
    expect(page.get_by_role("heading", name="greet", exact=True)).to_be_visible()

    page.goto("/pipelines/new")
    page.get_by_role("textbox", name="Text", exact=True).click()
    page.keyboard.type("uppercase")
    visits.may_leave = True
    leave(page)
    expect(page).to_have_url(f"{visits.base_url}/calls")
    assert visits.asked == 3
