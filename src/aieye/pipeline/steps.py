"""The steps of a plan. A step names its operands, which are earlier steps, by their index.

Only a `CallStep` calls anything. `Choose` and `Try` are lazy: what stands in a branch starts when
the branch is taken. `Apply` and `Scope` have a plan of their own, which runs once an item or attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aieye.pipeline.language.analysis import Analysis
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.errors import Diagnostic, Fault
from aieye.pipeline.language.nodes import Field, Index, Pipeline, Type
from aieye.pipeline.language.source import Source
from aieye.pipeline.language.values import Json

CacheMode = Literal["use", "refresh", "off", "only"]


@dataclass(frozen=True, slots=True)
class Callee:
    """What a function, prompt or preset is to the evaluator. `target` is the step runner's own.

    `is_inline`: called without a task, for it never waits. `is_memoised`: identical calls of a run
    are one (model calls and cacheable functions). `is_ordered`: such calls keep the order of the text
    among themselves (functions of custom files that are not cacheable). `timeout` is in seconds; None
    leaves it to the run. `keeps_time`: the step runner does, since a call may have to wait first.
    `waits_if_large`: an inline callee that with large arguments is called in a task all the same.
    """

    definition: Definition
    target: object = None
    is_inline: bool = False
    is_memoised: bool = False
    is_ordered: bool = False
    timeout: float | None = None
    keeps_time: bool = False
    waits_if_large: bool = False

    @property
    def is_model(self) -> bool:
        return self.definition.kind in {"prompt", "preset"}


@dataclass(frozen=True, slots=True)
class Body:
    """What a pipeline that is called consists of."""

    pipeline: Pipeline
    analysis: Analysis


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: `start` up to `end` in a text.

    In a pipeline that another one calls, `within` is its name and `caller` the call in the text that
    was asked for, which is where people are shown what went wrong.
    """

    source: Source
    start: int
    end: int
    within: str | None = None
    caller: Place | None = None

    def diagnostic(self, code: str, message: str, hint: str | None = None) -> Diagnostic:
        """The finding, placed in the text that was asked for."""
        if self.caller is None:
            return Diagnostic.at(Fault(code, message, self.start, self.end, hint), self.source)
        line, column = self.source.locate(self.start)
        inner = f"in '{self.within}' at {line}:{column}: {message}"
        caller = self.caller
        return Diagnostic.at(Fault(code, inner, caller.start, caller.end, hint), caller.source)


@dataclass(frozen=True, slots=True)
class Edge:
    """A value on its way into a parameter, and what it has to become there; None takes anything."""

    parameter: str
    operand: int
    type: Type | None
    place: Place


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a call says of itself, or the call of the pipeline around it; None says nothing."""

    timeout: float | None = None
    retries: int = 0
    cache: CacheMode | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """An argument of the plan."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that the text holds."""

    value: Json


@dataclass(frozen=True, slots=True)
class Convert:
    """An argument of a pipeline that another one calls, at a typed param."""

    edge: Edge


@dataclass(frozen=True, slots=True)
class Select:
    """What a chain of selectors reads; `place` starts where the whole access does."""

    base: int
    selectors: tuple[Field | Index, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class MakeList:
    """A list of values."""

    items: tuple[int, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class MakeMap:
    """A mapping; the i-th key has the i-th value."""

    keys: tuple[str, ...]
    values: tuple[int, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class CallStep:
    """The call of a function, prompt or preset. Its edges are in the order of the parameters.

    `path` names it uniquely in its plan: the pipelines around it, its own name, and a number where
    the name occurs again, as in `triage/upper#2`.
    """

    callee: Callee
    edges: tuple[Edge, ...]
    options: CallOptions
    place: Place
    path: str

    @property
    def name(self) -> str:
        return self.callee.definition.name


@dataclass(frozen=True, slots=True)
class Choose:
    """`if`: the branches are operands that may never be asked for."""

    condition: Edge
    then: int
    otherwise: int


@dataclass(frozen=True, slots=True)
class Try:
    """`try`: the fallback is asked for when the value failed."""

    value: int
    fallback: int


@dataclass(frozen=True, slots=True)
class Block:
    """A pipeline that another one calls. All its arguments are evaluated, whether it uses them or not.

    `order` is what has its turn one after the other among what keeps the order of the text:
    arguments, then the lets that are needed in any case, then the result.
    """

    arguments: tuple[int, ...]
    result: int
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Apply:
    """`map` and, with an `initial` value, `reduce`. The body's arguments: item or both, then extras."""

    body: Plan
    items: Edge
    initial: int | None
    extras: tuple[int, ...]
    place: Place
    path: str

    @property
    def name(self) -> str:
        return "map" if self.initial is None else "reduce"


@dataclass(frozen=True, slots=True)
class Scope:
    """A pipeline that is called with a time of its own or attempts of its own."""

    name: str
    body: Plan
    arguments: tuple[int, ...]
    timeout: float | None
    retries: int
    place: Place
    path: str


Step: TypeAlias = (
    Given
    | Constant
    | Convert
    | Select
    | MakeList
    | MakeMap
    | CallStep
    | Choose
    | Try
    | Block
    | Apply
    | Scope
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in post-order, the arguments first; nothing in it changes, so that many runs share it.

    `parameters` are what it asks for, `param_places` where the params stand. By the index of a step:
    `operands` are the steps that it may ask for, `first` those that it asks for at once, `parents`
    the steps that may ask for it, and `has_order` whether a call in it keeps the order of the text.
    `order` is what has its turn, as in a `Block`. `finals` are the calls whose value is the plan's.
    `is_ordered`: whether any call in it keeps the order of the text.
    `constants` are the values that are known, by step, with their sizes in bytes.
    """

    steps: tuple[Step, ...]
    result: int
    order: tuple[int, ...]
    parameters: tuple[Parameter, ...]
    param_places: Mapping[str, Place]
    operands: tuple[tuple[int, ...], ...]
    first: tuple[tuple[int, ...], ...]
    parents: tuple[tuple[int, ...], ...]
    has_order: tuple[bool, ...]
    finals: frozenset[int]
    is_ordered: bool
    constants: tuple[tuple[int, Json, int], ...]

    @property
    def calls(self) -> tuple[CallStep, ...]:
        """All calls of the plan, then those of the bodies in it."""
        found: list[CallStep] = []
        plans: list[Plan] = [self]
        while plans:
            plan = plans.pop()
            for step in plan.steps:
                if isinstance(step, CallStep):
                    found.append(step)
                elif isinstance(step, Apply | Scope):
                    plans.append(step.body)
        return tuple(found)
