"""Multipart forms, as files are sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from aieye.demo.errors import ProviderError


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart form: a file if it has a file name."""

    name: str
    filename: str | None
    content: bytes


def parse_form(content_type: str, body: bytes) -> list[Part]:
    """The parts of a multipart/form-data body (RFC 7578); raises 400 if it is cut or malformed."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if boundary is None:
        raise ProviderError(400, "Could not parse multipart form: no boundary.")
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode("latin-1"))
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise ProviderError(400, "Could not parse multipart form: it does not end.")
    return [_parse_part(section) for section in sections[1:-1]]


def _parse_part(section: bytes) -> Part:
    head, separator, content = section.partition(b"\r\n\r\n")
    header = head.decode("utf-8", "replace")
    name = re.search(r'[;\s]name="?([^";\r\n]*)"?', header)
    if not separator or name is None:
        raise ProviderError(400, "Could not parse multipart form: a part has no name.")
    return Part(name[1], _filename(header), content)


def _filename(header: str) -> str | None:
    """The file name in a part's header: RFC 8187's form first, then the quoted one of HTML."""
    if extended := re.search(r"filename\*=utf-8''([^;\r\n]*)", header, re.IGNORECASE):
        return unquote(extended[1])
    quoted = re.search(r'filename="?([^"\r\n]*)"?', header)
    return quoted[1].replace("%22", '"') if quoted else None
