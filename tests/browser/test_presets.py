"""Presets made, tried, found by keys, shared with a second person, deleted and brought back."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.browser.rig import EMAIL, Visits
from tests.browser.rig import PASSWORD as ADMINISTRATORS
from tests.live import LiveServer

DOCUMENTS = ("A shark eats swimmers.", "A ship sinks in the ice.", "A robot falls in love.")
GRACE, PASSWORD = "grace@example.org", "another quiet river"


def sign_up(server: LiveServer) -> None:
    """A second person, without the administrator's role."""
    with httpx.Client(base_url=server.base_url, trust_env=False) as client:
        client.post("/login", data={"email": EMAIL, "password": ADMINISTRATORS})
        client.headers["x-csrftoken"] = client.cookies["csrftoken"]
        made = client.post("/api/v1/users", json={"email": GRACE, "password": PASSWORD})
        assert made.status_code == 201, made.text


def make_search(page: Page, visits: Visits, name: str) -> None:
    """Make a search of three documents by its form, and find the nearest of them."""
    page.goto("/presets/new/search")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Model").fill("text-embedding-3-small")
    for number, text in enumerate(DOCUMENTS):
        page.get_by_role("button", name="Add document").click()
        document = page.get_by_label(f"Document ({number})", exact=True)
        expect(document).to_be_focused()
        document.fill(text)
    visits.check_accessible(page)
    page.get_by_role("button", name="Create preset").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_label("Search for").fill("Titanic, a ship")
    page.get_by_role("button", name="Search", exact=True).click()
    found = page.locator("#tried tbody tr")
    expect(found).to_have_count(3)
    expect(found.first).to_contain_text("Document (1)")


def open_search(page: Page, key: str) -> None:
    page.keyboard.press(key)
    expect(page.get_by_role("combobox", name="Search everything")).to_be_focused()


def test_presets_are_made_tried_found_shared_deleted_and_brought_back(
    visits: Visits, server: LiveServer, tmp_path: Path
) -> None:
    sign_up(server)
    page = visits()
    page.goto("/presets")
    visits.check_accessible(page)
    page.get_by_role("link", name="New preset").first.click()
    visits.check_accessible(page)
    page.get_by_role("link", name="Search").click()
    expect(page).to_have_url(re.compile("/presets/new/search$"))
    make_search(page, visits, "films")
    expect(page.locator("#index")).to_contain_text("all embedded")
    visits.check_accessible(page)
    # The nearer one comes first after the documents came from a file as well.
    (tmp_path / "lines.txt").write_text("Two ships meet at sea.\nNothing of the kind.\n")
    page.get_by_role("link", name="Send a file").click()
    page.get_by_label("File").set_input_files(tmp_path / "lines.txt")
    page.get_by_label("Each line is").select_option("plain")
    visits.check_accessible(page)
    page.get_by_role("button", name="Send documents").click()
    expect(page.locator("#index")).to_contain_text("2 of 2")
    page.get_by_role("link", name="What changed").click()
    expect(page.locator(".diff")).to_contain_text("Two ships meet at sea.")
    visits.check_accessible(page)

    page.goto("/presets/new/completion")
    visits.check_accessible(page)
    page.get_by_label("Name").fill("answers")
    page.get_by_label("Model").fill("gpt-3.5-turbo-instruct")
    page.get_by_label("Most tokens").fill("40")
    page.locator("#prompt").fill("Q: ")
    page.get_by_role("button", name="Create preset").click()
    expect(page.get_by_role("heading", name="answers")).to_be_visible()
    place = page.url
    page.get_by_label("Text").fill("Who wrote it?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#tried .code")).to_be_visible()
    expect(page.locator("#tried").get_by_role("link", name="the call")).to_be_visible()
    visits.check_accessible(page)

    # What is somebody's own nobody else finds, until it is shared.
    other = visits(GRACE, PASSWORD)
    other.goto("/")
    open_search(other, "Control+k")
    other.keyboard.type("answ")
    expect(other.locator("#palette")).to_contain_text("Nothing is called like")
    page.get_by_role("link", name="Share with everybody").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("may then see, use and call this preset")
    visits.check_accessible(page)
    dialog.get_by_role("button", name="Share with everybody").click()
    expect(page.get_by_text("Everybody here may see")).to_be_visible()
    other.keyboard.type("e")
    hit = other.get_by_role("option", name="answers")
    expect(hit).to_have_attribute("aria-selected", "true")
    visits.check_accessible(other)
    other.keyboard.press("Enter")
    expect(other).to_have_url(place)
    expect(other.get_by_role("heading", name="answers")).to_be_visible()
    expect(other.get_by_text(EMAIL).first).to_be_visible()
    expect(other.get_by_role("link", name="Delete preset")).to_have_count(0)
    open_search(other, "/")
    expect(other.get_by_role("option").first).to_contain_text("answers")
    other.keyboard.press("Escape")
    expect(other.locator("#palette")).to_be_hidden()

    page.get_by_role("link", name="Delete preset").click()
    dialog = page.get_by_role("dialog")
    visits.check_accessible(page)
    dialog.get_by_role("button", name="Delete preset").click()
    expect(page).to_have_url(f"{server.base_url}/presets")
    visits.check_accessible(page)
    # The dialog is gone with what it was about: the next act is to take that back, or to go on.
    undo = page.locator("#toasts").get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(undo).to_have_accessible_description("“answers” is deleted.")
    page.keyboard.press("Enter")
    expect(page).to_have_url(place)
    expect(page.get_by_text("is back")).to_be_visible()
    other.reload()
    expect(other.get_by_role("heading", name="answers")).to_be_visible()


def test_what_is_wrong_with_a_preset_is_in_sight(visits: Visits) -> None:
    page = visits()
    page.goto("/presets/new/completion")
    page.get_by_label("Name").fill("wrong")
    page.get_by_label("Model").fill("gpt-3.5-turbo-instruct")
    page.get_by_label("Most tokens").fill("many")
    page.get_by_role("button", name="Create preset").click()
    expect(page.get_by_role("alert")).to_have_text(
        "This should be a whole number from 0 to 10,000,000."
    )
    expect(page.get_by_label("Most tokens")).to_be_focused()
    expect(page.get_by_label("Most tokens")).to_be_in_viewport()
    page.get_by_label("Most tokens").fill("40")
    page.locator("#prompt").fill("x" * 300_000)
    page.get_by_role("button", name="Create preset").click()
    expect(page.locator(".form-error")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Create preset")).to_be_focused()


def test_a_preset_is_made_tried_and_found_without_scripts(visits: Visits) -> None:
    page = visits(scripts=False, width=390)
    page.goto("/presets/new/search")
    page.get_by_label("Name").fill("plain")
    page.get_by_label("Model").fill("text-embedding-3-small")
    for number, text in enumerate(DOCUMENTS[:2]):
        page.get_by_role("button", name="Add document").click()
        page.get_by_label(f"Document ({number})", exact=True).fill(text)
    page.get_by_role("button", name="Take document 0 out").click()
    expect(page.get_by_label("Document (0)", exact=True)).to_have_value(DOCUMENTS[1])
    page.get_by_role("button", name="Create preset").click()
    page.get_by_label("Search for").fill("ice")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#tried")).to_contain_text(DOCUMENTS[1])
    page.goto("/search?q=plai")
    page.get_by_role("link", name="plain").click()
    expect(page.get_by_role("heading", name="plain")).to_be_visible()
