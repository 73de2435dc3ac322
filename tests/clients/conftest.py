"""A real `aieye serve`, made ready as its users would, with the pipeline of the original's examples."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.commands import aieye_forked
from tests.fakes import chat
from tests.fakes.recorded import Given, RecordedDemo, Seen
from tests.live import LiveServer, LiveServers
from tests.tools import not_run

EMAIL, PASSWORD = "root@example.org", "correct horse battery"
# The token of the original's documentation, brought along.
OLD_TOKEN = "pubtokenpubtoken1pubtoken1pubtoken111111"
PIPELINE = "my_pipeline"
# The pipeline's id in the original's documentation.
PIPELINE_ID = 14

CLIENTS = Path(__file__).parents[2] / ".venv-clients"


@dataclass(frozen=True)
class Gateway:
    """The server, the provider behind it, and an administrator's token."""

    server: LiveServer
    provider: RecordedDemo
    token: str

    @property
    def url(self) -> str:
        return self.server.base_url

    @property
    def remote(self) -> dict[str, str]:
        """What the command line needs to ask the server."""
        return {"AIEYE_URL": self.url, "AIEYE_TOKEN": self.token}

    def post(self, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def _echo(seen: Seen) -> Given | None:
    """What the user said, plain or streamed."""
    if seen.path != "/v1/chat/completions":
        return None
    asked = orjson.loads(seen.body)
    said = chat.last_user_text(asked)
    if asked.get("stream"):
        frames = tuple(chat.chat_frames(said, usage=chat.usage()))
        return Given(200, frames, "text/event-stream")
    return Given(200, (orjson.dumps(chat.chat_body(said, usage=chat.usage())),))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("clients")
    servers = LiveServers(directory)
    with RecordedDemo(_echo) as provider:
        environment = {
            "AIEYE_ADMIN_EMAIL": EMAIL,
            "AIEYE_ADMIN_PASSWORD": PASSWORD,
            "OPENAI_API_KEY": "sk-provider-key-of-the-client-tests",
            "OPENAI_BASE_URL": provider.base_url,
        }
        try:
            server = servers(environment)
            here = {"AIEYE_DATA_DIR": str(server.data_dir)}
            made = aieye_forked(
                directory, "token", "create", "ci", "--scope", "admin", "--json", **here
            )
            assert made.code == 0, made.err
            old = aieye_forked(directory, "token", "create", "old", "--import", OLD_TOKEN, **here)
            assert old.code == 0, old.err
            gateway = Gateway(server, provider, json.loads(made.out)["token"])
            gateway.post(
                "/api/v1/prompts", {"name": "repeat", "body": "{s}", "model": "gpt-4o-mini"}
            )
            for number in range(1, PIPELINE_ID):
                gateway.post("/api/v1/pipelines", {"name": f"p_{number}", "source": "identity(x)"})
            body = {"name": PIPELINE, "source": "repeat(s)"}
            assert gateway.post("/api/v1/pipelines", body)["id"] == PIPELINE_ID
            yield gateway
        finally:
            servers.close()


@pytest.fixture(scope="session")
def generator() -> Path:
    """The directory of the commands of the environment with openapi-python-client."""
    if not (CLIENTS / "bin" / "openapi-python-client").exists():
        not_run("a generated Python client", "openapi-python-client: run `make test`")
    return CLIENTS / "bin"


@pytest.fixture(scope="session")
def typescript(node_sdk: Path) -> Path:
    """The directory of the commands of the generator for TypeScript, and of its compiler."""
    commands = node_sdk / "node_modules" / ".bin"
    if not (commands / "openapi-ts").exists():
        not_run("a generated TypeScript client", "@hey-api/openapi-ts: run `make test`")
    return commands


@pytest.fixture(scope="session")
def curl() -> str:
    found = shutil.which("curl")
    if found is None:
        not_run("the original's examples as they are written", "curl")
    return found


def path_with(directory: Path) -> dict[str, str]:
    """An environment in which a directory's commands are found first."""
    return {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}", "HOME": str(directory)}
