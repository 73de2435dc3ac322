"""A search as a route answers it: waited for while the client does, and what its headers say."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request

from aieye.access.snapshot import Grant
from aieye.api.openai import STOPPED
from aieye.errors import AieyeError
from aieye.gateway.calls import Call
from aieye.gateway.replay import usd
from aieye.presets.embedding import Payer
from aieye.presets.models import Preset
from aieye.presets.search import Found
from aieye.state import State
from aieye.waiting import unless_gone


async def search(
    request: Request,
    state: State,
    grant: Grant,
    preset: Preset,
    text: str,
    *,
    documents: object = None,
    top_k: int | None = None,
    with_text: bool = False,
) -> tuple[Found, dict[str, str]]:
    """What is found, and headers that say what it took. Raises `AieyeError`."""
    payer = Payer(grant, cancelled_as=STOPPED)
    work = state.search.run(
        preset, text, payer, documents=documents, top_k=top_k, with_text=with_text
    )
    try:
        found = await unless_gone(request, work, at_leaving=payer.left)
    except AieyeError as error:
        if payer.calls:
            error.headers["x-request-id"] = payer.calls[-1].record.request_id
        raise
    return found, _headers(payer.calls)


def _headers(calls: Sequence[Call]) -> dict[str, str]:
    """The id and the cache state of the query's call, and what all calls together cost and saved."""
    query = calls[0].record
    found = {"x-request-id": query.request_id, "x-aieye-cache": query.cache}
    costs = [call.record.cost_nano for call in calls]
    if None not in costs:
        found["x-aieye-cost-usd"] = usd(sum(cost or 0 for cost in costs)).decode()
    saved = [call.record.saved_nano for call in calls if call.record.saved_nano is not None]
    if saved:
        found["x-aieye-saved-usd"] = usd(sum(saved)).decode()
    return found
