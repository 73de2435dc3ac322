"""Lists of objects: everybody's at the provider, one's own through AI-Eye."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest

from tests.fakes import chat
from tests.fakes.upstream import Behaviour, Connection, FakeUpstream, Received, json_answer
from tests.faults.harness import PROVIDER_KEY, Gateway, both_databases

pytestmark = pytest.mark.live

SECOND_KEY = "sk-canary-second-8e02bb65a1"


@dataclass
class Lists:
    """A provider that lists, in pages, what each key has made, the newest last."""

    made: dict[str, list[str]] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    is_paged: bool = True

    async def __call__(self, request: Received, connection: Connection) -> None:
        connection.fire("lists")
        key = request.key or ""
        own = self.made.setdefault(key, [])
        if key in self.refuses:
            answer = json_answer(401, chat.error_body("Bad key."))
        elif request.method == "POST":
            own.append(f"batch_{key[-1]}{len(own)}")
            answer = json_answer(200, _batch(own[-1]))
        else:
            answer = self._page(own, parse_qs(urlsplit(request.target).query))
        await answer(request, connection)

    def _page(self, own: list[str], query: dict[str, list[str]]) -> Behaviour:
        after = query.get("after", [""])[0]
        if after and after not in own:
            return json_answer(404, chat.error_body("No such cursor."))
        start = own.index(after) + 1 if after else 0
        limit = int(query.get("limit", ["20"])[0]) if self.is_paged else len(own)
        page = own[start : start + limit]
        body: chat.Json = {"object": "list", "data": [_batch(id_) for id_ in page]}
        if self.is_paged:
            body |= {
                "first_id": page[0] if page else None,
                "last_id": page[-1] if page else None,
                "has_more": start + limit < len(own),
            }
        return json_answer(200, body)


def _batch(id_: str) -> chat.Json:
    return {"id": id_, "object": "batch", "output_file_id": f"file-of-{id_}"}


@dataclass
class World:
    """Two keys at one provider; `second` are tokens that are pinned to the second key."""

    gateway: Gateway
    upstream: FakeUpstream
    lists: Lists
    ada: str
    ada_second: str
    ben: str
    ben_second: str

    async def make(self, *tokens: str) -> list[str]:
        answers = [
            await self.gateway.ask({"endpoint": "x"}, path="/v1/batches", token=token)
            for token in tokens
        ]
        return [answer.json()["id"] for answer in answers]

    async def read(self, token: str, query: str = "") -> httpx.Response:
        return await self.gateway.get(f"/v1/batches{query}", token=token)

    async def page_through(self, token: str, limit: int) -> list[str]:
        """What OpenAI's SDK finds."""
        async with self.gateway.sdk(token) as sdk:
            return [batch.id async for batch in sdk.batches.list(limit=limit)]

    @property
    def pages_asked(self) -> list[tuple[str | None, str]]:
        """Key and target of each page that the provider was asked for."""
        return [
            (request.key, request.target.partition("?")[2])
            for request in self.upstream.requests
            if request.method == "GET"
        ]


@pytest.fixture
async def world(gateway: Gateway, upstream: FakeUpstream) -> World:
    second = await gateway.add_key(1, SECOND_KEY)
    upstream.default = lists = Lists()
    ada = await gateway.add_user("ada@example.org")
    ben = await gateway.add_user("ben@example.org")
    return World(
        gateway, upstream, lists,
        await gateway.add_token(user_id=ada),
        await gateway.add_token(user_id=ada, provider_key_id=second),
        await gateway.add_token(user_id=ben),
        await gateway.add_token(user_id=ben, provider_key_id=second),
    )  # fmt: skip


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


@both_databases
async def test_ones_own_are_found_behind_those_of_others_and_at_every_key(world: World) -> None:
    mine = []
    for _ in range(2):
        mine += await world.make(world.ada)
        await world.make(*[world.ben] * 3)
    await world.make(*[world.ben_second] * 3)
    mine += await world.make(*[world.ada_second] * 2)

    assert world.upstream.fired["lists"] == len(world.upstream.requests)
    for limit in (1, 2, 3, 20):
        assert await world.page_through(world.ada, limit) == mine
    whole = await world.read(world.ada)
    assert ids(whole) == mine
    assert whole.json()["has_more"] is False
    assert (whole.json()["first_id"], whole.json()["last_id"]) == (mine[0], mine[-1])


