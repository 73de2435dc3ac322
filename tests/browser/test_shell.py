"""The frame of all pages in a browser: signing in, theme, keys, drawer, dialog, forms, phone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.rig import EMAIL, PASSWORD, Visits, page_paths


def test_somebody_signs_in_goes_where_they_wanted_to_and_signs_out(visits: Visits) -> None:
    page = visits(None)
    page.goto("/account")
    expect(page).to_have_url(re.compile(r"/login\?next=%2Faccount$"))
    visits.check_accessible(page)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill("not my password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/account$"))
    page.locator(".bar-user > summary").click()
    page.get_by_role("button", name="Sign out", exact=True).first.click()
    expect(page).to_have_url(re.compile(r"/login$"))
    page.goto("/account")
    expect(page).to_have_url(re.compile(r"/login"))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("rows", [0, 60])
def test_the_components_keep_nobody_out(visits: Visits, rows: int, theme: str) -> None:
    page = visits(theme="dark" if theme == "dark" else "light")
    page.goto(f"/components?rows={rows}")
    visits.check_accessible(page)
    for details in page.locator("details:not(.menu)").all():
        details.evaluate("one => one.open = true")
    visits.check_accessible(page)


def test_a_theme_is_kept_and_no_page_flashes_in_another(visits: Visits) -> None:
    page = visits(theme="light")
    page.goto("/")
    page.locator(".bar-user > summary").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    # What the server sends has the theme in it: there is nothing to correct after the first paint.
    assert 'data-theme="dark"' in page.request.get("/").text()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.locator(".bar-user > summary").click()
    page.get_by_role("button", name="System").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


def test_a_row_opens_in_the_drawer_by_key_and_gives_the_focus_back(visits: Visits) -> None:
    page = visits()
    page.goto("/components?rows=8")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("req_0001")
    expect(page).to_have_url(re.compile("/components/sample/req_0001"))
    visits.check_accessible(page)
    page.keyboard.press("j")
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("req_0002")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page).to_have_url(re.compile(r"/components\?rows=8$"))
    expect(page.locator("[data-row-link]").nth(2)).to_be_focused()
    # The drawer's address is a page of its own.
    page.goto("/components/sample/req_7")
    expect(page.locator("main")).to_contain_text("req_7")
    visits.check_accessible(page)


# What a script leaves for the next moment comes late on a busy machine.
LATE_TIMERS = """
(() => {
  const later = setTimeout;
  window.setTimeout = (act, wait, ...more) => later(act, wait || 3000, ...more);
})();
"""


def test_a_key_right_after_the_page_came_opens_the_drawer_too(visits: Visits) -> None:
    page = visits()
    page.add_init_script(LATE_TIMERS)
    page.goto("/components?rows=8")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    heading = page.locator("#drawer").get_by_role("heading", level=2)
    expect(heading).to_contain_text("req_0000")
    expect(heading).to_have_count(1)


def test_going_back_from_a_drawer_shows_the_list_again(visits: Visits) -> None:
    page = visits()
    page.goto("/components?rows=8")
    page.locator("[data-row-link]").first.click()
    expect(page.locator("#drawer")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(re.compile(r"/components\?rows=8$"))
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("[data-row-link]")).to_have_count(8)


def test_more_rows_come_in_the_place_of_the_link(visits: Visits) -> None:
    page = visits()
    page.goto("/components?rows=8")
    page.get_by_role("link", name="Load more").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-row-link]")).to_have_count(16)
    expect(page.locator("[data-row-link]").nth(8)).to_be_focused()
    expect(page).to_have_url(re.compile(r"rows=8$"))


def hold(page: Page, pattern: str) -> list[Route]:
    """The page's requests for what matches, each waiting to be continued."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(pattern, keep)
    return held


def test_enter_before_the_results_are_there_leads_to_the_search_of_what_was_typed(
    visits: Visits,
) -> None:
    page = visits()
    page.goto("/")
    page.keyboard.press("Control+k")
    expect(page.locator("#found [role=option]").first).to_be_visible()
    hold(page, "**/search?q=users")
    page.keyboard.type("users")
    # What stands there is what was opened last: nobody means that any more.
    page.keyboard.press("ArrowDown")
    expect(page.locator("#found [aria-selected=true]")).to_have_count(1)
    page.unroute("**/search?q=users")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q=users$"))
    page.goto("/")
    page.keyboard.press("Control+k")
    page.keyboard.type("users")
    expect(page.locator("#found")).to_have_attribute("data-asked", "users")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/users$"))


