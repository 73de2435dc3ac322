"""The pages as browsers and scripts meet them: set-up, sign-in, home, and what protects them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import MISSING, dataclass, fields
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from aieye.access import users
from aieye.access.attempts import MOST_FAILURES
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.access.sessions import CSRF_COOKIE, SESSION_COOKIE, list_sessions
from aieye.access.setup import FirstStart, first_start
from aieye.db.engine import Database
from aieye.db.tables import User
from aieye.headers import CONTENT_SECURITY_POLICY, SecurityHeaders
from aieye.settings import Settings
from aieye.state import State
from aieye.ui import auth
from aieye.ui import site as pages
from tests.shared import quick_hash

EMAIL, PASSWORD = "root@example.org", "a quiet river at dawn"
# What a browser says of a form that our own page sent.
OWN = {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:8000"}
PUBLIC_URL = "http://127.0.0.1:8000"


def password_hash() -> str:
    """The hash of `PASSWORD`."""
    return quick_hash(PASSWORD)


@dataclass
class Site:
    """The pages over a database, and somebody who looks at them."""

    state: State
    first: FirstStart
    client: httpx.AsyncClient
    another: Callable[[], httpx.AsyncClient]

    async def add_administrator(self) -> User:
        async with self.state.database.write() as session:
            return await users.create_first_administrator(
                session,
                email=EMAIL,
                name="Root",
                password_hash=password_hash(),
                actor=SYSTEM,
            )

    async def sign_in(self, **fields: str) -> httpx.Response:
        """As a script does it."""
        return await self.client.post(
            "/login", data={"email": EMAIL, "password": PASSWORD} | fields
        )

    async def submit(
        self, page: httpx.Response, to: str = r"[^\"]+", **fields: str
    ) -> httpx.Response:
        """Fill in the page's first form, or the one that goes `to`, and send it as a browser does."""
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
        known = {name: unescape(value) for name, value in hidden}
        action = re.search(rf'method="post" action="({to})"', page.text)
        assert action is not None, page.text
        return await self.client.post(action[1], data=known | fields, headers=OWN)

    async def count_sessions(self) -> int:
        async with self.state.database.read() as session:
            return len(await list_sessions(session, 1))


@pytest.fixture
def public_url() -> str:
    return PUBLIC_URL


@pytest.fixture
async def site(database_url: str, tmp_path: Path, public_url: str) -> AsyncIterator[Site]:
    database, cipher = Database(database_url), Cipher(["0123456789abcdefghijklmnopqrstuvwxyz"])
    directory = Directory(database, cipher)
    settings = Settings(data_dir=tmp_path, public_url=public_url)
    await directory.start()
    app = FastAPI()
    app.state.aieye = _state(
        settings=settings, database=database, cipher=cipher, directory=directory
    )
    pages.mount(app)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        transport = httpx.ASGITransport(
            SecurityHeaders(app, is_https=public_url.startswith("https"))
        )

        def another() -> httpx.AsyncClient:
            return httpx.AsyncClient(transport=transport, base_url=public_url)

        client = await stack.enter_async_context(another())
        first = await first_start(database, cipher, directory, settings)
        yield Site(app.state.aieye, first, client, another)


def _state(**parts: Any) -> State:
    """The gateway and what it needs are not there: no page calls a provider."""
    absent = {
        part.name: None
        for part in fields(State)
        if part.init and part.default is MISSING and part.default_factory is MISSING
    }
    return State(**(absent | parts))


def _set_cookies(response: httpx.Response) -> dict[str, str]:
    lines = response.headers.get_list("set-cookie")
    return {line.partition("=")[0]: line.lower() for line in lines}


# -- the first administrator ------------------------------------------------------------------


async def test_the_printed_link_leads_to_a_signed_in_administrator(site: Site) -> None:
    form = await site.client.get(site.first.setup_url or "")
    assert form.status_code == 200
    made = await site.submit(form, email=EMAIL, password=PASSWORD)
    assert (made.status_code, made.headers["location"]) == (303, "/")
    page = await site.client.get("/")
    assert page.status_code == 200
    assert f"<strong>{EMAIL}</strong><span>administrator</span>" in page.text
    assert f"{PUBLIC_URL}/v1" in page.text
    assert "/openapi.json" in page.text
    assert site.state.directory.find_grant(site.first.token_secret or "") is not None
    again = await site.client.get(site.first.setup_url or "")
    assert again.status_code == 404
    assert "not valid" in again.text


