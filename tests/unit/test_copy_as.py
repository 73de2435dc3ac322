"""A recorded call as code: it asks the same again, and holds no secret."""

from __future__ import annotations

import ast
import inspect
import json
import operator
import shutil
import subprocess
from typing import Any

import pytest
from openai import OpenAI

from aieye.ledger import copy_as
from tests.tools import not_run

BASE = "http://127.0.0.1:8000/v1"
HOSTILE = "it's \"$(rm -rf /)\" `id` </script> \\n \u2028 ' || true\n#"
CHAT: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": HOSTILE}],
    "temperature": 0.7,
    "stream": True,
    "cache": {"mode": "refresh"},
    "logit_bias": None,
}


def test_the_shell_gives_curl_the_same_body() -> None:
    body = json.dumps(CHAT, ensure_ascii=False)
    command = copy_as.as_curl(BASE, "chat/completions", body)
    script = f'curl() {{ printf "%s\\0" "$@"; }}\n{command}'
    given = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"AIEYE_TOKEN": "t"}
    ).stdout.decode().split("\0")[:-1]  # fmt: skip
    assert given == [
        "-N", f"{BASE}/chat/completions", "-H", "Authorization: Bearer t",
        "-H", "Content-Type: application/json", "-d", body,
    ]  # fmt: skip


def test_python_calls_the_sdk_with_the_same_parameters() -> None:
    tree = ast.parse(copy_as.as_python(BASE, "chat/completions", CHAT))
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    create = next(
        node for node in made if ast.unparse(node.func) == "client.chat.completions.create"
    )
    given = {word.arg: ast.literal_eval(word.value) for word in create.keywords}
    extra = given.pop("extra_body")
    assert (given | extra, extra) == (CHAT, {"cache": {"mode": "refresh"}})
    other = copy_as.as_python(BASE, "edits", {"model": "m", "input": HOSTILE})
    assert HOSTILE in {n.value for n in ast.walk(ast.parse(other)) if isinstance(n, ast.Constant)}


@pytest.mark.parametrize("endpoint", copy_as._METHODS)
def test_the_sdk_has_the_methods_and_parameters_that_it_is_called_with(endpoint: str) -> None:
    method = copy_as._METHODS[endpoint]
    function = operator.attrgetter(method.path)(OpenAI(api_key="x"))
    assert method.names <= set(inspect.signature(function).parameters)


def test_javascript_is_valid_and_holds_the_same_body(tmp_path: Any) -> None:
    if shutil.which("node") is None:
        not_run("the JavaScript of a copied call", "node")
    for endpoint in ("chat/completions", "edits"):
        file = tmp_path / f"{endpoint.replace('/', '-')}.mjs"
        file.write_text(copy_as.as_javascript(BASE, endpoint, CHAT), encoding="utf-8")
        subprocess.run(["node", "--check", file], check=True, capture_output=True)
        text = file.read_text(encoding="utf-8")
        body = text[text.index("{\n") : text.rindex("\n}") + 2]
        assert json.loads(body) == CHAT


def test_what_is_no_json_object_is_not_copied_as_a_program() -> None:
    for text in (None, "", "[1]", "{", "[" * 100_000):
        assert copy_as.parameters_of(text) is None
    assert copy_as.parameters_of('{"a":1}') == {"a": 1}
