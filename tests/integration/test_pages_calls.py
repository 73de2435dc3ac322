"""The pages of calls and the overview: whose calls they show, what a URL may ask, files, live rows."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import httpx
import orjson
import pytest
from fastapi import FastAPI

from aieye.access import providers, users
from aieye.access.audit import SYSTEM
from aieye.access.directory import USER
from aieye.cache.service import Cache, CacheLimits
from aieye.db.types import now
from aieye.headers import STOPPING
from tests.integration.ledger_api import Ledger, call, request, running_ledger
from tests.integration.test_pages import EMAIL, PASSWORD, Site, password_hash, public_url, site
from tests.live import LiveServer

__all__ = ["public_url", "site"]

# The queries that pages make are tested on both databases; pages are not made otherwise on one.
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

ADA = "ada@example.org"


@pytest.fixture
async def ledger(site: Site) -> AsyncIterator[Ledger]:
    """Where calls are booked; an administrator is signed in as `site.client`."""
    await site.add_administrator()
    await site.sign_in()
    async with running_ledger(site.state.database) as ledger:
        cache = Cache(ledger.database, ledger.writer, CacheLimits(2**20, 2**30))
        await cache.start()
        site.state.cache = cache
        yield ledger
        await cache.close()


async def as_ada(site: Site) -> tuple[int, httpx.AsyncClient]:
    """A user who is no administrator: the id, and a client that is signed in."""
    async with site.state.database.write() as session:
        ada = await users.create_user(
            session, email=ADA, role=USER, password_hash=password_hash(), actor=SYSTEM
        )
        ada_id = ada.id
    client = site.another()
    await client.post("/login", data={"email": ADA, "password": PASSWORD})
    return ada_id, client


async def test_a_user_sees_own_calls_only_on_every_page(site: Site, ledger: Ledger) -> None:
    ada_id, client = await as_ada(site)
    own, other = call(user_id=ada_id, model="own-model"), call(user_id=1, model="other-model")
    for record in (own, other):
        ledger.keep_body(record, request("a needle"), b'{"choices":[]}')
    await ledger.settle(own, other)
    for path in ("/calls", "/", "/calls?q=needle", "/calls/filter", "/calls/export?form=json"):
        page = await client.get(path)
        assert ("own-model" in page.text, "other-model" in page.text) == (True, False), path
    assert "Your requests, newest first" in (await client.get("/calls")).text
    assert "Every request, newest first" in (await site.client.get("/calls")).text
    # A filter by somebody else's number tells nothing, not even a name.
    for path in ("/calls?user=1", f"/calls?token={other.token_id or 1}", "/?token=1"):
        assert EMAIL not in (await client.get(path)).text
    for path in (f"/calls/{other.id}", f"/calls/req_{other.id}", f"/calls/{other.id}?why=1",
                 f"/calls/{other.id}/request.txt"):  # fmt: skip
        assert (await client.get(path)).status_code == 404
    assert (await client.get(f"/calls/{own.id}")).status_code == 200
    await client.aclose()
    assert (await site.client.get(f"/calls/{other.id}")).status_code == 200


async def test_a_key_is_named_in_the_list_and_in_each_attempt_but_only_to_administrators(
    site: Site, ledger: Ledger
) -> None:
    ada_id, client = await as_ada(site)
    async with site.state.database.write() as session:
        provider = await providers.create_provider(
            session, name="acme", base_url="https://acme.example/v1", actor=SYSTEM
        )
        first, second = [
            await providers.add_key(
                session, site.state.cipher, provider_id=provider.id, name="default",
                secret=f"sk-0123456789{end}", actor=SYSTEM,
            )
            for end in ("aaaa", "bbbb")
        ]  # fmt: skip
        await providers.delete_key(session, key_id=first.id, actor=SYSTEM)
    record = call(
        user_id=ada_id, provider_id=provider.id, key_id=second.id,
        attempts=[{"provider": "acme", "key_id": first.id, "status": 429, "ms": 100, "error": "no"},
                  {"provider": "acme", "key_id": second.id, "status": 200, "ms": 250}],
    )  # fmt: skip
    await ledger.settle(record)
    page = unescape((await site.client.get(f"/calls/{record.id}")).text)
    assert "with key</span> default ••••bbbb" in page
    for end in ("aaaa", "bbbb"):
        assert f"<td>default ••••{end}</td>" in page
    assert "<td>default ••••bbbb</td>" in (await site.client.get("/calls?cols=when&cols=key")).text
    for path in (f"/calls/{record.id}", "/calls?cols=when&cols=key"):
        theirs = (await client.get(path)).text
        assert "••••" not in theirs
        assert f"<td>{second.id}</td>" in theirs
    await client.aclose()


async def test_a_call_that_asked_no_model_says_what_it_asked(site: Site, ledger: Ledger) -> None:
    for endpoint in ("models", "unknown"):
        await ledger.settle(call(endpoint=endpoint, model=None, model_asked=None))
    listed = (await site.client.get("/calls")).text
    for said in ("models", "unknown endpoint"):
        assert f'<span class="muted">{said}</span>' in listed


async def test_a_call_is_shown_with_its_texts_time_price_and_code(
    site: Site, ledger: Ledger
) -> None:
    record = call(
        latency_us=900_000, ttft_us=400_000, is_stream=True, usage={"prompt_tokens": 100},
        attempts=[{"provider": "p", "key_id": 1, "status": 429, "ms": 100, "error": "slow down"},
                  {"provider": "p", "key_id": 1, "status": 200, "ms": 250}],
    )  # fmt: skip
    frames = "".join(
        f'data: {{"choices":[{{"delta":{{"content":"{word}"}}}}]}}\n\n' for word in ("Good ", "day")
    )
    ledger.keep_body(record, request("<b>Hello</b>"), f"{frames}data: [DONE]\n\n".encode())
    await ledger.settle(record)
    page = unescape((await site.client.get(f"/calls/{record.id}")).text)
    assert "<b>Hello</b>" not in (await site.client.get(f"/calls/{record.id}")).text
    for said in ("<b>Hello</b>", "Good day", "slow down", "Queue and look-up", "Attempt 1"):
        assert said in page, said
    for language, said in (("curl", "curl "), ("python", "OpenAI("), ("javascript", "new OpenAI(")):
        code = unescape((await site.client.get(f"/calls/{record.id}?code={language}")).text)
        assert said in code
        assert "AIEYE_TOKEN" in code
    why = await site.client.get(f"/calls/{record.id}?why=1")
    assert "Nothing is stored for this model" in why.text
    text = await site.client.get(f"/calls/{record.id}/response.txt")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.headers["content-disposition"].startswith("attachment")
    assert "Good" in text.text


TEXTS = (
    "null", "[1,2]", '{"messages": 5}', '{"messages": [null, {"content": [{}, 3]}]}', "\0", "",
    '{"choices": [{"delta": 7}]}', 'data: {"choices": [[]]}', "data: x\r\rdata:", "{" * 9_000,
    '{"data": [{"embedding": "AAAA"}]}', '{"error": {"message": {"a": 1}}}', "\u2028" * 7_000,
)  # fmt: skip


async def test_whatever_was_recorded_can_be_looked_at(site: Site, ledger: Ledger) -> None:
    for text in TEXTS:
        record = call(usage={"prompt_tokens": "many"}, attempts=[{}], tags={"a": "=1"})
        ledger.keep_body(record, text.encode(), text.encode())
        await ledger.settle(record)
        for query in ("", "?view=json", "?view=raw", "?code=curl", "?code=python", "?why=1"):
            page = await site.client.get(f"/calls/{record.id}{query}")
            assert page.status_code == 200, (text[:80], query)


async def test_a_wrong_filter_says_what_is_wrong_and_keeps_what_was_typed(
    site: Site, ledger: Ledger
) -> None:
    await ledger.settle(call())
    for query, said in (
        ("latency=soon", "a number of milliseconds"), ("cost=-1", "a number of dollars"),
        ("status=99", "a class such as 4xx"), ("token=x", "the number of one"),
        ("tag=team", "such as team=search"), ("cache=maybe", "one of hit"),
        ("stream=perhaps", "yes or no"), ("user=99999999999", "the number of one"),
        ("provider=nobody", "the name or the number of one"),
    ):  # fmt: skip
        page = await site.client.get(f"/calls?{query}&model=m")
        assert (page.status_code, said in page.text) == (422, True), query
        assert "The calls below are shown without it." in page.text
        form = await site.client.get(f"/calls/filter?{query}&model=m")
        assert 'value="m"' in form.text
        assert said in form.text
        export = await site.client.get(f"/calls/export?{query}")
        assert export.status_code == 422
    for query in ("cursor=%00", "cursor=x", "newer=aTE"):
        assert (await site.client.get(f"/calls?{query}")).status_code == 400
    for query in ("by=weather", "measure=joy", "token=x", "model=%00", "provider=-1"):
        assert (await site.client.get(f"/?{query}")).status_code == 200


async def test_a_provider_is_filtered_by_by_its_name_too(site: Site, ledger: Ledger) -> None:
    async with site.state.database.write() as session:
        provider = await providers.create_provider(
            session, name="openai", base_url="https://api.openai.com/v1", actor=SYSTEM
        )
        provider_id = provider.id
    for path in ("/calls", "/calls/export"):
        led = await site.client.get(f"{path}?provider=openai&model=m")
        assert led.status_code == 303
        assert led.headers["location"] == f"{path}?model=m&provider={provider_id}"
    assert (await site.client.get("/calls?provider=nobody")).status_code == 422


async def test_an_empty_overview_says_once_what_to_send(site: Site, ledger: Ledger) -> None:
    sends = r"<code>curl [^<]*/v1/chat/completions"
    page = (await site.client.get("/")).text
    assert len(re.findall(sends, page)) == 1
    assert "Send the first one as it says above" in page
    site.client.cookies.set("steps", "hidden")
    page = (await site.client.get("/")).text
    assert len(re.findall(sends, page)) == 1


async def test_the_parts_of_the_overview_add_up_to_the_whole(site: Site, ledger: Ledger) -> None:
    models = ("a", "a", "b", "c", "d", "e", "f", "g", None, None)
    await ledger.settle(*(call(model=model) for model in models))
    page = unescape((await site.client.get("/?measure=requests")).text)
    panel = re.search(r"<h2>Models</h2>.*?</ol>", page, re.DOTALL)
    assert panel is not None
    assert re.findall(r'class="top-name.*?>(.+?)</', panel[0]) == [
        "a", "b", "c", "d", "e", "2 more", "no model",
    ]  # fmt: skip
    assert sum(map(int, re.findall(r'<span class="num">(\d+)<', panel[0]))) == len(models)
    shares = map(int, re.findall(r"(\d+)\s%", panel[0]))
    assert list(shares) == [20, 10, 10, 10, 10, 20, 20]


async def test_a_model_has_one_colour_in_the_chart_and_in_the_lists_of_every_period(
    site: Site, ledger: Ledger
) -> None:
    await ledger.settle(call(model="first"), call(model="first"))
    await site.client.get("/")
    await ledger.settle(*(call(model=f"an earlier letter {n}") for n in range(4) for _ in "abc"))
    for query in ("", "?measure=requests", "?range=7d", "?model=first"):
        page = (await site.client.get(f"/{query}")).text
        swatch = re.search(r'<rect class="c(\d)" width="8" height="8" rx="2"/></svg>first<', page)
        share = re.search(r"top-name[^>]*>first</a>.*?<rect class=\"c(\d)\"", page, re.DOTALL)
        assert (swatch and swatch[1], share and share[1]) == ("1", "1"), query


@pytest.mark.parametrize(
    "path", ["/", "/calls", "/cache", "/tokens", "/users", "/providers", "/audit"]
)
async def test_a_time_range_that_is_none_is_told_in_its_picker(
    site: Site, ledger: Ledger, path: str
) -> None:
    for query, said in (
        ("range=9y", "no such time range"),
        ("since=never", "The beginning should be a time"),
        ("since=2026-11-02T10:00&until=2026-11-01T10:00", "should end after it begins"),
    ):
        page = await site.client.get(f"{path}?{query}")
        assert page.status_code == 422, query
        assert re.search(f'id="range-error" role="alert">[^<]*{said}', page.text), query
        assert "data-range open" in page.text
        assert 'href="/settings"' in page.text, "the frame stays"
    assert 'name="since" required value="2026-11-02T10:00"' in page.text
    assert 'name="until" value="2026-11-01T10:00"' in page.text


async def test_files_and_streams_of_a_time_range_that_is_none_are_refused(
    site: Site, ledger: Ledger
) -> None:
    for path in ("/calls/export", "/calls/live", "/audit/export"):
        assert (await site.client.get(f"{path}?range=9y")).status_code == 400, path
    form = await site.client.get("/calls/export?form=xml")
    assert "In the address, form should be" in form.text


async def test_the_time_range_goes_along_from_page_to_page(site: Site, ledger: Ledger) -> None:
    page = (await site.client.get("/?range=7d&tz=utc&model=m")).text
    for path in ("/calls", "/cache", "/tokens", "/users", "/providers", "/audit"):
        assert f'class="rail-link" href="{path}?range=7d&amp;tz=utc"' in page, path
    assert 'class="rail-link" href="/settings"' in page


async def test_what_a_form_left_empty_stays_out_of_the_address(site: Site, ledger: Ledger) -> None:
    answer = await site.client.get("/calls?q=&status=failed&model=")
    assert (answer.status_code, answer.headers["location"]) == (303, "/calls?status=failed")


async def test_a_list_goes_on_and_back_and_its_file_holds_all_of_it(
    site: Site, ledger: Ledger
) -> None:
    records = [call(now() - timedelta(minutes=number), status=429) for number in range(70)]
    await ledger.settle(*records, call())
    seen: list[str] = []
    path = "/calls?status=429"
    while path:
        page = await site.client.get(path)
        seen += re.findall(r'href="/calls/([0-9a-f]{32})" data-row-link', page.text)
        onward = re.search(r'href="([^"]+cursor=[^"]+)" hx-get', page.text)
        path = unescape(onward[1]) if onward else ""
    assert seen == [record.id for record in records]
    back = re.search(r'href="([^"]+newer=[^"]+)"', page.text)
    assert back is not None
    former = await site.client.get(unescape(back[1]))
    ids = re.findall(r'href="/calls/([0-9a-f]{32})" data-row-link', former.text)
    assert ids == [record.id for record in records[30:60]]
    export = await site.client.get("/calls/export?form=csv&status=429")
    assert export.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in export.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(export.text)))
    assert [row["request_id"] for row in rows] == [record.request_id for record in records]


# -- what comes in meanwhile --------------------------------------------------------------------


class Stream:
    """A page's stream of events, read straight from the application."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient, query: str = "") -> None:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        self.scope = {
            "type": "http", "method": "GET", "path": "/calls/live", "raw_path": b"/calls/live",
            "query_string": query.encode(), "headers": [(b"cookie", cookie.encode())],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000), "scheme": "http",
            "http_version": "1.1", "root_path": "", "state": {}, "asgi": {"version": "3.0"},
        }  # fmt: skip
        self._app = app
        self._sent: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async def receive() -> dict[str, object]:
            await asyncio.Event().wait()
            raise AssertionError

        await self._app(self.scope, receive, self._sent.put)  # type: ignore[arg-type] # a dict is one

    async def began(self) -> None:
        """Wait until it is let in."""
        async with asyncio.timeout(30):
            assert (await self._sent.get())["status"] == 200

    async def next(self, event: str) -> dict[str, dict[str, str]]:
        """The next event of this name."""
        async with asyncio.timeout(30):
            while True:
                body = (await self._sent.get()).get("body", b"")
                assert isinstance(body, bytes)
                if f"event: {event}\n".encode() in body:
                    data: dict[str, dict[str, str]] = orjson.loads(
                        body.split(b"data: ", 1)[1].strip()
                    )
                    return data

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


