"""What a name may stand for: the callables that a pipeline is checked against.

A catalogue is a mapping from names to definitions: what the pipeline's owner may use, however it is
stored. The four reserved callees are in none; they are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from aieye.pipeline.language.nodes import Type
from aieye.pipeline.language.values import Json

Kind = Literal["function", "prompt", "preset", "pipeline", "form"]
"""`form`: one of the reserved callees."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument that a callable takes. Without a type it receives any value unchanged."""

    name: str
    type: Type | None = None
    is_required: bool = True
    default: Json = None


@dataclass(frozen=True, slots=True)
class Definition:
    """A callable. A prompt's parameters are its variables in order of first appearance.

    `id` is whatever finds it again. `calls` are the pipelines that a pipeline calls, by name.
    """

    name: str
    kind: Kind
    parameters: tuple[Parameter, ...] = ()
    id: int | str | None = None
    calls: tuple[str, ...] = ()
    by_name: Mapping[str, Parameter] = field(init=False, repr=False, compare=False)
    required: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {parameter.name: parameter for parameter in self.parameters}
        required = frozenset(p.name for p in self.parameters if p.is_required)
        object.__setattr__(self, "by_name", by_name)
        object.__setattr__(self, "required", required)


Catalogue: TypeAlias = Mapping[str, Definition]

_ANY: Final = Type("any")
_FORMS: Final = (
    Definition(
        "if",
        "form",
        (Parameter("condition", Type("bool")), Parameter("then"), Parameter("otherwise")),
    ),
    Definition("try", "form", (Parameter("value"), Parameter("fallback"))),
    Definition("map", "form", (Parameter("f"), Parameter("list", Type("list", (_ANY,))))),
    Definition(
        "reduce",
        "form",
        (Parameter("f"), Parameter("list", Type("list", (_ANY,))), Parameter("initial")),
    ),
)
FORMS: Final[Catalogue] = {form.name: form for form in _FORMS}

UNREGISTRABLE: Final = frozenset({*FORMS, "true", "false", "null"})
"""Names that nothing can be registered or saved under."""
