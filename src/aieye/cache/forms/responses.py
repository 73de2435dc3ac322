"""The Responses API: the body is in the last event, and the events are made of the body. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from aieye.cache.forms.items import item_events, make_event
from aieye.cache.forms.reading import (
    DONE,
    CannotConvert,
    Object,
    as_object,
    as_objects,
    load,
    payloads,
)


def fold_response(frames: bytes) -> Object:
    """The response of the terminal event, which is the plain body."""
    for data in payloads(frames):
        if data.startswith(DONE):
            break
        event = load(data)
        if event.get("error") or event.get("type") in ("error", "response.failed"):
            raise CannotConvert("the stream has an error")
        if event.get("type") in ("response.completed", "response.incomplete"):
            return as_object(event.get("response"))
    raise CannotConvert("the stream has no end")


def response_events(response: Object) -> Iterator[Object]:
    """The events of a finished response, numbered."""
    status = response.get("status")
    if status not in ("completed", "incomplete"):
        raise CannotConvert("the response is not finished")
    not_yet = dict.fromkeys(("completed_at", "incomplete_details", "usage"))
    opening = {
        **response,
        **{key: value for key, value in not_yet.items() if key in response},
        "status": "in_progress",
        "output": [],
    }
    events = [
        make_event("response.created", response=opening),
        make_event("response.in_progress", response=opening),
    ]
    for output_index, item in enumerate(as_objects(response.get("output"))):
        events.extend(item_events(output_index, item))
    events.append(make_event(f"response.{status}", response=response))
    for number, event in enumerate(events):
        yield {"type": event["type"], "sequence_number": number, **event}
