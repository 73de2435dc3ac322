"""Pictures of every page with data, in light and dark, wide and narrow:

python -m tests.browser.screenshots FOLDER [--data DIRECTORY] [PATH ...]

`--data` is a data directory to start from, such as one that `python -m bench.history` filled; without
it, some calls are made in a new one.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import httpx
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUMS
from tests.browser.rig import EMAIL, PASSWORD, Visits, page_paths
from tests.live import LiveServer

WIDTHS = (1440, 390)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
MODELS = ("gpt-4o-mini", "gpt-4o", "o4-mini", "gpt-4.1", "our-own-model")
QUESTIONS = 40


def main(folder: Path, paths: list[str], data: Path | None) -> None:
    """Take the pictures of `paths`, of all pages where none is given, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"AIEYE_ADMIN_EMAIL": EMAIL, "AIEYE_ADMIN_PASSWORD": PASSWORD}
    chromium = next(filter(None, map(shutil.which, CHROMIUMS)))
    with (
        tempfile.TemporaryDirectory() as directory,
        LiveServer(Path(directory), environment=environment, data_dir=data) as server,
        sync_playwright() as playwright,
    ):
        if data is None:
            ask(server)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        visits = Visits(browser, server.base_url, "")
        for theme in THEMES:
            for width in WIDTHS:
                page = visits(width=width, theme=theme)
                for path in paths or page_paths():
                    page.goto(path)
                    name = re.sub(r"\W+", "-", path).strip("-") or "overview"
                    page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
        visits.close()
        browser.close()


def ask(server: LiveServer) -> None:
    """Make calls as programs do: some of them twice, so that the cache answers."""
    token = re.search(r"aie_\w+", server.output())
    assert token is not None, server.output()
    headers = {"Authorization": f"Bearer {token[0]}"}
    with httpx.Client(base_url=server.base_url, headers=headers, trust_env=False) as client:
        for number in range(QUESTIONS):
            for _ in range(1 + number % 4):
                body = {
                    "model": MODELS[number % len(MODELS)],
                    "messages": [{"role": "user", "content": f"What is {number // 2} squared?"}],
                }
                client.post("/v1/chat/completions", json=body, timeout=30)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.screenshots", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_intermixed_args()
    main(asked.folder, asked.paths, asked.data)
