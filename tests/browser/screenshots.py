"""Pictures of every page with data, in light and dark, wide and narrow:

python -m tests.browser.screenshots FOLDER [--data DIRECTORY] [--holds HOW_MUCH] [--only PATTERN] [PATH ...]

Pages of single things are those of the first of each kind that a list links to; what opens in a drawer
or in a dialog is also pictured there. `--data` is a data directory to start from, such as one that
`python -m bench.history` filled; one that is not there yet is made, as is the one that is taken without
it, and filled: it `--holds nothing`, `little` (of each kind one or two) or `much` (names at their longest,
a month of calls). `--only` is a regular expression that paths match.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from aieye.ui import site
from bench.history import write_history
from tests.browser.conftest import CHROMIUMS
from tests.browser.rig import EMAIL, PASSWORD, Visits, is_page, page_paths
from tests.browser.samples import FAULTY, FUNCTIONS, fill
from tests.live import LiveServer

Theme = Literal["light", "dark"]
WIDTHS: Final = (1440, 390)
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
HOLDS: Final = ("nothing", "little", "much")
MANY_CALLS: Final = 50_000
KEYS: Final = {"?": "keys", "/": "palette"}
LOOKED_INTO: Final = 8
# What nobody who is signed in sees, and what is not there.
FOR_ANYBODY: Final = ("/login", "/setup?token=none", "/invitation?token=none")
NOT_THERE: Final = ("/nowhere", "/calls/req_none")

_LINK = re.compile(r'<a\b[^>]*\bhref="(/[^"#]*)[^>]*>')
_OPENS, _ALL_OPEN = re.compile(r'hx-target="#(drawer|dialog)"'), 'hx-target:inherited="#drawer"'
_GETS = [one.path for one in site.find_pages() if one.method == "GET"]
_FIXED = {path for path in _GETS if "{" not in path}
_KINDS = {
    path: re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
    for path in _GETS
    if path not in _FIXED and is_page(path)
}


@dataclass(frozen=True, slots=True)
class Shot:
    """A page to picture; `opened_on` is the page where its link opens it in a drawer or a dialog, `key`
    what is pressed there."""

    path: str
    opened_on: str = ""
    key: str = ""
    who: str | None = EMAIL

    @property
    def name(self) -> str:
        name = re.sub(r"\W+", "-", self.path).strip("-")[:100] or "overview"
        return f"{name}-{KEYS.get(self.key, 'opened')}" if self.is_opened else name

    @property
    def is_opened(self) -> bool:
        return bool(self.opened_on or self.key)


def main(
    folder: Path, paths: Sequence[str], *, data: Path | None, holds: str, only: str,
    widths: Sequence[int], themes: Sequence[Theme],
) -> None:  # fmt: skip
    """Take the pictures of `paths`, of all pages where none is given, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        place = data or Path(directory) / "data"
        if not place.exists():
            make_data(Path(directory), place, holds=holds)
        chromium = next(filter(None, map(shutil.which, CHROMIUMS)))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with start(Path(directory), place) as server:
            shots = [Shot(path) for path in paths] or find_shots(server.base_url)
            wanted = [shot for shot in shots if re.search(only, shot.path)]
            for theme in themes:
                for width in widths:
                    take(browser, server.base_url, wanted, folder, width=width, theme=theme)
        browser.close()


def start(directory: Path, data: Path) -> LiveServer:
    environment = {
        "AIEYE_ADMIN_EMAIL": EMAIL,
        "AIEYE_ADMIN_PASSWORD": PASSWORD,
        "AIEYE_FUNCS_DIR": str(data / "funcs"),
    }
    return LiveServer(directory, environment=environment, data_dir=data)


def make_data(directory: Path, data: Path, *, holds: str) -> None:
    """Make a data directory that holds nothing, little or much."""
    made = directory / "made"
    (made / "funcs").mkdir(parents=True)
    _fill(directory, made, holds)
    # What was left halfway is not taken for whole the next time.
    shutil.move(made, data)


def _fill(directory: Path, data: Path, holds: str) -> None:
    (data / "funcs" / "tickets.py").write_text(FUNCTIONS)
    if holds == "nothing":
        return
    if holds == "much":
        (data / "funcs" / "faulty.py").write_text(FAULTY)
    with start(directory, data) as server:
        fill(server, much=holds == "much")
        # All that it knows is in its database before anybody else writes there.
        server.terminate()
    if holds == "much":
        (database,) = data.glob("*.db")
        write_history(database, calls=MANY_CALLS)


