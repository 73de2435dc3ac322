"""A provider's key and a public token go through everything, and then are found nowhere.

What is searched afterwards: the database's bytes, its rows with their compressed bodies unpacked,
the process's output, the metrics, every answer of the administrators' API, every error that a client
got, and the backup file. What the provider saw is searched for the token.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.recorded import Given, RecordedDemo, Seen
from tests.installation import Installation, query, table_names
from tests.live import LiveServer, LiveServers
from tests.servers import DATABASE_KINDS, Databases

KEY = "sk-canary-7Qx2mVbT9rWk4LzP8nHs3DgJ"
REPLACED_KEY = "sk-canary-Old1Zr8Yt5Xe6Wq0Vu9Ts2Rp"
REFUSED_KEY = "sk-canary-Bad3Kj7Hg1Fd5Sa9Qw2Er6Ty"
# What the provider may learn of a client's request, in headers.
ALLOWED = {
    *("host", "authorization", "content-type", "content-length", "transfer-encoding", "connection"),
    *("accept", "accept-encoding", "user-agent", "openai-beta"),
}
CLIENT_HEADERS = {
    "Cookie": "sessionid=cookie-canary; csrftoken=cookie-canary",
    "X-Forwarded-For": "203.0.113.77",
    "X-Forwarded-Host": "forwarded-canary.example",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.77",
    "X-Real-IP": "203.0.113.77",
    "OpenAI-Organization": "org-canary",
    "OpenAI-Project": "proj-canary",
    "X-API-Key": "api-key-canary",
    "api-key": "api-key-canary",
    "Proxy-Authorization": "Basic cHJveHktY2FuYXJ5",
    "User-Agent": "agent-canary/1.0",
    "Referer": "https://referer-canary.example/",
    "Origin": "https://origin-canary.example",
    "X-Stainless-Lang": "stainless-canary",
    "X-Request-Id": "request-id-canary",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "X-Custom": "custom-canary",
    "OpenAI-Beta": "assistants=v2",
}
CHAT = "/v1/chat/completions"


def _leaky(seen: Seen) -> Given | None:
    """A provider that quotes the key it was given, as some do when they refuse it."""
    quoted = (seen.header("authorization") or "").removeprefix("Bearer ")
    error = {"message": f"Incorrect API key provided: {quoted}.", "type": "x", "code": "x"}
    body = json.dumps({"error": error}).encode()
    for status in (400, 401, 403, 500):
        if b"leaky-%d" % status in seen.body:
            return Given(status, (body,))
    if b"leaky-stream" in seen.body:
        chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
        pieces = (chunk, b"data: " + body + b"\n\n")
        return Given(200, pieces, "text/event-stream")
    return None


@dataclass
class Trail:
    """Everything that the calls left, and where to look for it."""

    server: LiveServer
    installation: Installation
    provider: RecordedDemo
    token: str
    admin: str
    errors: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)

    @property
    def secrets(self) -> dict[str, bytes]:
        """What must be found nowhere, each in the forms that it might be written in."""
        found = {}
        for name, secret in (
            ("the key", KEY),
            ("the replaced key", REPLACED_KEY),
            ("the refused key", REFUSED_KEY),
            ("the token", self.token),
            ("the token's random part", self.token.split("_")[2]),
            ("the administrator's token", self.admin),
        ):
            raw = secret.encode()
            found[name] = raw
            found[f"{name} in base64"] = base64.b64encode(raw)[:-4]
            found[f"{name} in hexadecimal"] = raw.hex().encode()
        return found

    def assert_clean(self, what: str, content: bytes) -> None:
        found = [name for name, secret in self.secrets.items() if secret in content]
        assert found == [], f"{what} holds {found}"


def _walk(trail: Trail) -> None:
    """Calls of every kind, with the token and over the key."""
    url, admin_headers = trail.server.base_url, {"Authorization": f"Bearer {trail.admin}"}
    with (
        httpx.Client(base_url=url, headers=admin_headers, trust_env=False) as admin,
        httpx.Client(base_url=url, headers=CLIENT_HEADERS, trust_env=False) as client,
    ):
        _set_up(trail, admin)
        client.headers["Authorization"] = f"Bearer {trail.token}"
        _call(trail, client)
        _administer(trail, admin)
        _misplace(trail, client)


def _keep(trail: Trail, answer: httpx.Response) -> httpx.Response:
    kept = b"%s\n%s" % (str(answer.headers).encode(), answer.content)
    (trail.errors if answer.status_code >= 400 else trail.answers).append(kept)
    return answer


def _set_up(trail: Trail, admin: httpx.Client) -> None:
    provider = admin.post(
        "/api/v1/providers",
        json={"name": "openai", "base_url": trail.provider.base_url, "key": REPLACED_KEY},
    )
    assert provider.status_code == 201, provider.text
    (key,) = admin.get("/api/v1/keys").json()["data"]
    changed = admin.patch(f"/api/v1/keys/{key['id']}", json={"key": KEY})
    assert changed.status_code == 200, changed.text
    for answer in (provider, changed):
        _keep(trail, answer)
    made = admin.post("/api/v1/tokens", json={"name": "canary", "scope": "proxy"})
    # The one answer that holds the token.
    trail.token = made.json()["token"]


def _call(trail: Trail, client: httpx.Client) -> None:
    said = [{"role": "user", "content": "Hello"}]
    chat: dict[str, Any] = {"model": "gpt-4o-mini", "messages": said}
    long = [{"role": "user", "content": "Hello " * 5_000}]
    for body in (
        chat,
        chat,
        {**chat, "stream": True},
        {**chat, "stream": True, "user": "x", "stream_options": {"include_usage": True}},
        {**chat, "messages": long},
        {**chat, "messages": long, "stream": True},
        {**chat, "cache": {"mode": "off"}},
        {**chat, "model": "no-such-model"},
        {**chat, "model": "sim-error-503"},
        {**chat, "model": "sim-cut-2", "stream": True},
    ):
        try:
            _keep(trail, client.post(CHAT, json=body))
        except httpx.RemoteProtocolError:
            continue  # a plain answer that was cut
    _keep(trail, client.post(CHAT, content=b"{"))
    _keep(trail, client.post(CHAT, json=chat, headers={"Idempotency-Key": "canary"}))
    _keep(trail, client.post(CHAT, json=chat, headers={"Cache-Control": "only-if-cached"}))
    _keep(trail, client.post("/v1/responses", json={"model": "gpt-4o-mini", "input": "Hello"}))
    _keep(trail, client.post("/v1/embeddings", json={"model": "x", "input": "Hello"}))
    _keep(trail, client.get("/v1/models"))
    file = _keep(
        trail,
        client.post("/v1/files", files={"file": ("a.txt", b"Hello")}, data={"purpose": "batch"}),
    ).json()
    _keep(trail, client.get(f"/v1/files/{file['id']}"))
    _keep(trail, client.get("/v1/files/file-nothing"))
    _keep(trail, client.get("/v1/no/such/page"))
    _keep(trail, client.post("/api/openai/v1/chat/completions/", json=chat))
    _keep(trail, client.post("/api/openai/v1/chat/completions/", json={**chat, "stream": True}))
    _keep(trail, client.post("/api/cache/v1/chat/completions/", json=chat))
    for number, name in enumerate(("stream", "400", "401", "403", "500")):
        leaky = {"messages": [{"role": "user", "content": f"leaky-{name}"}]}
        _keep(trail, client.post(CHAT, json={**chat, **leaky, "stream": name == "stream"}))
        # A good answer between, lest the key's circuit opens.
        _keep(trail, client.post(CHAT, json={**chat, "seed": number}))


def _administer(trail: Trail, admin: httpx.Client) -> None:
    """What administrators get wrong, with a key in hand."""
    provider = admin.get("/api/v1/providers").json()["data"][0]["id"]
    for method, path, body in (
        ("POST", "/api/v1/keys", {"provider_id": provider, "name": "x", "secrt": REFUSED_KEY}),
        ("POST", "/api/v1/keys", {"provider_id": 999_999, "name": "x", "key": REFUSED_KEY}),
        ("POST", "/api/v1/keys", {"provider_id": "x", "name": [], "key": [REFUSED_KEY]}),
        ("POST", "/api/v1/keys", {"provider_id": provider, "name": "x", "key": REFUSED_KEY + "\n x"}),
        ("POST", "/api/v1/keys", {"provider_id": provider, "name": "x", "key": REFUSED_KEY * 500}),
        ("POST", "/api/v1/providers", {"name": "!", "base_url": "x", "key": REFUSED_KEY}),
        ("POST", "/api/v1/providers", {"name": "openai", "base_url": "http://x", "key": REFUSED_KEY}),
        ("POST", "/api/v1/providers", {"name": "y", "base_url": f"http://u:{REFUSED_KEY}@h/v1"}),
        ("PATCH", f"/api/v1/providers/{provider}", {"key": REFUSED_KEY}),
        ("POST", "/api/v1/tokens", {"name": "x", "token": trail.token}),
        ("POST", "/api/v1/tokens", {"name": "x", REFUSED_KEY: 1}),
    ):  # fmt: skip
        answer = _keep(trail, admin.request(method, path, json=body))
        assert 400 <= answer.status_code < 500, (path, body, answer.text)
    raw = f'{{"provider_id": 1, "key": "{REFUSED_KEY}"'.encode()
    _keep(trail, admin.post("/api/v1/keys", content=raw))


def _misplace(trail: Trail, client: httpx.Client) -> None:
    """A token that is sent wrongly, or not valid any more."""
    for headers in (
        {"Authorization": f"Basic {trail.token}"},
        {"Authorization": f"Bearer {trail.token}x"},
        {"Authorization": f"Bearer  {trail.token} {trail.token}"},
        {"Authorization": f"bearer {trail.token}", "Idempotency-Key": "x" * 300},
    ):
        for path in ("/v1/models", "/api/v1/users", "/api/openai/v1/chat/completions/"):
            method = "POST" if path.startswith("/api/openai") else "GET"
            _keep(trail, client.request(method, path, headers=headers))


@pytest.fixture(scope="module", params=DATABASE_KINDS)
def trail(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trail]:
    servers = LiveServers(tmp_path_factory.mktemp("canaries"))
    with databases.migrated(request.param) as url, RecordedDemo(_leaky) as provider:
        installation = Installation(url)
        admin = installation.add_token("admin")
        try:
            server = servers(installation.environment)
            walked = Trail(server, installation, provider, "", admin.secret)
            _walk(walked)
            yield walked
        finally:
            servers.close()


def test_the_calls_were_made(trail: Trail) -> None:
    assert len(trail.provider.seen) >= 15
    assert len(trail.errors) >= 30
    assert len(trail.answers) >= 15
    assert trail.installation.query("SELECT count(*) FROM calls")[0][0] >= 25
    # The provider quoted the key: in a 400, a 500 and a stream, for the client to see.
    quoted = [one for one in trail.errors + trail.answers if b"Incorrect API key" in one]
    assert len(quoted) == 3, quoted
    keys = {seen.header("authorization") for seen in trail.provider.seen}
    assert keys == {f"Bearer {KEY}"}


def test_no_answer_holds_a_secret(trail: Trail) -> None:
    for answer in trail.answers:
        trail.assert_clean(f"the answer {answer[-300:]!r}", answer)


def test_no_error_holds_a_secret(trail: Trail) -> None:
    for error in trail.errors:
        trail.assert_clean(f"the error {error[-300:]!r}", error)


def test_the_database_holds_no_secret(trail: Trail) -> None:
    url = trail.installation.database_url
    rows = 0
    for table in table_names(url):
        for row in query(url, f"SELECT * FROM {table}"):
            rows += 1
            for value in row:
                content = _unpacked(value)
                trail.assert_clean(f"{table}: {row!r:.300}", content)
    assert rows > 100
    # A PostgreSQL server's files are not ours to read; an SQLite file has free pages, and its log.
    files = sorted(trail.installation.file.parent.iterdir()) if trail.installation.is_sqlite else []
    for file in files:
        trail.assert_clean(file.name, file.read_bytes())
    assert not files or any(file.name.endswith("-wal") for file in files)


def test_the_key_is_sealed_and_of_the_token_there_is_a_digest(trail: Trail) -> None:
    ((sealed,),) = trail.installation.query("SELECT sealed FROM provider_keys")
    assert len(sealed) > len(KEY)
    rows = trail.installation.query("SELECT digest, prefix FROM tokens WHERE name = 'canary'")
    ((digest, prefix),) = rows
    assert len(digest) == 64
    assert trail.token.startswith(f"{prefix}_")


def test_the_output_holds_no_secret(trail: Trail) -> None:
    output = trail.server.output()
    assert output
    trail.assert_clean("the output", output.encode())


def test_the_metrics_hold_no_secret(trail: Trail) -> None:
    metrics = httpx.get(f"{trail.server.base_url}/metrics", trust_env=False)
    assert metrics.status_code == 200
    assert b"aieye_" in metrics.content
    trail.assert_clean("the metrics", metrics.content)


def test_no_page_of_the_administrators_api_holds_a_secret(trail: Trail) -> None:
    headers = {"Authorization": f"Bearer {trail.admin}"}
    read = 0
    with httpx.Client(base_url=trail.server.base_url, headers=headers, trust_env=False) as admin:
        paths = admin.get("/openapi.json").json()["paths"]
        for path, item in paths.items():
            if not path.startswith("/api/v1") or "get" not in item:
                continue
            for found in _expanded(admin, path):
                answer = admin.get(found)
                read += 1
                assert answer.status_code < 500, (found, answer.text)
                trail.assert_clean(found, answer.content)
        for call in admin.get("/api/v1/calls?limit=1000").json()["data"]:
            for found in (
                f"/api/v1/calls/{call['id']}/body",
                f"/api/v1/cache/explain?call_id={call['id']}",
            ):
                trail.assert_clean(found, admin.get(found).content)
                read += 1
    assert read > 80


def test_the_backup_holds_no_secret(trail: Trail, tmp_path: Path) -> None:
    result = _aieye(trail.installation, tmp_path, "backup")
    assert result.returncode == 0, result.stderr
    trail.assert_clean("what backup says", result.stdout + result.stderr)
    (file,) = tmp_path.glob("backups/*")
    trail.assert_clean("the backup", file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        assert len(archive.namelist()) > 10
        for name in archive.namelist():
            trail.assert_clean(name, archive.read(name))


def test_the_provider_learns_nothing_of_the_client(trail: Trail) -> None:
    for seen in trail.provider.seen:
        assert {name.decode() for name, _ in seen.headers} <= ALLOWED
        assert b"canary" not in seen.text.replace(KEY.encode(), b"")
        assert trail.token.encode() not in seen.text
        assert seen.header("user-agent") == "aieye"
        assert b"203.0.113.77" not in seen.text
    assert any(seen.header("openai-beta") == "assistants=v2" for seen in trail.provider.seen)


def _unpacked(value: object) -> bytes:
    """A value as text or bytes, a compressed one unpacked."""
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        try:
            return raw + zlib.decompress(raw)
        except zlib.error:
            return raw
    return repr(value).encode()


def _expanded(admin: httpx.Client, path: str) -> list[str]:
    """A path with the ids of what is listed above it."""
    head, brace, rest = path.partition("/{")
    if not brace:
        return [f"{path}?limit=1000", path]
    listed = admin.get(head)
    rows = listed.json().get("data", []) if listed.status_code == 200 else []
    return [f"{head}/{row['id']}{rest.partition('}')[2]}" for row in rows if "id" in row]


def _aieye(
    installation: Installation, directory: Path, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "AIEYE_DATA_DIR": str(directory / "data"),
        **installation.environment,
    }
    return subprocess.run(
        [sys.executable, "-m", "aieye", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
