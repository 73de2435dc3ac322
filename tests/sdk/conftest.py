"""A real `aieye serve` on each database, with the simulated provider behind it, for real SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from openai import OpenAI

from aieye.presets.models import PresetType
from tests.fakes.recorded import RecordedDemo, Seen
from tests.installation import Installation, Made
from tests.live import LiveServer, LiveServers
from tests.servers import DATABASE_KINDS, Databases

PROVIDER_KEY = "sk-provider-key-of-the-sdk-tests"
PRESETS: tuple[tuple[str, PresetType, dict[str, Any]], ...] = (
    (
        "brief",
        "chat",
        {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Brief."}]},
    ),
    ("continue_it", "completion", {"engine_id": "gpt-3.5-turbo-instruct", "prompt": "So: "}),
    ("chat_it", "completion", {"engine_id": "gpt-4o-mini", "prompt": "So: ", "max_tokens": 60}),
    ("vectors", "embeddings", {"model": "text-embedding-3-small", "dimensions": 8}),
)
_fresh = count(1)


@dataclass(frozen=True)
class Gateway:
    """The running server, what is behind it, and tokens of two plain users."""

    server: LiveServer
    installation: Installation
    provider: RecordedDemo
    token: Made
    another: Made

    @property
    def base_url(self) -> str:
        """What an SDK is given."""
        return f"{self.server.base_url}/v1"

    def calls(self, path: str) -> list[Seen]:
        """What came to the provider on a path."""
        return [seen for seen in self.provider.seen if seen.path == path]

    def asked(self, model: str, text: str) -> int:
        """How often the provider was asked `text` of a model."""
        return sum(
            model.encode() in seen.body and text.encode() in seen.body
            for seen in self.provider.seen
        )


@pytest.fixture(scope="package", params=DATABASE_KINDS)
def gateway(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("sdk")
    servers = LiveServers(directory)
    with databases.migrated(request.param) as url, RecordedDemo() as provider:
        installation = Installation(url)
        installation.add_provider(provider.base_url, PROVIDER_KEY)
        token = installation.add_token(user_id=installation.add_user("ada@example.org"))
        another = installation.add_token(user_id=installation.add_user("ben@example.org"))
        for name, type_, config in PRESETS:
            installation.add_preset(name, type_, config)
        try:
            server = servers(installation.environment)
            yield Gateway(server, installation, provider, token, another)
        finally:
            servers.close()


@pytest.fixture(scope="package")
def client(gateway: Gateway) -> Iterator[OpenAI]:
    """OpenAI's SDK, unchanged but for base URL and key: it would retry failures by itself."""
    with OpenAI(base_url=gateway.base_url, api_key=gateway.token.secret) as client:
        yield client


@pytest.fixture
def question() -> str:
    """A question that nobody has asked before, so that no cache holds its answer."""
    return f"What is the answer to question {next(_fresh)}?"
