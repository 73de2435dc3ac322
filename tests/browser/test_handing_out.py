"""The walk of who sets a server up: a provider's key, a token, its roll and end, and a second person."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.rig import Visits
from tests.fakes.recorded import RecordedDemo
from tests.live import LiveServer

PASSWORD = "another quiet river"


@pytest.fixture(scope="module")
def provider() -> Iterator[RecordedDemo]:
    with RecordedDemo() as demo:
        yield demo


def status_of(server: LiveServer, token: str) -> int:
    """What a call with the token is answered with."""
    answer = httpx.post(
        f"{server.base_url}/v1/chat/completions",
        headers={"authorization": f"Bearer {token}"},
        json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]},
        trust_env=False,
    )
    return answer.status_code


def shown_secret(page: Page) -> str:
    """The secret that the page shows, which a reload takes away."""
    secret = page.locator("#secret").text_content() or ""
    assert secret
    return secret


def test_from_the_first_key_to_a_second_person(
    visits: Visits, server: LiveServer, provider: RecordedDemo
) -> None:
    page = visits()
    page.goto("/providers")
    visits.check_accessible(page)
    page.get_by_role("link", name="Add provider").first.click()
    page.get_by_label("Name", exact=True).fill("openai")
    page.get_by_label("Base URL").fill("not an address")
    page.get_by_label("Key optional", exact=True).fill("sk-0123456789abcdefghijx3fQ")
    page.get_by_role("button", name="Add provider").click()
    expect(page.locator("#base_url-error")).to_be_visible()
    expect(page.locator("#key-error")).to_contain_text("Type it again")
    expect(page.get_by_label("Name", exact=True)).to_have_value("openai")
    page.get_by_label("Base URL").fill(provider.base_url)
    page.get_by_label("Key optional", exact=True).fill("sk-0123456789abcdefghijx3fQ")
    page.get_by_role("button", name="Add provider").click()
    expect(page).to_have_url(f"{server.base_url}/providers")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Works: ")).to_be_visible()
    visits.check_accessible(page)
    # On a phone too it is where one looks, though the button is at the far end of the table.
    page.set_viewport_size({"width": 390, "height": 900})
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Works: ")).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 1440, "height": 900})

    page.goto("/tokens/new")
    visits.check_accessible(page)
    page.get_by_label("Name", exact=True).fill("bot")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_text("Shown this once")).to_be_visible()
    first = shown_secret(page)
    visits.check_accessible(page)
    page.locator(".secret [data-copy]").click()
    assert page.evaluate("navigator.clipboard.readText()") == first
    assert status_of(server, first) == 200
    page.reload()
    expect(page.locator("#secret")).to_have_count(0)
    assert first not in page.content()

    page.goto("/tokens")
    page.get_by_role("link", name="bot").click()
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", name="bot")).to_be_visible()
    visits.check_accessible(page)
    drawer.get_by_role("link", name="Roll").click()
    page.get_by_label("The present secret").select_option("86400")
    page.get_by_role("button", name="Roll token").click()
    expect(page.locator("#secret")).to_be_visible()
    second = shown_secret(page)
    assert [status_of(server, one) for one in (first, second)] == [200, 200]
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_role("link", name="Revoke token").click()
    dialog = page.get_by_role("dialog")
    revoke = dialog.get_by_role("button", name="Revoke token")
    expect(revoke).to_be_disabled()
    visits.check_accessible(page)
    dialog.get_by_label("Type bot").fill("bot")
    revoke.click()
    expect(page).to_have_url(f"{server.base_url}/tokens")
    assert [status_of(server, one) for one in (first, second)] == [401, 401]

    page.goto("/routes/new")
    page.get_by_label("Alias").fill("fast")
    page.get_by_label("Model").fill("gpt-4o")
    page.get_by_role("button", name="Add target").click()
    expect(page.get_by_label("Model")).to_have_count(2)
    page.get_by_label("Model").nth(1).fill("gpt-4o-mini")
    page.get_by_role("button", name="Move target 2 up").click()
    expect(page.get_by_label("Model").first).to_have_value("gpt-4o-mini")
    visits.check_accessible(page)
    page.get_by_role("button", name="Create alias").click()
    expect(page).to_have_url(f"{server.base_url}/routes")
    visits.check_accessible(page)

    page.goto("/users/new")
    page.get_by_label("E-mail").fill("grace@example.org")
    visits.check_accessible(page)
    page.get_by_role("button", name="Add user").click()
    expect(page.locator("#secret")).to_be_visible()
    link = shown_secret(page)
    page.get_by_role("link", name="I have kept it").click()
    visits.check_accessible(page)
    page.goto("/users")
    visits.check_accessible(page)

    phone = visits(width=390)
    for path in ("/routes/new", "/tokens/new", "/providers/new", "/users/new"):
        phone.goto(path)
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth"), path

    other = visits(None)
    other.goto(link)
    visits.check_accessible(other)
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Set password").click()
    expect(other).to_have_url(f"{server.base_url}/")
    other.goto("/tokens")
    # They see their own alone, which is nothing yet, and are led to nothing that is not theirs.
    expect(other.get_by_text("No token yet")).to_be_visible()
    expect(other.locator("#rail").get_by_role("link", name="Users")).to_have_count(0)
    assert other.goto("/users").status == 403  # type: ignore[union-attr] # a page was loaded
