"""The frame around every page: what of it a visitor is led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import Request

from aieye.access.sessions import SignedIn
from aieye.ui.ranges import RANGE_PARAMETERS


@dataclass(frozen=True, slots=True)
class Entry:
    """A place of the rail. Everybody has it unless it is `for_administrators`."""

    path: str
    label: str
    icon: str
    for_administrators: bool = False
    # Whether the page shows one time range, which then goes along from the last one.
    has_range: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under one word."""

    label: str
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it is shown on one page."""

    path: str
    label: str
    icon: str
    is_current: bool


# An entry is shown as soon as its page exists.
RAIL = (
    Group("Watch", (
        Entry("/", "Overview", "layout-dashboard", has_range=True),
        Entry("/calls", "Calls", "scroll-text", has_range=True),
        Entry("/cache", "Cache", "database-zap", has_range=True),
    )),
    Group("Make", (
        Entry("/prompts", "Prompts", "message-square-text"),
        Entry("/playground", "Playground", "flask-conical"),
        Entry("/functions", "Functions", "square-function"),
        Entry("/pipelines", "Pipelines", "workflow"),
        Entry("/presets", "Presets", "sliders-horizontal"),
    )),
    Group("Hand out", (
        Entry("/tokens", "Tokens", "ticket", has_range=True),
        Entry("/providers", "Providers", "plug", for_administrators=True, has_range=True),
        Entry("/routes", "Routes", "route", for_administrators=True),
        Entry("/users", "Users", "users", for_administrators=True, has_range=True),
    )),
    Group("Run", (
        Entry("/runs", "Runs", "play"),
        Entry("/settings", "Settings", "settings", for_administrators=True),
        Entry("/audit", "Audit", "clipboard-list", for_administrators=True, has_range=True),
    )),
)  # fmt: skip


def paths_of(request: Request) -> frozenset[str]:
    """The paths of the pages that there are, as `site.mount` found them."""
    paths: frozenset[str] = request.app.state.pages
    return paths


def navigation(
    request: Request, signed_in: SignedIn | None
) -> Sequence[tuple[str, Sequence[Link]]]:
    """The rail for this visitor, the entry of the page marked; empty for whoever is not signed in."""
    if signed_in is None:
        return ()
    paths, path = paths_of(request), request.scope["path"]
    given = request.query_params
    query = urlencode({name: given[name] for name in RANGE_PARAMETERS if given.get(name)})
    ranged = f"?{query}" if query else ""
    shown = []
    for group in RAIL:
        links = [
            Link(
                entry.path + (ranged if entry.has_range else ""),
                entry.label,
                entry.icon,
                _is_current(entry.path, path),
            )
            for entry in group.entries
            if entry.path in paths and (signed_in.is_administrator or not entry.for_administrators)
        ]
        if links:
            shown.append((group.label, links))
    return shown


def _is_current(entry: str, path: str) -> bool:
    return path == entry or (entry != "/" and path.startswith(f"{entry}/"))
