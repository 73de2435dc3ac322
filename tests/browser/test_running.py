"""Running it: what is stored is looked into, explained and purged, a price is set, an act is found."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from tests.browser.rig import Visits
from tests.browser.test_watching import ask, token
from tests.live import LiveServer

__all__ = ["token"]

WORDS = "What colour is the sea?"


def test_an_entry_is_looked_into_a_miss_explained_and_all_of_it_purged(
    visits: Visits, server: LiveServer, token: str
) -> None:
    for _ in range(2):
        ask(server, token, WORDS)
    page = visits()
    page.goto("/cache?order=newest")
    visits.check_accessible(page)
    page.get_by_role("region", name="Entries").get_by_role("link", name="gpt-4o-mini").first.click()
    drawer = page.locator("#drawer")
    expect(drawer.locator("#texts")).to_contain_text(WORDS)
    drawer.get_by_role("link", name="JSON", exact=True).click()
    expect(drawer.locator("#texts")).to_contain_text('"messages"')
    visits.check_accessible(page)
    page.keyboard.press("Escape")

    page.get_by_role("link", name="Explain a miss").click()
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": WORDS}]}
    page.get_by_label("Body of the request").fill(json.dumps({**asked, "temperature": 0.25}))
    page.get_by_role("button", name="Explain").click()
    differing = page.get_by_role("region", name="Fields that differ")
    expect(differing).to_contain_text("/temperature")
    expect(differing).to_contain_text("0.25")
    visits.check_accessible(page)

    page.goto("/cache")
    page.get_by_role("link", name="Purge all").click()
    dialog = page.get_by_role("dialog")
    purge = dialog.get_by_role("button", name="Purge")
    expect(purge).to_be_disabled()
    visits.check_accessible(page)
    word = dialog.locator("label code").text_content() or ""
    dialog.get_by_role("textbox").fill(word)
    purge.click()
    expect(page.get_by_text("Nothing is stored")).to_be_visible()


def test_a_price_of_ones_own_is_set_and_who_set_it_is_found(visits: Visits) -> None:
    page = visits()
    page.goto("/settings")
    visits.check_accessible(page)
    page.get_by_role("link", name="Set price").first.click()
    page.get_by_label("Model", exact=True).fill("gpt-of-our-own")
    page.get_by_label("Input optional", exact=True).fill("cheap")
    page.get_by_role("button", name="Set price").click()
    expect(page.locator("#input-error")).to_be_visible()
    visits.check_accessible(page)
    page.get_by_label("Input optional", exact=True).fill("2.5")
    page.get_by_label("Output optional", exact=True).fill("10")
    page.get_by_role("button", name="Set price").click()
    prices = page.get_by_role("region", name="Own prices")
    expect(prices.get_by_role("row", name="gpt-of-our-own")).to_contain_text("2.5")

    page.goto("/audit")
    visits.check_accessible(page)
    page.get_by_label("Did").select_option("price.create")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".chip")).to_contain_text("price.create")
    act = page.locator("main tbody tr")
    expect(act).to_have_count(1)
    expect(act).to_contain_text("gpt-of-our-own")
    act.click()
    expect(page.locator("#drawer")).to_contain_text("price.create")
    visits.check_accessible(page)
