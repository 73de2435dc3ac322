"""What a form or a script sends: its fields, its files, and where it wants to go next."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import orjson
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from aieye.access.secrets import make_secret
from aieye.access.sessions import CSRF_COOKIE
from aieye.errors import AieyeError, Forbidden, InvalidRequest, PayloadTooLarge
from aieye.ui.fields import Fields

# The whole body is bounded too (`aieye.app`): these are what one field of it may be.
_MOST_BYTES = 2**20
_MOST_FIELDS = 1_000
_MOST_FILES = 8
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class CrossSite(Forbidden):
    """The request was not made on our own pages, or its CSRF token is missing or wrong."""

    code = "cross_site_request"


async def read_fields(request: Request) -> Fields:
    """The fields of a form or of a JSON object (its texts only); read once a request.

    Raises `InvalidRequest`, `PayloadTooLarge`.
    """
    if not hasattr(request.state, "fields"):
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type in _FORMS:
            request.state.fields = await _read_form(request)
        else:
            request.state.fields = _parse(await _read_body(request))
    fields: Fields = request.state.fields
    return fields


async def _read_form(request: Request) -> Fields:
    try:
        form = await request.form(
            max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=_MOST_BYTES
        )
    except HTTPException as error:
        raise InvalidRequest("The form cannot be read.") from error
    values: dict[str, list[str]] = {}
    files: dict[str, list[UploadFile]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.setdefault(name, []).append(value)
        else:
            # Browsers send CRLF for a new line, whatever was typed.
            values.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return Fields(values, files)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise PayloadTooLarge("This is more than any form has.")
    return bytes(body)


def _parse(body: bytes) -> Fields:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest("Send a form or a JSON object.") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("Send a form or a JSON object.")
    return Fields({name: [value] for name, value in fields.items() if isinstance(value, str)})


def errors_of(error: AieyeError, *names: str) -> Mapping[str, str]:
    """An error as the fields `names` show it: under its own field, else as `form`, for all of them."""
    place, said = error.param or "form", error.message
    if place in names:
        said = under_its_field(said, place)
    else:
        place = "form"
    return dict.fromkeys(("form", *names), "") | {place: said}


def under_its_field(said: str, field: str) -> str:
    """What programs are told, which name the field first, as it stands under the field itself."""
    for subject in (field, field.rpartition(".")[2]):
        if said.startswith(f"{subject} "):
            return f"This{said.removeprefix(subject)}"
        if said.startswith(f"{subject}: "):
            rest = said.removeprefix(f"{subject}: ")
            return f"{rest[:1].upper()}{rest[1:]}"
    return said


def mistakes(checks: Mapping[str, Callable[[], object]]) -> Mapping[str, str]:
    """What is wrong with each field by itself: all at once, where a service tells the first."""
    found = {}
    for name, check in checks.items():
        try:
            check()
        except AieyeError as error:
            found[name] = under_its_field(error.message, error.param or name)
    return found


def retype(errors: Mapping[str, str], typed: Mapping[str, str], secret: str) -> Mapping[str, str]:
    """The errors of a refused form, which gives back all that was typed but the field `secret`."""
    if not typed.get(secret) or errors.get(secret):
        return errors
    return {**errors, secret: "Type it again: what was sent as a key is not shown again."}


def no_errors(*names: str) -> Mapping[str, str]:
    """The errors of a form that was not sent yet: none."""
    return dict.fromkeys(("form", *names), "")


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
