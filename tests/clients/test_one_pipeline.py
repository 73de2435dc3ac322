"""One saved pipeline from curl, OpenAI's SDK, generated clients and the command line.

The curl calls are those of the original's documentation, but for the port and a session's cookies.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from openai import OpenAI

from tests.clients.conftest import EMAIL, PASSWORD, PIPELINE, Gateway, path_with
from tests.commands import aieye_forked

pytestmark = pytest.mark.live

WITH_SESSION = """curl --location 'http://127.0.0.1:8000/api/pipeline/call' \\
--header 'Content-Type: application/json' \\
--header 'X-CSRFToken: g69kAjkZan6yAGqD5VOGCUjbUdR1qPka' \\
--header 'Cookie: csrftoken=g69kAjkZan6yAGqD5VOGCUjbUdR1qPka; sessionid=97wvcm0t0t1rgrpsy38ordgtmh7cw9iz' \\
--data '{
    "pipeline_id": 14,
    "args": {"s": "abc"},
    "openaikey_id": 1
}'"""
WITH_TOKEN = """curl --location 'http://127.0.0.1:8000/api/pipeline/call' \\
--header 'Content-Type: application/json' \\
--header 'Authorization: Bearer pubtokenpubtoken1pubtoken1pubtoken111111' \\
--data '{
    "pipeline_id": 14,
    "args": {"s": "abc"}
}'"""
ARGUMENTS = (
    "curl --location 'http://127.0.0.1:8000/api/pipeline/args?pipeline_name=my_pipeline' --header "
    "'Cookie: csrftoken=g69kAjkZan6yAGqD5VOGCUjbUdR1qPka; sessionid=97wvcm0t0t1rgrpsy38ordgtmh7cw9iz' "
    "--header 'Content-Type: text/plain'"
)
SAID = '{"success":true,"response":"abc"}'

PYTHON = """
import sys
from ai_eye_client import AuthenticatedClient
from ai_eye_client.api.pipelines import pipelines_call_my_pipeline
from ai_eye_client.models.pipelines_call_my_pipeline_body import PipelinesCallMyPipelineBody
from ai_eye_client.models.pipelines_call_my_pipeline_body_args import (
    PipelinesCallMyPipelineBodyArgs,
)

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
body = PipelinesCallMyPipelineBody(args=PipelinesCallMyPipelineBodyArgs(s="abc"))
result = pipelines_call_my_pipeline.sync(client=client, body=body)
print(result.value, [step.path for step in result.steps])
"""
TYPESCRIPT = """
import { createClient } from "./client/client";
import { pipelinesCallMyPipeline, executionsGet } from "./client/sdk.gen";

declare const process: { argv: string[] };

async function main(): Promise<void> {
  const client = createClient({ baseUrl: process.argv[2], auth: () => process.argv[3] });
  const called = await pipelinesCallMyPipeline({
    client, throwOnError: true, body: { args: { s: "abc" } },
  });
  const path = { id: called.data.run_id };
  const run = await executionsGet({ client, throwOnError: true, path });
  console.log(called.data.value, run.data.steps.map((step) => step.path), run.data.status);
}

void main();
"""


