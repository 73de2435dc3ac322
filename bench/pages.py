"""`python -m bench.pages DIRECTORY`: how long the server takes over each page, with the data there.

DIRECTORY is a data directory of SQLite, such as one that `bench.history` filled. A server starts on it,
an administrator signs in, and in each of the rounds every page is asked once, so that no page has the
others' time to itself. The first round is told apart: it meets a process that has read nothing yet. Of what
people write the first of each list is asked too, such as those that `bench.written` made.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import httpx

from bench.machine import SERVER_CORE
from bench.processes import NotMeasured, free_port, python, running

# A text search may take five times as long as any other page.
MOST_MS: Final = 100
MOST_TEXT_MS: Final = 500
PAGES: Final = (
    "/", "/?range=15m", "/?range=1h", "/?range=7d", "/?range=30d", "/?range=30d&by=token&measure=requests",
    "/calls", "/calls?range=30d", "/calls?range=30d&status=failed", "/calls?range=30d&cache=hit",
    "/calls?range=30d&latency=20000", "/calls?range=30d&q=warranty", "/cache", "/tokens",
    "/providers", "/routes", "/users", "/settings", "/audit", "/prompts", "/functions", "/pipelines",
    "/presets", "/search?q=gpt", "/account", "/playground", "/pipelines/new",
)  # fmt: skip
# By list, how the address of one of it begins, and its pages.
_ONE_OF: Final = {
    "/prompts": (r"/prompts/\d+", ("", "/versions", "/edit", "/delete")),
    "/presets": (r"/presets/[\w-]{20}", ("", "/versions", "/edit", "/delete")),
    "/pipelines": (r"/pipelines/\d+", ("", "/versions", "/edit", "/delete")),
    "/functions": (r"/functions/\w+", ("",)),
}


def main() -> None:
    """Measure, and print a line a page: milliseconds of the first round, and over the others."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--email", default="bench@example.org", help="made where nobody is yet")
    parser.add_argument("--password", default="a long enough passphrase")
    asked = parser.parse_args()
    port = free_port()
    environment = {
        "AIEYE_DATA_DIR": str(asked.directory.resolve()),
        "AIEYE_ADMIN_EMAIL": asked.email,
        "AIEYE_ADMIN_PASSWORD": asked.password,
    }
    serve = python("aieye", "serve", "--port", str(port))
    with (
        tempfile.TemporaryDirectory() as place,
        running(serve, core=SERVER_CORE, directory=Path(place), name="pages", environment=environment)
        as child,
    ):  # fmt: skip
        child.wait_for(port, "/readyz", seconds=300)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            form = {"email": asked.email, "password": asked.password}
            signed_in = client.post("/login", data=form)
            if signed_in.status_code != httpx.codes.SEE_OTHER:
                raise NotMeasured(f"Signing in was answered with {signed_in.status_code}.")
            first = [_ask(client, path) for path in PAGES]
            pages = (*PAGES, *_found(client))
            first += [_ask(client, path) for path in pages[len(PAGES) :]]
            later = [[_ask(client, path) for path in pages] for _ in range(1, asked.rounds)]
    _print(pages, [first, *later])


def _found(client: httpx.Client) -> Iterator[str]:
    """The pages of the first that each list has."""
    for place, (pattern, pages) in _ONE_OF.items():
        one = re.search(f'href="({pattern})"', client.get(place).text)
        yield from (f"{one[1]}{page}" for page in pages) if one else ()


def _ask(client: httpx.Client, path: str) -> float:
    """Milliseconds until the whole page was there. Raises `NotMeasured`."""
    began = time.perf_counter()
    answer = client.get(path)
    taken = (time.perf_counter() - began) * 1_000
    if answer.status_code != httpx.codes.OK:
        raise NotMeasured(f"{path} was answered with {answer.status_code}.")
    return taken


def _print(pages: Sequence[str], rounds: Sequence[Sequence[float]]) -> None:
    print(f"{'page':42} {'first':>7} {'p50':>7} {'p95':>7} {'at most':>8}")
    for number, path in enumerate(pages):
        later = sorted(one[number] for one in rounds[1:])
        p50, p95 = (later[min(len(later) - 1, int(share * len(later)))] for share in (0.5, 0.95))
        most = MOST_TEXT_MS if "&q=" in path else MOST_MS
        verdict = "met" if p95 < most else "MISSED"
        first = rounds[0][number]
        print(f"{path:42} {first:7.1f} {p50:7.1f} {p95:7.1f} {most:8} {verdict}")


if __name__ == "__main__":
    main()
