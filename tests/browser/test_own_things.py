"""The walk of a plain user: prompts and presets of their own, and nothing of what others have."""

from __future__ import annotations

import re

import httpx
from playwright.sync_api import Page, expect

from tests.browser.rig import EMAIL, PASSWORD, Visits
from tests.browser.test_presets import GRACE, make_search, sign_up
from tests.browser.test_presets import PASSWORD as OWN
from tests.live import LiveServer


def hide(server: LiveServer) -> list[str]:
    """What the administrator keeps to themselves: the addresses of its pages."""
    config = {"model": "gpt-4o"}
    with httpx.Client(base_url=server.base_url, trust_env=False) as client:
        client.post("/login", data={"email": EMAIL, "password": PASSWORD})
        client.headers["x-csrftoken"] = client.cookies["csrftoken"]
        things = {
            "prompts": {"name": "hidden_prompt", "body": "Hello", "model": "gpt-4o"},
            "presets": {"name": "hidden_preset", "type": "chat", "config": config},
            "pipelines": {"name": "hidden_pipeline", "source": "uppercase(text)"},
        }
        places = []
        for kind, fields in things.items():
            made = client.post(f"/api/v1/{kind}", json=fields)
            assert made.status_code == 201, made.text
            places.append(f"/{kind}/{made.json()['id']}")
    return places


def write_prompt(page: Page, visits: Visits) -> None:
    """A prompt with two versions, a label, and the way back to the first."""
    page.goto("/prompts")
    expect(page.get_by_text("hidden_prompt")).to_have_count(0)
    page.get_by_role("link", name="New prompt").first.click()
    page.get_by_label("Name").fill("own_prompt")
    page.get_by_label("Prompt", exact=True).fill("Say hello to {name}.")
    page.get_by_role("button", name="Create prompt").click()
    expect(page.get_by_role("heading", name="own_prompt")).to_be_visible()
    place = page.url
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Prompt", exact=True).fill("Greet {name} warmly.")
    page.get_by_role("button", name="Save as version 2").click()
    expect(page).to_have_url(place)
    expect(page.get_by_role("row", name=re.compile("^Version 2"))).to_be_visible()
    page.get_by_role("link", name="Labels").click()
    page.get_by_label("Label").fill("production")
    page.get_by_label("Version", exact=True).select_option("2")
    page.get_by_role("button", name="Set label").click()
    expect(page.get_by_role("row", name=re.compile("^Version 2"))).to_contain_text("production")
    visits.check_accessible(page)
    page.goto(f"{place}/rollback?version=1")
    page.get_by_role("button", name="Roll back").click()
    expect(page).to_have_url(place)
    expect(page.get_by_text("Version 2 still runs: a label holds it.")).to_be_visible()
    expect(page.get_by_role("region", name="Prompt", exact=True)).to_contain_text("Say hello")
    expect(page.get_by_role("row", name=re.compile("^Version 3"))).to_be_visible()


def try_prompt(page: Page, visits: Visits) -> None:
    """One's prompt asked in the playground; the calls are one's own."""
    page.goto("/prompts")
    page.get_by_role("link", name="own_prompt").first.click()
    page.get_by_role("link", name="Try in the playground").click()
    page.get_by_label("name", exact=True).fill("Ada")
    page.locator("[data-run]").click()
    expect(page.locator("[data-answer]")).to_contain_text("Say hello to Ada.")
    expect(page.locator("[data-outcome]")).to_contain_text("Latency")
    visits.check_accessible(page)
    # What was streamed is not lost when the form becomes another one.
    page.get_by_role("button", name="Messages").click()
    expect(page.get_by_label("Message 1", exact=True)).to_have_value("Say hello to Ada.")
    expect(page.locator("[data-answer]")).to_contain_text("Say hello to Ada.")
    page.get_by_label("Message 1", exact=True).fill("And now?")
    page.locator("[data-run]").click()
    expect(page.locator("[data-answer]")).to_contain_text("And now?")
    expect(page.locator("[data-outcome]")).to_contain_text("Latency")
    page.get_by_role("button", name="Prompt", exact=True).click()
    expect(page.locator("[data-answer]")).to_contain_text("And now?")
    page.goto("/calls")
    expect(page.locator("#calls tbody tr:not(#more)")).to_have_count(2)


def try_preset(page: Page, visits: Visits) -> None:
    """A search over three documents of one's own."""
    page.goto("/presets")
    expect(page.get_by_text("hidden_preset")).to_have_count(0)
    make_search(page, visits, "own_films")
    visits.check_accessible(page)


def test_a_user_makes_prompts_and_presets_and_sees_nothing_of_others(
    visits: Visits, server: LiveServer
) -> None:
    hidden = hide(server)
    sign_up(server)
    page = visits(GRACE, OWN)
    write_prompt(page, visits)
    try_prompt(page, visits)
    try_preset(page, visits)
    page.goto("/pipelines")
    expect(page.get_by_text("No pipeline yet")).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("hidden")
    expect(page.locator("#palette")).to_contain_text("Nothing is called like")
    page.keyboard.press("Escape")
    for place in hidden:
        for part in ("", "/edit", "/versions", "/rollback?version=1", "/sharing", "/delete"):
            assert page.goto(f"{place}{part}").status == 404, place + part  # type: ignore[union-attr] # a page was loaded
    # What is theirs the administrator sees, as all there is.
    other = visits()
    other.goto("/prompts")
    expect(other.get_by_role("row", name=re.compile("own_prompt"))).to_contain_text(GRACE)
