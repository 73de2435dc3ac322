"""What a file of functions holds, as plain immutable data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal, TypeAlias

from aieye.functions.authoring import Context
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_type
from aieye.pipeline.language.values import Json

Runs = Literal["inline", "thread", "process", "loop"]
"""On the server's loop, in a thread of the server, in a worker process, or awaited on the loop."""

Invoke: TypeAlias = Callable[[dict[str, Json], Context | None], Any]
"""Calls what the file defines with arguments by name."""


@dataclass(frozen=True)
class Source:
    """A file as it was read once. What runs is this text, whatever the file says by then."""

    name: str
    path: str
    content: bytes = field(repr=False)
    is_builtin: bool

    @cached_property
    def hash(self) -> str:
        """What tells this text from any other, and the built-in from a file of the same text."""
        return sha256(bytes([self.is_builtin]) + self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Failure:
    """What of a file cannot be used: all of it, or the function that `line` points to."""

    file: str
    line: int | None
    reason: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function that pipelines may call; before it is registered its id is 0.

    `timeout` are the seconds that its author gives it. `digest` tells its own text from any other,
    `source` is the file that it came from, and `invoke` calls it where this process may do so.
    """

    id: int
    name: str
    parameters: tuple[Parameter, ...]
    returns: Type | None
    doc: str
    file: str
    line: int
    source_hash: str
    digest: str
    runs: Runs
    timeout: float | None
    cacheable: bool
    is_builtin: bool
    takes_context: bool
    source: Source = field(repr=False, compare=False)
    invoke: Invoke | None = field(default=None, repr=False, compare=False)

    @property
    def definition(self) -> Definition:
        """What the pipeline language checks calls against."""
        return Definition(self.name, "function", self.parameters, id=self.id)


def describe(function: Function) -> dict[str, Any]:
    """The function as JSON: what is stored, and what a worker process answers."""
    return {
        "name": function.name,
        "parameters": [describe_parameter(parameter) for parameter in function.parameters],
        "returns": None if function.returns is None else format_type(function.returns),
        "doc": function.doc,
        "line": function.line,
        "digest": function.digest,
        "runs": function.runs,
        "timeout": function.timeout,
        "cacheable": function.cacheable,
        "takes_context": function.takes_context,
    }


def describe_parameter(parameter: Parameter) -> dict[str, Any]:
    """A parameter as JSON."""
    return {
        "name": parameter.name,
        "type": None if parameter.type is None else format_type(parameter.type),
        "required": parameter.is_required,
        "default": parameter.default,
    }


def read_parameters(described: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of what `describe` wrote."""
    return tuple(
        Parameter(one["name"], _read_type(one["type"]), one["required"], one["default"])
        for one in described["parameters"]
    )


def read_description(described: Mapping[str, Any], source: Source, id_: int = 0) -> Function:
    """What `describe` wrote, of a function in `source`."""
    return Function(
        id=id_,
        name=described["name"],
        parameters=read_parameters(described),
        returns=_read_type(described["returns"]),
        doc=described["doc"],
        file=source.name,
        line=described["line"],
        source_hash=source.hash,
        digest=described["digest"],
        runs=described["runs"],
        timeout=described["timeout"],
        cacheable=described["cacheable"],
        is_builtin=source.is_builtin,
        takes_context=described["takes_context"],
        source=source,
    )


def _read_type(text: str | None) -> Type | None:
    return None if text is None else parse(f"param x: {text}; x").params[0].type
