"""Short messages about what was just done: after a redirect by a cookie, in a fragment by a header.

The cookie holds text that is shown as text and gone once it was shown. A message of something that can
be undone has the way to that: a form's, and of no other kind.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Literal, NamedTuple

from fastapi import Request, Response

Kind = Literal["good", "bad"]

COOKIE = "toast"
EVENT = "toast"
_SECONDS = 60
_LONGEST = 500
_UNDO = re.compile(r"/undo/(prompt|preset|pipeline)/[0-9]{1,10}", re.ASCII)


class Toast(NamedTuple):
    """A message; `undo` is where a form takes back what it tells of, empty where nothing does."""

    kind: str
    text: str
    undo: str = ""


def leave(
    request: Request, response: Response, text: str, kind: Kind = "good", undo: str = ""
) -> None:
    """Have the next page show `text`."""
    body = json.dumps([kind, text[:_LONGEST], undo]).encode()
    response.set_cookie(
        COOKIE, base64.urlsafe_b64encode(body).decode(), max_age=_SECONDS, path="/",
        httponly=True, samesite="lax", secure=_is_https(request),
    )  # fmt: skip


def add_to_fragment(response: Response, text: str, kind: Kind = "good") -> None:
    """Have the page that a fragment goes into show `text`."""
    response.headers["HX-Trigger"] = json.dumps({EVENT: {"kind": kind, "text": text[:_LONGEST]}})


def take(request: Request) -> list[Toast]:
    """What was left for this page."""
    try:
        kind, text, undo = json.loads(base64.urlsafe_b64decode(request.cookies.get(COOKIE, "")))
    except (binascii.Error, ValueError, TypeError):
        return []
    if not isinstance(text, str):
        return []
    is_undo = isinstance(undo, str) and _UNDO.fullmatch(undo) is not None
    return [Toast("bad" if kind == "bad" else "good", text, undo if is_undo else "")]


def clear(request: Request, response: Response) -> None:
    """Forget what was shown."""
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path="/", secure=_is_https(request), samesite="lax")


def _is_https(request: Request) -> bool:
    return str(request.app.state.aieye.settings.base_url).startswith("https://")
