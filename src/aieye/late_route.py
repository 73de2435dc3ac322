"""Routes that are built when they are first asked, and who may call them, which is known before.

What FastAPI makes of a handler (its parameters, models, validators) takes milliseconds a route: half of
the start, and a quarter of the memory, of a server most of whose routes nobody asks in its life.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Annotated, Any, TypeAlias, get_args, get_origin

from fastapi.params import Depends
from fastapi.routing import APIRoute, RouteContext
from starlette.routing import BaseRoute, compile_path, get_name

Called: TypeAlias = Callable[..., Any]

# A document of all routes is made in a thread. One lock for all: a route is built once in its life.
_BUILDING = threading.RLock()


class LateRoute(APIRoute):
    """FastAPI's, which knows its path and methods at once and all else when it is first asked for it."""

    def __init__(self, path: str, endpoint: Called, **others: Any) -> None:
        self.path = path
        self.endpoint = endpoint
        self.name = others.get("name") or get_name(endpoint)
        self.methods = {method.upper() for method in others.get("methods") or ["GET"]}
        self.dependencies = list(others.get("dependencies") or ())
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        self._others: dict[str, Any] = others

    def __getattr__(self, name: str) -> Any:
        """What is not there yet: all of it is from now on."""
        with _BUILDING:
            others = self.__dict__.pop("_others", None)
            if others is not None:
                super().__init__(self.path, self.endpoint, **others)
        # Another thread may have built it meanwhile; what is still not there raises `AttributeError`.
        return object.__getattribute__(self, name)


def called_by(route: BaseRoute | RouteContext) -> set[Called]:
    """The handler of a route and all functions that it depends on, found without building it."""
    dependencies: Sequence[Depends] = getattr(route, "dependencies", ())
    waiting = [getattr(route, "endpoint", None), *(one.dependency for one in dependencies)]
    found: set[Called] = set()
    while waiting:
        call = waiting.pop()
        if call is not None and call not in found:
            found.add(call)
            waiting += _dependencies(call)
    return found


@cache
def _dependencies(call: Called) -> tuple[Called, ...]:
    parameters = inspect.signature(call, eval_str=True).parameters.values()
    return tuple(depends for parameter in parameters for depends in _depends(parameter))


def _depends(parameter: inspect.Parameter) -> Iterator[Called]:
    annotated = (
        get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else ()
    )
    for said in (parameter.default, *annotated):
        if isinstance(said, Depends):
            # `Depends()` alone is on the type.
            call = said.dependency or (annotated[0] if annotated else parameter.annotation)
            yield call
