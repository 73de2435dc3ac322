"""A real browser in front of a real server: what pages do there, and that nothing goes wrong unseen.

Chromium is the system's (`apt-get install chromium`), driven by Playwright. Whatever a page writes to the
console as an error, every violation of the content security policy, every exception and every file that
does not come fails the test that met it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.rig import EMAIL, PASSWORD, Visits
from tests.conftest import NODE_DIRECTORY
from tests.live import LiveServer
from tests.tools import not_run

# A machine that has other work besides is slow, not wrong.
expect.set_options(timeout=30_000)

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# For each new profile chromium makes pages of its own ready, for what is typed into its address bar, which
# takes longer than to open one of ours. The last list counts: what Playwright turns off is said again.
TURNED_OFF = (
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a chromium."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        not_run("the pages in a browser", "chromium (`apt-get install chromium`)")
    return path


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, which looks for what keeps people out."""
    path = NODE_DIRECTORY / "node_modules" / "axe-core" / "axe.min.js"
    if not path.is_file():
        not_run("accessibility of the pages", "the package `axe-core`: run `make test` or `npm ci`")
    return path.read_text()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for all tests of a module; each visit has a profile of its own.

    No longer than that: while Playwright runs, no other loop can in this thread, such as that of the
    asynchronous tests which the same process may have to run next.
    """
    with sync_playwright() as playwright:
        # Its sandbox needs rights that a container's root has not; it meets our own pages only.
        started = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", f"--disable-features={','.join(TURNED_OFF)}"],
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """An `aieye serve` with the simulated provider and the administrator `EMAIL`, for one module."""
    directory: Path = tmp_path_factory.mktemp("server")
    environment = {"AIEYE_ADMIN_EMAIL": EMAIL, "AIEYE_ADMIN_PASSWORD": PASSWORD}
    with LiveServer(directory, environment=environment) as started:
        yield started


@pytest.fixture
def visits(browser: Browser, server: LiveServer, axe: str) -> Iterator[Visits]:
    """Opens pages: `visits()` is one of the administrator. Fails if any met a fault."""
    opened = Visits(browser, server.base_url, axe)
    try:
        yield opened
        opened.check()
    finally:
        opened.close()
