"""Everything by a part of its name: pages, what is written and owned, functions, tokens, models by
what they answered, calls by id; for administrators also users, providers and aliases.

Nobody finds what they may not see. What is called exactly so stands first, then what begins so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.db.tables import (
    Call,
    Pipeline,
    Preset,
    Prompt,
    Provider,
    RegisteredFunction,
    Token,
    User,
)
from aieye.errors import NotFound
from aieye.ledger.queries import get_call
from aieye.ui.model_choices import called_models
from aieye.ui.session import Visitor
from aieye.ui.shell import navigation

LONGEST: Final = 100
"""Of what is searched for, in characters."""
MOST: Final = 6
"""Of each kind, as many are shown."""
_MOST_RANKED: Final = 100
ICONS: Final = {
    "prompt": "message-square-text",
    "pipeline": "workflow",
    "preset": "sliders-horizontal",
    "function": "square-function",
    "token": "ticket",
    "call": "scroll-text",
    "user": "users",
    "provider": "plug",
    "alias": "route",
    "model": "scroll-text",
}


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found; `note` tells it from others of its name."""

    kind: str
    label: str
    note: str
    href: str
    icon: str


@dataclass(frozen=True, slots=True)
class Group:
    """What was found of one kind."""

    label: str
    hits: Sequence[Hit]


async def find(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Group]:
    """All that has `text` in its name, by kind."""
    groups = [
        Group("Pages", find_pages(visitor, text)),
        Group("Calls", await _call(session, visitor, text)),
    ]
    for label, kind, table, also in _AUTHORED:
        groups.append(Group(label, await _authored(session, visitor, kind, table, also, text)))
    groups.append(Group("Functions", await _functions(session, visitor, text)))
    groups.append(Group("Tokens", await _tokens(session, visitor, text)))
    groups.append(Group("Models", await _models(session, visitor, text)))
    if visitor.is_administrator:
        groups.append(Group("Users", await _users(session, visitor, text)))
        groups.append(Group("Providers", await _providers(session, visitor, text)))
        groups.append(Group("Aliases", _aliases(visitor, text)))
    return [group for group in groups if group.hits]


def find_pages(visitor: Visitor, text: str = "") -> Sequence[Hit]:
    """The pages of the rail of whose name a word begins with the text, all for an empty one."""
    found = [
        Hit("page", link.label, label, link.path, link.icon)
        for label, links in navigation(visitor.request, visitor.signed_in)
        for link in links
    ]
    found.append(Hit("page", "Your account", "You", "/account", "user"))
    # They stand first: a text inside a word rather means something else.
    wanted = f" {text.lower()}"
    return [hit for hit in found if wanted in f" {hit.label.lower()}"]


# -- rows as hits ------------------------------------------------------------------------------


def hit_of(kind: str, row: Any, visitor: Visitor) -> Hit:
    """A row as it is shown; `kind` is one of `ICONS`."""
    path = f"/{kind}s/{getattr(row, 'uid', row.id)}"
    match kind:
        case "function":
            path, note = f"/functions/{row.name}", row.file
        case "token":
            note = row.prefix
        case "call":
            label = row.model or row.model_asked or row.endpoint
            note = f"{row.status or 'open'} · {row.id}"
            return Hit(kind, label, note, f"/calls/{row.id}", ICONS[kind])
        case "user":
            note = row.email if row.name else row.role
            return Hit(kind, row.name or row.email, note, path, ICONS[kind])
        case "provider":
            path, note = f"{path}/edit", row.base_url
        case _:
            note = "" if row.user_id == visitor.user_id else _foreign(row)
            if kind == "preset":
                note = f"{row.type} · {note}" if note else row.type
    return Hit(kind, row.name, note, path, ICONS[kind])


def _foreign(row: Any) -> str:
    return "shared" if row.is_shared else "of another user"


_AUTHORED: Final[Sequence[tuple[str, str, Any, Any]]] = (
    ("Prompts", "prompt", Prompt, (Prompt.description,)),
    ("Pipelines", "pipeline", Pipeline, ()),
    ("Presets", "preset", Preset, (Preset.uid,)),
)


