"""All pages: one router for each group of them. A page that is not listed here does not exist."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Literal

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from aieye.ui import (
    account,
    audit,
    auth,
    cache,
    call,
    calls,
    components,
    deleting,
    home,
    invitation,
    onboarding,
    preset_documents,
    preset_form,
    presets,
    prompt_form,
    prompts,
    provider_keys,
    providers,
    route_form,
    routes,
    search,
    settings,
    sharing,
    static,
    token_form,
    tokens,
    user_form,
    users,
)
from aieye.ui.pages import PageRoute
from aieye.ui.session import anyone, require_administrator, require_user

MODULES = (
    auth,
    home,
    search,
    audit,
    cache,
    settings,
    account,
    components,
    onboarding,
    calls,
    call,
    token_form,
    tokens,
    provider_keys,
    providers,
    route_form,
    routes,
    user_form,
    users,
    invitation,
    preset_form,
    preset_documents,
    presets,
    prompt_form,
    prompts,
    sharing,
    deleting,
)


def mount(app: FastAPI) -> None:
    """Add the pages and their files. Raises `RuntimeError` for a page that does not say who may see it."""
    pages = tuple(find_pages())
    undecided = [f"{page.method} {page.path}" for page in pages if page.access is None]
    if undecided:
        raise RuntimeError(f"These pages do not say who may see them: {', '.join(undecided)}")
    for module in MODULES:
        # As they are: to include a router is to build each of its routes once more.
        app.router.routes.extend(module.router.routes)
    static.mount(app)
    app.state.pages = frozenset(page.path for page in pages)


@dataclass(frozen=True, slots=True)
class Page:
    """A way to a page, and who may take it; `access` is None where it does not say."""

    method: str
    path: str
    access: Literal["anyone", "user", "administrator"] | None


def find_pages() -> Iterator[Page]:
    """All pages, with who may see each, read from their own dependencies."""
    for module in MODULES:
        for route in iter_route_contexts(module.router.routes):
            for method in sorted(route.methods or {"ANY"}):
                # Any other class of route would go past the check against other sites.
                is_page = isinstance(route.original_route, PageRoute)
                access = _access(_calls(getattr(route, "dependant", None))) if is_page else None
                yield Page(method, route.path or "", access)


def _access(calls: Set[object]) -> Literal["anyone", "user", "administrator"] | None:
    if require_administrator in calls:
        return "administrator"
    if require_user in calls:
        return "user"
    return "anyone" if anyone in calls else None


def _calls(dependant: Dependant | None) -> set[object]:
    """All functions that a route depends on."""
    if dependant is None:
        return set()
    found: set[object] = {dependant.call}
    for part in dependant.dependencies:
        found |= _calls(part)
    return found