@pytest.mark.parametrize(
    ("email", "password", "said"),
    [
        (EMAIL, "short", "at least 10"),
        ("nobody", PASSWORD, "not an e-mail"),
        (EMAIL, EMAIL, "e-mail"),
    ],
)
async def test_a_wrong_entry_keeps_what_was_typed_and_the_link(
    site: Site, email: str, password: str, said: str
) -> None:
    form = await site.client.get(site.first.setup_url or "")
    refused = await site.submit(form, email=email, password=password)
    assert refused.status_code == 422
    assert said in unescape(refused.text)
    assert f'value="{email}"' in refused.text
    assert f'value="{password}"' not in refused.text or password == email
    assert (await site.submit(refused, email=EMAIL, password=PASSWORD)).status_code == 303


async def test_a_guessed_link_makes_nobody(site: Site) -> None:
    assert (await site.client.get("/setup?token=guess")).status_code == 404
    fields = {"token": "guess", "email": EMAIL, "password": PASSWORD}
    assert (await site.client.post("/setup", data=fields)).status_code == 404
    assert (await site.sign_in()).status_code == 401


async def test_another_site_cannot_send_the_set_up_form(site: Site) -> None:
    form = await site.client.get(site.first.setup_url or "")
    token = re.search(r'name="token" value="([^"]+)"', form.text)
    assert token is not None
    fields = {"token": token[1], "email": EMAIL, "password": PASSWORD}
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, OWN):
        refused = await site.client.post("/setup", data=fields, headers=headers)
        assert refused.status_code == 403, headers


async def test_until_somebody_administers_the_pages_say_what_to_do(site: Site) -> None:
    for path in ("/", "/login"):
        page = await site.client.get(path)
        assert page.status_code == 200
        assert "aieye admin create" in page.text
        assert (site.first.setup_url or "?") not in page.text


# -- sign-in ----------------------------------------------------------------------------------


async def test_a_script_signs_in_with_a_form_and_gets_both_cookies(site: Site) -> None:
    await site.add_administrator()
    answer = await site.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookies = _set_cookies(answer)
    assert "httponly" in cookies[SESSION_COOKIE]
    assert "httponly" not in cookies[CSRF_COOKIE]
    assert all("samesite=lax" in line and "path=/" in line for line in cookies.values())
    assert not any("secure" in line for line in cookies.values())
    assert (await site.client.get("/")).status_code == 200


@pytest.mark.parametrize("public_url", ["https://eye.example.org"])
async def test_cookies_are_for_https_only_where_people_come_by_https(site: Site) -> None:
    await site.add_administrator()
    answer = await site.sign_in()
    assert all("; secure" in line for line in _set_cookies(answer).values())
    assert "strict-transport-security" in answer.headers


@pytest.mark.parametrize("path", ["/login", "/login/"])
async def test_a_script_signs_in_with_json(site: Site, path: str) -> None:
    await site.add_administrator()
    answer = await site.client.post(path, json={"email": EMAIL, "password": PASSWORD})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert set(_set_cookies(answer)) == {SESSION_COOKIE, CSRF_COOKIE}


async def test_a_browser_signs_in_and_goes_where_it_wanted_to(site: Site) -> None:
    await site.add_administrator()
    form = await site.client.get("/login?next=/somewhere%3Fa%3D1")
    answer = await site.submit(form, email=EMAIL, password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/somewhere?a=1")
    already = await site.client.get("/login?next=/somewhere")
    assert (already.status_code, already.headers["location"]) == (303, "/somewhere")


async def test_whoever_is_not_signed_in_is_sent_to_sign_in(site: Site) -> None:
    await site.add_administrator()
    answer = await site.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        # A browser without the form's token, as another page of ours would never be.
        (OWN, 403),
        ({}, 303),
    ],
)
async def test_another_site_signs_nobody_in(
    site: Site, headers: Mapping[str, str], status: int
) -> None:
    await site.add_administrator()
    fields = {"email": EMAIL, "password": PASSWORD}
    answer = await site.client.post("/login", data=fields, headers=headers)
    assert answer.status_code == status
    assert await site.count_sessions() == int(status == 303)