async def _authored(
    session: AsyncSession, visitor: Visitor, kind: str, table: Any, also: Any, text: str
) -> Sequence[Hit]:
    if f"/{kind}s" not in visitor.request.app.state.pages:
        return ()
    statement = select(table).where(
        table.deleted_at.is_(None), authored.may_see(table, visitor.actor)
    )
    rows = await _best(session, statement, table, text, (table.name, *also))
    return [hit_of(kind, row, visitor) for row in rows]


async def _functions(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Hit]:
    if "/functions" not in visitor.request.app.state.pages:
        return ()
    statement = select(RegisteredFunction).where(RegisteredFunction.deleted_at.is_(None))
    rows = await _best(session, statement, RegisteredFunction, text, (RegisteredFunction.name,))
    return [hit_of("function", row, visitor) for row in rows]


async def _tokens(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Hit]:
    statement = select(Token).where(Token.deleted_at.is_(None), own_tokens(visitor))
    rows = await _best(session, statement, Token, text, (Token.name, Token.prefix))
    return [hit_of("token", row, visitor) for row in rows]


async def _users(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Hit]:
    statement = select(User).where(User.deleted_at.is_(None))
    rows = await _best(session, statement, User, text, (User.name, User.email))
    return [hit_of("user", row, visitor) for row in rows]


async def _providers(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Hit]:
    statement = select(Provider).where(Provider.deleted_at.is_(None))
    rows = await _best(session, statement, Provider, text, (Provider.name,))
    return [hit_of("provider", row, visitor) for row in rows]


def _aliases(visitor: Visitor, text: str) -> Sequence[Hit]:
    known = _like(visitor.state.directory.current.routes, text)
    return [Hit("alias", one, "Aliases", "/routes", ICONS["alias"]) for one in known]


async def _models(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Hit]:
    """The models that answered calls which the visitor may see; each leads to these calls."""
    found = _like(await called_models(session, visitor), text)
    return [
        Hit("model", one, "Its calls", f"/calls?{urlencode({'model': one})}", ICONS["model"])
        for one in found
    ]


def _like(names: Iterable[str], text: str) -> Sequence[str]:
    """Those that have the text in them: what is called so, what begins so, the others by name."""
    wanted = text.lower()
    found = [one for one in names if wanted in one.lower()]
    return sorted(
        found, key=lambda one: (one.lower() != wanted, not one.lower().startswith(wanted), one)
    )[:MOST]


async def _call(session: AsyncSession, visitor: Visitor, text: str) -> Sequence[Hit]:
    try:
        found = await get_call(session, text, owner_id=visitor.owner_id)
    except NotFound:
        return ()
    call: Call = found.call
    return [hit_of("call", call, visitor)]


def own_tokens(visitor: Visitor) -> ColumnElement[bool]:
    """The tokens that the visitor may see."""
    return true() if visitor.is_administrator else Token.user_id == visitor.user_id


async def _best(
    session: AsyncSession, statement: Any, table: Any, text: str, columns: Sequence[Any]
) -> Sequence[Any]:
    """The rows that have the text in one of the columns: what is called so, what begins so, the newest."""
    wanted = text.lower()
    has = (func.lower(one).contains(wanted, autoescape=True) for one in columns)
    newest = statement.where(or_(*has)).order_by(table.id.desc()).limit(_MOST_RANKED)
    found = {row.id: row for row in await session.scalars(newest)}
    if len(found) == _MOST_RANKED:
        # Of so many the best may be older. To order all of them would take longer than to look once more.
        begins = func.lower(table.name).startswith(wanted, autoescape=True)
        shortest = statement.where(begins).order_by(func.length(table.name)).limit(MOST)
        found |= {row.id: row for row in await session.scalars(shortest)}

    def rank(row: Any) -> tuple[bool, bool, int]:
        name = row.name.lower()
        return name != wanted, not name.startswith(wanted), -row.id

    return sorted(found.values(), key=rank)[:MOST]
