"""From the first start to the first request: the printed link, the steps that tick themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.rig import Visits
from tests.live import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A first start, that nobody administers yet."""
    with LiveServer(tmp_path_factory.mktemp("server")) as started:
        yield started


def test_the_printed_link_leads_to_steps_that_tick_themselves(
    visits: Visits, server: LiveServer
) -> None:
    printed = server.output()
    link = re.search(r"/setup\?token=\S+", printed)
    token = re.search(r"aie_\w+", printed)
    assert link is not None
    assert token is not None
    page = visits(None)
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nobody administers this yet")
    visits.check_accessible(page)
    page.goto(link[0])
    page.get_by_label("E-mail").fill("root@example.org")
    page.get_by_label("Password").fill("short")
    # The browser itself holds a short one back; whoever goes around it is told by the server.
    page.locator("form").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("at least 10")
    visits.check_accessible(page)
    expect(page.get_by_label("E-mail")).to_have_value("root@example.org")
    page.get_by_label("Password").fill("a quiet river at dawn")
    page.get_by_role("button", name="Create administrator").click()
    expect(page).to_have_url(f"{server.base_url}/")

    steps = page.locator("#first-steps")
    expect(steps.locator("[data-done]")).to_have_text(["Make a token for a program"])
    expect(steps).to_contain_text(f"curl {server.base_url}/v1/chat/completions")
    visits.check_accessible(page)
    # The link first, the command folded; what somebody unfolds stays so while nothing is new.
    steps.get_by_role("link", name="Add a key").focus()
    expect(steps.get_by_text("provider add openai")).to_be_hidden()
    steps.get_by_text("The same by command").click()
    with page.expect_response("**/first-steps?seen=*") as asked:
        pass
    assert asked.value.status == 204
    expect(steps.get_by_text("provider add openai")).to_be_visible()
    # What is copied stays in the hand: an answer that comes meanwhile takes no focus away.
    page.locator("#hide-steps").focus()
    answer = httpx.post(
        f"{server.base_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {token[0]}"},
        json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]},
        trust_env=False,
    )
    assert answer.status_code == 200
    expect(steps).to_contain_text("The first request arrived", timeout=30_000)
    expect(steps).to_contain_text("gpt-4o-mini")
    expect(page.locator("#hide-steps")).to_be_focused()
    visits.check_accessible(page)
    # Their own page says its title once.
    page.goto("/first-steps")
    expect(page.get_by_role("heading", name="First steps")).to_have_count(1)
    expect(page.locator("#first-steps-title")).to_have_text("2 of 3 done")
    visits.check_accessible(page)
    page.locator("#hide-steps").click()
    expect(steps).to_have_count(0)
    # Used once: the link makes nobody else.
    page.goto(link[0])
    expect(page.get_by_role("alert")).to_contain_text("not valid")