async def test_a_failed_sign_in_tells_nothing_about_the_account(site: Site) -> None:
    await site.add_administrator()
    known = await site.sign_in(password="a loud river at noon")
    unknown = await site.sign_in(email="nobody@example.org")
    assert known.status_code == unknown.status_code == 401
    pages = [
        re.sub(r'value="[^"]*"', "", page.text.replace("nobody@example.org", EMAIL))
        for page in (known, unknown)
    ]
    assert pages[0] == pages[1]
    assert EMAIL in known.text
    assert "a loud river at noon" not in known.text
    assert SESSION_COOKIE not in _set_cookies(known)


async def test_a_script_reads_why_it_failed(site: Site) -> None:
    await site.add_administrator()
    wrong = await site.client.post("/login", json={"email": EMAIL, "password": "x"})
    assert (wrong.status_code, list(wrong.json())) == (401, ["detail"])
    missing = await site.client.post("/login", json={"email": EMAIL})
    assert (missing.status_code, missing.json()) == (400, {"password": ["This field is required."]})
    for body in (b"", b"[]", b"{", b'"text"'):
        answer = await site.client.post(
            "/login", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, list(answer.json())) == (400, ["detail"])


async def test_an_incomplete_form_comes_back_with_what_was_typed(site: Site) -> None:
    await site.add_administrator()
    answer = await site.sign_in(password="")
    assert answer.status_code == 422
    assert f'value="{EMAIL}"' in answer.text


async def test_too_many_failures_have_to_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_password: str, _stored: str | None) -> bool:
        return False

    await site.add_administrator()
    monkeypatch.setattr("aieye.access.sessions.verify_password", never)
    for _ in range(MOST_FAILURES):
        assert (await site.sign_in()).status_code == 401
    for answer in (
        await site.sign_in(),
        await site.client.post("/login", json={"email": EMAIL, "password": PASSWORD}),
    ):
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0


async def test_failures_behind_a_proxy_that_is_not_trusted_tell_once_what_to_set(
    site: Site,
) -> None:
    site.client.headers["x-forwarded-for"] = "198.51.100.1"
    auth.warn_of_proxy.cache_clear()
    with capture_logs() as logs:
        for _ in range(3):
            assert (await site.sign_in()).status_code == 401
    told = [line for line in logs if line["event"] == "forwarded_for_not_believed"]
    assert [(line["log_level"], line["setting"]) for line in told] == [
        ("warning", "AIEYE_TRUSTED_PROXIES")
    ]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json"])
