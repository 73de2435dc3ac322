"""What a version of a preset says, as two of them are compared: a text line by line, and fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from aieye.presets.models import Preset


def said_by(preset: Preset, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The text is the prompt, the messages or the documents, whichever it has."""
    fields = dict(config)
    if preset.documents_id is not None and "documents" not in fields:
        fields["documents"] = f"{preset.document_count} ({preset.documents_id})"
    for name in ("prompt", "messages", "documents"):
        if isinstance(fields.get(name), str | list):
            return _text(fields.pop(name)), fields
    return "", fields


def _text(value: str | list[Any]) -> str:
    if isinstance(value, str):
        return value
    return "\n".join(
        one if isinstance(one, str) else orjson.dumps(one, option=orjson.OPT_INDENT_2).decode()
        for one in value
    )
