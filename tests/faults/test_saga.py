"""The GPT3 Proxy's routes: its documentation's sample requests, who may do what, and what is refused.

The samples are the documentation's own, changed only in host. What differs from call to call is
checked for what it is: times are epoch milliseconds, an `_id` has 20 url-safe characters.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher
from aieye.access.config_file import KEY_PLACE
from aieye.access.routes import Target
from aieye.access.secrets import OPEN_CALLS_DIGEST
from aieye.access.tokens import delete_token, update_token
from aieye.presets.service import update_preset
from tests.fakes.upstream import Behaviour, FakeUpstream, json_answer
from tests.faults.harness import (
    PROVIDER_KEY,
    SECRET_KEY,
    Gateway,
    Json,
    StartGateway,
    both_databases,
)

SAGA = "/_saga/gpt3"

COMPLETION = (
    '{"name":"completition1","type":"completion","config":{"injectStart":"","injectRestart":"",'
    '"engine_id":"davinci","prompt":"Here goes the prompt","max_tokens":16,"temperature":1,"top_p":1,'
    '"frequency_penalty":0,"presence_penalty":0,"best_of":1,"logprobs":0,"echo":false,"stop":[]}}'
)
SEARCH = (
    '{"name":"search1","type":"search","config":{"engine_id":"davinci",'
    '"documents":["text here","text there"]}}'
)
COMPLETION_CONFIG = {
    "max_tokens": 16,
    "presence_penalty": 0,
    "echo": False,
    "logprobs": 0,
    "top_p": 1,
    "frequency_penalty": 0,
    "best_of": 1,
    "stop": [],
    "engine_id": "davinci",
    "temperature": 1,
    "injectStart": "",
    "prompt": "Here goes the prompt",
    "injectRestart": "",
}
SEARCH_CONFIG = {"engine_id": "davinci", "documents": ["text here", "text there"]}
DEFAULTS: Json = {
    "max_tokens": 16,
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "best_of": 1,
    "logprobs": None,
    "echo": False,
    "stop": [],
    "injectStart": "",
    "injectRestart": "",
}
# What the documentation's engines are said with by a provider today.
MODELS = {
    "object": "list",
    "data": [
        {"id": name, "object": "model", "created": 0, "owned_by": "openai"}
        for name in ("ada", "babbage", "curie", "davinci")
    ],
}


def completion_answer(text: str) -> Behaviour:
    """A provider's completion."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": "stop"}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "davinci-002",
            "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2,
            "total_tokens": 5}}  # fmt: skip
    return json_answer(body=body)