async def test_a_body_without_end_is_refused(site: Site, kind: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b"email="
        while sent < 2**24:
            sent += 2**15
            yield b"x" * 2**15

    answer = await site.client.post("/login", content=endless(), headers={"content-type": kind})
    assert answer.status_code in {400, 413}


async def test_after_signing_in_nobody_is_sent_elsewhere(site: Site) -> None:
    await site.add_administrator()
    answer = await site.sign_in(next="//evil.example")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_signing_in_ends_the_session_that_was_there_before(site: Site) -> None:
    await site.add_administrator()
    site.client.cookies.set(SESSION_COOKIE, "planted", domain="127.0.0.1", path="/")
    await site.sign_in()
    first = site.client.cookies[SESSION_COOKIE]
    assert first != "planted"
    await site.sign_in()
    assert site.client.cookies[SESSION_COOKIE] != first
    async with site.another() as thief:
        thief.cookies.set(SESSION_COOKIE, first)
        assert (await thief.get("/")).headers["location"] == "/login"


# -- sign-out ---------------------------------------------------------------------------------


async def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()
    stolen = site.client.cookies[SESSION_COOKIE]
    answer = await site.submit(await site.client.get("/"), "/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert SESSION_COOKIE not in site.client.cookies
    async with site.another() as thief:
        thief.cookies.set(SESSION_COOKIE, stolen)
        assert (await thief.get("/")).headers["location"] == "/login"


async def test_nobody_else_signs_one_out(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()
    token = site.client.cookies[CSRF_COOKIE]
    for headers in (
        {},
        {"x-csrftoken": "wrong"},
        {"x-csrftoken": token, "sec-fetch-site": "cross-site"},
        {"x-csrftoken": token, "origin": "https://evil.example"},
    ):
        assert (await site.client.post("/logout", headers=headers)).status_code == 403
    assert (await site.client.get("/logout")).status_code == 405
    assert (await site.client.get("/")).status_code == 200
    out = await site.client.post("/logout", headers={"x-csrftoken": token})
    assert out.status_code == 303


# -- every page -------------------------------------------------------------------------------


async def _every_page(site: Site) -> list[httpx.Response]:
    pages = [await site.client.get(path) for path in ("/", "/login", "/setup?token=guess")]
    pages.append(await site.client.get(site.first.setup_url or ""))
    await site.add_administrator()
    pages += [await site.client.get("/login"), await site.sign_in(password="wrong")]
    await site.sign_in()
    return [*pages, await site.client.get("/")]


async def test_every_page_is_protected_and_has_nothing_inline(site: Site) -> None:
    for page in await _every_page(site):
        assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        # Under the header alone, browsers would send `Origin: null` with our own forms.
        assert '<meta name="referrer" content="same-origin">' in page.text
        assert (
            re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=|javascript:", page.text)
            is None
        )


async def test_every_page_tells_of_the_simulated_provider(site: Site) -> None:
    for page in await _every_page(site):
        assert "Simulated provider" not in page.text
    site.state.directory.set_demo("http://127.0.0.1:9/v1", forced=True)
    await site.state.directory.refresh()
    page = await site.client.get("/")
    assert "Simulated provider" in page.text
    assert "simulated:</span>" in page.text


async def test_what_somebody_typed_is_text_and_never_markup(site: Site) -> None:
    await site.add_administrator()
    payload = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    page = await site.sign_in(email=payload)
    assert "<script>" not in page.text
    assert payload in unescape(page.text)
    site.client.cookies.set(CSRF_COOKIE, "'><script>")
    assert "<script>" not in (await site.client.get("/login")).text


async def test_static_files_are_kept_for_ever_under_names_of_their_content(site: Site) -> None:
    page = await site.client.get("/")
    addresses = set(re.findall(r'"(/static/[^"]+)"', page.text))
    assert len(addresses) == 6
    for address in addresses:
        file = await site.client.get(address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        assert re.search(r"\.[0-9a-f]{12}\.(css|js|svg)(#[a-z-]+)?$", address)


async def test_static_files_and_pages_come_compressed_where_the_browser_unpacks(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()
    page = await site.client.get("/", headers={"accept-encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    plain = await site.client.get("/", headers={"accept-encoding": "identity, gzip;q=0"})
    assert "content-encoding" not in plain.headers
    (address,) = re.findall(r'href="(/static/app[^"]+css)"', page.text)
    file = await site.client.get(address, headers={"accept-encoding": "br, gzip"})
    same = await site.client.get(address, headers={"accept-encoding": "br"})
    assert file.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in same.headers
    assert file.content == same.content
    assert int(file.headers["content-length"]) < len(same.content) / 4


# -- one's own account ------------------------------------------------------------------------


async def test_the_account_lists_ones_sessions_and_ends_them(site: Site) -> None:
    await site.add_administrator()
    async with site.another() as elsewhere:
        await elsewhere.post("/login", data={"email": EMAIL, "password": PASSWORD})
        await site.sign_in()
        account = await site.client.get("/account")
        assert account.text.count("/end") == 2 + 1
        assert account.text.count("this one") == 1
        ends = re.findall(r'action="(/account/sessions/[0-9a-f]{64}/end)"', account.text)
        async with site.state.database.read() as session:
            own = next(
                one for one in await list_sessions(session, 1)
                if one.csrf_token == site.client.cookies[CSRF_COOKIE]
            )  # fmt: skip
        (other,) = (path for path in ends if own.digest not in path)
        ended = await site.submit(account, other)
        assert (ended.status_code, ended.headers["location"]) == (303, "/account")
        assert (await elsewhere.get("/")).headers["location"] == "/login"
        assert "has ended" in (await site.client.get("/account")).text
        # What was said once is not said again.
        assert "has ended" not in (await site.client.get("/account")).text
    out = await site.submit(account, "/account/sessions/end-all")
    assert out.headers["location"] == "/login"
    assert await site.count_sessions() == 0


async def test_nobody_ends_the_session_of_somebody_else(site: Site) -> None:
    await site.add_administrator()
    async with site.state.database.write() as session:
        ada = await users.create_user(
            session, email="ada@example.org", password_hash=password_hash(), actor=SYSTEM
        )
    await site.sign_in()
    async with site.another() as other:
        await other.post("/login", data={"email": ada.email, "password": PASSWORD})
        async with site.state.database.read() as session:
            (hers,) = await list_sessions(session, ada.id)
        answer = await site.client.post(
            f"/account/sessions/{hers.digest}/end",
            headers=OWN | {"x-csrftoken": site.client.cookies[CSRF_COOKIE]},
        )
        assert answer.status_code == 404
        assert (await other.get("/")).status_code == 200


@pytest.mark.parametrize(
    ("present", "new", "said"),
    [
        ("a loud river at noon", "another quiet river", "not the present"),
        (PASSWORD, "short", "at least 10"),
    ],
)
async def test_a_password_is_not_changed_without_the_present_one_or_to_a_bad_one(
    site: Site, present: str, new: str, said: str
) -> None:
    await site.add_administrator()
    await site.sign_in()
    account = await site.client.get("/account")
    fields = {"current_password": present, "password": new}
    answer = await site.submit(account, "/account/password", **fields)
    assert answer.status_code == 422
    assert said in unescape(answer.text)
    assert present not in answer.text
    assert f'value="{new}"' not in answer.text
    assert (await site.sign_in()).status_code == 303


async def test_another_password_ends_all_sessions_but_a_new_one_here(site: Site) -> None:
    await site.add_administrator()
    async with site.another() as elsewhere:
        await elsewhere.post("/login", data={"email": EMAIL, "password": PASSWORD})
        await site.sign_in()
        before = site.client.cookies[SESSION_COOKIE]
        account = await site.client.get("/account")
        new = "another quiet river"
        done = await site.submit(
            account, "/account/password", current_password=PASSWORD, password=new
        )
        assert (done.status_code, done.headers["location"]) == (303, "/account")
        assert site.client.cookies[SESSION_COOKIE] != before
        assert (await site.client.get("/account")).status_code == 200
        assert (await elsewhere.get("/")).headers["location"] == "/login"
    assert (await site.sign_in()).status_code == 401
    assert (await site.sign_in(password=new)).status_code == 303


async def test_a_name_of_ones_own_is_text_and_a_wrong_one_keeps_what_was_typed(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()
    account = await site.client.get("/account")
    payload = "<img src=x onerror=alert(1)>"
    assert (await site.submit(account, "/account/name", name=payload)).status_code == 303
    page = await site.client.get("/account")
    assert "<img src=x" not in page.text
    assert payload in unescape(page.text)
    wrong = await site.submit(page, "/account/name", name="a\x07b")
    assert wrong.status_code == 422


async def test_a_theme_is_kept_in_a_cookie_and_leads_nowhere_else(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()
    page = await site.client.get("/account")
    assert "data-theme=" not in page.text
    answer = await site.submit(page, "/theme", theme="dark", next="//evil.example")
    assert answer.headers["location"] == "/"
    assert 'data-theme="dark"' in (await site.client.get("/account")).text
    await site.submit(page, "/theme", theme="system", next="/account")
    assert "data-theme=" not in (await site.client.get("/account")).text
    site.client.cookies.set("theme", '"><script>')
    assert "data-theme=" not in (await site.client.get("/account")).text


@pytest.mark.parametrize(
    "cookie", ["", "x", "W10=", "eyJhIjoxfQ==", "WyJnb29kIiwgMV0=", "%00", "////"]
)
async def test_a_message_that_nobody_left_is_not_shown(site: Site, cookie: str) -> None:
    site.client.cookies.set("toast", cookie)
    assert (await site.client.get("/login")).status_code == 200


async def test_a_part_of_a_page_that_fails_says_so_in_its_place(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()
    part = {"hx-request": "true", "hx-request-type": "partial", "hx-target": "div#sessions"}
    found = await site.client.get("/account", headers=part)
    assert "<html" not in found.text
    assert "this one" in found.text
    asked = await site.client.get("/components?rows=many", headers=part)
    assert (asked.status_code, "<html" in asked.text) == (422, False)
    assert "Try again" in asked.text
    token = {"x-csrftoken": site.client.cookies[CSRF_COOKIE]}
    sent = await site.client.post("/account/sessions/x/end", headers=OWN | part | token)
    assert (sent.status_code, sent.headers["hx-reswap"], sent.text) == (404, "none", "")
    assert "is not there" in sent.headers["hx-trigger"]