def take(
    browser: Browser, base_url: str, shots: Sequence[Shot], folder: Path, *, width: int, theme: Theme
) -> None:  # fmt: skip
    """Picture each at one width in one theme: whole pages, and of what is opened what the window shows."""
    visits = Visits(browser, base_url, "")
    pages = {who: visits(who, width=width, theme=theme) for who in {shot.who for shot in shots}}
    for shot in shots:
        page = pages[shot.who]
        page.goto(shot.opened_on or shot.path)
        if shot.is_opened and not _open(page, shot):
            continue
        target = folder / f"{shot.name}-{width}-{theme}.png"
        page.screenshot(path=target, full_page=not shot.is_opened)
        _tell_what_is_too_wide(page, target.name)
    visits.close()
    for fault in visits.faults:
        print(fault)


def _open(page: Page, shot: Shot) -> bool:
    """Follow the link or press the key; False where a page of its own comes, as on a phone."""
    if shot.key:
        page.keyboard.press(shot.key)
        page.wait_for_timeout(400)
        return True
    page.locator(f'a[href="{shot.path}"]').first.dispatch_event("click")
    opened = page.locator("#drawer:not([hidden]) .drawer-body, dialog#dialog[open] *").first
    page.wait_for_timeout(400)
    return opened.is_visible()


def _tell_what_is_too_wide(page: Page, name: str) -> None:
    wider = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    if wider > 0:
        print(f"{name}: scrolls sideways by {wider} px")


def find_shots(base_url: str) -> list[Shot]:
    """All pages: those with a fixed path, and of each other the first that a page links to.

    Of each kind a few are looked into: not the first of all has versions, documents or a successor.
    """
    shots = [Shot(path, who=None) for path in FOR_ANYBODY]
    seen: Counter[str] = Counter()
    with httpx.Client(base_url=base_url, trust_env=False, timeout=60) as client:
        client.post("/login", data={"email": EMAIL, "password": PASSWORD})
        # Whoever is not signed in is sent on from there.
        queue = ["/", *page_paths()]
        shots += [Shot(path) for path in queue]
        for path in queue:
            for link, is_opened in _links(client, path):
                kind = _kind_of(link)
                if kind is None or seen[kind] == LOOKED_INTO or link in queue:
                    continue
                queue.append(link)
                seen[kind] += 1
                if seen[kind] == 1:
                    shots.append(Shot(link))
                    if is_opened:
                        shots.append(Shot(link, opened_on=path))
    for kind in set(_KINDS) - set(seen):
        print(f"no page links to one of {kind}")
    return [*shots, *(Shot("/", key=key) for key in KEYS), *(Shot(path) for path in NOT_THERE)]


def _kind_of(link: str) -> str | None:
    """The path of the kind of things of which the page behind a link shows one; None for any other."""
    path, _, query = link.partition("?")
    if path in _FIXED:
        return None
    kind = next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(path)), None)
    return f"{kind}?with" if kind and query.startswith("with=") else kind


def _links(client: httpx.Client, path: str) -> Iterator[tuple[str, bool]]:
    """The links of a page, each with whether it opens a drawer or a dialog."""
    text = client.get(path).text
    for found in _LINK.finditer(text):
        link = urlsplit(urljoin(path, unescape(found[1])))
        # All links of a table may open the drawer.
        told, ended = (text.rfind(mark, 0, found.start()) for mark in (_ALL_OPEN, "</tbody>"))
        is_opened = told > ended or bool(_OPENS.search(found[0]))
        yield link.path + (f"?{link.query}" if link.query else ""), is_opened


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.screenshots", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--holds", choices=HOLDS, default="little")
    parser.add_argument("--only", default="", metavar="PATTERN")
    parser.add_argument("--width", type=int, action="append", choices=WIDTHS)
    parser.add_argument("--theme", action="append", choices=THEMES)
    asked = parser.parse_intermixed_args()
    main(
        asked.folder, asked.paths, data=asked.data, holds=asked.holds, only=asked.only,
        widths=asked.width or WIDTHS, themes=asked.theme or THEMES,
    )  # fmt: skip
