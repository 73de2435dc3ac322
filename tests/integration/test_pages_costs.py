"""What pages say of costs: none for what is simulated, and no less than is known of what is not."""

from __future__ import annotations

import re
from html import unescape

import httpx
from sqlalchemy import update

from aieye.db.tables import Call, Execution, ProviderKey, User
from tests.integration.ledger_api import call, running_ledger
from tests.integration.test_page_access import BASE_URL, House, database_kind, house
from tests.integration.test_pages_handing_out import rows, secret_in, see, send

__all__ = ["database_kind", "house"]

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


async def test_what_is_simulated_has_no_cost_and_nobody_is_asked_for_its_price(
    house: House,
) -> None:
    made = await send(house.administrator, "/tokens/new", name="bot", scope="proxy")
    headers = {"authorization": f"Bearer {secret_in(made.text)}"}
    transport = httpx.ASGITransport(house.service)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as program:
        answer = await program.post("/v1/chat/completions", json=BODY, headers=headers)
    assert answer.status_code == 200
    assert "x-aieye-cost-usd" not in answer.headers
    (row,) = await rows(house, Call)
    assert (row.cost_nano, row.cost_state) == (None, "unknown")
    for path in ("/", "/tokens", "/users"):
        page = await see(house.administrator, path)
        assert "no cost is counted" in page, path
        assert "of unknown cost" not in page, path
    page = unescape(await see(house.administrator, "/?by=provider&measure=requests"))
    assert '"name":"demo"' in page
    assert "no provider" not in page
    for path in ("/calls", f"/calls/{row.id}"):
        assert ">simulated<" in await see(house.administrator, path), path
    page = await see(house.administrator, f"/calls/{row.id}")
    assert "Simulated: no cost is counted." in page
    assert "no price is known" not in page
    assert "without a known price" not in await see(house.administrator, "/settings")


async def test_what_runs_and_versions_had_simulated_misses_no_price(house: House) -> None:
    await send(house.user, "/prompts/new", name="greet", body="Hey {x}", model="gpt-4o")
    made = await send(house.user, "/pipelines/new", name="welcome", source="greet(x)")
    pipeline = made.headers["location"]
    preset = (await send(house.user, "/presets/new/chat", name="brief", model="gpt-4o")).headers
    called = await send(house.user, "/pipelines/new", name="short", source="brief(x)")
    for place in (pipeline, called.headers["location"]):
        ran = await send(house.user, f"{place}/run", **{"arg-x": "Ada", "act": "run"})
    run = ran.headers["location"]
    assert [row.is_simulated for row in await rows(house, Execution)] == [True, True]
    for path in (run, pipeline, f"{pipeline}/executions", f"{run}?with=1"):
        assert ">simulated<" in await see(house.user, path), path
    lists = ("/pipelines", "/prompts", "/prompts/1/versions", "/presets")
    for path in (*lists, preset["location"], f"{preset['location']}/versions"):
        page = await see(house.user, path)
        assert "$0" in page, path
        assert "of unknown cost" not in page, path


async def test_a_sum_of_which_a_part_is_unknown_says_at_least(house: House) -> None:
    await send(house.administrator, "/tokens/new", name="bot", scope="proxy")
    async with running_ledger(house.state.database) as ledger:
        for cost in (5_000_000_000, None, None):
            await ledger.settle(call(token_id=1, user_id=1, provider_id=7, cost_nano=cost))
    for path in ("/", "/tokens", "/tokens/1", "/users", "/users/1"):
        page = await see(house.administrator, path)
        assert re.search(r"at least</span>\s*\$5.00", page), path
        assert re.search(r"2(.calls)? of unknown cost", page), path
    await send(
        house.administrator, "/providers/new", name="own", base_url="https://own.example/v1",
        key="sk-own-0123456789abcdef",
    )  # fmt: skip
    settings = await see(house.administrator, "/settings")
    assert re.search(r"gpt-4o-mini-2024-07-18</span>\s*<span[^>]*>2.calls", settings)


async def test_a_sum_of_which_nothing_is_known_but_hits_is_unknown(house: House) -> None:
    await send(house.administrator, "/tokens/new", name="bot", scope="proxy")
    async with running_ledger(house.state.database) as ledger:
        for cost in (0, None):
            await ledger.settle(call(token_id=1, user_id=1, provider_id=7, cost_nano=cost))
    for path in ("/", "/tokens", "/tokens/1", "/users", "/users/1"):
        page = await see(house.administrator, path)
        assert re.search(r'title="1.call of unknown cost">unknown<', page), path
        assert "at least" not in page, path


async def test_runs_of_unknown_cost_are_not_told_to_be_free(house: House) -> None:
    made = await send(house.user, "/pipelines/new", name="triage", source="uppercase(text)")
    id_ = int(made.headers["location"].rpartition("/")[2])
    assert re.search(
        r"<td class=\"num\">0</td>\s*<td class=\"num\">–</td>", await see(house.user, "/pipelines")
    )
    await send(house.user, f"/pipelines/{id_}/run", **{"arg-text": "quiet"})
    async with house.state.database.write() as session:
        await session.execute(update(Execution).values(cost_nano=None))
    assert re.search(r'title="1.run of unknown cost">unknown<', await see(house.user, "/pipelines"))


async def test_a_key_that_paid_is_told_by_its_name(house: House) -> None:
    await send(
        house.administrator, "/providers/new", name="own", base_url="https://own.example/v1",
        key="sk-own-0123456789abcdef",
    )  # fmt: skip
    (key,) = await rows(house, ProviderKey)
    async with running_ledger(house.state.database) as ledger:
        await ledger.settle(call(user_id=1, key_id=key.id, provider_id=key.provider_id))
    (made,) = await rows(house, Call)
    page = await see(house.administrator, f"/calls/{made.id}")
    assert f"with key</span> {key.name}" in page


async def test_a_refused_call_is_kept_with_what_it_was_told(house: House) -> None:
    made = await send(house.administrator, "/tokens/new", name="bot", scope="proxy")
    headers = {"authorization": f"Bearer {secret_in(made.text)}"}
    transport = httpx.ASGITransport(house.service)
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as program:
        told = await program.post("/v1/chat/completions", content=b"{nonsense", headers=headers)
    assert told.status_code == 400
    (row,) = await rows(house, Call)
    page = await see(house.administrator, f"/calls/{row.id}")
    assert told.json()["error"]["message"] in page
    assert "refused before anybody was asked" in page
    assert "switched off" not in page


async def test_why_a_provider_was_not_reached_is_told_and_where_it_is_to_administrators(
    house: House,
) -> None:
    attempt = {
        "provider": "own", "key_id": 1, "error": "upstream_unreachable", "ms": 1,
        "cause": "the connection is refused", "detail": "llm.lan:8000",
    }  # fmt: skip
    owner = next(one.id for one in await rows(house, User) if one.role == "user")
    async with running_ledger(house.state.database) as ledger:
        await ledger.settle(call(user_id=owner, status=502, attempts=[attempt]))
    (made,) = await rows(house, Call)
    for person, sees in ((house.administrator, True), (house.user, False)):
        page = await see(person, f"/calls/{made.id}")
        assert "upstream_unreachable: the connection is refused" in page
        assert ("llm.lan:8000" in page) is sees
    for path in ("/calls/export?format=json", "/calls/export?format=csv"):
        file = (await house.user.client.get(path)).text
        assert "connection is refused" in file, path
        assert "llm.lan" not in file, path
