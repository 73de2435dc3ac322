"""All pages: one router for each group of them. A page that is not listed here does not exist."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Literal

from fastapi import FastAPI

from aieye.late_route import Called, called_by
from aieye.ui import (
    account,
    audit,
    auth,
    cache,
    call,
    calls,
    components,
    deleting,
    executions,
    functions,
    home,
    invitation,
    onboarding,
    pipeline_editor,
    pipeline_form,
    pipeline_run,
    pipelines,
    playground,
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
    playground,
    preset_form,
    preset_documents,
    presets,
    prompt_form,
    prompts,
    functions,
    pipeline_editor,
    pipeline_form,
    pipeline_run,
    executions,
    pipelines,
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
    """All pages, with who may see each, read from their own dependencies. HEAD goes with each GET."""
    for module in MODULES:
        for route in module.router.routes:
            path, methods = getattr(route, "path", ""), getattr(route, "methods", None)
            for method in sorted(set(methods or {"ANY"}) - {"HEAD"}):
                # Any other class of route would go past the check against other sites.
                access = _access(called_by(route)) if isinstance(route, PageRoute) else None
                yield Page(method, path, access)


def _access(calls: Set[Called]) -> Literal["anyone", "user", "administrator"] | None:
    if require_administrator in calls:
        return "administrator"
    if require_user in calls:
        return "user"
    return "anyone" if anyone in calls else None
