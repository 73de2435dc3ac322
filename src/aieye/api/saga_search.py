"""`POST /_saga/gpt3/process` for searches: `{_id, text}`, and `documents` where there are none."""

from __future__ import annotations

from typing import Final

import orjson
from fastapi import Response

from aieye.api.saga_callers import Asked
from aieye.api.searches import search
from aieye.errors import InvalidRequest
from aieye.presets.models import Preset

_FIELDS: Final = ("_id", "text", "documents")


async def process_search(asked: Asked, preset: Preset) -> Response:
    """The results as OpenAI's search gave them. Raises `AieyeError`."""
    said = asked.document
    for name in said:
        if name not in _FIELDS:
            raise InvalidRequest(
                f"{name[:60]!r} is no field of a search; there are {', '.join(_FIELDS)}.",
                param=name[:60],
            )
    text = said.get("text")
    if not isinstance(text, str):
        raise InvalidRequest("text is required: what is searched for, as text.", param="text")
    found, headers = await search(
        asked.request, asked.state, asked.grant, preset, text, documents=said.get("documents")
    )
    answer = {"_success": True, **found.as_json()}
    return Response(orjson.dumps(answer), headers=headers, media_type="application/json")