def test_what_takes_long_shows_its_shape_and_the_focus_stays(visits: Visits) -> None:
    page = visits()
    page.goto("/components?rows=8")
    held = hold(page, "**/components/sample/**")
    page.locator("[data-row-link]").first.focus()
    page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    close = drawer.get_by_role("link", name="Close")
    expect(drawer.locator(".skeleton").first).to_be_visible()
    expect(close).to_be_focused()
    visits.check_accessible(page)
    held.pop().continue_()
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("req_0000")
    expect(close).to_be_focused()
    expect(page).to_have_title(re.compile("req_0000"))
    page.keyboard.press("j")
    expect(drawer.locator(".skeleton").first).to_be_visible()
    held.pop().continue_()
    expect(drawer.get_by_role("heading", level=2)).to_contain_text("req_0001")
    expect(close).to_be_focused()
    # What is closed while it comes stays closed.
    page.keyboard.press("j")
    expect(drawer.locator(".skeleton").first).to_be_visible()
    with page.expect_event("requestfailed"):
        page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(page).to_have_title(re.compile("^Components"))
    expect(page.locator("[data-row-link]").nth(2)).to_be_focused()


def test_rows_that_take_long_to_come_show_their_shape(visits: Visits) -> None:
    page = visits()
    page.goto("/components?rows=8")
    held = hold(page, "**/components?*")
    page.get_by_role("link", name="Load more").focus()
    page.keyboard.press("Enter")
    row = page.locator("tr[data-waits]")
    expect(row).to_have_attribute("aria-busy", "true")
    # Three rows over what stands there, which keeps the focus.
    assert row.evaluate("row => row.offsetHeight") == 108
    expect(page.get_by_role("link", name="Load more")).to_be_focused()
    held.pop().continue_()
    expect(page.locator("[data-row-link]")).to_have_count(16)
    expect(page.locator("[data-waits]")).to_have_count(0)
    expect(page.locator("[data-row-link]").nth(8)).to_be_focused()


def test_names_in_a_waterfall_are_whole_on_a_phone(visits: Visits) -> None:
    page = visits(width=390)
    page.goto("/components")
    is_whole = page.locator(".waterfall-row").first.evaluate(
        """row => {
            const [label, bar, number] = row.children;
            label.textContent = "the_summary_of_all_documents/for_each_of_them/step.with.a.name";
            const box = label.getBoundingClientRect();
            return label.scrollWidth <= label.clientWidth
                && box.right <= number.getBoundingClientRect().left
                && box.bottom <= bar.getBoundingClientRect().top;
        }"""
    )
    assert is_whole


def test_what_is_gone_to_stops_below_the_bar_with_its_label(visits: Visits) -> None:
    page = visits(width=390)
    page.goto("/components")
    tops = page.evaluate(
        """() => [...document.querySelectorAll("main .field .input, main h2[id]")].map(one => {
            scrollTo(0, document.body.scrollHeight);
            one.scrollIntoView();
            const label = document.querySelector(`label[for="${one.id}"]`) ?? one;
            return label.getBoundingClientRect().top - document.querySelector(".bar").offsetHeight;
        })"""
    )
    assert len(tops) > 3
    assert min(tops) >= 0


def test_what_is_wrong_in_a_long_form_is_in_sight_with_its_label(visits: Visits) -> None:
    page = visits(width=390)
    page.goto("/presets/new/completion")
    page.get_by_label("Name", exact=True).fill("a preset")
    page.get_by_label("Most tokens").fill("many")
    page.locator("#preset-form").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Create preset").click()
    wrong = page.locator("[aria-invalid=true]").first
    expect(wrong).to_be_focused()
    below_the_bar = """field => {
        const label = document.querySelector(`label[for="${field.id}"]`).getBoundingClientRect();
        return label.top >= document.querySelector(".bar").offsetHeight && label.bottom < innerHeight;
    }"""
    assert wrong.evaluate(below_the_bar)


def test_a_dialog_asks_for_the_word_before_it_acts(visits: Visits) -> None:
    page = visits()
    page.goto("/components")
    page.get_by_role("link", name="Delete sample").click()
    dialog = page.locator("#dialog")
    act = dialog.get_by_role("button", name="Delete sample")
    expect(act).to_be_disabled()
    visits.check_accessible(page)
    dialog.get_by_label("Type sample").fill("sample")
    act.click()
    expect(page.locator(".toast")).to_contain_text("Nothing was deleted")
    expect(page).to_have_url(re.compile("/components$"))


