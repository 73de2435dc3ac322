"""A hundred hostile texts on every page: each is text, and nothing of it happens.

The pages are walked from their own table: those without an id directly, those with one by the links that
lead there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from aieye.ui import site
from tests.browser.payloads import (
    DESCRIBED,
    MARK,
    PAYLOADS,
    answer_with_payloads,
    bundles,
    fill,
    functions,
)
from tests.browser.rig import EMAIL, PASSWORD, Visits, is_page
from tests.fakes.recorded import RecordedDemo
from tests.live import LiveServer

# How many pages of one kind are opened: each shows a bundle of the texts, and calls come in two kinds.
MOST_OF_A_KIND = 2 * len(list(bundles()))

# Elements and attributes that no page of ours has, and that a text taken for markup would make.
FOREIGN = r"""
() => {
  const found = [];
  const strange = /^(iframe|object|embed|base|marquee|math|style|video|audio)$/i;
  const leading = new Set(["src", "href", "action", "formaction", "data", "srcset", "poster", "xlink:href",
                           "hx-get", "hx-post", "hx-put", "hx-patch", "hx-delete", "hx-action"]);
  const away = /^\s*(\/canary|javascript:|java\s*script:|data:text)/i;
  for (const element of document.querySelectorAll("*")) {
    const isOurs = element.localName !== "script" || element.src.startsWith(`${location.origin}/static/`);
    if (strange.test(element.localName) || !isOurs) found.push(element.outerHTML);
    for (const { name, value } of element.attributes) {
      const isAct = /^on|^hx-on|^data-hx|srcdoc/i.test(name);
      if (isAct || (leading.has(name) && away.test(value))) found.push(`${name}=${value}`);
    }
  }
  return found.slice(0, 5);
}
"""
LOAD_MORE = """
() => new Promise((loaded) => {
  document.addEventListener("htmx:finally:request", loaded, { once: true });
  document.querySelector("#more a").click();
})
"""
# The texts as a person sees them, in fields too.
SEEN = """
() => [...document.querySelectorAll("input, textarea")].reduce(
  (text, field) => `${text} ${field.value}`, document.body.innerText
)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose provider says what it is asked, with the texts everywhere."""
    funcs = tmp_path_factory.mktemp("funcs")
    (funcs / "custom_hostile.py").write_text(functions())
    environment = {
        "AIEYE_FUNCS_DIR": str(funcs),
        "AIEYE_ADMIN_EMAIL": EMAIL,
        "AIEYE_ADMIN_PASSWORD": PASSWORD,
        "OPENAI_API_KEY": "sk-x",
    }
    with RecordedDemo(answer_with_payloads) as upstream:
        environment["OPENAI_BASE_URL"] = upstream.base_url
        with LiveServer(tmp_path_factory.mktemp("server"), environment=environment) as started:
            fill(started.base_url)
            yield started


def test_there_are_a_hundred_different_texts() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 100
    assert all(MARK in payload for payload in PAYLOADS)


@pytest.mark.timeout(600)
def test_no_text_of_a_person_or_a_model_is_more_than_text_on_any_page(visits: Visits) -> None:
    page = visits()
    patterns = {
        one.path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", one.path) + r"\Z")
        for one in site.find_pages()
        if one.method == "GET" and one.path not in {"/login", "/login/", "/setup"}
    }
    open_paths = [path for path in patterns if "{" not in path]
    visited: dict[str, set[str]] = defaultdict(set)
    seen: set[str] = set()

    def visit(path: str) -> None:
        pattern = next(
            (name for name in (path, *patterns) if name in patterns and patterns[name].match(path)),
            None,
        )
        if pattern is None or path in visited[pattern] or not is_page(path):
            return
        if len(visited[pattern]) >= MOST_OF_A_KIND:
            return
        visited[pattern].add(path)
        page.goto(path, wait_until="load")
        _load_all(page)
        text = page.evaluate(SEEN)
        seen.update(
            payload
            for payload in PAYLOADS
            if " ".join(payload.split())[:40] in " ".join(text.split())
        )
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert page.evaluate(FOREIGN) == [], path
        links.extend(_links(page))

    links: list[str] = []
    for path in open_paths:
        visit(path)
    while links:
        visit(links.pop())
    # It would prove nothing if the texts were not there.
    missing = [payload for payload in PAYLOADS if payload not in seen]
    assert not missing, (missing, dict(visited))
    page.goto("/functions/hostile_0")
    expect(page.locator(".doc").first).to_contain_text(DESCRIBED.replace("`", ""))
    without = [path for path in patterns if not visited[path] and "{" in path]
    print("kinds of pages without one to open:", without)


def test_no_text_of_a_prompt_a_call_or_an_answer_is_more_than_text_in_the_playground(
    visits: Visits,
) -> None:
    page = visits()
    page.goto("/calls")
    # Every call is of a bundle, asked of a model that answers and of one that refuses.
    rows = page.locator("#calls tbody tr:not(#more) a[data-row-link]")
    calls = rows.evaluate_all("all => all.slice(0, 4).map(one => one.pathname.split('/')[2])")
    prompts = [f"prompt={number}" for number in range(1, len(list(bundles())) + 1)]
    for query in [*prompts, *(f"call={one}" for one in calls)]:
        page.goto(f"/playground?{query}")
        if query in prompts:
            page.get_by_label("x", exact=True).fill("\n".join(PAYLOADS[:10]))
        page.locator("[data-run]").click()
        page.locator("[data-outcome] :is(dl, [role=alert])").first.wait_for()
        assert page.evaluate(FOREIGN) == [], query
        assert MARK in page.evaluate(SEEN)


def _load_all(page: Page) -> None:
    """Follow `Load more`, as far as a hundred and more rows are.

    The rows come into the place of the link, so that no number of rows tells of them: only the request
    does, which is over when they have been swapped in and the next link has been made to work.
    """
    for _ in range(4):
        if not page.locator("#more a").count():
            return
        page.evaluate(LOAD_MORE)


def _links(page: Page) -> list[str]:
    hrefs: list[str] = page.eval_on_selector_all("main a[href]", "all => all.map(one => one.href)")
    paths = {urlsplit(href).path for href in hrefs}
    return sorted(path for path in paths if not path.startswith("/static/"))
