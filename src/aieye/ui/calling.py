"""How programs call a pipeline: lines to copy that work as they are, but for the token. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aieye.pipeline.language.catalogue import Parameter

_SAMPLES: dict[str, Any] = {
    "int": 3, "float": 0.5, "bool": True, "list": ["one", "two"], "dict": {"key": "value"},
}  # fmt: skip


def curl_of(base_url: str, pipeline_id: int, parameters: Sequence[Parameter]) -> str:
    """The call that any token may make. The token stands in `AIEYE_TOKEN`."""
    asked = {"pipeline_id": pipeline_id, "args": sample_arguments(parameters)}
    body = json.dumps(asked, ensure_ascii=False)
    return " \\\n  ".join(
        [
            f"curl '{base_url}/api/pipeline/call?typed=1'",
            '-H "Authorization: Bearer $AIEYE_TOKEN"',
            '-H "Content-Type: application/json"',
            "-d '" + body.replace("'", "'\\''") + "'",
        ]
    )


def sdk_of(base_url: str, name: str, parameters: Sequence[Parameter]) -> str:
    """The call by OpenAI's SDK for Python, as a model."""
    given = sample_arguments(parameters)
    more = ""
    content = next(iter(given.values()), "Hello")
    if len(given) > 1:
        # The user's message is the first argument that the metadata do not name.
        metadata = {key: _text(value) for key, value in list(given.items())[1:]}
        more = f"\n    metadata={json.dumps(metadata, ensure_ascii=False)},"
    return f"""import os

from openai import OpenAI

client = OpenAI(base_url="{base_url}/v1", api_key=os.environ["AIEYE_TOKEN"])
answer = client.chat.completions.create(
    model="pipeline/{name}",
    messages=[{{"role": "user", "content": {json.dumps(_text(content), ensure_ascii=False)}}}],{more}
)
print(answer.choices[0].message.content)"""


def sample_arguments(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Something for each argument: its default where it has one."""
    return {one.name: _sample(one) for one in parameters}


def _sample(parameter: Parameter) -> Any:
    if not parameter.is_required and parameter.default is not None:
        return parameter.default
    kind = "str" if parameter.type is None else parameter.type.name
    return _SAMPLES.get(kind, f"a {parameter.name}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