async def test_calls_appear_as_they_come_to_whom_they_belong_and_no_one_else(
    site: Site, ledger: Ledger
) -> None:
    ada_id, client = await as_ada(site)
    app = client._transport.app._app  # type: ignore[attr-defined] # what the fixture built
    streams = [Stream(app, client), Stream(app, site.client, "status=429")]
    own, other = call(user_id=ada_id), call(user_id=1, status=429)
    ledger.book.open(own)
    await ledger.settle(other)
    try:
        assert list((await streams[0].next("rows"))["rows"]) == [own.id]
        (html,) = (await streams[1].next("rows"))["rows"].values()
        assert f'href="/calls/{other.id}"' in html
        # When it ends, its row is sent again.
        await ledger.settle(own)
        assert "200" in (await streams[0].next("rows"))["rows"][own.id]
        # The stream is told when the session is over, and ends itself when the server stops.
        streams[1].scope["state"][STOPPING] = True  # type: ignore[index] # a dict
        async with asyncio.timeout(30):
            await streams[1].task
    finally:
        for stream in streams:
            await stream.close()
    await client.aclose()


async def test_a_stream_ends_with_its_session_which_it_does_not_keep_alive(
    site: Site, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.ui.calls.SESSION_SECONDS", 1)
    _, client = await as_ada(site)
    app = client._transport.app._app  # type: ignore[attr-defined] # what the fixture built
    stream = Stream(app, client)
    try:
        await stream.began()
        await client.post("/logout", headers={"x-csrftoken": client.cookies["csrftoken"]})
        await stream.next("over")
    finally:
        await stream.close()
    await client.aclose()


def test_a_stream_is_told_that_the_server_stops(tmp_path: Path, database_kind: str) -> None:
    environment = {"AIEYE_ADMIN_EMAIL": EMAIL, "AIEYE_ADMIN_PASSWORD": PASSWORD}
    with LiveServer(tmp_path, environment=environment) as server:
        with httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as client:
            client.post("/login", data={"email": EMAIL, "password": PASSWORD})
            with client.stream("GET", "/calls/live") as stream:
                # Kept, since the connection is closed with it.
                parts = stream.iter_raw()
                next(parts)
                started = time.monotonic()
                server.terminate(timeout_seconds=60)
                for _ in parts:
                    pass
        # Without being told it would be cut off after 30 seconds.
        assert time.monotonic() - started < 25
