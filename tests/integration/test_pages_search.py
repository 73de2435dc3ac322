"""The search of everything, and what was opened last."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import select

from aieye.db.engine import bump_revision
from aieye.db.tables import Pipeline, Preset, Prompt, Provider, Route, Token, User
from aieye.db.types import now
from aieye.state import change
from aieye.ui.recent import COOKIE
from tests.integration.ledger_api import call, running_ledger
from tests.integration.test_page_access import House, Person, database_kind, house
from tests.integration.test_pages_handing_out import see, send
from tests.integration.test_pages_owned import make

__all__ = ["database_kind", "house"]


async def found(person: Person, text: str) -> str:
    """What the dialog shows for a text."""
    answer = await person.client.get(
        "/search",
        params={"q": text},
        headers={"hx-request": "true", "hx-request-type": "partial", "hx-target": "div#found"},
    )
    assert answer.status_code == 200
    return answer.text


async def test_everything_is_found_by_its_name_and_nothing_of_others(house: House) -> None:
    for kind in ("prompt", "preset", "pipeline"):
        await make(house, kind, f"zebra_{kind}", "root")
        await make(house, kind, f"zebra_mine_{kind}", "ada")
    await make(house, "prompt", "zebra_open", "root", shared=True)
    await send(house.user, "/tokens/new", name="zebra token", scope="proxy")
    await send(house.administrator, "/tokens/new", name="zebra of root", scope="proxy")
    own = await found(house.user, "ZEBRA")
    for name in (
        "zebra_mine_prompt", "zebra_mine_preset", "zebra_mine_pipeline", "zebra_open", "zebra token",
    ):  # fmt: skip
        assert name in own, name
    for name in ("zebra_prompt", "zebra_preset", "zebra_pipeline", "zebra of root"):
        assert name not in own, name
    everything = await found(house.administrator, "zebra")
    assert "zebra_prompt" in everything
    assert "zebra_mine_prompt" in everything
    assert 'href="/functions/uppercase"' in await found(house.user, "upperc")
    # As a page too, without scripts.
    assert "zebra_open" in await see(house.user, "/search?q=zebra")


async def test_administrators_find_users_providers_and_aliases_too(house: House) -> None:
    await send(
        house.administrator, "/providers/new", name="zebra", base_url="https://zebra.example/v1"
    )
    async with change(house.state) as session:
        provider = (await session.scalars(select(Provider))).one()
        user = (await session.scalars(select(User).where(User.role == "user"))).one()
        session.add(Route(alias="zebra-fast", strategy="priority", targets=[
            {"provider": "zebra", "model": "gpt-4o", "key_id": None, "weight": 1}]))  # fmt: skip
        await bump_revision(session)
    seen = await found(house.administrator, "zebra")
    assert f'href="/providers/{provider.id}/edit"' in seen
    assert 'href="/routes"' in seen
    assert "zebra-fast" in seen
    assert f'href="/users/{user.id}"' in await found(house.administrator, user.email[:6])
    for text in ("zebra", user.email):
        shown = await found(house.user, text)
        assert not any(f'href="/{kind}' in shown for kind in ("users", "providers", "routes")), text


async def test_models_lead_to_the_calls_that_they_answered(house: House) -> None:
    async with running_ledger(house.state.database) as ledger:
        await ledger.settle(call(user_id=1, model="zebra/4 o"))
    assert 'href="/calls?model=zebra%2F4+o"' in await found(house.administrator, "ZEBRA")
    assert "/calls?model=" not in await found(house.user, "zebra")


async def test_pages_are_found_by_how_their_words_begin(house: House) -> None:
    assert 'href="/cache"' in await found(house.user, "cac")
    assert 'href="/account"' in await found(house.user, "acc")
    # They stand before what is called so: a piece from within a word would hide that.
    assert 'href="/cache"' not in await found(house.user, "he")


async def test_what_is_called_exactly_so_stands_first(house: House) -> None:
    for name in ("greet", "greet_again", "a_greet", *(f"greet_{n}" for n in range(8))):
        await make(house, "prompt", name)
    shown = await found(house.user, "greet")
    names = [part.partition("<")[0] for part in shown.split('hit-name">')[1:]]
    assert names[0] == "greet"
    assert "a_greet" not in names


async def test_the_best_of_very_many_is_found_however_old_it_is(house: House) -> None:
    await make(house, "prompt", "old")
    await _fill(house, 300, "so_old")
    assert 'hit-name">old<' in await found(house.user, "old")


async def test_pages_are_found_as_far_as_one_is_led_there(house: House) -> None:
    assert 'href="/users"' in await found(house.administrator, "use")
    assert 'href="/users"' not in await found(house.user, "use")
    assert 'href="/presets"' in await found(house.user, "pres")


async def test_a_call_is_found_by_its_id_and_only_by_whom_it_is(house: House) -> None:
    place = await make(house, "preset", "answers")
    tried = await send(house.user, f"{place}/try", text="Hello")
    call_id = tried.text.partition('href="/calls/')[2][:32]
    assert f'href="/calls/{call_id}"' in await found(house.user, f"req_{call_id}")
    other = await found(house.user, "0" * 32)
    assert "Nothing is called like" in other
    place = await make(house, "preset", "of_root", "root")
    tried = await send(house.administrator, f"{place}/try", text="Hello")
    foreign = tried.text.partition('href="/calls/')[2][:32]
    assert f"/calls/{foreign}" not in await found(house.user, foreign)


async def test_what_was_opened_last_is_offered_while_one_may_see_it(house: House) -> None:
    place = await make(house, "prompt", "shared_one", "root", shared=True)
    mine = await make(house, "preset", "mine")
    for path in (place, mine, f"{mine}/edit", "/presets/new"):
        await see(house.user, path)
    offered = await found(house.user, "")
    assert offered.index(mine) < offered.index(place)
    # Of all kinds, which an icon alone would not tell.
    kinds = re.findall(r'hit-name">(\w+)</span><span class="hit-note">(\w+) · ', offered)
    assert kinds == [("mine", "preset"), ("shared_one", "prompt")]
    assert ">Opened last<" in offered
    await send(house.administrator, f"{place}/sharing", to="off")
    assert place not in await found(house.user, "")
    await send(house.user, f"{mine}/delete")
    assert mine not in await found(house.user, "")


async def test_a_cookie_of_another_user_or_of_nobody_offers_nothing(house: House) -> None:
    mine = await make(house, "prompt", "mine")
    number = mine.rpartition("/")[2]
    for value in (
        f"1.prompt:{number}",
        "x",
        "2.prompt:99999999999",
        "2.prompt:x.y:1",
        "2." + "a" * 3000,
    ):
        house.user.client.cookies.set(COOKIE, value)
        assert ">Opened last<" not in await found(house.user, ""), value
    house.user.client.cookies.set(COOKIE, f"2.prompt:{number}")
    assert ">Opened last<" in await found(house.user, "")


async def test_odd_texts_are_searched_for_as_they_are(house: House) -> None:
    await make(house, "prompt", "a_100")
    for text in ("%", "_____", "\\", "\x00", "'; drop", "\ud83d", "x" * 500, "a%1"):
        answer = await house.user.client.get(
            "/search", params={"q": text.encode("utf-8", "replace").decode()}
        )
        assert answer.status_code == 200, text
    assert "a_100" not in await found(house.user, "a%1")


async def test_ten_thousand_of_each_are_searched_in_no_time(house: House) -> None:
    await _fill(house, 10_000)
    await found(house.user, "warm")
    took = []
    for text in ("thing_99", "nothing like it", "g"):
        begun = time.process_time()
        await found(house.user, text)
        took.append(time.process_time() - begun)
    print(f"slowest search: {max(took) * 1000:.0f} ms of work")
    # The aim is 0.05; a processor that others warm too takes several times that.
    assert min(took) < 0.25


async def _fill(house: House, count: int, word: str = "thing") -> None:
    common: dict[str, Any] = {
        "user_id": 2, "is_shared": False, "version": 1, "served_version": 1, "labels": {},
        "created_at": now(), "updated_at": now(),
    }  # fmt: skip
    async with house.state.database.write() as session:
        for n in range(count):
            session.add(Prompt(name=f"{word}_{n}", description="", **common))
            session.add(Pipeline(name=f"way_{word}_{n}", **common))
            session.add(Preset(name=f"set_{word}_{n}", uid=f"{n:020d}", type="chat", **common))
            session.add(Token(user_id=2, name=f"token thing_{n}", digest=f"{n:064d}", prefix=f"aie_{n}",
                              scope="proxy"))  # fmt: skip
        await session.flush()
