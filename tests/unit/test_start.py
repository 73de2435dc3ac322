"""What a server loads and builds before its first call: every process pays for it, in memory too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from starlette.routing import Mount, Route

from aieye.api import admin
from aieye.app import create_app
from aieye.late_route import LateRoute, called_by
from aieye.settings import Settings

# What the application and what it stands on need for any call. Everything else is loaded by what
# uses it, when it is used first: who adds to this list adds to every start and every process.
NEEDED = {
    *("aieye", "fastapi", "starlette", "anyio", "sniffio", "opentelemetry", "annotated_doc"),
    *("pydantic", "pydantic_core", "pydantic_settings", "annotated_types", "dotenv"),
    *("typing_extensions", "typing_inspection", "python_multipart"),
    *("sqlalchemy", "greenlet", "cython_runtime", "cryptography", "structlog", "markupsafe"),
    *("orjson", "uuid_utils", "httptools", "aiohappyeyeballs"),
}
# Of the standard library, and of packages that are needed: what costs a megabyte and is for others.
FOR_OTHERS = {"urllib.request", "multiprocessing", "unittest", "sqlalchemy.dialects.postgresql"}


def _loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_application_loads_nothing_that_a_call_does_not_need() -> None:
    loaded = _loaded_by("import aieye.app")
    packages = {name.partition(".")[0] for name in loaded if not name.startswith("_")}
    assert packages - sys.stdlib_module_names <= NEEDED
    assert loaded & FOR_OTHERS == set()
    assert not {name for name in loaded if name.startswith(("aieye.cli", "aieye.demo"))}


def test_the_command_line_of_a_server_loads_little_besides() -> None:
    loaded = _loaded_by("import aieye.cli")
    packages = {name.partition(".")[0] for name in loaded if not name.startswith("_")}
    known = {"aieye", "typer", "shellingham", "annotated_doc", "dotenv", "typing_extensions"}
    assert packages - sys.stdlib_module_names <= known
    assert loaded & FOR_OTHERS == set()


def test_no_route_is_built_twice() -> None:
    """As FastAPI builds those of a router that is included."""
    app = create_app(Settings()).fastapi
    assert [route for route in app.routes if not isinstance(route, Route | Mount)] == []


def test_every_resource_of_the_administrators_api_lies_below_it() -> None:
    """Where alone each route has to say who may call it; `resource_router` sees to that."""
    paths = [route.path for route in admin.router.routes if isinstance(route, Route)]
    assert len(paths) == len(admin.router.routes)
    assert [path for path in paths if not path.startswith("/api/v1/")] == []


def _flat(dependant: Dependant) -> set[object]:
    found: set[object] = {dependant.call}
    return found.union(*map(_flat, dependant.dependencies))


def test_no_route_of_the_api_or_the_pages_is_built_before_anybody_asks_it() -> None:
    done = subprocess.run([sys.executable, "-c", _LATE], capture_output=True, text=True, check=True)
    late, built = map(int, done.stdout.split())
    assert late > 150
    assert built == 0


_LATE = """
from aieye.app import create_app
from aieye.late_route import LateRoute
from aieye.settings import Settings
late = [route for route in create_app(Settings()).fastapi.routes if isinstance(route, LateRoute)]
print(len(late), sum("dependant" in vars(route) for route in late))
"""


def test_who_may_call_a_route_is_what_it_depends_on_when_it_is_built() -> None:
    routes = [r for r in create_app(Settings()).fastapi.routes if isinstance(r, LateRoute)]
    for route in routes:
        known = called_by(route)
        assert known == _flat(route.dependant), route.path


def test_a_route_is_built_once_also_when_threads_ask_it_at_once() -> None:
    made: list[str] = []

    class Noted(LateRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            made.append(self.path)
            return super().get_route_handler()

    async def endpoint() -> None:
        return None

    route = Noted("/a/{b}", endpoint)
    assert made == []
    with ThreadPoolExecutor(8) as threads:
        apps = set(threads.map(lambda _: route.app, range(64)))
    assert made == ["/a/{b}"]
    assert len(apps) == 1
    assert not hasattr(route, "nothing")
