"""Sharing, deleting and undoing on the pages of prompts, presets and pipelines: by forms alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from aieye.access.audit import Actor
from aieye.db.tables import Pipeline, Preset, Prompt
from aieye.db.types import now
from aieye.pipeline import service as pipelines
from aieye.presets import service as presets
from aieye.prompts import service as prompts
from aieye.prompts.content import Content
from aieye.state import change
from aieye.ui import site
from aieye.ui.toasts import COOKIE
from tests.integration.test_page_access import House, Person, database_kind, house
from tests.integration.test_pages_handing_out import rows, see, send, version

__all__ = ["database_kind", "house"]

KINDS = ("prompt", "preset", "pipeline")
TABLES = {"prompt": Prompt, "preset": Preset, "pipeline": Pipeline}


async def make(house: House, kind: str, name: str, owner: str = "ada", **more: Any) -> str:
    """A thing of `ada`, the user, or of `root`; the address of its pages."""
    user_id = {"root": 1, "ada": 2}[owner]
    actor = Actor(user_id, owner, "user")
    async with change(house.state) as session:
        if kind == "prompt":
            content = Content(more.pop("body", "Hello"), "gpt-4o-mini")
            prompt = await prompts.create_prompt(
                session, name=name, content=content, actor=actor, **more
            )
            return f"/prompts/{prompt.id}"
        if kind == "preset":
            preset = await presets.create_preset(
                session, name=name, type_="chat", config={"model": "gpt-4o"}, actor=actor, **more
            )
            return f"/presets/{preset.uid}"
        pipeline = await pipelines.create_pipeline(
            session, house.state.function_catalogue(), name=name,
            source=more.pop("source", "1"), actor=actor, **more,
        )  # fmt: skip
        return f"/pipelines/{pipeline.id}"


async def row_of(house: House, kind: str) -> Any:
    return (await rows(house, TABLES[kind]))[-1]


@pytest.mark.parametrize("kind", KINDS)
async def test_whoever_owns_it_shares_it_and_nobody_else_changes_that(
    house: House, kind: str
) -> None:
    place = await make(house, kind, "mine", "root")
    assert (await house.user.client.get(f"{place}/sharing")).status_code == 404
    assert f'href="{place}/sharing"' in await see(house.administrator, place)
    assert "Share “mine” with everybody" in await see(house.administrator, f"{place}/sharing")
    shared = await send(house.administrator, f"{place}/sharing", to="on")
    assert (shared.status_code, shared.headers["location"]) == (303, place)
    assert (await row_of(house, kind)).is_shared
    # Who may use it sees it, and changes nothing of it.
    assert f"{place}/sharing" not in await see(house.user, place)
    for page in ("sharing", "delete"):
        assert (await house.user.client.get(f"{place}/{page}")).status_code == 403, page
        assert (await send(house.user, f"{place}/{page}", to="off")).status_code == 403, page
    assert (await row_of(house, kind)).is_shared
    await send(house.administrator, f"{place}/sharing", to="off")
    assert not (await row_of(house, kind)).is_shared


@pytest.mark.parametrize("kind", KINDS)
async def test_no_form_is_shown_to_whom_its_sending_is_refused(house: House, kind: str) -> None:
    place = await make(house, kind, "mine", "root", shared=True)
    ways = [(page.method, page.path) for page in site.find_pages()]
    owned = place.rpartition("/")[0]
    forms = [
        path.rpartition("/")[2]
        for method, path in ways
        if method == "POST" and ("GET", path) in ways and path.startswith(f"{owned}/{{")
    ]
    if kind == "preset":
        # What is in it may be read by whoever may use it.
        forms.remove("documents")
    assert {"edit", "rollback", "sharing", "delete"} <= set(forms)
    said = {"version": "1", "to": "off", "confirm": "mine"}
    for form in forms:
        sent = await send(house.user, f"{place}/{form}", **said)
        shown = await house.user.client.get(f"{place}/{form}", params=said)
        assert (sent.status_code, shown.status_code) == (403, 403), form
        # Its owner is shown each.
        assert "<form" in await see(house.administrator, f"{place}/{form}?version=1"), form


async def test_what_others_use_is_shared_no_more_only_when_that_was_said(house: House) -> None:
    place = await make(house, "prompt", "greet", "root", shared=True)
    await make(house, "pipeline", "caller", "ada", source="greet()")
    refused = await send(house.administrator, f"{place}/sharing", to="off")
    assert refused.status_code == 409
    assert "fail from then on" in refused.text
    assert "caller</a>" in refused.text
    assert (await row_of(house, "prompt")).is_shared
    await send(house.administrator, f"{place}/sharing", to="off", force="on")
    assert not (await row_of(house, "prompt")).is_shared


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deletion_is_undone_by_the_message_that_tells_of_it(
    house: House, kind: str
) -> None:
    place = await make(house, kind, "mine")
    row = await row_of(house, kind)
    assert "No pipeline calls" in await see(house.user, f"{place}/delete")
    gone = await send(house.user, f"{place}/delete")
    assert (gone.status_code, gone.headers["location"]) == (303, place.rpartition("/")[0])
    assert (await row_of(house, kind)).deleted_at is not None
    house.user.client.cookies.set(COOKIE, gone.cookies[COOKIE])
    undo = f"/undo/{kind}/{row.id}"
    assert f'action="{undo}"' in await see(house.user, "/account")
    # So does its own address, to whoever may.
    for path in (place, f"{place}/edit"):
        page = await see(house.user, path, 404)
        assert f"The {kind} 'mine' was deleted. Until " in page
        assert f'action="{undo}"' in page
    assert f'action="{undo}"' in await see(house.administrator, place, 404)
    back = await send(house.user, undo)
    assert (back.status_code, back.headers["location"]) == (303, place)
    assert (await row_of(house, kind)).deleted_at is None
    assert (await send(house.user, undo)).status_code == 404


async def test_an_hour_later_its_address_says_no_more_of_a_deletion(house: House) -> None:
    place = await make(house, "prompt", "mine")
    await send(house.user, f"{place}/delete")
    async with house.state.database.write() as session:
        row = await session.get_one(Prompt, 1)
        row.deleted_at = now() - timedelta(minutes=61)
    assert "There is no prompt 1." in await see(house.user, place, 404)


async def test_nobody_undoes_what_another_deleted(house: House) -> None:
    place = await make(house, "prompt", "mine", "root")
    await send(house.administrator, f"{place}/delete")
    row = await row_of(house, "prompt")
    assert (await send(house.user, f"/undo/prompt/{row.id}")).status_code == 404
    assert "There is no prompt 1." in await see(house.user, place, 404)
    assert (await row_of(house, "prompt")).deleted_at is not None


async def test_what_pipelines_call_goes_only_by_its_name(house: House) -> None:
    place = await make(house, "prompt", "greet")
    await make(house, "pipeline", "caller", source="greet()")
    assert "caller" in await see(house.user, f"{place}/delete")
    for typed in ("", "caller"):
        refused = await send(house.user, f"{place}/delete", confirm=typed)
        assert refused.status_code == 422
    assert (await row_of(house, "prompt")).deleted_at is None
    await send(house.user, f"{place}/delete", confirm="greet")
    assert (await row_of(house, "prompt")).deleted_at is not None


async def test_a_name_that_is_taken_by_now_keeps_a_deletion_from_being_undone(
    house: House,
) -> None:
    place = await make(house, "prompt", "greet")
    row = await row_of(house, "prompt")
    await send(house.user, f"{place}/delete")
    await make(house, "pipeline", "greet")
    answer = await send(house.user, f"/undo/prompt/{row.id}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/prompts")
    assert (await row_of(house, "prompt")).deleted_at is not None


async def test_a_foreign_cookie_undoes_nothing_but_what_can_be_undone(house: House) -> None:
    person: Person = house.user
    for forged in (
        "WyJnb29kIiwgIngiLCAiL2xvZ291dCJd",
        "WyJnb29kIiwgIngiLCAiLy91bmRvL3Byb21wdC8xIl0=",
    ):
        person.client.cookies.set(COOKIE, forged)
        page = await see(person, "/account")
        assert 'class="toast toast-good"' in page
        assert ">Undo<" not in page


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_is_taken_is_said_under_it_and_what_was_typed_stays(
    house: House, kind: str
) -> None:
    await make(house, "prompt", "taken")
    place = await make(house, kind, "mine")
    form = await see(house.user, f"{place}/edit")
    refused = await send(
        house.user, f"{place}/edit", name="taken", version=version(form), body="Hello you",
        source="2", model="gpt-4o",
    )  # fmt: skip
    assert refused.status_code == 409
    assert "taken" in refused.text
    assert 'aria-invalid="true"' in refused.text
    assert (await row_of(house, kind)).name == "mine"
