"""Every page × every role × nobody, walked from the pages' own table; and what holds for all of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from sqlalchemy import func, select

from aieye.access import users
from aieye.access.audit import SYSTEM
from aieye.access.sessions import SESSION_COOKIE, start_session
from aieye.app import create_app
from aieye.db.tables import Base
from aieye.headers import CONTENT_SECURITY_POLICY
from aieye.settings import Settings
from aieye.state import State
from aieye.ui import site, static
from aieye.ui.pages import PageRoute
from aieye.ui.session import anyone
from tests.servers import DatabaseKind

# Whatever a page below these says of itself, it is for administrators: the table's own oracle.
FOR_ADMINISTRATORS = (
    "/components", "/providers", "/routes", "/users", "/settings", "/audit",
)  # fmt: skip
# Nobody has to be signed in here, and there are no others.
FOR_ANYONE = {"/", "/login", "/login/", "/logout", "/setup", "/invitation"}
# Where a sign-in or the lack of one leads elsewhere, with its own tests in test_pages.py.
DOORS = FOR_ANYONE - {"/"}
# Streams that go on until the browser leaves; who gets in is another matter than what they say.
ENDLESS = re.compile(r"/(live|events|stream|tail)$")
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
BASE_URL = "http://127.0.0.1:8000"
OWN = {"origin": BASE_URL, "sec-fetch-site": "same-origin"}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the pages: a browser's cookies, and the token that its forms hold."""

    client: httpx.AsyncClient
    csrf_token: str = ""

    async def take(self, page: site.Page, **headers: str) -> httpx.Response:
        """Go to a page as its form or link does, with ids of nothing."""
        path = re.sub(r"\{[^}]+\}", "987654", page.path)
        given = {**OWN, "x-csrftoken": self.csrf_token, "accept": "text/html"} | headers
        is_form = page.method in UNSAFE
        return await self.client.request(
            page.method, path, data={} if is_form else None, headers=given
        )


@dataclass(frozen=True, slots=True, repr=False)
class House:
    """The whole service, an administrator, a plain user, and nobody. All of that in the words of a test
    that fails would take minutes to write."""

    state: State
    administrator: Person
    user: Person
    nobody: Person
    service: Any


@pytest.fixture
def database_kind() -> DatabaseKind:
    """One is enough: who may see what is decided before any database."""
    return "sqlite"


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    service = create_app(Settings(data_dir=tmp_path, database_url=database_url))
    app: FastAPI = service.fastapi
    async with app.router.lifespan_context(app):
        state: State = app.state.aieye
        async with state.database.write() as session:
            root = await users.create_first_administrator(
                session, email="root@example.org", password_hash="x", actor=SYSTEM
            )
            ada = await users.create_user(
                session, email="ada@example.org", password_hash="x", actor=SYSTEM
            )
        people = []
        for user_id in (root.id, ada.id, None):
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(service), base_url=BASE_URL, timeout=30
            )
            token = ""
            if user_id is not None:
                async with state.database.write() as session:
                    begun = await start_session(session, user_id, ip="127.0.0.1")
                client.cookies.set(SESSION_COOKIE, begun.cookie)
                token = begun.csrf_token
            people.append(Person(client, token))
        administrator, user, nobody = people
        yield House(state, administrator, user, nobody, service)
        for person in people:
            await person.client.aclose()


def pages_of(*access: str) -> list[site.Page]:
    return [page for page in site.find_pages() if page.access in access]


def ending(pages: Iterable[site.Page]) -> list[site.Page]:
    """Those of the pages whose answer ends."""
    return [page for page in pages if not ENDLESS.search(page.path)]


def test_the_table_of_pages_says_what_was_meant() -> None:
    for page in site.find_pages():
        if page.path.startswith(FOR_ADMINISTRATORS):
            assert page.access == "administrator", page
        assert (page.access == "anyone") == (page.path in FOR_ANYONE), page


async def test_nobody_is_sent_to_sign_in_and_comes_back(house: House) -> None:
    for page in pages_of("user", "administrator"):
        answer = await house.nobody.take(page)
        assert answer.status_code == 303, page
        assert answer.headers["location"].startswith("/login"), page
        if page.method == "GET":
            assert "next=%2F" in answer.headers["location"], page
        # htmx is told so in its own way, and a program in JSON.
        part = await house.nobody.take(page, **{"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"][:6]) == (204, "/login"), page
        stream = await house.nobody.take(page, accept="text/event-stream")
        assert (stream.status_code, stream.text) == (204, ""), page
        program = await house.nobody.take(page, accept="application/json")
        assert (program.status_code, list(program.json())) == (401, ["detail"]), page


