"""The `model` field of a multipart form (RFC 7578), read and replaced without touching the rest. Pure.

Programs differ over forms that are not written as the standard has it, and a proxy that reads one
otherwise than the provider could be talked past: such a form is refused, and so is one that names
two models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aieye.errors import InvalidRequest

_DISPOSITION = re.compile(
    rb"^content-disposition:[ \t]*([^\r\n]*)\r\n", re.IGNORECASE | re.MULTILINE
)
# `; name=value` or `; name="value"` (RFC 9110, 5.6.6).
_PARAMETER = re.compile(rb'[ \t]*;[ \t]*([^\s=;"]+)=("(?:[^"\\]|\\.)*"|[^\s;"]*)[ \t]*')
_PADDING = re.compile(rb"[ \t]*\r\n")
_LONGEST_BOUNDARY = 200
_LONGEST_HEAD = 4_096


class UnreadableForm(InvalidRequest):
    """The form is not written as RFC 7578 has it, or can be read in two ways."""

    code = "invalid_form"


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """The form's model, and where in the body its value starts and ends."""

    model: str
    start: int
    end: int


def find_model(content_type: bytes, body: bytes) -> ModelPlace | None:
    """The form's model; None when it names none, or is no such form. Raises `UnreadableForm`."""
    kind, _, parameters = content_type.partition(b";")
    if kind.strip().lower() != b"multipart/form-data":
        return None
    places = [
        ModelPlace(body[start:end].decode("utf-8", "replace").strip(), start, end)
        for name, start, end in _fields(body, b"--" + _boundary(b";" + parameters))
        if name == b"model"
    ]
    if len(places) > 1:
        raise UnreadableForm("The form names more than one model.", param="model")
    return places[0] if places else None


def replace_model(body: bytes, place: ModelPlace, model: str) -> bytes:
    """The form with another model."""
    return body[: place.start] + model.encode() + body[place.end :]


def boundary_of(content_type: bytes) -> bytes | None:
    """What stands between the parts of a body of this type; None where that cannot be told."""
    kind, semicolon, parameters = content_type.partition(b";")
    if not kind.strip().lower().startswith(b"multipart/"):
        return None
    try:
        return _boundary(semicolon + parameters)
    except UnreadableForm:
        return None


def _boundary(parameters: bytes) -> bytes:
    boundaries = _parameters(parameters).get(b"boundary", [])
    if len(boundaries) != 1 or not 0 < len(boundaries[0]) <= _LONGEST_BOUNDARY:
        raise UnreadableForm("A form's Content-Type has one boundary, of at most 200 characters.")
    return boundaries[0]


def _fields(body: bytes, mark: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each field, and where its value starts and ends."""
    position = body.find(mark)
    while position >= 0:
        after = position + len(mark)
        following = body.find(mark, after)
        if position and body[position - 2 : position] != b"\r\n":
            raise UnreadableForm("The form's boundary stands elsewhere than between its parts.")
        if body[after : after + 2] != b"--":
            padding = _PADDING.match(body, after)
            start = body.find(b"\r\n\r\n", after, after + _LONGEST_HEAD) + 4
            if padding is None or start < 4 or not start <= following - 2:
                raise UnreadableForm("A part of the form has no end, or no head.")
            yield _name(body[padding.end() : start - 2]), start, following - 2
        position = following


def _name(head: bytes) -> bytes:
    dispositions = _DISPOSITION.findall(head)
    if len(dispositions) == 1:
        _, semicolon, rest = dispositions[0].partition(b";")
        parameters = _parameters(semicolon + rest)
        names = parameters.get(b"name", [])
        if len(names) == 1 and b"name*" not in parameters:
            return names[0]
    raise UnreadableForm("A part of the form has no name, or two.")


def _parameters(text: bytes) -> dict[bytes, list[bytes]]:
    """The parameters of a header (`; name=value`…), names in lower case, every value of each."""
    found: dict[bytes, list[bytes]] = {}
    position = 0
    while position < len(text):
        one = _PARAMETER.match(text, position)
        if one is None:
            if text[position:].strip(b" \t;"):
                raise UnreadableForm("A header of the form cannot be read.")
            break
        value = one[2]
        if value[:1] == b'"':
            value = re.sub(rb"\\(.)", rb"\1", value[1:-1])
        found.setdefault(one[1].lower(), []).append(value)
        position = one.end()
    return found
