"""LiteLLM's proxy beside the gateway: the same core, load and upstream, its cache in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import load
from bench.load import Bodies, Load
from bench.machine import SERVER_CORE
from bench.messages import MODEL
from bench.probe import ask
from bench.processes import ROOT, free_port, running
from bench.upstream import Upstream, check_calls, settled_calls

VARIABLE = "LITELLM_VENV"
VERSION = "1.109.1"
HOW = (
    f"not installed. To see it beside: python3 -m venv .venv-litellm && "
    f".venv-litellm/bin/pip install 'litellm[proxy]=={VERSION}' (another venv: {VARIABLE}=…)"
)
_START_SECONDS = 90.0
_KEY = "sk-4f1d0c6a9be2475d8a3307c1e5f96b2d"
_CONFIG = {
    "model_list": [],
    "litellm_settings": {"cache": True, "cache_params": {"type": "local"}, "telemetry": False},
    "general_settings": {"master_key": _KEY},
}
_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}
# Its access log is off, as ours is.
_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"uvicorn.access": {"level": "WARNING"}},
}


@dataclass(frozen=True, slots=True)
class LiteLLM:
    """A running LiteLLM proxy."""

    port: int
    version: str
    upstream: Upstream
    token: str = field(default=_KEY, repr=False)

    def rate(
        self, bodies: Bodies, connections: int, seconds: float, directory: Path
    ) -> Callable[[], float]:
        """The measure of its requests a second; whether they were hits is seen at the upstream."""
        is_new = bodies.kind == "unique"
        ask(self.port, bodies, token=self.token)

        def measure() -> float:
            asked = settled_calls(self.upstream)
            sample = load.run(Load(self.port, bodies, connections, self.token), seconds, directory)
            found = self.upstream.calls() - asked
            if is_new:
                check_calls(found, sample.requests, in_flight=connections)
            else:
                check_calls(found, 0, in_flight=0)
            return sample.rate

        return measure


def find() -> Path | None:
    """LiteLLM's command, in a virtual environment of its own."""
    venv = Path(os.environ.get(VARIABLE) or ROOT / ".venv-litellm")
    command = venv.absolute() / "bin" / "litellm"
    return command if command.is_file() else None


@contextmanager
def running_litellm(command: Path, upstream: Upstream, directory: Path) -> Iterator[LiteLLM]:
    """The proxy on the core of the server under test, with one worker and no database."""
    directory.mkdir(parents=True)
    port = free_port()
    model = {"model": f"openai/{MODEL}", "api_base": upstream.base_url, "api_key": "sk-bench"}
    models = [{"model_name": MODEL, "litellm_params": model}]
    # YAML reads JSON.
    (directory / "config.yaml").write_text(json.dumps({**_CONFIG, "model_list": models}))
    (directory / "logs.json").write_text(json.dumps(_LOGS))
    with running(
        [
            str(command), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port),
            "--num_workers", "1", "--telemetry", "False", "--log_config", "logs.json",
        ],
        core=SERVER_CORE,
        directory=directory,
        name="litellm",
        environment=_ENVIRONMENT,
    ) as child:  # fmt: skip
        child.wait_for(port, "/health/liveliness", seconds=_START_SECONDS)
        yield LiteLLM(port, _version(command), upstream)


def _version(command: Path) -> str:
    # Its own way of telling loads all of it.
    found = command.parents[1].glob("lib/python*/site-packages/litellm-*.dist-info")
    return next((path.name.removesuffix(".dist-info").partition("-")[2] for path in found), "")
