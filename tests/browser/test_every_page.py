"""What holds for every page that shows something to an administrator, walked from the pages' own table:
each has the call that does the same, folded, and is light; those of single things and full lists too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from urllib.parse import urlsplit

import httpx
import pytest

from aieye.ui import site
from tests.browser.rig import EMAIL, PASSWORD, is_page
from tests.browser.samples import Filler, fill
from tests.browser.screenshots import NOT_THERE, find_shots
from tests.live import LiveServer

MOST_BYTES, MOST_BYTES_AFTER = 150_000, 30_000
# As many of each kind as a list shows at once, and more.
FULL = 110
# The parts of the pages, for those who write them: nothing is done there.
WITHOUT_A_CALL = {"/components/confirm", "/components/sample/{id}"}

_CALL = re.compile(r"The same by API.*?<code[^>]*>(.*?)</code>", re.DOTALL)
_FILE = re.compile(r'(?:src|href)="(/static/[^"#]+)')


@pytest.fixture(scope="module")
def server(server: LiveServer) -> LiveServer:
    """One with something of each kind, and more of what people make than a list shows at once."""
    with closing(Filler(server)) as filler:
        for number in range(FULL):
            name = f"of_many_{number:03}"
            filler.make("tokens", name=f"{name} of a service in production")
            filler.make("prompts", name=name, body=f"{number} times {{text}}", model="gpt-4o-mini")
            filler.make("presets", name=f"{name}_p", type="chat", config={"model": f"m-{number}"})
            filler.make("pipelines", name=f"{name}_pipeline", source=f"uppercase({number})")
    # The newest stand first, and these have versions, runs and documents.
    fill(server, much=False)
    return server


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base_url, trust_env=False, timeout=60) as opened:
        opened.post("/login", data={"email": EMAIL, "password": PASSWORD})
        yield opened


@pytest.fixture(scope="module")
def paths(server: LiveServer, client: httpx.Client) -> dict[str, str]:
    """Where one of each page is, by its path in the table."""
    linked = [shot.path for shot in find_shots(server.base_url) if shot.who and not shot.key]
    linked = [path for path in linked if path not in NOT_THERE]
    kinds = [page for page in site.find_pages() if page.method == "GET" and is_page(page.path)]
    found = {page.path: page.path for page in kinds if page.path in linked}
    single = [path for path in linked if path not in found]
    # Of presets only a search has one, and its page asks for it by itself.
    (films,) = client.get("/api/v1/presets?name=films").json()["data"]
    single.append(f"/presets/{films['id']}/index")
    for page in kinds:
        if page.path in found or page.access == "anyone":
            continue
        # Where only a form leads, the page is that of a thing to which links lead.
        thing, _, act = page.path.rpartition("/")
        here = next(filter(_pattern(page.path).fullmatch, map(_place, single)), None)
        there = next(filter(_pattern(thing).fullmatch, map(_place, single)), None)
        assert here or there, f"nothing leads to {page.path}"
        found[page.path] = here or f"{there}/{act}"
        if act in {"rollback", "diff"}:
            found[page.path] += "?version=1&base=1&head=1"
    return {
        kind: path for kind, path in found.items()
        if "text/html" in client.get(path).headers.get("content-type", "")
    }  # fmt: skip


def test_every_page_has_the_call_that_does_the_same_folded(
    client: httpx.Client, paths: dict[str, str]
) -> None:
    assert {"/first-steps", "/prompts/{key}/delete", "/search"} <= set(paths)
    without = set()
    for kind, path in paths.items():
        page = client.get(path)
        assert page.status_code == 200, path
        call = _CALL.search(page.text)
        if call is None:
            without.add(kind)
            continue
        line = unescape(re.sub(r"<[^>]+>", "", call[1]))
        asked = re.match(r"curl '(http[^']+)'", line)
        # What it names is there: a call that reads is made.
        if asked and "…" not in asked[1]:
            answer = client.get(asked[1])
            assert answer.status_code == 200, (path, asked[1], answer.text)
    assert without == WITHOUT_A_CALL


def test_every_page_is_light_the_first_time_and_lighter_after(
    client: httpx.Client, paths: dict[str, str]
) -> None:
    weights: dict[str, int] = {}
    for path in ["/", *paths.values()]:
        page = _bytes(client, path)
        files = set(_FILE.findall(client.get(path).text))
        for file in files - set(weights):
            weights[file] = _bytes(client, file)
        first = page + sum(weights[file] for file in files)
        # The files have their content in their names: a browser keeps them.
        assert first < MOST_BYTES, (path, first)
        assert page < MOST_BYTES_AFTER, (path, page)


def _bytes(client: httpx.Client, path: str) -> int:
    """How much comes over the wire, as a browser asks for it."""
    headers = {"accept-encoding": "gzip, deflate, br, zstd"}
    with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200, path
        return sum(map(len, answer.iter_raw()))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", path))


def _place(path: str) -> str:
    return urlsplit(path).path
