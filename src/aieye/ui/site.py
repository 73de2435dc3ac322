"""All pages: one router for each group of them. A page that is not listed here does not exist."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from aieye.ui import account, auth, components, home, static
from aieye.ui.session import anyone, require_user

MODULES = (
    auth,
    home,
    account,
    components,
)


def mount(app: FastAPI) -> None:
    """Add the pages and their files. Raises `RuntimeError` for a page that does not say who may see it."""
    for module in MODULES:
        # As they are: to include a router is to build each of its routes once more.
        app.router.routes.extend(module.router.routes)
    static.mount(app)
    assert_every_page_has_a_policy()


def assert_every_page_has_a_policy() -> None:
    """Refuse to start while a page does not say whether it needs somebody signed in."""
    undecided = [
        f"{method} {route.path}"
        for module in MODULES
        for route in iter_route_contexts(module.router.routes)
        for method in sorted(route.methods or {"ANY"})
        if not _decides(getattr(route, "dependant", None))
    ]
    if undecided:
        raise RuntimeError(f"These pages do not say who may see them: {', '.join(undecided)}")


def _decides(dependant: Dependant | None) -> bool:
    return dependant is not None and any(
        part.call in {anyone, require_user} or _decides(part) for part in dependant.dependencies
    )
