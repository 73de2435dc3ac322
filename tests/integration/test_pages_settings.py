"""The page of settings: nothing secret, what has no price, and prices that nobody overwrites unseen."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest

from aieye.access import providers
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.snapshot import DEMO_ID
from aieye.db.tables import PriceOverride
from aieye.db.types import now
from aieye.ledger.retention import Pruned
from aieye.settings import Settings
from tests.integration.ledger_api import Ledger, call, running_ledger
from tests.integration.test_pages import Site, public_url, site

__all__ = ["public_url", "site"]

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
SECRET = "sk-canary-0123456789abcdef"


@pytest.fixture
async def ledger(site: Site) -> AsyncIterator[Ledger]:
    await site.add_administrator()
    await site.sign_in()
    async with running_ledger(site.state.database) as ledger:
        yield ledger


async def test_settings_say_where_they_come_from_and_nothing_secret(
    site: Site, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIEYE_CACHE_TTL", "77")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    site.state.settings = Settings(data_dir=site.state.settings.data_dir)
    page = (await site.client.get("/settings")).text
    row = re.search(r"<code>AIEYE_CACHE_TTL</code>.*?</tr>", page, re.DOTALL)
    assert row is not None
    assert (">77<" in row[0], "environment" in row[0]) == (True, True)
    assert SECRET not in page
    assert "********" in page


async def test_what_was_removed_what_is_kept_and_what_seals_it_is_told(
    site: Site, ledger: Ledger
) -> None:
    state = site.state
    await ledger.settle(call(), call())
    state.note_pruning(Pruned(now(), {"call_bodies": 1_200, "sessions": 0}))
    key_file = state.settings.data_dir / "secret.key"
    key_file.parent.mkdir(parents=True, exist_ok=True)
    key_file.touch()
    os.utime(key_file, ns=(0, time.time_ns() - 3 * 3_600 * 10**9 - 10**9))
    async with state.database.write() as session:
        await providers.create_provider(
            session, name="acme", base_url="https://acme.example/v1", actor=SYSTEM
        )
        provider = (await providers.list_providers(session))[-1]
        old = Cipher(["an-older-secret-key-0123456789abcdefghij"])
        await providers.add_key(
            session, old, provider_id=provider.id, name="main", secret="sk-0123456789abcdefgh",
            actor=SYSTEM,
        )  # fmt: skip
    page = unescape((await site.client.get("/settings")).text)
    text = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "2 calls, for ever; sums by the minute 35 days" in text
    assert re.search(r"in this one (just now|\d+ s(econds?)? ago): 1.200 call bodies", text), text
    assert f"Secret key {state.cipher.key_id} seals what is stored, written 3 h ago" in text
    assert "sealed under an older key" in text


async def test_what_has_no_price_is_named_and_gets_one(site: Site, ledger: Ledger) -> None:
    unknown: dict[str, Any] = {"cost_nano": None, "cost_state": "unknown"}
    await ledger.settle(
        call(model="our-own-model", provider_id=1, **unknown),
        # What the simulated provider answered before there was a real one has no price to miss.
        call(model="our-own-model", provider_id=DEMO_ID, **unknown),
        call(model="gpt-simulated", provider_id=DEMO_ID, **unknown),
    )
    page = await site.client.get("/settings")
    assert 'href="/settings/prices/new?model=our-own-model"' in page.text
    assert re.search(r'num">1\Wcall<', page.text)
    assert "gpt-simulated" not in page.text
    form = await site.client.get("/settings/prices/new?model=our-own-model")
    assert 'value="our-own-model"' in form.text
    refused = await site.submit(
        form, to="/settings/prices/new", model="our-own-model", input="cheap", output="2"
    )
    assert refused.status_code == 422
    assert 'id="input-error"' in refused.text
    assert 'value="cheap"' in refused.text
    for fields in ({"model": "m"}, {"model": "", "input": "1"},
                   {"model": "m", "input": "1", "provider": "nobody"},
                   {"model": "m", "input": "1", "effective_from": "soon"}):  # fmt: skip
        answer = await site.submit(form, to="/settings/prices/new", **fields)
        assert answer.status_code == 422, fields
    none = await site.submit(form, to="/settings/prices/new", model="m")
    assert "A price has one rate at least." in none.text
    done = await site.submit(
        form, to="/settings/prices/new", model="our-own-model", input="1", output="2.50",
        effective_from="2026-11-20T12:00",
    )  # fmt: skip
    assert (done.status_code, done.headers["location"]) == (303, "/settings#prices")
    async with site.state.database.read() as session:
        price = await session.get(PriceOverride, 1)
    assert price is not None
    assert (price.rates, price.effective_from.hour) == ({"input": "1", "output": "2.5"}, 12)


async def test_the_form_of_a_price_tells_all_mistakes_at_once_and_begins_at_its_first_field(
    site: Site, ledger: Ledger
) -> None:
    def focused(page: str) -> list[str]:
        return re.findall(r'name="(\w+)"[^>]* autofocus', page)

    path = "/settings/prices/new"
    form = await site.client.get(path)
    assert focused(form.text) == ["model"]
    # The model is known already where the page of settings leads here.
    assert focused((await site.client.get(f"{path}?model=m")).text) == ["input"]
    assert 'name="effective_from" type="datetime-local"' in form.text
    wrong = {"model": "*gpt", "provider": "nobody", "input": "two", "output": "-1",
             "per_request": "9999999", "effective_from": "tomorrow"}  # fmt: skip
    refused = await site.submit(form, to=path, **wrong)
    assert refused.status_code == 422
    assert re.findall(r'id="(\w+)-error"', refused.text) == list(wrong)
    assert focused(refused.text) == list(wrong), "the first of them has it"
    assert 'class="form-error' not in refused.text
    # What is right by itself is not marked, and what was typed is kept.
    part = await site.submit(form, to=path, model="*", input="two", cached_input="1")
    assert re.findall(r'id="(\w+)-error"', part.text) == ["input"]
    assert 'value="two"' in part.text
    assert (await site.submit(form, to=path, model="m", input="1")).status_code == 303
    form = await site.client.get("/settings/prices/1")
    assert focused(form.text) == []
    # To the second, as it is stored: else saving another field would move the beginning.
    assert re.search(r'name="effective_from"[^>]* step="1"', form.text, re.DOTALL)
    refused = await site.submit(form, to="/settings/prices/1", model="", effective_from="")
    assert re.findall(r'id="(\w+)-error"', refused.text) == ["model", "input", "effective_from"]


async def test_a_price_at_the_end_of_the_calendar_keeps_nobody_out(
    site: Site, ledger: Ledger
) -> None:
    site.client.cookies.set("tz", "Pacific/Kiritimati")
    form = await site.client.get("/settings/prices/new")
    fields = {"model": "m", "input": "1"}
    late = await site.submit(
        form, to="/settings/prices/new", effective_from="9999-12-31T23:59Z", **fields
    )
    assert (late.status_code, 'id="effective_from-error"' in late.text) == (422, True)
    await site.submit(form, to="/settings/prices/new", **fields)
    async with site.state.database.write() as session:
        # As one was stored before such a moment was refused.
        price = await session.get_one(PriceOverride, 1)
        price.effective_from = datetime.max.replace(tzinfo=UTC)
    for path in ("/settings", "/settings/prices/1"):
        page = await site.client.get(path)
        assert (page.status_code, "9999-12-31" in page.text) == (200, True)


async def test_a_price_changed_meanwhile_is_not_overwritten_unseen(
    site: Site, ledger: Ledger
) -> None:
    async with site.state.database.write() as session:
        await providers.create_provider(
            session, name="openai", base_url="https://api.openai.com/v1", actor=SYSTEM
        )
    form = await site.client.get("/settings/prices/new")
    await site.submit(form, to="/settings/prices/new", model="m", input="1", provider="openai")
    one, other = [await site.client.get("/settings/prices/1") for _ in range(2)]
    fields = {"model": "m", "effective_from": "2026-11-20T12:00"}
    assert (await site.submit(one, to="/settings/prices/1", input="2", **fields)).status_code == 303
    late = await site.submit(other, to="/settings/prices/1", input="3", **fields)
    assert late.status_code == 409
    assert 'value="3"' in late.text
    assert "Stored now: 2<" in late.text
    assert late.text.count("Stored now:") == 2, "the provider was taken away too"
    again = await site.submit(late, to="/settings/prices/1", input="3", **fields)
    assert again.status_code == 303
    confirm = await site.client.get("/settings/prices/1/delete")
    assert (await site.submit(confirm, to="/settings/prices/1/delete")).status_code == 303
    assert (await site.client.get("/settings/prices/1")).status_code == 404