async def test_a_user_gets_no_administrators_page_and_an_administrator_gets_each(
    house: House,
) -> None:
    for page in pages_of("administrator"):
        assert (await house.user.take(page)).status_code == 403, page
        if ENDLESS.search(page.path):
            continue
        answer = await house.administrator.take(page)
        assert answer.status_code in {200, 204, 303, 400, 404, 409, 422}, (page, answer.text)


async def test_every_page_of_users_opens_for_both(house: House) -> None:
    for page in ending(pages_of("user", "anyone")):
        if page.path in DOORS:
            continue
        for person in (house.user, house.administrator):
            if page.path == "/account/sessions/end-all":
                continue
            answer = await person.take(page)
            # With ids of nothing, and forms without a word: what is wrong is said, and that is all.
            assert answer.status_code in {200, 204, 303, 400, 404, 409, 422}, (page, answer.text)
            assert not answer.headers.get("location", "").startswith("/login"), page


async def test_no_form_of_another_site_and_none_without_the_token_does_anything(
    house: House,
) -> None:
    before = await _counts(house.state)
    token = house.administrator.csrf_token
    refused: tuple[dict[str, str], ...] = (
        {"x-csrftoken": ""},
        {"x-csrftoken": "wrong"},
        {"x-csrftoken": token, "sec-fetch-site": "cross-site"},
        {"x-csrftoken": token, "sec-fetch-site": "same-site"},
        {"x-csrftoken": token, "origin": "https://evil.example", "sec-fetch-site": ""},
    )
    for page in site.find_pages():
        if page.method in UNSAFE and page.path not in DOORS - {"/logout"}:
            for headers in refused:
                answer = await house.administrator.take(page, **headers)
                assert answer.status_code == 403, (page, headers)
    assert await _counts(house.state) == before


async def test_looking_changes_nothing(house: House) -> None:
    gets = [page for page in ending(site.find_pages()) if page.method == "GET"]
    for page in gets:
        await house.administrator.take(page)
    before = await _counts(house.state)
    for page in gets:
        await house.administrator.take(page)
    assert await _counts(house.state) == before


async def test_what_answers_get_answers_head_the_same_without_a_body(house: House) -> None:
    gets = [page for page in site.find_pages() if page.method == "GET"]
    gets.append(site.Page("GET", static.url("app.css"), "anyone"))
    for page in gets:
        for person in (house.administrator, house.nobody):
            head = await person.take(replace(page, method="HEAD"))
            assert head.content == b"", page
            if ENDLESS.search(page.path) and head.status_code == 200:
                # It is there and says what it is; a GET would go on for ever.
                assert head.headers["content-type"].startswith("text/event-stream"), page
                continue
            answer = await person.take(page)
            assert (head.status_code, shown(head)) == (answer.status_code, shown(answer)), page


def shown(answer: httpx.Response) -> dict[str, str]:
    """Its headers, without what differs from answer to answer."""
    # The length of a page too: the secrets in it are masked anew, and compress differently.
    return {
        name: re.sub(r"csrftoken=\w+", "", value)
        for name, value in answer.headers.items()
        if name not in {"x-request-id", "content-length"}
    }


async def test_every_answer_has_the_headers_that_protect_it_and_nothing_inline(
    house: House,
) -> None:
    for page in ending(site.find_pages()):
        if page.method != "GET":
            continue
        for person in (house.administrator, house.user, house.nobody):
            answer = await person.take(page)
            assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY, page
            assert answer.headers["x-content-type-options"] == "nosniff", page
            assert answer.headers["cache-control"] == "no-store", page
            if not answer.headers.get("content-type", "").startswith("text/html"):
                continue
            inline = re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=", answer.text)
            assert inline is None, (page, inline)
            forms = re.findall(r"<form[^>]*method=\"post\".*?</form>", answer.text, re.DOTALL)
            assert all('name="csrf_token"' in form for form in forms), page


def test_a_page_that_does_not_say_who_may_see_it_keeps_the_server_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_router = APIRouter(route_class=PageRoute)
    open_router.add_api_route("/forgotten", _show, methods=["GET"])
    past_the_check = APIRouter(dependencies=[Depends(anyone)])
    past_the_check.add_api_route("/unchecked", _show, methods=["POST"])
    for router, name in ((open_router, "GET /forgotten"), (past_the_check, "POST /unchecked")):
        module = type("module", (), {"router": router})
        monkeypatch.setattr(site, "MODULES", (module,))
        with pytest.raises(RuntimeError, match=name):
            site.mount(FastAPI())


async def _show() -> None:
    """A page without a policy."""


async def _counts(state: State) -> dict[str, int]:
    """How many rows each table has; sessions and what is noted of them in passing aside."""
    async with state.database.read() as session:
        return {
            table.name: await session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }
