"""The value of a pipeline does not depend on the order in which its calls end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aieye.pipeline import evaluator
from aieye.pipeline.evaluator import evaluate
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.nodes import Access, Call, Expr, Keyword, List, Map, Name
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.values import (
    Json,
    NoSuchItem,
    Unconvertible,
    convert,
    select,
)
from aieye.pipeline.options import RunOptions
from aieye.pipeline.step_runner import StepFailed
from aieye.pipeline.steps import Body, CallStep
from tests.unit.pipeline.runs import Definitions, Steps

PIPELINES = {
    "swap": "param a; param b; let c = slow(a); [b, c]",
    "safe": "try(bar(other(s)), 'safe')",
    "each": "param x: str; map(two, ['1', '2'], y=x)",
    "order": "param x; let a = first(x); let b = second(x); [if(positive(length(x)), b, a), a]",
}
DEFINITIONS = Definitions(pipelines=PIPELINES)


# Calls that are made once each whatever the values are, and what leaves some out or repeats them.
EAGER = (
    *("slow({})", "other({})", "model({})", "same({})", "bar({})", "fail({})"),
    *("first({})", "second({})", "last({})", "both({}, {})", "pick({}, {}).a"),
    *("[{}, {}]", "{{k: {}}}", "two(x={}, y={})", "upper({})", "length({})"),
    *("swap({}, {})", "swap({}, {})[0]", "slow({}) @(retries=1)"),
)
LAZY = (
    *("if(positive(length({})), {}, {})", "if({}, {}, {})", "try({}, {})"),
    *("map(slow, [{}, {}])", "map(first, [{}, {}])", "map(safe, [{}, {}])"),
    *("reduce(join, [{}, {}], {})", "reduce(swap, [{}, {}], {})", "map(each, {})"),
    *("safe({})", "each({})", "order({})"),
    *("safe({}) @(retries=1)", "order({}) @(timeout=100)"),
)


@st.composite
def expressions(
    draw: st.DrawFn, names: tuple[str, ...], depth: int = 3, forms: Sequence[str] = EAGER + LAZY
) -> str:
    def inner() -> str:
        return draw(expressions(names, depth - 1, forms))

    if depth == 0 or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(["1", "'a'", "true", "'-3'", "[1, 2]", "x", *names]))
    form = draw(st.sampled_from(forms))
    return form.format(*(inner() for _ in range(form.count("{}"))))


@st.composite
def pipelines(draw: st.DrawFn, forms: Sequence[str] = EAGER + LAZY) -> str:
    names: tuple[str, ...] = ()
    lets = ""
    for number in range(draw(st.integers(0, 4))):
        lets += f"let v{number} = {draw(expressions(names, 2, forms))};"
        names = (*names, f"v{number}")
    return lets + draw(expressions(names, forms=forms))


class _Failed(Exception):
    """A plain evaluation has no value."""


class _Plain:
    """One call after the other, by recursion: what a reader of the rules would write down."""

    def __init__(self, body: Body, arguments: dict[str, Json]) -> None:
        self.body = body
        self.scope: dict[str, Callable[[], Json]] = {}
        for parameter in body.analysis.arguments:
            self.scope[parameter.name] = partial(
                _converted, arguments[parameter.name], parameter.type
            )
        for let in body.pipeline.lets:
            self.scope[let.name] = self._once(let.value)

    def _once(self, node: Expr) -> Callable[[], Json]:
        found: list[tuple[bool, Json]] = []

        def value() -> Json:
            if not found:
                try:
                    found.append((True, self.value(node)))
                except _Failed:
                    found.append((False, None))
            if not found[0][0]:
                raise _Failed
            return found[0][1]

        return value

    def result(self) -> Json:
        for name in [parameter.name for parameter in self.body.analysis.arguments]:
            self.scope[name]()
        return self.value(self.body.pipeline.result)

    def value(self, node: Expr) -> Json:
        match node:
            case Name():
                return self.scope[node.name]()
            case List():
                return [self.value(item) for item in node.items]
            case Map():
                return {entry.key: self.value(entry.value) for entry in node.entries}
            case Access():
                try:
                    return select(self.value(node.base), node.selectors)
                except NoSuchItem as error:
                    raise _Failed from error
            case Call():
                return self._call(node)
        return node.value

    def _call(self, node: Call) -> Json:
        binding = self.body.analysis.bindings[node.start]
        values = [a.value if isinstance(a, Keyword) else a for a in node.arguments]
        given = dict(zip(binding.parameters, values, strict=True))
        if node.name == "if":
            is_true = _converted(self.value(given["condition"]), parse_bool())
            return self.value(given["then"] if is_true else given["otherwise"])
        if node.name == "try":
            try:
                return self.value(given["value"])
            except _Failed:
                return self.value(given["fallback"])
        if node.name in {"map", "reduce"}:
            return self._apply(node, given)
        return _called(node.name, {name: self.value(value) for name, value in given.items()})

    def _apply(self, node: Call, given: dict[str, Expr]) -> Json:
        called = given.pop("f")
        evaluated = {name: self.value(value) for name, value in given.items()}
        items = evaluated.pop("list")
        if not isinstance(items, list):
            items = _converted(items, parse_list())
        assert isinstance(called, Name)
        assert isinstance(items, list)
        parameters = self.body.analysis.bindings[called.start].parameters
        if node.name == "map":
            extras = list(evaluated.values())
            return [
                _called(called.name, dict(zip(parameters, [item, *extras], strict=True)))
                for item in items
            ]
        total = evaluated["initial"]
        for item in items:
            total = _called(called.name, dict(zip(parameters, [total, item], strict=True)))
        return total


def parse_bool() -> Any:
    return parse("param x: bool; x").params[0].type


def parse_list() -> Any:
    return parse("param x: list[any]; x").params[0].type


def _converted(value: Json, type_: Any) -> Json:
    try:
        return convert(value, type_)
    except Unconvertible as error:
        raise _Failed from error


def _called(name: str, arguments: dict[str, Json]) -> Json:
    callee = DEFINITIONS.callees[name]
    if isinstance(callee, Body):
        return _Plain(callee, arguments).result()
    by_name = callee.definition.by_name
    converted = {key: _converted(value, by_name[key].type) for key, value in arguments.items()}
    if callee.is_inline:
        try:
            found: Json = DEFINITIONS.functions[name](**converted)
        except StepFailed as error:
            raise _Failed from error
        return found
    if callee.is_model:
        text = DEFINITIONS.prompts[name]
        for key, value in converted.items():
            text = text.replace(f"{{{key}}}", str(value))
        return text
    return converted if len(converted) > 1 else next(iter(converted.values()), None)


def _plainly(text: str) -> tuple[bool, Json]:
    pipeline = parse(text)
    analysis = analyse(pipeline, DEFINITIONS.catalogue)
    try:
        arguments: dict[str, Json] = {parameter.name: "x" for parameter in analysis.arguments}
        return True, _Plain(Body(pipeline, analysis), arguments).result()
    except _Failed:
        return False, None


async def _with_delays(text: str, seed: int, in_flight: int) -> tuple[tuple[bool, Json], list[str]]:
    steps = Steps(DEFINITIONS)
    chance = random.Random(seed)
    steps.delay = lambda path: chance.choice([0, 0, 1, 2, 5, 12])
    plan = DEFINITIONS.plan(text)
    options = RunOptions(max_in_flight=in_flight)
    try:
        value = (await evaluate(plan, {"x": "x", "s": "x"}, steps, options)).value
        found: tuple[bool, Json] = (True, value)
    except RunFailed:
        found = (False, None)
    assert steps.is_idle
    ordered = [
        line
        for line in steps.log
        if line[0] == "+"
        and line.split("/")[-1].lstrip("+").split("#")[0] in {"first", "second", "last", "both"}
    ]
    return found, ordered


@settings(max_examples=400, deadline=None)
@given(pipelines(), st.integers(0, 2**32), st.sampled_from([1, 2, 64]), st.booleans())
def test_the_value_is_that_of_a_plain_evaluation(
    text: str, seed: int, in_flight: int, is_slow: bool
) -> None:
    if not analyse(parse(text), DEFINITIONS.catalogue).is_valid:
        return
    expected = _plainly(text)
    with pytest.MonkeyPatch.context() as patch:
        # On a machine so slow that each step takes all the time that it may.
        patch.setattr(evaluator, "SLICE_SECONDS", 0 if is_slow else 0.005)
        runs = [asyncio.run(_with_delays(text, seed + n, in_flight)) for n in range(3)]
    assert [found for found, _ in runs] == [expected] * 3
    if expected[0] and "try" not in text and "safe" not in text:
        assert runs[0][1] == runs[1][1] == runs[2][1]


@settings(max_examples=150, deadline=None)
@given(pipelines([form for form in EAGER if "fail" not in form]))
def test_the_calls_that_are_made_are_those_that_the_plan_counts(text: str) -> None:
    if not analyse(parse(text), DEFINITIONS.catalogue).is_valid:
        return
    plan = DEFINITIONS.plan(text)
    planned = sorted(step.path for step in plan.steps if isinstance(step, CallStep))
    try:
        outcome = asyncio.run(evaluate(plan, {"x": "x", "s": "x"}, Steps(DEFINITIONS)))
    except RunFailed:
        return
    made = sorted(path for step in outcome.trace for path in (step.path, *step.also_at))
    assert made == planned
