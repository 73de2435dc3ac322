"""Short messages about what was just done: after a redirect by a cookie, in a fragment by a header.

The cookie holds text that is shown as text and gone once it was shown.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Literal

from fastapi import Request, Response

Kind = Literal["good", "bad"]
Toast = tuple[str, str]

COOKIE = "toast"
EVENT = "toast"
_SECONDS = 60
_LONGEST = 500


def leave(request: Request, response: Response, text: str, kind: Kind = "good") -> None:
    """Have the next page show `text`."""
    body = json.dumps([kind, text[:_LONGEST]]).encode()
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
        kind, text = json.loads(base64.urlsafe_b64decode(request.cookies.get(COOKIE, "")))
    except (binascii.Error, ValueError, TypeError):
        return []
    return [("bad" if kind == "bad" else "good", text)] if isinstance(text, str) else []


def clear(request: Request, response: Response) -> None:
    """Forget what was shown."""
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path="/", secure=_is_https(request), samesite="lax")


def _is_https(request: Request) -> bool:
    return str(request.app.state.aieye.settings.base_url).startswith("https://")
