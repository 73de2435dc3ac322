"""Watching: the first request appears by itself, is found, opened and exported; the overview tells of it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.rig import Visits
from tests.live import LiveServer


@pytest.fixture(scope="module")
def token(server: LiveServer) -> str:
    """The first token, as the server printed it at its first start."""
    found = re.search(r"aie_\w+", server.output())
    assert found is not None, server.output()
    return found[0]


def ask(server: LiveServer, token: str, words: str, **more: object) -> str:
    """Make a call as a program does; its request id."""
    answer = httpx.post(
        f"{server.base_url}/v1/chat/completions",
        json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": words}], **more},
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    request_id: str = answer.headers["x-request-id"]
    return request_id


def rows(page: Page) -> list[str]:
    links: list[str] = page.locator("#calls tbody tr a[data-row-link]").evaluate_all(
        "links => links.map(link => link.pathname)"
    )
    return links


def test_the_first_request_appears_by_itself_and_is_opened_found_and_exported(
    visits: Visits, server: LiveServer, token: str, tmp_path: Path
) -> None:
    page = visits()
    page.goto("/calls")
    expect(page.get_by_text("No calls yet")).to_be_visible()
    expect(page.locator("[data-live-state]")).to_have_text("Live")
    visits.check_accessible(page)
    hostile = "<img src=x onerror=alert(1)> zebra"
    request_id = ask(server, token, hostile, metadata={"team": "<script>alert(2)</script>"})
    path = f"/calls/{request_id.removeprefix('req_')}"
    row = page.locator("#calls tbody tr", has=page.locator(f'a[href="{path}"]'))
    expect(row).to_contain_text("200")
    expect(page.get_by_text("No calls yet")).to_be_hidden()
    row.click()
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text(hostile)
    expect(page).to_have_url(re.compile(f"{path}$"))
    visits.check_accessible(page)
    drawer.get_by_role("link", name="JSON", exact=True).focus()
    page.keyboard.press("Enter")
    expect(drawer.locator("#texts")).to_contain_text('"messages"')
    expect(drawer.get_by_role("link", name="JSON", exact=True)).to_be_focused()
    drawer.get_by_role("link", name="Why did it miss?").click()
    expect(drawer.locator("#why")).to_contain_text("stored")
    drawer.get_by_role("link", name="Python").click()
    expect(drawer.locator("#copy-as")).to_contain_text("from openai import OpenAI")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"/calls$"))

    for number in range(2):
        ask(server, token, f"something else {number}")
    page.get_by_role("searchbox", name="Text in request or answer").fill("ZEBRA")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_contain_text("ZEBRA")
    assert rows(page) == [path]
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "calls.csv")
    with (tmp_path / "calls.csv").open(newline="") as file:
        assert [row["request_id"] for row in csv.DictReader(file)] == [request_id]


def test_rows_wait_while_somebody_reads_or_has_paused(
    visits: Visits, server: LiveServer, token: str
) -> None:
    page = visits()
    page.goto("/calls?status=2xx")
    expect(page.locator("[data-live-state]")).to_have_text("Live")
    page.get_by_role("button", name="Pause").click()
    before = rows(page)
    request_id = ask(server, token, "while paused")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    assert rows(page) == before
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#calls tbody tr").first).to_contain_text("gpt-4o-mini")
    assert rows(page) == [f"/calls/{request_id.removeprefix('req_')}", *before]
    # By key through the list behind the drawer, new rows or not.
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_contain_text("while paused")
    page.keyboard.press("j")
    expect(page).to_have_url(re.compile(f"{before[0]}$"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_overview_tells_of_it_with_a_table_a_step_away(
    visits: Visits, server: LiveServer, token: str, theme: str
) -> None:
    ask(server, token, "for the overview")
    ask(server, token, "for the overview, once more")
    ask(server, token, "many words " * 400, model="gpt-4o")
    page = visits(theme="dark" if theme == "dark" else "light")
    page.goto("/?range=1h&measure=tokens")
    bars = page.locator(".top").first.locator(".share")
    rooms = bars.evaluate_all(
        "all => all.map(one => Math.round(one.getBoundingClientRect().width))"
    )
    assert len(rooms) > 1
    assert len(set(rooms)) == 1, rooms
    page.goto("/?range=1h&measure=requests")
    visits.check_accessible(page)
    page.get_by_role("link", name="Show as a table").click()
    table = page.locator("#chart-table table")
    expect(table.locator("thead")).to_contain_text("gpt-4o-mini")
    visits.check_accessible(page)
    page.locator(".chart-plot").hover()
    expect(page.locator(".chart-tip")).to_be_visible()
    page.locator(".legend a").first.click()
    expect(page.locator(".chip")).to_contain_text("gpt-4o-mini")
    page.locator(".chip").click()
    expect(page.locator(".chip")).to_have_count(0)


def test_calls_are_read_filtered_and_opened_without_scripts(
    visits: Visits, server: LiveServer, token: str
) -> None:
    request_id = ask(server, token, "without scripts")
    page = visits(scripts=False, width=390)
    page.goto("/calls")
    page.get_by_role("link", name="Filter").click()
    page.get_by_label("Status").fill("2xx")
    page.get_by_label("Token").select_option(index=1)
    page.get_by_role("button", name="Show calls").click()
    expect(page).to_have_url(re.compile(r"/calls\?status=2xx&token=1$"))
    page.get_by_role("link", name="Columns").click()
    page.get_by_label("Request id").check()
    page.get_by_role("button", name="Show columns").click()
    page.locator(f'#calls a[href="/calls/{request_id.removeprefix("req_")}"]').click()
    expect(page.locator("main")).to_contain_text("without scripts")
    page.get_by_role("link", name="curl", exact=True).click()
    expect(page.locator("main")).to_contain_text("Bearer $AIEYE_TOKEN")
