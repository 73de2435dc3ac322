"""Files, batches, vector stores and stored answers: whose they are, and which key they live with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from aieye.access.snapshot import Grant
from aieye.db.batches import Target
from aieye.gateway.calls import Call, Reply
from aieye.gateway.owned import OWNED, Owned
from aieye.gateway.ownership import Ownership
from aieye.gateway.wire import match
from aieye.ledger.book import CallRecord
from tests.fakes import chat
from tests.fakes.upstream import (
    Behaviour,
    Connection,
    FakeUpstream,
    Received,
    by_key,
    json_answer,
    sse,
)
from tests.faults.harness import (
    MODEL,
    PROVIDER_KEY,
    Gateway,
    both_databases,
)

pytestmark = pytest.mark.live

SECOND_KEY = "sk-canary-second-8e02bb65a1"
OTHER_KEY = "sk-canary-other-17b0c2d4e5"


@dataclass
class Account:
    """What one provider key owns at the provider: another key does not see it."""

    objects: dict[str, chat.Json]
    # Stop making objects: the next key is tried.
    is_limited: bool = False

    def behaviour(self, prefix: str) -> Behaviour:
        async def answer(request: Received, connection: Connection) -> None:
            connection.fire("account")
            await self._answer(request, prefix)(request, connection)

        return answer

    def _answer(self, request: Received, prefix: str) -> Behaviour:
        parts = request.path.removeprefix("/v1/").split("/")
        if request.method == "POST" and (len(parts) == 1 or request.path.endswith("completions")):
            if self.is_limited:
                return json_answer(429, chat.error_body("Full.", code="insufficient_quota"))
            kind = parts[0].rstrip("s")
            id_ = f"{prefix}-{kind}-{len(self.objects)}".replace("response", "resp")
            id_ = id_ if kind != "response" else f"resp_{prefix}{len(self.objects)}"
            if parts[0] == "chat":
                made = chat.chat_body("Here.", usage=chat.usage(), id_=f"chatcmpl-{prefix}")
            elif parts[0] == "responses":
                made = chat.response_body("Here.", usage=chat.response_usage(), id_=id_)
                if request.streamed:
                    self.objects[id_] = made
                    frames = chat.response_frames("Here.", usage=chat.response_usage(), id_=id_)
                    return sse(frames, done=False)
            else:
                made = {"id": id_, "object": kind}
            self.objects[str(made["id"])] = made
            return json_answer(200, made)
        if request.method == "GET" and len(parts) == 1:
            data = list(self.objects.values())
            return json_answer(200, {"object": "list", "data": data, "has_more": False})
        found = next((self.objects[part] for part in parts if part in self.objects), None)
        if found is None:
            return json_answer(404, chat.error_body("No such object."))
        if request.path.endswith("/content"):
            return json_answer(200, b"one\ntwo\n", {"Content-Type": "application/octet-stream"})
        return json_answer(200, {**found, "seen": request.method})


@dataclass
class World:
    """Two keys at one provider and two users beside the owner."""

    gateway: Gateway
    upstream: FakeUpstream
    first: Account
    second: Account
    ada: str
    ben: str
    ada_too: str

    async def make(self, path: str, token: str, **body: Any) -> str:
        answer = await self.gateway.ask(body or {"x": 1}, path=path, token=token)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def call(self, method: str, path: str, token: str) -> httpx.Response:
        return await self.gateway.client.request(
            method, path, headers={"authorization": f"Bearer {token}"}
        )


@pytest.fixture
async def world(gateway: Gateway, upstream: FakeUpstream) -> World:
    await gateway.add_key(1, SECOND_KEY)
    first, second = Account({}), Account({})
    upstream.default = by_key(
        {PROVIDER_KEY: first.behaviour("a"), SECOND_KEY: second.behaviour("b")}
    )
    ada = await gateway.add_user("ada@example.org")
    ben = await gateway.add_user("ben@example.org")
    return World(
        gateway, upstream, first, second,
        await gateway.add_token(user_id=ada), await gateway.add_token(user_id=ben),
        await gateway.add_token(user_id=ada),
    )  # fmt: skip


KINDS = ["/v1/batches", "/v1/vector_stores", "/v1/uploads", "/v1/responses"]


@both_databases
@pytest.mark.parametrize("path", KINDS)
async def test_an_object_is_its_users_alone_and_lives_with_the_key_it_was_made_with(
    world: World, path: str
) -> None:
    world.first.is_limited = path != "/v1/batches"
    body = {"model": MODEL, "input": "x"} if path == "/v1/responses" else {"x": 1}
    id_ = await world.make(path, world.ada, **body)
    world.first.is_limited = False
    maker = PROVIDER_KEY if path == "/v1/batches" else SECOND_KEY
    assert world.upstream.requests[-1].key == maker
    seen = len(world.upstream.requests)

    method = "POST" if path == "/v1/uploads" else "GET"
    tail = "/cancel" if path == "/v1/uploads" else ""
    theirs = await world.call(method, f"{path}/{id_}{tail}", world.ben)
    assert theirs.status_code == 404
    assert theirs.json()["error"]["code"] == "object_not_found"
    assert len(world.upstream.requests) == seen, "the provider was asked"

    for token in (world.ada, world.ada_too):
        own = await world.call(method, f"{path}/{id_}{tail}", token)
        assert (own.status_code, own.json()["id"]) == (200, id_)
    assert [request.key for request in world.upstream.requests[seen:]] == [maker, maker]


async def test_no_verb_reaches_the_object_of_another(world: World) -> None:
    store = await world.make("/v1/vector_stores", world.ada)
    batch = await world.make("/v1/batches", world.ada)
    response = await world.make("/v1/responses", world.ada, model=MODEL, input="x")
    upload = await world.make("/v1/uploads", world.ada)
    seen = len(world.upstream.requests)
    calls = [
        ("GET", f"/v1/vector_stores/{store}"), ("POST", f"/v1/vector_stores/{store}"),
        ("DELETE", f"/v1/vector_stores/{store}"), ("POST", f"/v1/vector_stores/{store}/search"),
        ("GET", f"/v1/vector_stores/{store}/files"), ("POST", f"/v1/vector_stores/{store}/files"),
        ("POST", f"/v1/vector_stores/{store}/file_batches"),
        ("GET", f"/v1/vector_stores/{store}/files/file-1"),
        ("DELETE", f"/v1/vector_stores/{store}/files/file-1"),
        ("GET", f"/v1/batches/{batch}"), ("POST", f"/v1/batches/{batch}/cancel"),
        ("GET", f"/v1/responses/{response}"), ("DELETE", f"/v1/responses/{response}"),
        ("POST", f"/v1/responses/{response}/cancel"),
        ("GET", f"/v1/responses/{response}/input_items"),
        ("POST", f"/v1/uploads/{upload}/complete"), ("POST", f"/v1/uploads/{upload}/cancel"),
        ("POST", f"/v1/uploads/{upload}/parts"),
        ("GET", "/v1/files/file-unknown"), ("GET", "/v1/files/file-unknown/content"),
    ]  # fmt: skip
    for method, path in calls:
        answer = await world.gateway.client.request(
            method, path, headers={"authorization": f"Bearer {world.ben}"},
            content=b"{}" if method == "POST" else None,
        )  # fmt: skip
        assert answer.status_code == 404, (method, path, answer.text)
    assert len(world.upstream.requests) == seen
    assert [row.status for row in await world.gateway.rows()][4:] == [404] * len(calls)


async def test_lists_hold_ones_own_objects_only(world: World) -> None:
    mine = await world.make("/v1/batches", world.ada)
    theirs = await world.make("/v1/batches", world.ben)
    world.first.objects["old"] = {"id": "old", "object": "batch"}

    for token, expected in ((world.ada, [mine]), (world.ben, [theirs])):
        answer = await world.call("GET", "/v1/batches", token)
        assert [one["id"] for one in answer.json()["data"]] == expected
        assert answer.json()["has_more"] is False


async def test_an_object_older_than_the_gateway_is_for_administrators(world: World) -> None:
    world.first.objects["batch_old"] = {"id": "batch_old", "object": "batch"}

    assert (await world.call("GET", "/v1/batches/batch_old", world.ada)).status_code == 404
    answer = await world.call("GET", "/v1/batches/batch_old", world.gateway.token)

    assert (answer.status_code, answer.json()["id"]) == (200, "batch_old")


async def test_a_file_goes_up_with_one_key_and_is_used_and_read_with_it(world: World) -> None:
    world.first.is_limited = True
    form = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
    headers = {
        "content-type": "multipart/form-data; boundary=b",
        "authorization": f"Bearer {world.ada}",
    }
    made = await world.gateway.client.post("/v1/files", content=form, headers=headers)
    assert made.status_code == 200, made.text
    # The first key refused it, and made nothing of it.
    assert [request.key for request in world.upstream.requests] == [PROVIDER_KEY, SECOND_KEY]
    assert [request.body for request in world.upstream.requests] == [form, form]
    file_id = made.json()["id"]
    world.first.is_limited = False
    world.gateway.state.gateway.circuits.of(
        world.gateway.state.directory.current.keys[1]
    ).succeeded()
    seen = len(world.upstream.requests)

    content = await world.call("GET", f"/v1/files/{file_id}/content", world.ada)
    batch = await world.gateway.ask({"input_file_id": file_id}, path="/v1/batches", token=world.ada)
    theirs = await world.gateway.ask(
        {"input_file_id": file_id}, path="/v1/batches", token=world.ben
    )

    assert content.content == b"one\ntwo\n"
    assert (batch.status_code, theirs.status_code) == (200, 404)
    assert [request.key for request in world.upstream.requests[seen:]] == [SECOND_KEY] * 2


async def test_a_body_that_names_anothers_object_is_404(world: World) -> None:
    response = await world.make("/v1/responses", world.ada, model=MODEL, input="x")
    store = await world.make("/v1/vector_stores", world.ada)
    seen = len(world.upstream.requests)
    bodies: list[chat.Json] = [
        {"previous_response_id": response},
        {"tools": [{"type": "file_search", "vector_store_ids": [store]}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-9"}]}]},
        {"tools": [{"type": "code_interpreter", "container": {"file_ids": ["file-9"]}}]},
    ]
    for body in bodies:
        answer = await world.gateway.ask(
            {"model": MODEL, "input": "y", **body}, path="/v1/responses", token=world.ben
        )
        assert answer.status_code == 404, body
    assert len(world.upstream.requests) == seen
    own = await world.gateway.ask(
        {"model": MODEL, "input": "y", "previous_response_id": response},
        path="/v1/responses", token=world.ada,
    )  # fmt: skip
    assert own.status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_what_an_answer_brought_is_named_by_its_owner_alone_and_where_it_was_made(
    world: World, stream: bool
) -> None:
    world.first.is_limited = True
    body = {"model": MODEL, "input": "x", "stream": stream}
    made = await world.gateway.ask(body, path="/v1/responses", token=world.ada)
    world.first.is_limited = False
    world.gateway.state.gateway.circuits.of(
        world.gateway.state.directory.current.keys[1]
    ).succeeded()
    (response,) = world.second.objects
    item = response.replace("resp_", "msg_")
    assert item in made.text
    seen = len(world.upstream.requests)
    references: list[chat.Json] = [
        {"type": "item_reference", "id": item},
        {"id": item},
        {"type": None, "id": item},
        {"type": "reasoning", "id": item, "summary": []},
        {"type": "image_generation_call", "id": item, "result": "eA=="},
    ]

    for reference in references:
        body = {"model": MODEL, "input": ["y", reference]}
        own = await world.gateway.ask(body, path="/v1/responses", token=world.ada_too)
        theirs = await world.gateway.ask(body, path="/v1/responses", token=world.ben)
        assert (own.status_code, theirs.status_code) == (200, 404), reference

    keys = [request.key for request in world.upstream.requests[seen:]]
    assert keys == [SECOND_KEY] * len(references)


async def test_who_got_an_answer_from_the_cache_may_name_what_it_brought(world: World) -> None:
    for form in (False, True):
        body = {"model": MODEL, "input": f"in form {form}", "stream": form}
        answers = [
            await world.gateway.ask(body, path="/v1/responses", token=token)
            for token in (world.ada, world.ben)
        ]
        assert answers[1].headers["x-aieye-cache"] == "hit"
        response = list(world.first.objects)[-1]
        reference = {"type": "item_reference", "id": response.replace("resp_", "msg_")}
        next_ = await world.gateway.ask(
            {"model": MODEL, "input": [reference]}, path="/v1/responses", token=world.ben
        )
        assert next_.status_code == 200


async def test_what_a_response_brought_in_the_background_is_its_owners(world: World) -> None:
    body = {"model": MODEL, "input": "x", "background": True}
    begun = chat.response_body(status="queued") | {"output": []}
    world.upstream.script(json_answer(200, begun))
    response = await world.make("/v1/responses", world.ada, **body)
    world.first.objects[response] = chat.response_body()
    next_ = {"model": MODEL, "input": [{"type": "item_reference", "id": "msg_fake"}]}

    before = await world.gateway.ask(next_, path="/v1/responses", token=world.ada)
    assert (await world.call("GET", f"/v1/responses/{response}", world.ada)).status_code == 200
    after = [
        (await world.gateway.ask(next_, path="/v1/responses", token=token)).status_code
        for token in (world.ada, world.ben)
    ]

    assert (before.status_code, after) == (404, [200, 404])


async def test_nobody_makes_an_item_theirs_by_sending_it(world: World) -> None:
    """What a client sends with an id, and a provider may repeat, is not what an answer brought."""
    said = {"type": "message", "id": "msg_of_ben", "role": "user", "content": "x"}
    repeated = {"object": "list", "data": [said], "has_more": False}
    sent = await world.make("/v1/responses", world.ada, model=MODEL, input=[said])
    world.upstream.script(json_answer(200, repeated))
    listed = await world.call("GET", f"/v1/responses/{sent}/input_items", world.ada)

    reference = {"type": "item_reference", "id": "msg_of_ben"}
    answer = await world.gateway.ask(
        {"model": MODEL, "input": [reference]}, path="/v1/responses", token=world.ada
    )

    assert listed.json() == repeated
    assert answer.status_code == 404


async def test_a_conversation_that_the_gateway_did_not_see_is_for_administrators(
    world: World,
) -> None:
    seen = len(world.upstream.requests)
    for field in (
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    ):
        body = {"model": MODEL, "input": "y", **field}
        answer = await world.gateway.ask(body, path="/v1/responses", token=world.ben)
        assert answer.status_code == 404, field
    assert len(world.upstream.requests) == seen
    own = await world.gateway.ask(
        {"model": MODEL, "input": "y", "conversation": "conv_1"}, path="/v1/responses"
    )
    assert own.status_code == 200


async def test_a_body_that_names_anothers_object_in_other_letters_is_404_too(world: World) -> None:
    response = await world.make("/v1/responses", world.ada, model=MODEL, input="x")
    seen = len(world.upstream.requests)
    statuses = []
    for name in (
        b"previous_response\\u005fid",
        b"\\u0070revious_response_id",
        b"previous_response_i\\u0064",
    ):
        body = b'{"model":"gpt-4o-mini","input":"y","%b":"%b"}' % (name, response.encode())
        answer = await world.gateway.ask(body, path="/v1/responses", token=world.ben)
        statuses.append(answer.status_code)

    assert statuses == [404] * 3
    assert len(world.upstream.requests) == seen


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_turn_of_a_conversation_uses_the_key_of_the_one_before(
    world: World, stream: bool
) -> None:
    world.first.is_limited = True
    first = await world.gateway.ask(
        {"model": MODEL, "input": "x", "stream": stream}, path="/v1/responses", token=world.ada
    )
    assert first.status_code == 200
    (response,) = world.second.objects
    assert response in first.text
    world.first.is_limited = False
    world.gateway.state.gateway.circuits.of(
        world.gateway.state.directory.current.keys[1]
    ).succeeded()

    body = {"model": MODEL, "input": "y", "previous_response_id": response}
    second = await world.gateway.ask(body, path="/v1/responses", token=world.ada)

    assert second.status_code == 200
    assert world.upstream.requests[-1].key == SECOND_KEY


async def test_who_got_a_stored_answer_from_the_cache_reaches_it_with_the_right_key(
    world: World,
) -> None:
    body = {"model": MODEL, "input": "x"}
    world.first.is_limited = True
    made = await world.gateway.ask(body, path="/v1/responses", token=world.ada)
    world.first.is_limited = False
    world.gateway.state.gateway.circuits.of(
        world.gateway.state.directory.current.keys[1]
    ).succeeded()
    hit = await world.gateway.ask(body, path="/v1/responses", token=world.ben)
    assert (hit.headers["x-aieye-cache"], hit.content) == ("hit", made.content)

    answer = await world.call("GET", f"/v1/responses/{made.json()['id']}", world.ben)

    assert world.upstream.requests[-1].key == SECOND_KEY
    assert answer.status_code == 200


async def test_the_next_turn_goes_to_the_provider_that_has_the_one_before(
    world: World, other: FakeUpstream
) -> None:
    await world.gateway.add_provider("second", other, OTHER_KEY)
    account = Account({})
    other.default = account.behaviour("o")
    first = await world.gateway.ask(
        {"model": f"second/{MODEL}", "input": "x"}, path="/v1/responses", token=world.ada
    )
    response = first.json()["id"]

    explicit = await world.gateway.ask(
        {"model": f"second/{MODEL}", "input": "y", "previous_response_id": response},
        path="/v1/responses", token=world.ada,
    )  # fmt: skip
    plain = await world.gateway.ask(
        {"model": MODEL, "input": "z", "previous_response_id": response},
        path="/v1/responses", token=world.ada,
    )  # fmt: skip

    assert explicit.status_code == 200
    # Either it goes where the response is, or it is said that it is not here: no outage.
    assert plain.status_code in {200, 404}, plain.text
    assert len(other.requests) == 2 + (plain.status_code == 200)


async def test_an_object_whose_key_is_gone_is_404(world: World) -> None:
    world.first.is_limited = True
    store = await world.make("/v1/vector_stores", world.ada)
    world.first.is_limited = False
    async with world.gateway.state.database.write() as session:
        from aieye.access.audit import SYSTEM  # noqa: PLC0415 - used here alone
        from aieye.access.providers import delete_key  # noqa: PLC0415

        await delete_key(session, key_id=2, actor=SYSTEM)
    await world.gateway.state.directory.refresh()
    seen = len(world.upstream.requests)

    answer = await world.call("GET", f"/v1/vector_stores/{store}", world.ada)

    assert answer.status_code == 404
    assert len(world.upstream.requests) == seen


async def test_what_a_batch_brings_is_its_owners(world: World) -> None:
    batch = await world.make("/v1/batches", world.ada)
    world.first.objects[batch] |= {"output_file_id": "file-out", "error_file_id": "file-err"}
    world.first.objects["file-out"] = {"id": "file-out"}
    await world.call("GET", f"/v1/batches/{batch}", world.ada)

    own = await world.call("GET", "/v1/files/file-out/content", world.ada)
    theirs = await world.call("GET", "/v1/files/file-out/content", world.ben)

    assert (own.status_code, theirs.status_code) == (200, 404)


async def test_a_token_pinned_to_another_key_still_reaches_the_object(world: World) -> None:
    batch = await world.make("/v1/batches", world.ada)
    owner = world.gateway.state.directory.find_grant(world.ada)
    assert owner is not None
    pinned = await world.gateway.add_token(user_id=owner.user_id, provider_key_id=2)

    answer = await world.call("GET", f"/v1/batches/{batch}", pinned)

    assert answer.status_code == 200
    assert world.upstream.requests[-1].key == PROVIDER_KEY


async def test_stored_chats_are_owned_as_well(world: World) -> None:
    body = {"model": MODEL, "messages": [], "store": True}
    made = await world.gateway.ask(body, token=world.ada)
    id_ = made.json()["id"]

    own = await world.call("GET", f"/v1/chat/completions/{id_}", world.ada)
    theirs = await world.call("GET", f"/v1/chat/completions/{id_}", world.ben)

    assert (own.status_code, theirs.status_code) == (200, 404)


async def test_what_a_file_says_of_other_files_makes_them_nobodys(world: World) -> None:
    victim = await world.make("/v1/batches", world.ada)
    world.first.objects[victim] |= {"output_file_id": "file-victim"}
    world.first.objects["file-victim"] = {"id": "file-victim"}
    await world.call("GET", f"/v1/batches/{victim}", world.ada)
    claims = {"output_file_id": "file-victim", "file": {"id": "file-victim"}}
    answer = json_answer(200, claims)
    world.upstream.script(json_answer(200, {"id": "file-own", "object": "file"}), answer, answer)
    form = {"file": ("x.json", b"{}")}
    headers = {"authorization": f"Bearer {world.ben}"}
    assert (await world.gateway.client.post("/v1/files", files=form, headers=headers)).is_success

    content = await world.call("GET", "/v1/files/file-own/content", world.ben)
    await world.call("GET", "/v1/files/file-own", world.ben)

    assert content.json() == claims
    assert (await world.call("GET", "/v1/files/file-victim", world.ben)).status_code == 404
    assert (await world.call("GET", "/v1/files/file-victim", world.ada)).status_code == 200


async def test_texts_of_ones_own_are_no_references(world: World) -> None:
    schema = {"type": "object", "properties": {}, "examples": [{"file_id": "abc"}]}
    bodies: list[chat.Json] = [
        {"metadata": {"file_id": "my-doc-7"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
    ]
    for body in bodies:
        asked = {"model": MODEL, "messages": [], **body}
        assert (await world.gateway.ask(asked, token=world.ben)).status_code == 200, body


async def test_an_owner_may_name_more_objects_than_one_query_takes(world: World) -> None:
    grant = _grant(world, world.ada)
    owned = Owned(world.gateway.state.database, world.gateway.state.writer)
    ids = [f"file-{number}" for number in range(1_100)]
    for external_id in ids:
        owned.note(grant, external_id, "file", (1, 1))

    own = await world.gateway.ask({"file_ids": ids}, path="/v1/vector_stores", token=world.ada)
    theirs = await world.gateway.ask({"file_ids": ids}, path="/v1/vector_stores", token=world.ben)

    assert (own.status_code, theirs.status_code) == (200, 404)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_owned_whatever_its_id_looks_like(world: World, stream: bool) -> None:
    usage = chat.response_usage()
    world.upstream.script(
        sse(chat.response_frames(usage=usage, id_="gen-77"), done=False)
        if stream
        else json_answer(200, chat.response_body(usage=usage, id_="gen-77"))
    )
    world.first.objects["gen-77"] = {"id": "gen-77"}
    body = {"model": MODEL, "input": "x", "stream": stream}
    made = await world.gateway.ask(body, path="/v1/responses", token=world.ada)
    assert b"gen-77" in made.content

    own = await world.call("GET", "/v1/responses/gen-77", world.ada)
    theirs = await world.call("GET", "/v1/responses/gen-77", world.ben)

    assert (own.status_code, theirs.status_code) == (200, 404)


async def test_a_refused_reference_has_its_row(world: World) -> None:
    body = {"model": MODEL, "input": "x", "previous_response_id": "resp_none"}

    answer = await world.gateway.ask(body, path="/v1/responses", token=world.ben)

    row = await world.gateway.row()
    assert (answer.status_code, row.status, row.error) == (404, 404, "object_not_found")
    assert row.token_id is not None
    assert (row.cost_nano, row.cost_state) == (0, "exact")


async def test_a_token_limited_to_models_makes_no_batches(world: World) -> None:
    limited = await world.gateway.add_token(models=["gpt-4o-mini"])

    answer = await world.gateway.ask({"input_file_id": "x"}, path="/v1/batches", token=limited)

    assert answer.status_code == 403
    assert "batch" in answer.json()["error"]["message"]
    assert world.upstream.requests == []


async def test_what_a_batch_will_cost_is_unknown(world: World) -> None:
    await world.make("/v1/batches", world.ada)

    row = await world.gateway.row()

    assert (row.cost_nano, row.cost_state) == (None, "unknown")


async def test_a_streamed_answer_is_its_callers_before_its_first_bytes_are(world: World) -> None:
    state = world.gateway.state
    owned = Owned(state.database, state.writer)
    call = Call(match("POST", "/v1/responses"), _grant(world, world.ada), b"", CallRecord("x"))
    call.record.provider_id, call.record.key_id = 1, 2

    async def frames() -> AsyncIterator[bytes]:
        for frame in chat.response_frames(id_="resp_early"):
            yield frame

    reply = await Ownership(owned).note_stored(call, Reply(200, [], chunks=frames()))
    assert reply.chunks is not None
    async for _ in reply.chunks:
        assert await owned.check(call.grant, ["resp_early"]) == (1, 2)
        break
    else:
        raise AssertionError("nothing came")


async def test_what_is_owned_already_is_not_written_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": MODEL, "input": "x"}
    writer = world.gateway.state.writer
    written = []

    def put(target: Target, key: Any, row: Any, *, lazy: bool = False) -> None:
        written.append(target)
        original(target, key, row, lazy=lazy)

    original = writer.put
    monkeypatch.setattr(writer, "put", put)

    answers = [
        await world.gateway.ask(body, path="/v1/responses", token=token)
        for token in (world.ada, world.ada, world.ada_too, world.ben, world.ben)
    ]

    assert [answer.headers["x-aieye-cache"] for answer in answers] == ["miss"] + ["hit"] * 4
    # The response and its message, for each of the two users.
    assert written.count(OWNED) == 4


def _grant(world: World, token: str) -> Grant:
    grant = world.gateway.state.directory.find_grant(token)
    assert grant is not None
    return grant
