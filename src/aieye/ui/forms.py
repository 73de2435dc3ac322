"""What a form or a script sends: its fields, its origin, and where it wants to go next."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from aieye.access import csrf
from aieye.access.secrets import make_secret
from aieye.access.sessions import CSRF_COOKIE
from aieye.errors import Forbidden, InvalidRequest, PayloadTooLarge
from aieye.ui.pages import get_state

_MOST_BYTES = 64 * 2**10
_MOST_FIELDS = 20
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class CrossSite(Forbidden):
    """The request was not made on our own pages, or its CSRF token is missing or wrong."""

    code = "cross_site_request"


async def read_fields(request: Request) -> Mapping[str, str]:
    """The fields of a form or of a JSON object, texts only. Raises `InvalidRequest`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in _FORMS:
        return await _read_form(request)
    return _parse(await _read_body(request))


async def _read_form(request: Request) -> Mapping[str, str]:
    try:
        form = await request.form(max_files=0, max_fields=_MOST_FIELDS, max_part_size=_MOST_BYTES)
    except HTTPException as error:
        raise InvalidRequest("The form cannot be read.") from error
    return {name: value for name, value in form.items() if not isinstance(value, UploadFile)}


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise PayloadTooLarge("This is more than any form has.")
    return bytes(body)


def _parse(body: bytes) -> Mapping[str, str]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest("Send a form or a JSON object.") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("Send a form or a JSON object.")
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def require_own_site(
    request: Request, fields: Mapping[str, str], *, expected: str | None, is_sign_in: bool = False
) -> None:
    """Refuse what another site's page had the browser send. Raises `CrossSite`."""
    fault = csrf.find_fault(
        request.method,
        fetch_site=request.headers.get("sec-fetch-site"),
        origin=request.headers.get("origin"),
        origins=csrf.own_origins(get_state(request).settings.base_url),
        expected=expected,
        given=request.headers.get(csrf.TOKEN_HEADER) or fields.get(csrf.TOKEN_FIELD),
        is_sign_in=is_sign_in,
    )
    if fault is not None:
        raise CrossSite(fault)


def form_token(request: Request) -> str:
    """The token of a form that is shown before anybody signed in: the cookie's, else a new one."""
    given = request.cookies.get(CSRF_COOKIE, "")
    return given if _TOKEN.fullmatch(given) else make_secret()


def safe_next(target: str | None) -> str:
    """Where to go after signing in: a path of ours, `/` for anything else.

    Browsers take `//host` and `/\\host` for another site, and drop control characters before they
    look; so none of these is a path of ours.
    """
    if (
        not target
        or not target.startswith("/")
        or target.startswith(("//", "/\\"))
        or not target.isprintable()
        or "\\" in target
    ):
        return "/"
    return target
