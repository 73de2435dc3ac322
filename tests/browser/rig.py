"""Visits: pages of a browser that note each fault, and what tests ask of a page."""

from __future__ import annotations

import re
from typing import Any, Literal

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    Response,
    StorageState,
)

from aieye.ui import site

EMAIL, PASSWORD = "ada@example.org", "a quiet river at dawn"

# What a browser kept of whoever was signed in: by server, address and password.
_sessions: dict[tuple[str, str, str], StorageState] = {}

# What a page may be refused with, on purpose; chromium writes each into the console too.
_REFUSALS = frozenset({400, 401, 403, 404, 405, 409, 422, 429})
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Downloads and streams are no pages.
_NO_PAGE = re.compile(r"\.(csv|json|jsonl|txt)$|/(export|live|events|stream|tail)$")


def is_page(path: str) -> bool:
    """Whether a browser shows what is at `path`."""
    return not path.startswith("/static/") and _NO_PAGE.search(path) is None


def page_paths() -> list[str]:
    """The paths of all pages that somebody signed in can open without knowing an id."""
    return [
        one.path
        for one in site.find_pages()
        if one.method == "GET"
        and "{" not in one.path
        and is_page(one.path)
        and one.access in {"user", "administrator"}
    ]


class Visits:
    """The pages that a test opened, and what went wrong in them."""

    def __init__(self, browser: Browser, base_url: str, axe: str) -> None:
        self._browser = browser
        self._axe = axe
        self._contexts: list[BrowserContext] = []
        self.base_url = base_url
        self.faults: list[str] = []
        # Whether a page that asks before it is left may be; None where none should ask.
        self.may_leave: bool | None = None
        self.asked = 0

    def __call__(
        self,
        email: str | None = EMAIL,
        password: str = PASSWORD,
        *,
        width: int = 1440,
        theme: Literal["light", "dark"] = "light",
        scripts: bool = True,
    ) -> Page:
        """A page of somebody signed in, or of nobody (None); with its own cookies."""
        context = self._browser.new_context(
            base_url=self.base_url,
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            java_script_enabled=scripts,
            permissions=["clipboard-read", "clipboard-write"],
            timezone_id="Europe/Berlin",
            storage_state=_sessions.get((self.base_url, email or "", password)),
        )
        self._contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on(
            "dialog",
            self._note_dialog,
        )
        page.on("response", self._note_response)
        page.on("requestfailed", self._note_failure)
        page.on("request", self._note_request)
        if email is not None:
            self._sign_in(context, email, password)
        return page

    def _sign_in(self, context: BrowserContext, email: str, password: str) -> None:
        """Be signed in, by the session that this person has already if it is still good.

        A server checks a password slowly on purpose.
        """
        if context.cookies() and context.request.get("/account", max_redirects=0).ok:
            return
        answer = context.request.post("/login", form={"email": email, "password": password})
        assert answer.ok, answer.text()
        _sessions[self.base_url, email, password] = context.storage_state()

    def check_accessible(self, page: Page) -> None:
        """Fail with what axe finds wrong by the rules of WCAG 2.2 AA."""
        # What moves in is read when it has arrived.
        page.evaluate(
            "() => Promise.allSettled(document.getAnimations()"
            ".filter(one => one.effect.getComputedTiming().endTime !== Infinity).map(one => one.finished))"
        )
        page.evaluate(self._axe)
        found: dict[str, Any] = page.evaluate(
            "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", _RULES
        )
        wrong = [
            f"{one['id']}: {one['help']}\n    " + "\n    ".join(
                f"{node['html'][:160]} {node['failureSummary'][:240]!r}" for node in one["nodes"][:4]
            )
            for one in found["violations"]
        ]  # fmt: skip
        assert not wrong, f"{page.url}:\n  " + "\n  ".join(wrong)

    def weigh(self, page: Page) -> list[int]:
        """A list whose one number grows by the bytes that `page` gets over the wire."""
        weight = [0]

        def add(event: dict[str, Any]) -> None:
            weight[0] += int(event["encodedDataLength"])

        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", add)
        return weight

    def check(self) -> None:
        """Fail with what went wrong in any of the pages."""
        assert not self.faults, "\n".join(self.faults)

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _note_console(self, message: ConsoleMessage) -> None:
        # The answer itself is looked at in `_note_response`.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def _note_dialog(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload" and self.may_leave is not None:
            self.asked += 1
            return dialog.accept() if self.may_leave else dialog.dismiss()
        self.faults.append(f"dialog: {dialog.message}")
        return dialog.dismiss()

    def _note_response(self, response: Response) -> None:
        is_refusal = response.status in _REFUSALS and "/static/" not in response.url
        if response.status >= 400 and not is_refusal:
            self.faults.append(f"{response.status}: {response.url}")

    def _note_failure(self, request: Request) -> None:
        # A page that is left takes its open requests along.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self.faults.append(f"{request.failure}: {request.url}")

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.base_url, "data:", "blob:")):
            self.faults.append(f"another place: {request.url}")
