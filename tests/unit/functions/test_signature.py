"""What a function's signature says to a pipeline, and which functions none could call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NewType, TypedDict

import pytest
from pydantic import BaseModel

from aieye.functions import Context, infer
from aieye.functions.building import WrongValue
from aieye.functions.signature import Unfit, read_signature
from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.language.printer import format_type

UserId = NewType("UserId", int)


@dataclass
class Person:
    name: str
    age: int = 0


class Row(TypedDict):
    name: str


def test_a_plain_function_needs_no_annotation() -> None:
    def foo(bar, fred):  # type: ignore[no-untyped-def] # as people write them
        return f"{bar} and {fred}"

    assert read_signature(foo).parameters == (Parameter("bar"), Parameter("fred"))


def test_annotations_and_defaults_make_the_parameters() -> None:
    def f(s: str, n: int = 3, *, ratio: float = 0.5, tags: list[str] | None = None) -> bool:
        return True

    signature = read_signature(f)
    assert signature.parameters == (
        Parameter("s", Type("str")),
        Parameter("n", Type("int"), is_required=False, default=3),
        Parameter("ratio", Type("float"), is_required=False, default=0.5),
        Parameter("tags", Type("list", (Type("str"),), is_nullable=True), is_required=False),
    )
    assert signature.returns == Type("bool")


@pytest.mark.parametrize(
    "annotation, written",
    [
        (str, "str"),
        (bool, "bool"),
        (Any, "any"),
        (object, "any"),
        (list, "list"),
        (dict[str, int], "dict[str, int]"),
        (Mapping[str, list[float]], "dict[str, list[float]]"),
        (Sequence[int | None], "list[int?]"),
        (str | None, "str?"),
        (int | str, "any"),
        (Literal["a", "b"], "str"),
        (Annotated[int, "a note"], "int"),
        (UserId, "int"),
        (Row, "dict"),
        (Person, "Person"),
        (Person | None, "Person?"),
    ],
)
def test_an_annotation_becomes_a_type(annotation: Any, written: str) -> None:
    def f(x: Any) -> None: ...

    f.__annotations__["x"] = annotation
    (parameter,) = read_signature(f).parameters
    assert parameter.type is not None
    assert format_type(parameter.type) == written


def test_a_default_of_null_admits_null() -> None:
    def f(x: str = None) -> None: ...  # type: ignore[assignment] # noqa: RUF013 - as people write it

    (parameter,) = read_signature(f).parameters
    assert parameter.type == Type("str", is_nullable=True)


def test_what_infer_wraps_keeps_its_signature() -> None:
    @infer
    def add(a: Any, b: int = 1) -> Any: ...

    assert [one.name for one in read_signature(add).parameters] == ["a", "b"]


def test_positional_only_parameters_are_bound_by_name_and_passed_by_position() -> None:
    def f(a: int, b: int = 2, /, c: int = 3) -> None: ...

    signature = read_signature(f)
    assert [one.name for one in signature.parameters] == ["a", "b", "c"]
    assert signature.positional == ("a", "b")


def test_an_async_function_may_take_a_context() -> None:
    async def annotated(s: str, run: Context) -> None: ...
    async def optional(s: str, run: Context | None = None) -> None: ...
    async def named(s, context):  # type: ignore[no-untyped-def] # as people write them
        return s

    for function, name in ((annotated, "run"), (optional, "run"), (named, "context")):
        signature = read_signature(function)
        assert signature.context == name
        assert [one.name for one in signature.parameters] == ["s"]


def test_a_plain_functions_parameter_that_is_called_context_is_like_any_other() -> None:
    def f(context):  # type: ignore[no-untyped-def] # as people write them
        return context

    assert read_signature(f).parameters == (Parameter("context"),)


def _stars(*values: int) -> None: ...
def _double_stars(**values: int) -> None: ...
def _wants_context(context: Context) -> None: ...
async def _two_contexts(a: Context, b: Context) -> None: ...
def _unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821 - that is the case
def _date(x: datetime) -> None: ...
def _bytes(x: bytes) -> None: ...
def _int_keys(x: dict[int, str]) -> None: ...
def _default(x: Any = object()) -> None: ...  # noqa: B008
def _huge(x: int = 2**70) -> None: ...
def _cyrillic(имя: str) -> None: ...  # noqa: PLC2401 - that is the case


@pytest.mark.parametrize(
    "function, reason",
    [
        (_stars, "it takes *values"),
        (_double_stars, "it takes **values"),
        (_wants_context, "only an async function takes a context"),
        (_two_contexts, "two contexts"),
        (_unknown, "name 'Nowhere' is not defined"),
        (_date, "the annotation of 'x' is nothing that JSON has: datetime"),
        (_bytes, "bytes"),
        (_int_keys, "the keys of a mapping are str"),
        (_default, "the default of 'x' is not JSON"),
        (_huge, "64 bits"),
        (_cyrillic, "is no name of the pipeline language"),
    ],
)
def test_a_function_that_no_pipeline_could_call_is_refused_with_the_reason(
    function: Callable[..., Any], reason: str
) -> None:
    with pytest.raises(Unfit) as refused:
        read_signature(function)
    assert reason in str(refused.value)


@dataclass
class Team:
    lead: Person
    when: datetime | None = None
    tags: list[str] | None = None

    def __post_init__(self) -> None:
        if self.lead.age < 0:
            raise ValueError("too young")


def test_a_dataclass_is_made_of_the_mapping_that_arrives() -> None:
    def f(team: Team | None) -> None: ...

    ((_, build),) = read_signature(f).builds
    # What JSON does not have is left to the class.
    value = {"lead": {"name": "Ada"}, "when": "2026-01-01", "tags": ["a"]}
    assert build(value) == Team(Person("Ada"), "2026-01-01", ["a"])  # type: ignore[arg-type] # as it arrives
    assert build(None) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"lead": {"name": "A", "age": "5"}}, 'lead: age should be int, not "5"'),
        (
            {"lead": {"name": "A", "agee": 5}},
            "lead: \"agee\" is no field of Person; did you mean 'age'?",
        ),
        ({"lead": {"name": "A"}, "tags": [1]}, "tags should be list[str]?, not [1]"),
        ({"lead": {"name": "A", "age": -1}}, "too young"),
        ({"lead": None}, "lead: it should be a mapping, not null"),
        ({}, "the field 'lead' is missing"),
        ([1], "it should be a mapping, not [1]"),
    ],
)
def test_a_field_that_does_not_fit_is_named(value: Any, reason: str) -> None:
    def f(team: Team) -> None: ...

    ((_, build),) = read_signature(f).builds
    with pytest.raises(WrongValue) as refused:
        build(value)
    assert str(refused.value) == reason


def test_what_a_model_finds_is_told_in_a_line() -> None:
    class Model(BaseModel):
        count: int

    def f(model: Any) -> None: ...

    f.__annotations__["model"] = Model
    ((_, build),) = read_signature(f).builds
    assert build({"count": "7"}) == Model(count=7)
    with pytest.raises(WrongValue, match=r"^count: Input should be a valid integer[^\n]*$"):
        build({"count": "x"})