def test_a_form_that_is_wrong_comes_back_as_it_was_with_the_error_at_its_field(
    visits: Visits,
) -> None:
    page = visits()
    page.goto("/components")
    page.get_by_label("Text").fill("kept {text}")
    page.get_by_role("button", name="Create sample").click()
    expect(page.locator("#name-error")).to_contain_text("Give it a name")
    expect(page.get_by_label("Text")).to_have_value("kept {text}")
    expect(page.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Name")).to_be_focused()
    # It was swapped in, the page around it stayed.
    expect(page).to_have_url(re.compile("/components$"))
    page.get_by_label("Name").fill("<b>bold</b>")
    page.get_by_role("button", name="Create sample").click()
    expect(page.locator(".toast")).to_contain_text("<b>bold</b>")


def test_copying_says_that_it_did(visits: Visits) -> None:
    page = visits()
    page.goto("/components")
    page.locator(".secret [data-copy]").click()
    expect(page.locator(".toast")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()").startswith("aie_proxy_")


def test_the_pointer_reads_a_moment_of_a_chart(visits: Visits) -> None:
    page = visits()
    page.goto("/components")
    page.locator(".chart-plot").hover()
    tip = page.locator(".chart-tip")
    expect(tip).to_contain_text("gpt-4o-mini")
    expect(tip).to_contain_text("Total")
    page.mouse.move(2, 2)
    expect(tip).to_be_hidden()


def test_on_a_phone_the_rail_is_a_sheet_and_the_drawer_a_page(visits: Visits) -> None:
    page = visits(width=390)
    page.goto("/components")
    expect(page.locator("#rail")).not_to_be_in_viewport()
    page.get_by_role("link", name="Open the menu").click()
    expect(page.get_by_role("link", name="Overview", exact=True)).to_be_in_viewport()
    visits.check_accessible(page)
    page.keyboard.press("Escape")
    expect(page.locator("#rail")).not_to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("[data-row-link]").first.click()
    expect(page.locator("main .drawer-body")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keys_are_listed_and_the_rail_stays_narrow(visits: Visits) -> None:
    page = visits()
    page.goto("/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    visits.check_accessible(page)
    page.keyboard.press("Escape")
    page.locator("#rail").get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Narrow").click()
    page.reload()
    assert page.locator("#rail").bounding_box()["width"] < 80  # type: ignore[index] # it is there
    visits.check_accessible(page)


def test_reading_and_forms_work_without_scripts(visits: Visits) -> None:
    page = visits(scripts=False)
    page.goto("/components?rows=8")
    expect(page.locator(".js-only").first).to_be_hidden()
    page.get_by_role("link", name="Load more").click()
    expect(page.locator("[data-row-link]")).to_have_count(8)
    page.get_by_role("button", name="Create sample").click()
    expect(page.locator("#name-error")).to_contain_text("Give it a name")
    page.get_by_label("Name").fill("sample")
    page.get_by_role("button", name="Create sample").click()
    expect(page.locator(".toast")).to_contain_text("Nothing was stored")
    page.get_by_role("link", name="Delete sample").click()
    page.get_by_label("Type sample").fill("something else")
    page.get_by_role("button", name="Delete sample").click()
    expect(page.get_by_role("alert")).to_contain_text("as it stands above")
    page.locator(".bar-user > summary").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_dialog_that_is_opened_as_a_page_can_be_seen(visits: Visits, scripts: bool) -> None:
    page = visits(scripts=scripts)
    for path in ("/components/confirm", "/calls/filter", "/calls/columns", "/cache/purge"):
        page.goto(path)
        # Neither the browser's driver nor axe counts what is wholly transparent as hidden.
        seen = page.locator("main > .modal-box").evaluate(
            "box => [getComputedStyle(box).opacity, getComputedStyle(box).scale]"
        )
        assert seen == ["1", "1"], path


def test_times_are_those_of_the_browser_and_name_their_zone(visits: Visits) -> None:
    page = visits()
    page.goto("/components")
    page.reload()
    assert "CET" in _title(page) or "CEST" in _title(page)
    page.locator("[data-range] > summary").click()
    page.get_by_role("link", name="Times in UTC").click()
    expect(page.locator(".range-zone")).to_have_text("UTC")


def test_what_is_no_page_says_so_in_the_frame(visits: Visits) -> None:
    page = visits()
    page.goto("/no-such-page")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    expect(page).to_have_title(re.compile("^There is nothing here"))
    expect(page.locator("#rail")).to_be_visible()
    visits.check_accessible(page)


def _title(page: Page) -> str:
    return page.locator("main time").first.get_attribute("title") or ""


def test_a_page_is_light_the_first_time_and_lighter_after(visits: Visits) -> None:
    page = visits()
    weight = visits.weigh(page)
    for path in ("/", *page_paths()):
        for most in (150_000, 30_000):
            weight[0] = 0
            page.goto(path)
            page.wait_for_load_state("networkidle")
            assert 0 < weight[0] < most, (path, weight[0])
            print(f"{weight[0]:7} bytes: {path}")
            # What a group of pages alone needs, such as its editor, came with the first of them.
            if weight[0] < 30_000:
                break
