"""OpenAI's SDK for Node against a real `aieye serve`; the tests themselves are JavaScript."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.sdk.conftest import Gateway
from tests.servers import free_port


def test_the_node_sdk_works_through_the_gateway(gateway: Gateway, node_sdk: Path) -> None:
    result = subprocess.run(
        ["node", "--test", "--test-reporter=spec", "sdk.test.mjs"],
        cwd=node_sdk,
        env={
            "PATH": os.environ["PATH"],
            "GATEWAY_URL": gateway.base_url,
            "GATEWAY_TOKEN": gateway.token.secret,
            "ANOTHER_TOKEN": gateway.another.secret,
            "GATEWAY_RUN": "asked from Node",
            "NOWHERE_URL": f"http://127.0.0.1:{free_port()}/v1",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0, "see the output of node"
    assert "fail 0" in result.stdout
    assert "skipped 0" in result.stdout
    # The gateway's three attempts, or the one that is no use to repeat: none is the SDK's.
    attempts = {"sim-error-429": 3, "sim-error-503": 3, "sim-error-401": 1}
    assert {model: gateway.asked(model, "asked from Node") for model in attempts} == attempts
