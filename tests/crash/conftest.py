"""Installations on each database, the simulated provider behind them, and the command line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests import forked
from tests.fakes.recorded import RecordedDemo
from tests.installation import Installation

PROVIDER_KEY = "sk-provider-key-of-the-crash-tests"
Aieye = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def provider() -> Iterator[RecordedDemo]:
    """The simulated provider, which outlives the server."""
    with RecordedDemo() as running:
        yield running


@pytest.fixture
def installation(database_url: str, provider: RecordedDemo) -> Installation:
    """A database with an administrator and the provider."""
    made = Installation(database_url)
    made.add_provider(provider.base_url, PROVIDER_KEY)
    return made


@pytest.fixture
def aieye(tmp_path: Path) -> Aieye:
    """Run a command: `aieye("token", "revoke", "1", environment={…})`; nothing else is inherited."""

    def run(
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        return forked.run(
            arguments,
            cwd=tmp_path,
            env=command_environment(tmp_path, environment),
            stdin=stdin,
            timeout=timeout,
        )

    return run


def command_environment(directory: Path, environment: Mapping[str, str] | None) -> dict[str, str]:
    """What a command is given: nothing of the outer environment that could change it."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "AIEYE_DATA_DIR": str(directory / "data"),
        **(environment or {}),
    }
