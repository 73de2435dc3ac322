"""The page of acts: what filters find, what an act changed, and the file."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html import unescape

import pytest

from aieye.access import users
from aieye.access.audit import SYSTEM, Actor, record
from aieye.db.tables import AuditEntry
from aieye.db.types import now
from tests.integration.test_pages import Site, public_url, site

__all__ = ["public_url", "site"]

# The queries are those of the API, which is tested on both databases.
pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

EVE = Actor(7, "eve@example.org", "administrator", ip="192.0.2.7", request_id="req_7")


async def add_acts(site: Site, *names: str, action: str = "token.create") -> None:
    async with site.state.database.write() as session:
        for number, name in enumerate(names):
            record(session, EVE, action, "token", number, name=name)


async def signed_in(site: Site) -> None:
    await site.add_administrator()
    await site.sign_in()


async def test_acts_are_found_by_what_stands_in_the_url(site: Site) -> None:
    await signed_in(site)
    await add_acts(site, "apple", "pear")
    for query, is_there in (
        ("", True), ("?actor=eve%40example.org", True), ("?actor=nobody", False),
        ("?action=token.create", True), ("?action=token.delete", False),
        ("?object_type=token&object_id=0", True), ("?object_type=token&object_id=9", False),
        ("?since=2020-01-01&until=2020-01-02", False), ("?range=15m", True),
    ):  # fmt: skip
        page = await site.client.get(f"/audit{query}")
        assert (page.status_code, "apple" in page.text) == (200, is_there), query
    # What a form sends that was left empty keeps out of the URL.
    answer = await site.client.get("/audit?actor=&action=token.create")
    assert answer.headers["location"] == "/audit?action=token.create"
    assert (await site.client.get("/audit?actor=%00")).status_code == 400
    assert (await site.client.get("/audit?cursor=nonsense")).status_code == 400


async def test_an_old_list_goes_on_where_its_first_page_ended(site: Site) -> None:
    await signed_in(site)
    await add_acts(site, *(f"name-{number:03}" for number in range(120)))
    seen: list[str] = []
    path = "/audit?action=token.create"
    for _ in range(3):
        page = unescape((await site.client.get(path)).text)
        seen += re.findall(r">(name-\d{3})<", page)
        more = re.search(r'href="([^"]+cursor=[^"]+)"', page)
        path = more[1] if more else ""
    assert path == ""
    assert seen == [f"name-{number:03}" for number in reversed(range(120))]


async def test_an_act_shows_what_it_changed_and_from_what(site: Site) -> None:
    await signed_in(site)
    async with site.state.database.write() as session:
        ada = await users.create_user(
            session, email="ada@example.org", password_hash="x", actor=SYSTEM
        )
        await users.update_user(session, ada.id, {"role": "administrator"}, SYSTEM)
        ids = (await session.connection()).exec_driver_sql
        newest = (await ids("SELECT max(id) FROM audit")).scalar_one()
    page = unescape((await site.client.get(f"/audit/{newest}")).text)
    row = re.search(r"<td>role.*?</tr>", page, re.DOTALL)
    assert row is not None
    assert re.findall(r'<td class="wrap">(.*?)</td>', row[0]) == ['"user"', '"administrator"']
    # Before it was made, a thing was nothing: nothing of that is missing on record.
    made = unescape((await site.client.get(f"/audit/{newest - 1}")).text)
    first = re.search(r"<td>role.*?</tr>", made, re.DOTALL)
    assert first is not None
    assert '<td class="wrap"><span class="muted">–</span></td>' in first[0]
    assert "not on record" not in made
    assert "changed" in row[0]
    drawer = await site.client.get(
        f"/audit/{newest}",
        headers={"hx-request": "true", "hx-request-type": "partial", "hx-target": "aside#drawer"},
    )
    assert "<html" not in drawer.text
    assert "user.update" in drawer.text
    assert (await site.client.get("/audit/2147483647")).status_code == 404
    assert (await site.client.get("/audit/0")).status_code == 404


async def test_the_file_has_all_that_is_filtered_and_no_formula(site: Site) -> None:
    await signed_in(site)
    await add_acts(site, *(["x"] * 600), action="probe")
    hostile = Actor(None, "=HYPERLINK(1)", "administrator", ip="+1", request_id="@x")
    async with site.state.database.write() as session:
        record(session, hostile, "probe", "token", "-1", name="y")
        old = AuditEntry(actor="old", action="probe", object_type="token", object_id="1",
                         at=now() - timedelta(days=60))  # fmt: skip
        session.add(old)
    answer = await site.client.get("/audit/export?action=probe")
    assert answer.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 601
    first = rows[0]
    assert (first["actor"], first["ip"], first["request_id"], first["object_id"]) == (
        "'=HYPERLINK(1)", "'+1", "'@x", "'-1",
    )  # fmt: skip
