"""`POST /_saga/gpt3/process` for presets that ask a model: `{_id, text}`, and `prompt` where there is
none. The answer is the provider's with `_success: true`.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import Response

from aieye.api.openai import STOPPED
from aieye.api.originals import ProviderRefused
from aieye.api.saga_callers import Asked
from aieye.errors import AieyeError, InvalidRequest
from aieye.gateway.calls import Reply
from aieye.presets import checks
from aieye.presets.apply import Prompt
from aieye.presets.asking import processed
from aieye.presets.models import Preset
from aieye.presets.processing import Asker
from aieye.waiting import unless_gone

_FIELDS: Final = ("_id", "text", "prompt")


async def process_model(asked: Asked, preset: Preset) -> Response:
    """The provider's answer. Raises `AieyeError`."""
    text, prompt = _read(asked, preset)
    asker = Asker(asked.grant, cancelled_as=STOPPED)
    work = asked.state.processing.process(preset, text, prompt, asker)
    try:
        answered = await unless_gone(asked.request, work, at_leaving=asker.left)
        if (failed := answered.failed) is not None:
            raise ProviderRefused(failed.status, failed.body or b"", failed.headers)
        body = processed(answered.asking, preset.config, answered.bodies)
    except AieyeError as error:
        if asker.calls:
            error.headers["x-request-id"] = asker.calls[-1].record.request_id
        raise
    return _response(body, answered.replies[0])


def _read(asked: Asked, preset: Preset) -> tuple[str, Prompt | None]:
    said = asked.document
    for name in said:
        if name not in _FIELDS:
            raise InvalidRequest(
                f"{name[:60]!r} is no field of a {preset.type}; there are {', '.join(_FIELDS)}.",
                param=name[:60],
            )
    text: Any = said.get("text")
    if not isinstance(text, str):
        raise InvalidRequest("text is required, as text; it may be empty.", param="text")
    prompt: Any = said.get("prompt")
    if prompt is None:
        return text, None
    if preset.type != "completion" or preset.config.get("prompt"):
        raise InvalidRequest(
            "The preset says itself what is asked: send no prompt.", param="prompt"
        )
    try:
        return text, checks.prompt(prompt)
    except checks.Refused as error:
        more = f" ({error})" if str(error) else ""
        raise InvalidRequest(
            f"prompt should be text, a list of texts, or a list of lists of tokens{more}.",
            param="prompt",
        ) from error


def _response(body: bytes, reply: Reply) -> Response:
    response = Response()
    response.body = body
    response.raw_headers = [*reply.headers, (b"content-length", b"%d" % len(body))]
    return response
