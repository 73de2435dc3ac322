"""What the authors of functions are given: two decorators and the context of a run.

Imported in every worker process: nothing heavy stands here.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Protocol, TypeVar, cast, overload

from aieye.pipeline.language.values import Unconvertible, read_json

CallableT = TypeVar("CallableT", bound=Callable[..., Any])

_OPTIONS: Final = "__aieye_options__"
# Of 64 bits it would have been read already, and as a float it would be another number.
_LONG_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]{19,}\s*")


class Context(Protocol):
    """What an async function may do in the run that it belongs to.

    Everything goes through the gateway with the rights and the key of whoever started the run, and
    is booked there. A failure is an exception, which fails the step unless it is caught.
    """

    @property
    def run_id(self) -> str:
        """Which run it is."""

    async def prompt(self, name: str, /, **values: object) -> str:
        """The model's answer to a prompt with these values of its variables."""

    async def complete(
        self,
        request: str | Sequence[Mapping[str, Any]],
        /,
        *,
        model: str | None = None,
        **params: object,
    ) -> str:
        """The model's answer to a text or to messages; `params` go into the request."""

    async def prompts(self) -> Mapping[str, str]:
        """The names of the prompts that the run may use, each with its description."""

    async def prompt_body(self, name: str, /) -> str:
        """The text of a prompt, its variables not filled in."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a function is to run. `isolate` None leaves that to the kind of its file."""

    inline: bool = False
    isolate: bool | None = None
    timeout: float | None = None
    cacheable: bool = False


@overload
def function(implementation: CallableT, /) -> CallableT: ...
@overload
def function(
    *,
    inline: bool = ...,
    isolate: bool | None = ...,
    timeout: float | None = ...,
    cacheable: bool = ...,
) -> Callable[[CallableT], CallableT]: ...
def function(
    implementation: CallableT | None = None,
    /,
    *,
    inline: bool = False,
    isolate: bool | None = None,
    timeout: float | None = None,
    cacheable: bool = False,
) -> CallableT | Callable[[CallableT], CallableT]:
    """Say how a function runs: `@function(timeout=5)`.

    `inline`: on the server's loop, for what takes microseconds. `isolate=False`: in a thread of the
    server, `isolate=True`: in a worker process. `timeout`: seconds that a call may take at most.
    `cacheable`: equal arguments always give an equal result. Raises `TypeError`, `ValueError`.
    """
    if inline and isolate is not None:
        raise TypeError("inline and isolate exclude each other")
    if timeout is not None and not 0 < timeout < float("inf"):
        raise ValueError("timeout should be a number of seconds over 0")
    options = Options(inline, isolate, timeout, cacheable)

    def marked(target: CallableT) -> CallableT:
        setattr(target, _OPTIONS, options)
        return target

    return marked if implementation is None else marked(implementation)


def options_of(implementation: Callable[..., Any]) -> Options:
    """What `function` said of it, by default nothing."""
    found = getattr(implementation, _OPTIONS, None)
    return found if isinstance(found, Options) else Options()


def infer(implementation: CallableT) -> CallableT:
    """Read arguments that are texts into the values that they look like: `"[1, 2]"` into a list.

    JSON first, then a number that JSON would not write (`.5`), else it stays the text it is. What
    is no text is passed on as it is.
    """
    if inspect.iscoroutinefunction(implementation):

        @functools.wraps(implementation)
        async def inferring_async(*args: Any, **kwargs: Any) -> Any:
            return await implementation(*map(_read, args), **_read_each(kwargs))

        return cast("CallableT", inferring_async)

    @functools.wraps(implementation)
    def inferring(*args: Any, **kwargs: Any) -> Any:
        return implementation(*map(_read, args), **_read_each(kwargs))

    return cast("CallableT", inferring)


def _read_each(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _read(value) for name, value in values.items()}


def _read(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read_json(value)
    except Unconvertible:
        pass
    if _LONG_INTEGER.fullmatch(value):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    # "nan" and "infinity" are words here: no value is either.
    return number if isfinite(number) else value