async def test_a_page_holds_no_more_than_was_asked_for(world: World) -> None:
    await world.make(world.ben)
    mine = await world.make(*[world.ada] * 5)

    first = await world.read(world.ada, "?limit=2")
    rest = await world.read(world.ada, f"?limit=3&after={mine[1]}")

    assert (ids(first), ids(rest)) == (mine[:2], mine[2:])
    assert [answer.json()["has_more"] for answer in (first, rest)] == [True, False]
    assert first.json()["last_id"] == mine[1]


async def test_a_list_of_ones_own_alone_comes_byte_for_byte_with_the_callers_query(
    world: World,
) -> None:
    await world.make(world.ada, world.ada)

    answer = await world.read(world.ada, "?limit=1&x=%2Fy")

    assert world.pages_asked == [(PROVIDER_KEY, "limit=1&x=%2Fy")]
    assert answer.content == world.upstream.requests[-1].sent_body


async def test_many_objects_of_others_cost_few_pages(world: World) -> None:
    world.lists.made[PROVIDER_KEY] = [f"batch_old{number}" for number in range(250)]
    mine = await world.make(world.ada)

    assert ids(await world.read(world.ada, "?limit=1")) == mine
    assert len(world.pages_asked) == 4


async def test_who_has_made_nothing_gets_an_empty_list(world: World) -> None:
    await world.make(*[world.ada] * 3)

    answer = await world.read(world.ben, "?limit=1")

    assert (ids(answer), answer.json()["has_more"]) == ([], False)


async def test_a_list_cannot_go_on_after_the_object_of_another(world: World) -> None:
    mine = await world.make(world.ada)
    await world.make(world.ben)

    answer = await world.read(world.ben, f"?after={mine[0]}")

    assert answer.status_code == 404
    assert world.pages_asked == []


async def test_a_key_that_is_refused_does_not_hide_what_the_other_has(world: World) -> None:
    await world.make(world.ada)
    mine = await world.make(world.ada_second)
    world.lists.refuses = {PROVIDER_KEY}
    assert ids(await world.read(world.ada)) == mine
    world.lists.refuses = {PROVIDER_KEY, SECOND_KEY}

    answer = await world.read(world.ada)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "provider_auth")


async def test_a_provider_without_pages_is_asked_once_a_key(world: World) -> None:
    world.lists.is_paged = False
    mine = await world.make(world.ada, world.ada_second)

    answer = await world.read(world.ada, "?limit=1")

    assert ids(answer) == mine
    assert "has_more" not in answer.json()
    assert [key for key, _ in world.pages_asked] == [PROVIDER_KEY, SECOND_KEY]


async def test_an_administrator_sees_what_nobody_made_here_and_no_ones_own(world: World) -> None:
    world.lists.made[PROVIDER_KEY] = ["batch_old"]
    await world.make(world.ben, world.ben_second)
    own = await world.make(world.gateway.token)

    assert await world.page_through(world.gateway.token, 1) == ["batch_old", *own]


async def test_the_files_of_listed_batches_are_their_owners(world: World) -> None:
    mine = await world.make(world.ada)
    await world.read(world.ada)
    body = {"input_file_id": f"file-of-{mine[0]}"}

    own = await world.gateway.ask(body, path="/v1/batches", token=world.ada)
    theirs = await world.gateway.ask(body, path="/v1/batches", token=world.ben)

    assert (own.status_code, theirs.status_code) == (200, 404)


async def test_all_pages_of_a_call_are_in_its_row(world: World) -> None:
    await world.make(world.ben, world.ada)
    await world.read(world.ada, "?limit=1")

    row = (await world.gateway.rows(3))[-1]

    assert (row.status, row.endpoint, len(row.attempts)) == (200, "batches", 2)
    assert orjson.dumps(row.attempts).count(b'"status":200') == 2