def run(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    ended = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=220,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def as_written(gateway: Gateway, example: str, **replaced: str) -> str:
    """Run a command of the documentation at the test's server."""
    for before, after in {"http://127.0.0.1:8000": gateway.url, **replaced}.items():
        assert before in example
        example = example.replace(before, after)
    command = ["sh", "-c", f"{example} --silent --fail-with-body"]
    return run(command, Path.cwd(), {"PATH": os.environ["PATH"]})


def sign_in(gateway: Gateway, curl: str, directory: Path) -> dict[str, str]:
    """Sign in as a script does; the cookies."""
    fields = json.dumps({"email": EMAIL, "password": PASSWORD})
    command = [curl, "--silent", "--cookie-jar", "jar", "--json", fields, f"{gateway.url}/login"]
    assert json.loads(run(command, directory, {})) == {"success": True}
    lines = (directory / "jar").read_text().splitlines()
    cookies = [line.split("\t")[-2:] for line in lines if "\t" in line]
    return dict(cookies)


def document(gateway: Gateway, directory: Path, curl: str) -> Path:
    """The document that the caller gets, in a file."""
    file = directory / "openapi.json"
    headers = ["--header", f"Authorization: Bearer {gateway.token}"]
    url = f"{gateway.url}/openapi.json"
    run([curl, "--silent", "--fail", *headers, "--output", str(file), url], directory, {})
    return file


# -- the original's clients --------------------------------------------------------------------


def test_curl_with_a_token_as_the_documentation_writes_it(gateway: Gateway, curl: str) -> None:
    assert as_written(gateway, WITH_TOKEN) == SAID


def test_curl_with_a_session_as_the_documentation_writes_it(
    gateway: Gateway, curl: str, tmp_path: Path
) -> None:
    cookies = sign_in(gateway, curl, tmp_path)
    replaced = {
        "g69kAjkZan6yAGqD5VOGCUjbUdR1qPka": cookies["csrftoken"],
        "97wvcm0t0t1rgrpsy38ordgtmh7cw9iz": cookies["sessionid"],
    }
    assert as_written(gateway, WITH_SESSION, **replaced) == SAID
    arguments = json.loads(as_written(gateway, ARGUMENTS, **replaced))
    assert (arguments["success"], arguments["response"]) == (True, ["s"])


# -- OpenAI's SDK ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
def test_openais_sdk_calls_it_as_a_model(gateway: Gateway, is_streamed: bool) -> None:
    model = f"pipeline/{PIPELINE}"
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.token) as client:
        assert model in [one.id for one in client.models.list()]
        completions = client.chat.completions
        if is_streamed:
            chunks = completions.create(
                model=model, messages=[{"role": "user", "content": "abc"}], stream=True
            )
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        else:
            answer = completions.create(model=model, messages=[{"role": "user", "content": "abc"}])
            said = answer.choices[0].message.content or ""
    assert said == "abc"


# -- generated clients -------------------------------------------------------------------------


def test_a_generated_python_client_calls_it(
    gateway: Gateway, curl: str, generator: Path, tmp_path: Path
) -> None:
    file = document(gateway, tmp_path, curl)
    made = run(
        ["openapi-python-client", "generate", "--path", str(file), "--meta", "none",
         "--output-path", "ai_eye_client"],
        tmp_path, path_with(generator),
    )  # fmt: skip
    # What it cannot make a function of it says, and leaves out.
    assert "WARNING" not in made, made
    (tmp_path / "call.py").write_text(PYTHON)
    said = run(["python", "call.py", gateway.url, gateway.token], tmp_path, path_with(generator))
    assert said == "abc ['repeat']\n"


def test_a_generated_typescript_client_compiles_and_calls_it(
    gateway: Gateway, curl: str, typescript: Path, tmp_path: Path
) -> None:
    file = document(gateway, tmp_path, curl)
    environment = path_with(typescript)
    run(["openapi-ts", "--input", str(file), "--output", "client"], tmp_path, environment)
    (tmp_path / "call.ts").write_text(TYPESCRIPT)
    run(
        ["tsc", "--strict", "--skipLibCheck", "--module", "commonjs", "--target", "es2022",
         "--outDir", "out", "call.ts"],
        tmp_path, environment,
    )  # fmt: skip
    said = run(["node", "out/call.js", gateway.url, gateway.token], tmp_path, environment)
    assert said == "abc [ 'repeat' ] done\n"


# -- the command line --------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["s=abc", "s=@text.txt"])
def test_the_command_line_calls_it_at_the_server(
    gateway: Gateway, tmp_path: Path, argument: str
) -> None:
    (tmp_path / "text.txt").write_text("abc")
    ended = aieye_forked(tmp_path, "run", PIPELINE, "--arg", argument, **gateway.remote)
    assert (ended.code, ended.out, ended.err) == (0, "abc\n", "")


def test_the_command_line_calls_it_without_a_server_and_no_client_cost_a_second_call(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("abc")
    gateway.server.terminate()
    here = {"AIEYE_DATA_DIR": str(gateway.server.data_dir)}
    for argument in ("s=abc", "s=@text.txt"):
        ended = aieye_forked(tmp_path, "run", PIPELINE, "--arg", argument, **here)
        assert (ended.code, ended.out) == (0, "abc\n"), ended.err
    asked = [seen for seen in gateway.provider.seen if seen.path == "/v1/chat/completions"]
    assert len(asked) == 1
