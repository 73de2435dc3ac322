"""The events that tell of one output item of a response, part by part. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aieye.cache.forms.reading import CannotConvert, Object, as_objects, as_string

_PART_EVENTS: Final = {
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
    "reasoning_text": ("response.reasoning_text", "text"),
}
_CALL_EVENTS: Final = {
    "function_call": ("response.function_call_arguments", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input", "input"),
}


def make_event(kind: str, **fields: object) -> Object:
    """An event of the Responses API, not numbered yet."""
    return {"type": kind, **fields}


def item_events(output_index: int, item: Object) -> Iterator[Object]:
    """The events of one output item; what is not generated text appears whole at once."""
    opening = dict(item)
    inner: Iterator[Object] = iter(())
    kind = str(item.get("type"))
    if kind in ("message", "reasoning") or kind in _CALL_EVENTS:
        opening |= {"status": "in_progress"} if "status" in item else {}
        where = {"item_id": as_string(item.get("id")), "output_index": output_index}
        if kind in _CALL_EVENTS:
            name, field = _CALL_EVENTS[kind]
            opening[field] = ""
            inner = _text_events(name, field, as_string(item.get(field)), where)
        else:
            opening |= {name: [] for name in ("content", "summary") if item.get(name)}
            inner = _part_lists(item, where)
    yield make_event("response.output_item.added", output_index=output_index, item=opening)
    yield from inner
    yield make_event("response.output_item.done", output_index=output_index, item=item)


def _part_lists(item: Object, where: Object) -> Iterator[Object]:
    for index, part in enumerate(as_objects(item.get("summary") or [])):
        yield from _summary_events(part, where | {"summary_index": index})
    for index, part in enumerate(as_objects(item.get("content") or [])):
        yield from _part_events(part, where | {"content_index": index})


def _summary_events(part: Object, where: Object) -> Iterator[Object]:
    name = "response.reasoning_summary_part"
    text = as_string(part.get("text"))
    yield make_event(f"{name}.added", **where, part=part | {"text": ""})
    yield from _text_events("response.reasoning_summary_text", "text", text, where)
    yield make_event(f"{name}.done", **where, part=part)


def _part_events(part: Object, where: Object) -> Iterator[Object]:
    name, field = _PART_EVENTS.get(str(part.get("type")), ("", ""))
    if not name:
        raise CannotConvert("a part of the content is of an unknown type")
    empty: Object = {key: [] for key in ("annotations", "logprobs") if part.get(key)}
    extra = {"logprobs": part.get("logprobs") or []} if name == "response.output_text" else {}
    yield make_event("response.content_part.added", **where, part=part | empty | {field: ""})
    for event in _text_events(name, field, as_string(part.get(field)), where | extra):
        if event["type"].endswith(".done"):
            yield from _annotation_events(part, where)
        yield event
    yield make_event("response.content_part.done", **where, part=part)


def _annotation_events(part: Object, where: Object) -> Iterator[Object]:
    for index, annotation in enumerate(part.get("annotations") or []):
        yield make_event(
            "response.output_text.annotation.added",
            **where,
            annotation_index=index,
            annotation=annotation,
        )


def _text_events(name: str, field: str, text: str, where: Object) -> Iterator[Object]:
    if text:
        yield make_event(f"{name}.delta", **where, delta=text)
    yield make_event(f"{name}.done", **where, **{field: text})
