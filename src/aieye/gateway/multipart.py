"""The `model` field of a multipart form (RFC 7578), read and replaced without touching the rest. Pure."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(rb'boundary=(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(
    rb'content-disposition:[^\r\n]*;\s*name="?model"?(?:\s*;|\s*\r\n)', re.IGNORECASE
)
_FILE = re.compile(rb"content-disposition:[^\r\n]*;\s*filename", re.IGNORECASE)
_LONGEST_HEAD = 4_096
_LONGEST_MODEL = 200


def find_model(content_type: bytes, body: bytes) -> tuple[str, int, int] | None:
    """The form's model with where its value starts and ends; None when the form names none."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    mark = b"--" + (found[1] or found[2])
    position = body.find(mark)
    while position >= 0:
        start = position + len(mark)
        head_end = body.find(b"\r\n\r\n", start, start + _LONGEST_HEAD)
        if head_end < 0:
            return None
        end = body.find(b"\r\n" + mark, head_end)
        head = body[start : head_end + 2]
        if end >= 0 and _NAME.search(head) and not _FILE.search(head):
            value = body[head_end + 4 : end]
            if len(value) > _LONGEST_MODEL:
                return None
            return value.decode("utf-8", "replace").strip(), head_end + 4, end
        position = -1 if end < 0 else end + 2
    return None


def replace_model(body: bytes, place: tuple[str, int, int], model: str) -> bytes:
    """The form with another model."""
    _, start, end = place
    return body[:start] + model.encode() + body[end:]
