"""Tokens, providers and keys, routes and users as pages: by forms alone, without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest
import time_machine
from sqlalchemy import select

from aieye.access import tokens, users
from aieye.access.audit import SYSTEM
from aieye.db.tables import AuditEntry, Pipeline, Provider, ProviderKey, Route, Token, User
from aieye.db.types import now
from aieye.state import change
from aieye.ui.route_form import Row, rearranged
from tests.fakes.recorded import Given, RecordedDemo, Seen
from tests.integration.test_page_access import OWN, House, Person, database_kind, house

__all__ = ["database_kind", "house"]

PASSWORD = "a quiet river at dawn"
KEY = "sk-proj-0123456789abcdefghij-x3fQ"


@pytest.fixture
def provider() -> Iterator[RecordedDemo]:
    def answer(seen: Seen) -> Given | None:
        if b"refuse" in (seen.header("authorization") or "").encode():
            said = (
                b'{"error": {"message": "Incorrect API key provided: sk-refuse-0123456789abcdef."}}'
            )
            return Given(401, (said,))
        return None

    with RecordedDemo(answer) as demo:
        yield demo


async def send(person: Person, path: str, **fields: str | Sequence[str]) -> httpx.Response:
    """A form as a browser without scripts sends it."""
    data = {"csrf_token": person.csrf_token} | fields
    return await person.client.post(path, data=data, headers=OWN)


async def see(person: Person, path: str, status: int = 200) -> str:
    answer = await person.client.get(path)
    assert answer.status_code == status, answer.text
    return unescape(answer.text)


def version(page: str) -> str:
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found is not None
    return found[1]


def secret_in(page: str) -> str:
    found = re.search(r'<code id="secret">([^<]+)</code>', page)
    assert found is not None, page
    return found[1]


async def rows(house: House, table: Any) -> list[Any]:
    async with house.state.database.read() as session:
        return list(await session.scalars(select(table).order_by(table.id)))


async def acts(house: House) -> list[str]:
    return [row.action for row in await rows(house, AuditEntry)]


# -- tokens -----------------------------------------------------------------------------------


async def test_a_token_that_is_not_valid_is_told_the_way_to_one_and_not_why(house: House) -> None:
    async def message(secret: str, path: str) -> str:
        headers = {"authorization": f"Bearer {secret}"}
        answer = await house.nobody.client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        return str(error["message"])

    expires_at = now() + timedelta(hours=1)
    secrets = []
    for name in ("revoked", "expired"):
        async with change(house.state) as session:
            _, secret = await tokens.create_token(
                session, house.state.directory.digest, user_id=2, name=name, scope="admin",
                actor=SYSTEM, expires_at=expires_at,
            )  # fmt: skip
        secrets.append(secret)
    await send(house.user, f"/tokens/{(await rows(house, Token))[0].id}/delete", confirm="revoked")
    for path in ("/v1/models", "/api/v1/tokens"):
        with time_machine.travel(expires_at + timedelta(seconds=1)):
            said = {await message(secret, path) for secret in (*secrets, "mistyped")}
        assert said == {
            "The token is not valid, or not any more: make or roll one at /tokens of this server."
        }


async def test_a_token_is_made_in_one_form_and_its_secret_shown_once(house: House) -> None:
    made = await send(
        house.user, "/tokens/new", name="laptop", scope="proxy", models="gpt-4o-mini\n gpt-4o ",
        expires_at="2090-03-01T12:00", cache_enabled="on", cache_namespace="mine",
    )  # fmt: skip
    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    secret = secret_in(made.text)
    grant = house.state.directory.find_grant(secret)
    assert grant is not None
    # What only an administrator sets is not there to be set by anybody else.
    assert (grant.models, grant.namespace) == (frozenset({"gpt-4o-mini", "gpt-4o"}), "default")
    token_id = grant.token_id
    for path in ("/tokens", f"/tokens/{token_id}", f"/tokens/{token_id}/edit", "/tokens/new"):
        assert secret not in await see(house.user, path), path
    assert "token.create" in await acts(house)


async def test_an_error_under_its_field_speaks_of_it(house: House) -> None:
    unnamed = await send(house.user, "/tokens/new", name=" ", scope="proxy")
    # Of a scope nothing is said that there is not.
    assert "test suites" not in unnamed.text
    assert ">This should have 1 to 100 printable characters.<" in unnamed.text
    gone = await house.administrator.client.get("/providers/keys/987654/edit")
    assert "There is no provider key 987654." in gone.text


async def test_a_refused_form_says_that_the_key_has_to_be_typed_again(house: House) -> None:
    form = {"name": "a b", "base_url": "https://api.openai.com/v1", "key_name": "default"}
    refused = await send(house.administrator, "/providers/new", **form, key=KEY)
    assert KEY not in refused.text
    assert 'id="key-error"' in refused.text
    assert "Type it again" in refused.text
    assert "Type it again" not in (await send(house.administrator, "/providers/new", **form)).text


async def test_the_form_of_a_provider_and_of_a_key_tell_all_mistakes_at_once(
    house: House, provider: RecordedDemo
) -> None:
    form = {"name": "a b", "base_url": "api.openai.com", "key": "sk one", "key_name": "n" * 101}
    said = unescape((await send(house.administrator, "/providers/new", **form)).text)
    for field, words in (
        ("name", "A name has 1 to 63 of"), ("base_url", "The base URL should look like"),
        ("key", "The key holds a space"), ("key_name", "This should have 1 to 100"),
    ):  # fmt: skip
        assert re.search(rf'id="{field}-error"[^>]*>{words}', said), field
    await add_provider(house, provider)
    taken = await send(house.administrator, "/providers/new", name="openai", base_url="none")
    assert "A provider named openai exists already." in unescape(taken.text)
    assert 'id="base_url-error"' in taken.text
    (key,) = await rows(house, ProviderKey)
    edit = f"/providers/keys/{key.id}/edit"
    for path, field in (
        ("/providers/new", "key_name"), (f"/providers/{key.provider_id}/keys/new", "name"),
        (edit, "name"),
    ):  # fmt: skip
        # A browser would cut what is longer, and say nothing.
        shown = re.search(rf'<input[^>]*id="{field}"[^>]*>', await see(house.administrator, path))
        assert shown is not None, path
        assert "maxlength" not in shown[0], path
    stored = version(await see(house.administrator, edit))
    new = f"/providers/{key.provider_id}/keys/new"
    for path in (new, edit):
        refused = await send(house.administrator, path, name=" ", key="sk one", version=stored)
        assert refused.status_code == 422, path
        assert 'id="name-error"' in refused.text, path
        assert "The key holds a space" in refused.text, path
        unnamed = await send(house.administrator, path, name=" ", key=KEY, version=stored)
        assert "Type it again" in unnamed.text, path
        long = await send(house.administrator, path, name="n" * 300, key=KEY, version=stored)
        assert "This should have 1 to 100" in unescape(long.text), path
        assert f'value="{"n" * 300}"' in long.text, path


async def test_a_plain_user_makes_a_token_that_reaches_their_own_things(house: House) -> None:
    form = await see(house.user, "/tokens/new")
    assert "admin: the same, and /api/v1 for your own and shared things" in form
    assert "administrators' API" not in form
    await send(house.administrator, "/tokens/new", name="root's own", scope="proxy")
    bearers = [
        "Bearer " + secret_in((await send(house.user, "/tokens/new", name=scope, scope=scope)).text)
        for scope in ("admin", "proxy")
    ]
    house.user.client.cookies.clear()
    reached, refused = [
        await house.user.client.get("/api/v1/tokens", headers={"authorization": one})
        for one in bearers
    ]
    assert {one["name"] for one in reached.json()["data"]} == {"admin", "proxy"}
    assert refused.status_code == 403
    assert "scope admin: create one at /tokens/new" in refused.json()["error"]["message"]
    users_list = await house.user.client.get("/api/v1/users", headers={"authorization": bearers[0]})
    assert users_list.status_code == 403


async def test_every_page_says_the_same_by_api(house: House, provider: RecordedDemo) -> None:
    await add_provider(house, provider)
    await send(
        house.administrator, "/routes/new", alias="fast", strategy="ordered", model="gpt-4o",
        place="openai", weight="1", act="save",
    )  # fmt: skip
    made = await send(house.administrator, "/tokens/new", name="bot", scope="proxy")
    assert "The same by API" in made.text
    for path in ("/tokens/1/delete", "/users/2/delete", "/providers/1/delete", "/routes/1/delete",
                 "/providers/keys/1/delete", "/calls/filter", "/calls/columns"):  # fmt: skip
        page = await see(house.administrator, path)
        assert "The same by API" in page, path
        # In the dialog there is room for what it asks alone.
        dialog = await house.administrator.client.get(
            path,
            headers={
                "hx-request": "true",
                "hx-request-type": "partial",
                "hx-target": "dialog#dialog",
            },
        )
        assert "The same by API" not in dialog.text, path


async def test_what_was_typed_wrongly_stays_and_is_named(house: House) -> None:
    form = {"name": "my laptop", "scope": "proxy", "expires_at": "2001-01-01T00:00"}
    refused = await send(house.user, "/tokens/new", **form)
    assert refused.status_code == 422
    assert 'value="my laptop"' in refused.text
    assert "should lie in the future" in refused.text
    assert 'aria-describedby="expires_at-help expires_at-error" aria-invalid="true"' in refused.text
    part = await house.user.client.post(
        "/tokens/new",
        data=form | {"csrf_token": house.user.csrf_token},
        headers=OWN
        | {
            "hx-request": "true",
            "hx-request-type": "partial",
            "hx-target": "form#token-form",
        },
    )
    assert part.text.lstrip().startswith("<form")
    assert 'value="my laptop"' in part.text
    # Another site's page has neither the token nor the origin.
    foreign = await house.user.client.post(
        "/tokens/new", data=form, headers={"origin": "https://elsewhere.example"}
    )
    assert foreign.status_code == 403


@pytest.mark.parametrize(
    ("path", "table", "form"),
    [
        ("/tokens/new", Token, {"name": "twice", "scope": "proxy"}),
        ("/users/new", User, {"email": "twice@example.org", "role": "user", "entry": "password"}),
    ],
)
async def test_a_form_that_shows_a_secret_makes_something_once(
    house: House, path: str, table: type[Any], form: dict[str, str]
) -> None:
    before = len(await rows(house, table))
    opened = await see(house.administrator, path)
    found = re.search(r'name="form_id" value="([^"]+)"', opened)
    assert found is not None
    # What was refused made nothing, so the form goes on being the first.
    refused = await send(
        house.administrator, path, **form | {"role": "?", "scope": "?"}, form_id=found[1]
    )
    assert refused.status_code == 422
    answers = [await send(house.administrator, path, **form, form_id=found[1]) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 409]
    assert "sent before" in answers[1].text
    assert secret_in(answers[0].text) not in answers[1].text
    assert len(await rows(house, table)) == before + 1
    # Whoever sends what it shows then wants another one.
    again = re.search(r'name="form_id" value="([^"]+)"', answers[1].text)
    assert again is not None
    assert again[1] != found[1]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
async def test_no_end_of_a_token_keeps_a_page_from_being_read(house: House, zone: str) -> None:
    for person in (house.user, house.administrator):
        person.client.cookies.set("tz", zone)
    for end, status in (
        ("9999-12-31T23:59", 422),
        ("1969-12-30T00:00", 422),
        ("9998-12-30T23:59", 200),
    ):
        made = await send(
            house.user, "/tokens/new", name="bot", scope="proxy", expires_at=end, cache_enabled="on"
        )
        assert made.status_code == status, end
        assert ('id="expires_at-error"' in made.text) == (status == 422)
    token = (await rows(house, Token))[-1]
    async with house.state.database.write() as session:
        # As one was stored before such an end was refused.
        (await session.get_one(Token, token.id)).expires_at = datetime.max.replace(tzinfo=UTC)
    for path in ("/tokens", f"/tokens/{token.id}", f"/tokens/{token.id}/edit"):
        assert "9999-12-31" in await see(house.administrator, path)


async def test_users_see_and_change_their_own_tokens_only(house: House) -> None:
    await send(house.administrator, "/tokens/new", name="root's own", scope="proxy")
    await send(house.user, "/tokens/new", name="ada's own", scope="proxy")
    other, own = (row.id for row in (await rows(house, Token))[-2:])
    listed = await see(house.user, "/tokens")
    assert ("ada's own" in listed, "root's own" in listed) == (True, False)
    assert "root's own" not in await see(house.user, "/tokens?user=1&q=root")
    for path in ("", "/edit", "/roll", "/delete"):
        assert (await house.user.client.get(f"/tokens/{own}{path}")).status_code == 200
        assert (await house.user.client.get(f"/tokens/{other}{path}")).status_code == 404
    for path in ("/edit", "/switch", "/roll", "/delete"):
        answer = await send(house.user, f"/tokens/{other}{path}", name="x", confirm="root's own")
        assert answer.status_code == 404, path
    assert (await see(house.administrator, "/tokens")).count("'s own</a>") == 2


async def test_a_rolled_token_changes_over_within_its_grace_and_once_a_form(house: House) -> None:
    old = secret_in((await send(house.user, "/tokens/new", name="bot", scope="proxy")).text)
    token_id = house.state.directory.current.tokens[house.state.directory.digest(old)].token_id
    form = version(await see(house.user, f"/tokens/{token_id}/roll"))
    rolled = await send(house.user, f"/tokens/{token_id}/roll", version=form, grace_seconds="3600")
    new = secret_in(rolled.text)
    former, current = (house.state.directory.find_grant(one) for one in (old, new))
    assert former is not None
    assert current is not None
    assert (former.token_id, current.expires_at) == (token_id, None)
    assert former.expires_at is not None
    # The same form once more, as a reload sends it, must not end what it showed.
    again = await send(house.user, f"/tokens/{token_id}/roll", version=form, grace_seconds="0")
    assert again.status_code == 409
    assert house.state.directory.find_grant(new) is not None
    assert "changing over" in await see(house.user, "/tokens")
    form = version(await see(house.user, f"/tokens/{token_id}/roll"))
    await send(house.user, f"/tokens/{token_id}/roll", version=form, grace_seconds="0")
    assert [house.state.directory.find_grant(one) for one in (old, new)] == [None, None]


async def test_a_token_is_disabled_enabled_and_revoked_by_its_name(house: House) -> None:
    secret = secret_in((await send(house.user, "/tokens/new", name="bot", scope="proxy")).text)
    token_id = (await rows(house, Token))[-1].id
    await send(house.user, f"/tokens/{token_id}/switch", to="off")
    assert house.state.directory.find_grant(secret) is None
    assert "disabled" in await see(house.user, "/tokens?state=disabled")
    await send(house.user, f"/tokens/{token_id}/switch", to="on")
    assert house.state.directory.find_grant(secret) is not None
    wrong = await send(house.user, f"/tokens/{token_id}/delete", confirm="bit")
    assert (wrong.status_code, "as it stands above" in wrong.text) == (422, True)
    done = await send(house.user, f"/tokens/{token_id}/delete", confirm="bot")
    assert (done.status_code, done.headers["location"]) == (303, "/tokens")
    assert house.state.directory.find_grant(secret) is None
    assert [act for act in await acts(house) if act.startswith("token.")][-4:] == [
        *("token.create", "token.update", "token.update", "token.delete"),
    ]


async def test_nobody_overwrites_unseen_what_somebody_else_saved(house: House) -> None:
    await send(house.user, "/tokens/new", name="first", scope="proxy", cache_enabled="on")
    token_id = (await rows(house, Token))[-1].id
    path = f"/tokens/{token_id}/edit"
    opened = version(await see(house.user, path))
    async with house.state.database.write() as session:
        await tokens.update_token(session, token_id, {"name": "by another"}, actor=SYSTEM)
    form = {"name": "mine", "scope": "proxy", "cache_enabled": "on"}
    refused = await send(house.user, path, version=opened, **form)
    page = unescape(refused.text)
    assert refused.status_code == 409
    assert 'value="mine"' in page
    assert "Stored now: by another" in page
    assert (await rows(house, Token))[-1].name == "by another"
    saved = await send(house.user, path, version=version(refused.text), **form)
    assert saved.status_code == 303
    assert (await rows(house, Token))[-1].name == "mine"


# -- providers and keys -----------------------------------------------------------------------


async def add_provider(house: House, demo: RecordedDemo, **more: str) -> int:
    form = {"name": "openai", "base_url": demo.base_url, "key": KEY} | more
    added = await send(house.administrator, "/providers/new", **form)
    assert added.status_code == 303, added.text
    found: int = (await rows(house, Provider))[-1].id
    return found


async def test_a_key_is_masked_and_tested_with_one_click(
    house: House, provider: RecordedDemo
) -> None:
    provider_id = await add_provider(house, provider)
    page = await see(house.administrator, "/providers")
    assert "••••x3fQ" in page
    assert KEY not in page
    await send(
        house.administrator, f"/providers/{provider_id}/keys/new", name="old",
        key="sk-refuse-0123456789abcdef",
    )  # fmt: skip
    for key, said in zip(
        await rows(house, ProviderKey), ("Works: ", "Refused (401): "), strict=True
    ):
        path = f"/providers/keys/{key.id}/test"
        answer = await send(house.administrator, path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/providers")
        shown = await see(house.administrator, "/providers")
        assert said in shown
        # The provider repeats the key in its error, which stays a secret all the same.
        assert "sk-refuse-0" not in shown
        part = await house.administrator.client.post(
            path,
            data={"csrf_token": house.administrator.csrf_token},
            headers=OWN
            | {"hx-request": "true", "hx-request-type": "partial", "hx-target": "span#probe-1"},
        )
        assert part.text.startswith('<span class="dot')
    last = provider.seen[-1]
    assert (last.method, last.path) == ("GET", "/v1/models")
    assert (await acts(house)).count("key.test") == 4


async def test_keys_of_one_name_are_told_apart_wherever_one_is_named(
    house: House, provider: RecordedDemo
) -> None:
    provider_id = await add_provider(house, provider)
    # A short secret would be given away by its end: such a key is told by its number.
    await send(house.administrator, f"/providers/{provider_id}/keys/new", name="default", key="any")
    long, short = (key.id for key in await rows(house, ProviderKey))
    told = {long: "default ••••x3fQ", short: f"default no. {short}"}
    for path in ("/calls/filter", "/tokens/new", "/routes/new"):
        page = await see(house.administrator, path)
        for name in told.values():
            assert page.count(f"openai · {name}<") == 1, (path, name)
    for key_id, name in told.items():
        form = {"name": "pinned", "scope": "proxy", "provider_key_id": str(key_id)}
        await send(house.administrator, "/tokens/new", **form)
        token = (await rows(house, Token))[-1].id
        assert f"openai · {name}<" in await see(house.administrator, f"/tokens/{token}")
        await send(
            house.administrator, "/routes/new", alias=f"to-{key_id}", strategy="ordered",
            model="m", place=f"openai:{key_id}", weight="1", act="save",
        )  # fmt: skip
        assert f'title="with the key {name}"' in await see(house.administrator, "/routes")
        masked = name.removeprefix("default ")
        for path in ("/providers", "/settings", f"/providers/keys/{key_id}/edit",
                     f"/providers/keys/{key_id}/delete"):  # fmt: skip
            assert re.search(rf"<code[^>]*>{masked}</code>", await see(house.administrator, path))


async def test_how_a_providers_key_ends_is_for_administrators(
    house: House, provider: RecordedDemo
) -> None:
    await add_provider(house, provider)
    (key,) = await rows(house, ProviderKey)
    (plain,) = [one for one in await rows(house, User) if one.role == "user"]
    form = {"name": "pinned", "scope": "proxy", "provider_key_id": str(key.id)}
    await send(house.administrator, "/tokens/new", user_id=str(plain.id), **form)
    place = f"/tokens/{(await rows(house, Token))[-1].id}"
    assert key.last4 in await see(house.administrator, place)
    page = await see(house.user, place)
    assert "openai, one of its keys" in page
    for path in (place, "/tokens"):
        assert key.last4 not in await see(house.user, path), path


async def test_who_cannot_start_the_server_is_not_told_to(
    house: House, provider: RecordedDemo
) -> None:
    house.state.directory.set_demo("http://127.0.0.1:9/v1", forced=True)
    await add_provider(house, provider)
    assert ": start it without." in await see(house.administrator, "/")
    page = await see(house.user, "/")
    assert "an administrator can start it without." in page
    assert ": start it without." not in page


async def test_under_demo_the_pages_say_what_a_key_and_a_default_will_change(
    house: House, provider: RecordedDemo
) -> None:
    house.state.directory.set_demo("http://127.0.0.1:9/v1", forced=True)
    await house.state.directory.refresh()
    page = await see(house.administrator, "/")
    assert "Add a key" in page
    assert "add a provider with its key</a>, or set" in page
    await add_provider(house, provider)
    page = await see(house.administrator, "/")
    assert "Add a key" not in page
    assert "start it without." in page
    other = await add_provider(house, provider, name="other")
    marked = await send(house.administrator, f"/providers/{other}/default")
    page = await see(house.administrator, marked.headers["location"])
    assert "other is the default from when the server runs without --demo." in page
    assert re.search(r">other<span[^>]*>default without --demo</span>", page)
    assert page.count("default without --demo") == page.count("Make default") == 1
    assert re.search(r">demo<span[^>]*>default</span>", page)


async def test_the_first_provider_is_openai_unless_something_else_is_typed(
    house: House, provider: RecordedDemo
) -> None:
    typed = 'value="https://api.openai.com/v1"'
    assert typed in await see(house.administrator, "/providers/new")
    await add_provider(house, provider)
    assert typed not in await see(house.administrator, "/providers/new")


async def test_a_key_of_a_provider_that_is_away_is_unreachable(house: House) -> None:
    with RecordedDemo() as gone:
        base_url = gone.base_url
    form = {"name": "away", "base_url": base_url, "key": KEY}
    await send(house.administrator, "/providers/new", **form)
    key_id = (await rows(house, ProviderKey))[-1].id
    await send(house.administrator, f"/providers/keys/{key_id}/test")
    said = f"Unreachable: The connection is refused ({base_url.split('/')[2]})."
    assert said in await see(house.administrator, "/providers")


async def test_a_key_is_renamed_replaced_disabled_and_deleted_with_what_hangs_on_it(
    house: House, provider: RecordedDemo
) -> None:
    await add_provider(house, provider)
    key_id = (await rows(house, ProviderKey))[-1].id
    path = f"/providers/keys/{key_id}"
    form = version(await see(house.administrator, f"{path}/edit"))
    await send(
        house.administrator, f"{path}/edit", version=form, name="team", key="sk-another-secret-9999"
    )
    (key,) = await rows(house, ProviderKey)
    assert (key.name, key.last4, key.is_active) == ("team", "9999", False)
    stale = await send(
        house.administrator, f"{path}/edit", version=form, name="team", key="sk-typed-secret", is_active="on"
    )  # fmt: skip
    assert stale.status_code == 409
    # What was typed is kept, but for secrets.
    assert "sk-typed-secret" not in stale.text
    await send(
        house.administrator, "/tokens/new", name="pinned", scope="proxy",
        provider_key_id=str(key_id),
    )  # fmt: skip
    shown = await see(house.administrator, f"{path}/delete")
    assert "pinned" in shown
    assert "only key" in shown
    assert (await send(house.administrator, f"{path}/delete", confirm="tea")).status_code == 422
    assert (await send(house.administrator, f"{path}/delete", confirm="team")).status_code == 303
    (key,) = await rows(house, ProviderKey)
    assert key.sealed is None


@pytest.mark.parametrize("began", ["without a key", "with a key", "with --demo"])
async def test_who_deletes_the_last_key_is_told_what_programs_get_then(
    house: House, provider: RecordedDemo, monkeypatch: pytest.MonkeyPatch, began: str
) -> None:
    directory = house.state.directory
    if began == "with a key":
        monkeypatch.setattr(directory, "_demo", None)
    elif began == "with --demo":
        directory.set_demo(provider.base_url, forced=True)
    async with change(house.state) as session:
        _, secret = await tokens.create_token(
            session, directory.digest, user_id=2, name="own", scope="proxy", actor=SYSTEM
        )

    async def call(model: str) -> int:
        answer = await house.nobody.client.post(
            "/v1/chat/completions", headers={"authorization": f"Bearer {secret}"},
            json={"model": model, "messages": [{"role": "user", "content": "Hello"}]},
        )  # fmt: skip
        return answer.status_code

    async def said(path: str) -> str:
        text = re.sub(r"<[^>]+>", "", await see(house.administrator, f"{path}/delete"))
        return " ".join(text.split())

    first = await add_provider(house, provider)
    second = await add_provider(house, provider, name="other")
    keys = [f"/providers/keys/{key.id}" for key in await rows(house, ProviderKey)]
    for path in (*keys, f"/providers/{first}"):
        assert "No other provider holds a key" not in await said(path)
    assert "the only key of other: calls to other/… get 503 from then on." in await said(keys[1])
    await send(house.administrator, f"{keys[1]}/delete", confirm="default")
    assert await call("other/gpt-4o-mini") == 503
    then = {
        "without a key": (
            "calls that name no provider then get made-up answers of the simulated one, and no error."
        ),
        "with a key": (
            "calls that name no provider then get 503, and once this server starts again without a "
            "key made-up answers of the simulated one."
        ),
        "with --demo": "",
    }[began]
    for path in (keys[0], f"/providers/{first}"):
        text = await said(path)
        assert then in text
        assert ("No other provider holds a key" in text) == (then != "")
    assert "No other provider" not in await said(f"/providers/{second}")
    await send(house.administrator, f"{keys[0]}/delete", confirm="default")
    assert await call("gpt-4o-mini") == (503 if began == "with a key" else 200)


async def test_a_provider_that_an_alias_sends_to_stays(
    house: House, provider: RecordedDemo
) -> None:
    provider_id = await add_provider(house, provider)
    await send(
        house.administrator, "/routes/new", alias="fast", strategy="ordered", model="gpt-4o",
        place="openai", weight="1", act="save",
    )  # fmt: skip
    path = f"/providers/{provider_id}"
    assert "First send these aliases elsewhere" in await see(house.administrator, f"{path}/delete")
    refused = await send(house.administrator, f"{path}/delete", confirm="openai")
    assert refused.status_code == 409
    assert "The alias fast sends to openai: take it out there first" in unescape(refused.text)
    form = version(await see(house.administrator, f"{path}/edit"))
    moved = await send(
        house.administrator, f"{path}/edit", version=form, base_url="https://elsewhere.example/v1"
    )
    assert (moved.status_code, "asks for the provider" in moved.text) == (422, True)


# -- routes -----------------------------------------------------------------------------------


async def test_targets_are_added_moved_and_taken_out_without_scripts(
    house: House, provider: RecordedDemo
) -> None:
    await add_provider(house, provider)
    key_id = (await rows(house, ProviderKey))[-1].id
    two: dict[str, str | list[str]] = {
        "alias": "fast", "strategy": "weighted", "model": ["gpt-4o", "gpt-4o-mini"],
        "place": ["openai", f"openai:{key_id}"], "weight": ["3", "1"],
    }  # fmt: skip
    moved = await send(house.administrator, "/routes/new", **two, act="up:1")
    assert moved.status_code == 200
    assert re.findall(r'name="model" value="([^"]+)"', moved.text) == ["gpt-4o-mini", "gpt-4o"]
    assert await rows(house, Route) == []
    assert (await send(house.administrator, "/routes/new", **two, act="save")).status_code == 303
    (route,) = await rows(house, Route)
    assert [(one["model"], one["key_id"], one["weight"]) for one in route.targets] == [
        ("gpt-4o", None, 3), ("gpt-4o-mini", key_id, 1),
    ]  # fmt: skip
    shown = await see(house.administrator, "/routes")
    assert "openai/gpt-4o-mini" in shown
    wrong = await send(
        house.administrator, f"/routes/{route.id}/edit", act="save",
        version=version(await see(house.administrator, f"/routes/{route.id}/edit")),
        **two | {"weight": ["3", "many"]},
    )  # fmt: skip
    assert (wrong.status_code, 'id="weight-1-error"' in wrong.text) == (422, True)
    assert 'value="many"' in wrong.text
    stale = await send(
        house.administrator, f"/routes/{route.id}/edit", act="save", version="1",
        **two | {"model": ["gpt-4o", "other"]},
    )  # fmt: skip
    assert (stale.status_code, "2. gpt-4o-mini at openai:" in stale.text) == (409, True)
    done = await send(house.administrator, f"/routes/{route.id}/delete", confirm="fast")
    assert done.status_code == 303
    assert await rows(house, Route) == []


def test_rows_stay_rows_whatever_a_button_says() -> None:
    one, two = Row("a", "p"), Row("b", "p")
    assert rearranged([one, two], "down:0") == [two, one]
    assert rearranged([one, two], "remove:0") == [two]
    assert rearranged([one], "remove:0") == [one]
    assert len(rearranged([one] * 20, "add")) == 20
    for act in ("up:0", "down:1", "up:-1", "remove:9", "up:", "up:x", "sideways:1", ""):
        assert rearranged([one, two], act) == [one, two], act


# -- users ------------------------------------------------------------------------------------


async def test_somebody_is_invited_sets_a_password_and_sees_only_their_own(house: House) -> None:
    added = await send(
        house.administrator, "/users/new", email="grace@example.org", name="Grace", role="user",
        entry="link",
    )  # fmt: skip
    link = secret_in(added.text)
    assert link not in await see(house.administrator, "/users")
    assert "invited" in await see(house.administrator, "/users")
    client = house.nobody.client
    form = await client.get(link)
    assert "grace@example.org" in form.text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form.text))
    short = await client.post("/invitation", data=hidden | {"password": "short"}, headers=OWN)
    assert short.status_code == 422
    no_token = await client.post(
        "/invitation", data={"token": hidden["token"], "password": PASSWORD}, headers=OWN
    )
    assert no_token.status_code == 403
    done = await client.post("/invitation", data=hidden | {"password": PASSWORD}, headers=OWN)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert "grace@example.org, user" in (await client.get("/")).text
    assert (await client.get("/users")).status_code == 403
    assert (await client.get("/tokens")).status_code == 200
    # Once: neither the page nor the form takes the link again.
    assert (await client.get(link)).status_code == 404
    hidden["csrf_token"] = client.cookies["csrftoken"]
    again = await client.post("/invitation", data=hidden | {"password": PASSWORD}, headers=OWN)
    assert again.status_code == 404
    assert {"user.create", "user.invite", "user.accept_invitation"} <= set(await acts(house))


async def test_a_newer_link_ends_the_one_before_and_none_makes_an_administrator(
    house: House,
) -> None:
    grace = await send(
        house.administrator, "/users/new", email="grace@example.org", role="user", entry="link"
    )
    first = secret_in(grace.text)
    user_id = (await rows(house, User))[-1].id
    second = secret_in((await send(house.administrator, f"/users/{user_id}/invite")).text)
    assert (await house.nobody.client.get(first)).status_code == 404
    assert (await house.nobody.client.get(second)).status_code == 200
    setup = second.replace("/invitation", "/setup")
    assert (await house.nobody.client.get(setup)).status_code == 404
    await send(house.administrator, f"/users/{user_id}/edit", version=version(
        await see(house.administrator, f"/users/{user_id}/edit")), role="user")  # fmt: skip
    # Disabled now, so that no link lets them in.
    assert (await house.nobody.client.get(second)).status_code == 404
    assert (await send(house.administrator, f"/users/{user_id}/invite")).status_code == 409


async def test_a_password_is_shown_once_and_opens_the_door(house: House) -> None:
    added = await send(
        house.administrator, "/users/new", email="linus@example.org", role="user", entry="password"
    )
    password = secret_in(added.text)
    signed_in = await house.nobody.client.post(
        "/login", data={"email": "linus@example.org", "password": password}
    )
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/")
    user_id = (await rows(house, User))[-1].id
    await send(house.administrator, f"/users/{user_id}/end-sessions")
    assert (await house.nobody.client.get("/tokens")).status_code == 303
    clash = await send(
        house.administrator, "/users/new", email="linus@example.org", role="user", entry="none"
    )
    assert (clash.status_code, "has this e-mail address already" in clash.text) == (409, True)


async def test_nobody_locks_themselves_or_everybody_out(house: House) -> None:
    root = (await rows(house, User))[0]
    path = f"/users/{root.id}"
    form = version(await see(house.administrator, f"{path}/edit"))
    demoted = await send(
        house.administrator, f"{path}/edit", version=form, role="user", is_active="on"
    )
    assert (demoted.status_code, "lock yourself out" in demoted.text) == (409, True)
    gone = await send(house.administrator, f"{path}/delete", confirm=root.email)
    assert gone.status_code == 409
    (still,) = [row for row in await rows(house, User) if row.id == root.id]
    assert (still.role, still.is_active, still.deleted_at) == ("administrator", True, None)


async def test_what_a_deleted_user_wrote_goes_to_an_heir(house: House) -> None:
    ada = (await rows(house, User))[1]
    async with house.state.database.write() as session:
        session.add(Pipeline(user_id=ada.id, name="p", version=1, served_version=1))
        heir = await users.create_user(
            session, email="heir@example.org", password_hash=None, actor=SYSTEM
        )
    await send(house.user, "/tokens/new", name="bot", scope="proxy")
    shown = await see(house.administrator, f"/users/{ada.id}/delete")
    assert "1 token" in shown.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "1 pipeline" in shown.replace("\N{NARROW NO-BREAK SPACE}", " ")
    path = f"/users/{ada.id}/delete"
    nobody = await send(house.administrator, path, confirm=ada.email, heir_id="987654")
    assert nobody.status_code == 422
    done = await send(house.administrator, path, confirm=ada.email, heir_id=str(heir.id))
    assert done.status_code == 303
    assert [row.user_id for row in await rows(house, Pipeline)] == [heir.id]
    assert (await rows(house, Token))[-1].deleted_at is not None
    assert (await house.user.client.get("/tokens")).status_code == 303