class Client:
    """Sends what the documentation's curl lines send."""

    def __init__(self, gateway: Gateway, token: str | None) -> None:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(base_url=gateway.url, headers=headers, trust_env=False)

    async def get(self, name: str) -> Any:
        answer = await self.http.get(f"{SAGA}/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, name: str, data: str | Json) -> Any:
        answer = await self.send(name, data)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def send(self, name: str, data: str | bytes | Json, **headers: str) -> httpx.Response:
        content = orjson.dumps(data) if isinstance(data, dict) else data
        return await self.http.post(
            f"{SAGA}/{name}",
            content=content,
            headers={"content-type": "application/json", **headers},
        )

    async def refused(self, name: str, data: str | bytes | Json, status: int = 400) -> str:
        """What a request is refused with."""
        return message_of(await self.send(name, data), status)


MakeClient = Callable[[Gateway, str | None], Client]


@pytest.fixture
async def client_of() -> AsyncIterator[MakeClient]:
    async with AsyncExitStack() as stack:

        def make(gateway: Gateway, token: str | None) -> Client:
            client = Client(gateway, token)
            stack.push_async_callback(client.http.aclose)
            return client

        yield make


@pytest.fixture
async def client(gateway: Gateway, client_of: MakeClient) -> Client:
    """Somebody with a token."""
    return client_of(gateway, gateway.token)


@pytest.fixture(params=["simulated", "compatible"])
def provider(request: pytest.FixtureRequest, upstream: FakeUpstream) -> Json:
    """The settings with either provider."""
    upstream.default = json_answer(body=MODELS)
    simulated: Json = {"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None}
    return simulated if request.param == "simulated" else {}


def message_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"_success", "msg"}
    assert body["_success"] is False
    message: str = body["msg"]
    return message


def is_recent(milliseconds: object) -> bool:
    now = time.time() * 1000
    return type(milliseconds) is int and now - 60_000 < milliseconds <= now


def is_id(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{20}", text) is not None


# -- the documentation's samples ---------------------------------------------------------------


@both_databases
@pytest.mark.parametrize("is_open", [True, False])
async def test_the_documentations_samples_are_answered_as_documented(
    start_gateway: StartGateway, client_of: MakeClient, provider: Json, is_open: bool
) -> None:
    gateway = await start_gateway(saga_open=is_open, **provider)
    client = client_of(gateway, None if is_open else gateway.token)

    engines = await client.get("engines")
    assert {"owner", "ready", "id", "object"} == set(engines[0])
    if not provider:
        assert engines == [
            {"owner": "openai", "ready": True, "id": name, "object": "engine"}
            for name in ("ada", "babbage", "curie", "davinci")
        ]
    assert all(one["ready"] is True and one["object"] == "engine" for one in engines)

    completion = await client.post("create", COMPLETION)
    assert is_recent(completion["createdAt"])
    assert is_id(completion["_id"])
    assert completion == {
        "_success": True,
        "createdAt": completion["createdAt"],
        "name": "completition1",
        "_id": completion["_id"],
        "type": "completion",
        "config": COMPLETION_CONFIG,
        "updatedAt": completion["createdAt"],
    }

    search = await client.post("create", SEARCH)
    assert search == {
        "_success": True,
        "createdAt": search["createdAt"],
        "name": "search1",
        "_id": search["_id"],
        "type": "search",
        "config": SEARCH_CONFIG,
        "updatedAt": search["createdAt"],
    }

    body = COMPLETION.replace("completition1", "completion1")
    updated = await client.post("update", f'{{"_id":"{completion["_id"]}","body":{body}}}')
    assert is_recent(updated["updatedAt"])
    assert updated == {
        "_success": True,
        "name": "completion1",
        "_id": completion["_id"],
        "type": "completion",
        "config": COMPLETION_CONFIG,
        "updatedAt": updated["updatedAt"],
    }
    again = await client.post("update", f'{{"_id":"{search["_id"]}","body":{SEARCH}}}')
    assert again == {
        "_success": True,
        "name": "search1",
        "_id": search["_id"],
        "type": "search",
        "config": SEARCH_CONFIG,
        "updatedAt": again["updatedAt"],
    }

    assert await client.get("configs") == [
        {
            "name": "search1",
            "_id": search["_id"],
            "type": "search",
            "updatedAt": again["updatedAt"],
        },
        {
            "name": "completion1",
            "_id": completion["_id"],
            "type": "completion",
            "updatedAt": updated["updatedAt"],
        },
    ]

    deleted = await client.post("delete", f'{{"_id":"{search["_id"]}"}}')
    assert deleted == {"msg": "deleted", "_success": True}
    assert [one["name"] for one in await client.get("configs")] == ["completion1"]


async def test_a_configuration_is_carried_over_under_its_own_id(client: Client) -> None:
    uid = "EyEaz3YBJerddQVLf_L7"
    old = {
        **orjson.loads(COMPLETION), "_id": uid, "_success": True,
        "createdAt": 1609794904329, "updatedAt": 1609794904329,
    }  # fmt: skip
    made = await client.post("create", old)
    assert made["_id"] == uid
    assert is_recent(made["createdAt"])
    assert uid in await client.refused("create", old)
    await client.post("delete", {"_id": uid})
    assert (await client.post("create", old))["_id"] == uid
    for wrong in ("HCEgz3YB", "x" * 21, "LSFAz3YBJerddQVL4fI/", 7):
        assert "_id" in await client.refused("create", {**old, "_id": wrong})


async def test_what_is_left_out_has_its_default(client: Client) -> None:
    made = await client.post(
        "create", {"name": "x", "type": "completion", "config": {"engine_id": "davinci"}}
    )
    assert made["config"] == {"engine_id": "davinci", **DEFAULTS}
    made = await client.post(
        "create", {"name": "x", "type": "search", "config": {"engine_id": "ada"}}
    )
    assert made["config"] == {"engine_id": "ada", "documents": []}


async def test_any_name_may_be_given_and_repeated(client: Client) -> None:
    names = ["the same", "the same", "naïve \U0001f600\nline", "map", "x" * 200]
    for name in names:
        await client.post("create", {**orjson.loads(SEARCH), "name": name})
    assert [one["name"] for one in await client.get("configs")] == names[::-1]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_post_is_never_redirected_and_needs_no_content_type(
    client: Client, slash: str
) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await client.send(f"create{slash}", COMPLETION, **form)
    assert answer.status_code == 200, answer.text
    uid = answer.json()["_id"]
    answer = await client.send(f"update{slash}", f'{{"_id":"{uid}","body":{COMPLETION}}}', **form)
    assert answer.status_code == 200, answer.text
    assert len(await client.get(f"configs{slash}")) == 1
    answer = await client.send(f"delete{slash}", f'{{"_id":"{uid}"}}', **form)
    assert answer.status_code == 200, answer.text


# -- the configuration file --------------------------------------------------------------------


@pytest.mark.parametrize("is_sealed", [True, False])
async def test_the_configuration_files_key_and_host_serve_these_routes_alone(
    start_gateway: StartGateway,
    client_of: MakeClient,
    upstream: FakeUpstream,
    other: FakeUpstream,
    tmp_path: Path,
    is_sealed: bool,
) -> None:
    key = "sk-canary-gpt3-proxy-77aa01"
    said = f"encrypted:{Cipher([SECRET_KEY]).seal(key, place=KEY_PLACE)}" if is_sealed else key
    file = tmp_path / "config.json"
    section = {"key": said, "openAIHost": other.origin, "openAIAPIVersion": "v1"}
    file.write_text(json.dumps({"server": {"port": 8080}, "gpt3": section, "nlp": []}))
    other.default = json_answer(body=MODELS)
    gateway = await start_gateway(config_file=file)
    client = client_of(gateway, gateway.token)
    engines = await client.get("engines")
    assert [one["id"] for one in engines] == ["ada", "babbage", "curie", "davinci"]
    [asked] = other.calls("/v1/models", key=key)
    assert asked.path == "/v1/models"
    assert upstream.requests == []
    # Everybody else's models go where they went, and it is one provider among others.
    upstream.default = other.default
    await gateway.get("/v1/models")
    assert len(upstream.calls("/v1/models", key=PROVIDER_KEY)) == 1
    # An alias goes where the administrator says, also from here.
    other.default = completion_answer("from the file")
    upstream.default = completion_answer("from the alias")
    uid = (await client.post("create", COMPLETION))["_id"]
    processed = await client.post("process", {"_id": uid, "text": "Are you a machine?"})
    assert processed["choices"][0]["text"] == "from the file"
    await gateway.add_route("davinci", Target(model="davinci-002", provider="openai"))
    processed = await client.post("process", {"_id": uid, "text": "Are you a machine, really?"})
    assert processed["choices"][0]["text"] == "from the alias"
    # The key is in no answer and, in the clear, nowhere in the database.
    providers = await gateway.get("/api/v1/keys", token=await gateway.add_token(scope="admin"))
    assert key not in providers.text
    assert key.encode() not in await gateway.stored()
    # A key that was changed in the file takes the other's place at the next start.
    file.write_text(json.dumps({"gpt3": {**section, "key": "sk-canary-gpt3-proxy-new"}}))
    await gateway.restart()
    other.default = json_answer(body=MODELS)
    await client_of(gateway, gateway.token).get("engines")
    assert len(other.calls(key="sk-canary-gpt3-proxy-new")) == 1


# -- who calls ---------------------------------------------------------------------------------


async def test_without_a_token_nobody_is_let_in_unless_the_routes_are_open(
    gateway: Gateway, client_of: MakeClient
) -> None:
    for token in (None, "wrong", OPEN_CALLS_DIGEST):
        stranger = client_of(gateway, token)
        for name in ("create", "update", "delete", "process"):
            answer = await stranger.send(name, COMPLETION)
            message_of(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        for name in ("engines", "configs"):
            message_of(await stranger.http.get(f"{SAGA}/{name}"), 401)


async def test_open_calls_are_booked_to_a_token_that_nobody_can_send(
    start_gateway: StartGateway, client_of: MakeClient, upstream: FakeUpstream
) -> None:
    upstream.default = json_answer(body=MODELS)
    gateway = await start_gateway(saga_open=True)
    stranger = client_of(gateway, None)
    await stranger.get("engines")
    grant = gateway.state.directory.current.tokens[OPEN_CALLS_DIGEST]
    assert (grant.token_name, grant.scope) == ("saga", 1)
    assert grant.token_id is not None
    assert (await gateway.rows(1))[0].token_id == grant.token_id
    # A wrong token is told, and not taken for none.
    message_of(await client_of(gateway, "saga").http.get(f"{SAGA}/configs"), 401)
    answer = await gateway.get("/v1/models", token=OPEN_CALLS_DIGEST)
    assert answer.status_code == 401
    # It cannot be given a secret; once disabled it stands for nobody.
    admin = await gateway.add_token(scope="admin")
    rolled = await gateway.client.post(
        f"/api/v1/tokens/{grant.token_id}/roll", headers={"authorization": f"Bearer {admin}"}
    )
    assert rolled.status_code == 409, rolled.text
    async with gateway.state.database.write() as session:
        await update_token(session, grant.token_id, {"disabled": True}, actor=SYSTEM)
    await gateway.state.directory.refresh()
    revision = gateway.state.directory.current.revision
    assert "disabled" in message_of(await stranger.http.get(f"{SAGA}/configs"), 401)
    await gateway.state.directory.refresh()
    assert gateway.state.directory.current.revision == revision
    # Once deleted it is made anew.
    async with gateway.state.database.write() as session:
        await delete_token(session, grant.token_id, actor=SYSTEM)
    await gateway.state.directory.refresh()
    assert await stranger.get("configs") == []
    new = gateway.state.directory.current.tokens[OPEN_CALLS_DIGEST]
    assert new.token_id != grant.token_id


async def test_open_calls_reach_nobodys_private_presets(
    start_gateway: StartGateway, client_of: MakeClient
) -> None:
    gateway = await start_gateway(saga_open=True)
    stranger, owner = client_of(gateway, None), client_of(gateway, gateway.token)
    private = (await owner.post("create", COMPLETION))["_id"]
    open_ = (await stranger.post("create", COMPLETION))["_id"]
    assert [one["_id"] for one in await stranger.get("configs")] == [open_]
    for name, body in (
        ("update", {"_id": private, "body": orjson.loads(COMPLETION)}),
        ("delete", {"_id": private}),
        ("process", {"_id": private, "text": "x"}),
    ):
        message_of(await stranger.send(name, body), 404)


async def test_no_other_sites_page_makes_a_browser_call_open_routes(
    start_gateway: StartGateway, client_of: MakeClient
) -> None:
    gateway = await start_gateway(saga_open=True)
    stranger, known = client_of(gateway, None), client_of(gateway, gateway.token)
    foreign: tuple[dict[str, str], ...] = (
        {"origin": "https://evil.example"}, {"origin": "null"},
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
    )  # fmt: skip
    for headers in foreign:
        answer = await stranger.send("create", SEARCH, **headers, **{"content-type": "text/plain"})
        assert "another site" in message_of(answer, 403)
        assert (await known.send("create", SEARCH, **headers)).status_code == 200
    own = {"origin": gateway.settings.base_url, "sec-fetch-site": "same-origin"}
    assert (await stranger.send("create", SEARCH, **own)).status_code == 200


@both_databases
async def test_a_preset_is_its_owners_until_it_is_shared(
    start_gateway: StartGateway, client_of: MakeClient
) -> None:
    gateway = await start_gateway(saga_open=True)
    people: dict[str, Client] = {}
    for name, role in (("ada", "user"), ("ben", "user"), ("root", "administrator")):
        user_id = await gateway.add_user(f"{name}@example.org", role=role)
        token = await gateway.add_token(user_id=user_id, scope="admin")
        people[name] = client_of(gateway, token)
    people["nobody"] = client_of(gateway, None)
    made = await people["ada"].post("create", SEARCH)
    uid = made["_id"]

    async def seen_by(name: str) -> bool:
        return uid in {one["_id"] for one in await people[name].get("configs")}

    assert [await seen_by(name) for name in people] == [True, False, True, False]
    update = {"_id": uid, "body": orjson.loads(SEARCH)}
    for stranger in ("ben", "nobody"):
        await people[stranger].refused("update", update, 404)
        await people[stranger].refused("delete", {"_id": uid}, 404)
        await people[stranger].refused("process", {"_id": uid, "text": "Jaws"}, 404)
    await people["root"].post("update", update)
    await gateway.state.directory.refresh()
    async with gateway.state.database.write() as session:
        await update_preset(session, uid, {"shared": True}, actor=SYSTEM)
    assert [await seen_by(name) for name in people] == [True, True, True, True]
    for stranger in ("ben", "nobody"):
        await people[stranger].refused("update", update, 403)
        await people[stranger].refused("delete", {"_id": uid}, 403)
    await people["root"].post("delete", {"_id": uid})
    await people["ada"].refused("delete", {"_id": uid}, 404)


# -- what is refused ---------------------------------------------------------------------------

WRONG_BODIES: tuple[tuple[str | bytes, str], ...] = (
    ("", "JSON"),
    ("{", "JSON"),
    ("[]", "object"),
    ("null", "object"),
    (b"\xff", "UTF-8"),
    ('{"name": NaN}', "NaN"),
    ('{"name":"a","name":"b"}', "twice"),
    ('{"name":"\\ud800"}', "JSON"),
    ("name=a&type=search", "JSON"),
    ("[" * 100_000, "deep"),
)
WRONG_FIELDS: tuple[tuple[Mapping[str, Any], str], ...] = (
    ({"name": None}, "name"),
    ({"name": 5}, "name"),
    ({"name": ""}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": "a\0"}, "name"),
    ({"type": None}, "type"),
    ({"type": "chat"}, "type"),
    ({"type": ["completion"]}, "type"),
    ({"config": None}, "config"),
    ({"config": []}, "config"),
    ({"config": {}}, "engine_id"),
    ({"config": {"engine_id": "davinci", "max_tokens": "16"}}, "max_tokens"),
    ({"config": {"engine_id": "davinci", "n": 2}}, "'n'"),
    ({"stream": True}, "stream"),
    ({"__proto__": {}}, "__proto__"),
)


async def test_what_cannot_be_is_refused_with_what_is_wrong(client: Client) -> None:
    for data, said in WRONG_BODIES:
        for name in ("create", "update", "delete", "process"):
            message = await client.refused(name, data)
            assert said in message, (name, data[:40], message)
    for change, said in WRONG_FIELDS:
        message = await client.refused("create", {**orjson.loads(COMPLETION), **change})
        assert said in message, (change, message)
    assert await client.get("configs") == []
    made = await client.post("create", COMPLETION)
    for change, said in WRONG_FIELDS:
        body = {**orjson.loads(COMPLETION), **change}
        message = await client.refused("update", {"_id": made["_id"], "body": body})
        assert said in message, (change, message)
    search = {"_id": made["_id"], "body": orjson.loads(SEARCH)}
    assert "completion" in await client.refused("update", search)
    assert "body" in await client.refused("update", {"_id": made["_id"], **orjson.loads(SEARCH)})
    [kept] = await client.get("configs")
    assert kept["updatedAt"] == made["updatedAt"]


@pytest.mark.parametrize("name", ["update", "delete", "process"])
async def test_an_id_that_nothing_has_is_404_and_one_that_is_none_400(
    client: Client, name: str
) -> None:
    rest: Json = {"body": orjson.loads(SEARCH)} if name == "update" else {}
    rest = {"text": "Jaws"} if name == "process" else rest
    for unknown in ("LSFAz3YBJerddQVL4fIL", "HCEgz3YB", "", "x" * 100_000, "\0" * 20, "%' OR 1=1",
                    "\U0001f600" * 20, "../../etc/passwd/aaa"):  # fmt: skip
        message = await client.refused(name, {"_id": unknown, **rest}, 404)
        assert len(message) < 1000
    others: tuple[Any, ...] = (None, 5, ["LSFAz3YBJerddQVL4fIL"], {}, True)
    for wrong in others:
        assert "_id" in await client.refused(name, {"_id": wrong, **rest})
    assert "_id" in await client.refused(name, rest)


async def test_more_than_8_mib_is_413_and_200_documents_of_40_kib_are_not(client: Client) -> None:
    config = {"engine_id": "ada", "documents": ["x" * 40_000] * 200}
    await client.post("create", {"name": "x", "type": "search", "config": config})
    for name in ("create", "update", "delete", "process"):
        await client.refused(name, b" " * (8 * 2**20 + 1), 413)
    many = {"engine_id": "ada", "documents": ["x"] * 201}
    message = await client.refused("create", {"name": "x", "type": "search", "config": many})
    assert "200" in message


async def test_what_is_no_route_or_no_method_of_one_says_so_in_the_same_shape(
    client: Client,
) -> None:
    message_of(await client.http.get(f"{SAGA}/nothing"), 404)
    message_of(await client.http.get(f"{SAGA}/create"), 405)
    message_of(await client.http.post(f"{SAGA}/engines"), 405)


async def test_trouble_with_the_provider_is_told_in_the_same_shape(
    client: Client, upstream: FakeUpstream
) -> None:
    for body, status in (
        (b"no json", 502),
        ({"data": 5}, 502),
        ({"error": {"message": "No."}}, 404),
    ):
        upstream.script(json_answer(200 if status == 502 else status, body))
        message_of(await client.http.get(f"{SAGA}/engines"), status)


async def test_what_pipelines_call_is_refused_with_what_helps_here(
    gateway: Gateway, client: Client
) -> None:
    made = await client.post("create", COMPLETION)
    async with gateway.make_client(await gateway.add_token(scope="admin")) as admin:
        body: Json = {"name": "calls", "source": "completition1(x)"}
        assert (await admin.post("/api/v1/pipelines", json=body)).status_code == 201
    path = f"/api/v1/presets/{made['_id']}?force=true."
    said = await client.refused("delete", {"_id": made["_id"]})
    assert said == (
        f"Pipelines call it: calls. Change those pipelines first, or insist with DELETE {path}"
    )
    body = {"name": "another", "type": "completion", "config": made["config"]}
    said = await client.refused("update", {"_id": made["_id"], "body": body})
    assert said.endswith(f"or insist with PATCH {path}")
