"""What somebody opened last, as the search offers it: a cookie of their browser, and of nobody else.

It holds addresses alone, with the user they are of; what they are called is asked anew each time, and
so is whether the user may still see them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from fastapi import Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.sessions import SignedIn
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Call, Pipeline, Preset, Prompt, RegisteredFunction, Token
from aieye.ui.finding import Hit, hit_of, own_tokens
from aieye.ui.session import Visitor

COOKIE: Final = "recent"
MOST: Final = 10
_SECONDS: Final = 90 * 86_400
_KEYS: Final = (
    r"(?:prompt|pipeline|token){}[0-9]{{1,10}}",
    r"preset{}[A-Za-z0-9_-]{{20}}",
    r"function{}[A-Za-z_][A-Za-z0-9_]{{0,99}}",
    r"call{}[0-9a-f]{{32}}",
)
_OPENED: Final = re.compile("/(?:" + "|".join(_KEYS).format(*["s/"] * 4) + ")", re.ASCII)
_KEPT: Final = re.compile("|".join(_KEYS).format(*[":"] * 4), re.ASCII)


def note(request: Request, response: Response, signed_in: SignedIn) -> None:
    """Remember that the page of a thing was opened."""
    path = request.scope["path"]
    if request.method != "GET" or response.status_code != 200 or not _OPENED.fullmatch(path):
        return
    entry = path[1:].replace("s/", ":", 1)
    before = _entries(request, signed_in.user_id)
    if before[:1] == [entry]:
        return
    kept = [entry, *(one for one in before if one != entry)][:MOST]
    response.set_cookie(
        COOKIE, ".".join([str(signed_in.user_id), *kept]), max_age=_SECONDS, path="/",
        httponly=True, samesite="lax", secure=_is_https(request),
    )  # fmt: skip


async def opened(session: AsyncSession, visitor: Visitor) -> Sequence[Hit]:
    """What was opened last and is still there for the visitor, the last first."""
    entries = _entries(visitor.request, visitor.user_id)
    keys: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        kind, _, key = entry.partition(":")
        keys[kind].append(key)
    found: dict[str, Hit] = {}
    for kind, some in keys.items():
        for key, row in (await _rows(session, visitor, kind, some)).items():
            found[f"{kind}:{key}"] = hit_of(kind, row, visitor)
    return [_with_its_kind(found[entry]) for entry in entries if entry in found]


def _with_its_kind(hit: Hit) -> Hit:
    """What was opened is of all kinds, which no heading above it names."""
    return replace(hit, note=" · ".join(filter(None, (hit.kind, hit.note))))


async def _rows(
    session: AsyncSession, visitor: Visitor, kind: str, keys: Sequence[str]
) -> Mapping[str, Any]:
    """The rows behind the keys, as far as the visitor may see them."""
    numbers = [int(one) for one in keys if one.isdigit() and int(one[:11]) <= LARGEST_ID]
    tables: Mapping[str, Any] = {"prompt": Prompt, "pipeline": Pipeline, "preset": Preset}
    statement: Any
    if (table := tables.get(kind)) is not None:
        has = Preset.uid.in_(keys) if kind == "preset" else table.id.in_(numbers)
        statement = select(table).where(has, authored.may_see(table, visitor.actor))
    elif kind == "function":
        table = RegisteredFunction
        statement = select(table).where(table.name.in_(keys))
    elif kind == "token":
        table = Token
        statement = select(table).where(table.id.in_(numbers), own_tokens(visitor))
    else:
        statement = select(Call).where(Call.id.in_(keys))
        if visitor.owner_id is not None:
            statement = statement.where(Call.user_id == visitor.owner_id)
        return {row.id: row for row in await session.scalars(statement)}
    rows = await session.scalars(statement.where(table.deleted_at.is_(None)))
    field = {"preset": "uid", "function": "name"}.get(kind, "id")
    return {str(getattr(row, field)): row for row in rows}


def _entries(request: Request, user_id: int) -> list[str]:
    """What the cookie says of this user, `kind:key` each."""
    owner, *entries = request.cookies.get(COOKIE, "").split(".")
    if owner != str(user_id):
        return []
    return [one for one in entries if _KEPT.fullmatch(one)][:MOST]


def _is_https(request: Request) -> bool:
    return str(request.app.state.aieye.settings.base_url).startswith("https://")
