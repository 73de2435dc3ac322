"""The calls of a preset as they are copied from its page: in the GPT3 Proxy's shape, and as a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aieye.presets.models import Preset
from aieye.ui.show import json

_HEADER = '-H "Authorization: Bearer $AIEYE_TOKEN"'
_JSON = '-H "Content-Type: application/json"'
_DOCUMENTS = ["…", "…"]
_PATHS = {
    "chat": "/v1/chat/completions",
    "completion": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "search": "/v1/chat/completions",
}


@dataclass(frozen=True, slots=True)
class Copied:
    """A call under a word."""

    label: str
    code: str


def calls_of(preset: Preset, base_url: str) -> Sequence[Copied]:
    """How the preset is called; as a model only if it holds its name.

    A search is called as a model, which takes no documents, only where it has some of its own.
    """
    found = []
    needs_documents = preset.type == "search" and not preset.document_count
    if preset.is_callable and not needs_documents:
        found.append(Copied("As a model, curl", _model_line(preset, base_url)))
        found.append(Copied("As a model, Python", _model_code(preset, base_url)))
    found.append(Copied("As in the GPT3 Proxy, curl", _process_line(preset, base_url)))
    if preset.type == "search":
        path = f"/api/v1/presets/{preset.uid}/search"
        body: dict[str, object] = {"text": "…", "top_k": 3, "with_text": True}
        if needs_documents:
            body["documents"] = _DOCUMENTS
        found.append(Copied("The nearest documents, curl", _curl(base_url + path, body)))
    return found


def _model_line(preset: Preset, base_url: str) -> str:
    return _curl(
        base_url + _PATHS[preset.type], {"model": f"preset/{preset.name}", **_asked(preset)}
    )


def _asked(preset: Preset) -> dict[str, object]:
    if preset.type == "completion":
        return {"prompt": "…"}
    if preset.type == "embeddings":
        return {"input": "…"}
    return {"messages": [{"role": "user", "content": "…"}]}


def _process_line(preset: Preset, base_url: str) -> str:
    body: dict[str, object] = {"_id": preset.uid, "text": "…"}
    if preset.type == "completion" and not preset.config.get("prompt"):
        body["prompt"] = "…"
    if preset.type == "search" and not preset.document_count:
        body["documents"] = _DOCUMENTS
    return _curl(f"{base_url}/_saga/gpt3/process", body)


def _curl(url: str, body: dict[str, object]) -> str:
    said = json(body).replace("'", "'\\''")
    return f"curl {url} \\\n  {_HEADER} \\\n  {_JSON} \\\n  -d '{said}'"


def _model_code(preset: Preset, base_url: str) -> str:
    model = json(f"preset/{preset.name}")
    call = {
        "completion": f'client.completions.create(model={model}, prompt="…")',
        "embeddings": f'client.embeddings.create(model={model}, input="…")',
    }.get(
        preset.type,
        f'client.chat.completions.create(\n    model={model}, messages=[{{"role": "user", '
        f'"content": "…"}}],\n)',
    )
    said = {
        "completion": "answer.choices[0].text",
        "embeddings": "answer.data[0].embedding",
    }.get(preset.type, "answer.choices[0].message.content")
    return (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base_url}/v1", api_key=os.environ["AIEYE_TOKEN"])\n'
        f"answer = {call}\nprint({said})\n"
    )
