"""The conformance cases of the pipeline language, against this implementation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aieye.pipeline.evaluator import evaluate
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.errors import Diagnostic, InvalidPipeline
from aieye.pipeline.language.nodes import Type
from aieye.pipeline.language.parser import parse, parse_type
from aieye.pipeline.language.printer import format_pipeline
from aieye.pipeline.language.tree import write_tree
from aieye.pipeline.language.values import Json, text_of
from aieye.pipeline.plan import lower
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from aieye.pipeline.steps import Body, Callee, CallStep
from aieye.prompts.substitution import substitute, variables

FILE: dict[str, Any] = json.loads((Path(__file__).parent / "pipelines.json").read_text())
CASES: list[dict[str, Any]] = FILE["cases"]


def _fail(x: Json) -> Json:
    raise StepFailed("always")


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "upper": lambda s: s.upper(),
    "builtin_concat": lambda x, y: f"{x} {y}",
    "fred": lambda a, b, c: a + b + c,
    "bar": lambda x: x * 10,
    "foo": lambda x: f"foo:{x}",
    "length": lambda **given: len(given["s"]),
    "join": lambda a, b: a + b,
    "add": lambda a, b: a + b,
    "half": lambda x: x / 2,
    "negate": lambda on: not on,
    "total": lambda **given: sum(given["numbers"]),
    "keys": lambda **given: list(given["table"]),
    "same": lambda x: x,
    "anything": lambda x: x,
    "maybe": lambda x: x,
    "note": lambda s: s,
    "greet": lambda name, greeting="hello": f"{greeting} {name}",
    "now": lambda: "now",
    "positive": lambda x: x > 0,
    "numbers": lambda n: list(range(n)),
    "repeat": lambda s, n: s * n,
    "builtin_hi": lambda buddy: f"hi {text_of(buddy)}",
    "fail": _fail,
}


class _Steps:
    """Functions are called; prompts go to a model that answers with what it is sent."""

    async def run(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        texts = {name: str(value) for name, value in arguments.items()}
        return StepResult(substitute(FILE["prompts"][step.name], texts))

    def run_inline(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        return StepResult(FUNCTIONS[step.name](**arguments))


@dataclass
class _Definitions:
    """What the file defines."""

    catalogue: dict[str, Definition]
    callees: dict[str, Callee | Body]


def _function(signature: str) -> Definition:
    name, _, rest = signature.removesuffix(")").partition("(")
    return Definition(name, "function", tuple(map(_parameter, _parts(rest))))


def _parts(text: str) -> list[str]:
    """The parameters of a signature: commas inside brackets separate none."""
    parts = [""]
    depth = 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _parameter(text: str) -> Parameter:
    declared, _, default = text.partition(" = ")
    name, _, type_ = declared.partition(": ")
    return Parameter(name, parse_type(type_) if type_ else None, is_required=not default)


def _definitions() -> _Definitions:
    found = _Definitions({}, {})
    for function in FILE["functions"]:
        definition = _function(function["signature"])
        found.catalogue[definition.name] = definition
        found.callees[definition.name] = Callee(definition, is_inline=True)
    for name, body in FILE["prompts"].items():
        parameters = tuple(Parameter(variable, Type("str")) for variable in variables(body))
        found.catalogue[name] = Definition(name, "prompt", parameters)
        found.callees[name] = Callee(found.catalogue[name], is_memoised=True)
    for name, text in FILE["pipelines"].items():
        pipeline = parse(text)
        analysis = analyse(pipeline, found.catalogue, name)
        assert analysis.is_valid
        called = {b.definition.name for b in analysis.bindings.values()} & set(FILE["pipelines"])
        found.catalogue[name] = Definition(
            name, "pipeline", analysis.arguments, calls=tuple(sorted(called))
        )
        found.callees[name] = Body(pipeline, analysis)
    return found


DEFINITIONS = _definitions()


async def _value(case: Mapping[str, Any]) -> Json:
    pipeline = parse(case["text"])
    analysis = analyse(pipeline, DEFINITIONS.catalogue, case.get("saved_as"))
    plan = lower(pipeline, analysis, lambda found: DEFINITIONS.callees.get(found.name))
    return (await evaluate(plan, case.get("arguments", {}), _Steps())).value


async def _error(case: Mapping[str, Any]) -> Diagnostic:
    try:
        value = await _value(case)
    except RunFailed as failed:
        return failed.diagnostic
    except InvalidPipeline as invalid:
        return next(found for found in invalid.diagnostics if found.is_error)
    pytest.fail(f"there is a value: {value!r}")


def _cases(*kinds: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if all(kind in case for kind in kinds)]
    return pytest.mark.parametrize("case", chosen, ids=[case["name"] for case in chosen])


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len(CASES) >= 150
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert all(("value" in case) != ("error" in case) for case in CASES)


def test_every_function_of_the_file_is_here_and_no_other() -> None:
    assert {_function(f["signature"]).name for f in FILE["functions"]} == set(FUNCTIONS)


@_cases("name")
def test_the_tree(case: Mapping[str, Any]) -> None:
    if case["tree"] is None:
        with pytest.raises(InvalidPipeline):
            parse(case["text"])
    else:
        assert write_tree(parse(case["text"])) == case["tree"]


@_cases("args")
def test_what_the_pipeline_asks_for(case: Mapping[str, Any]) -> None:
    analysis = analyse(parse(case["text"]), DEFINITIONS.catalogue)
    assert [parameter.name for parameter in analysis.arguments] == case["args"]


@_cases("canonical")
def test_the_canonical_text(case: Mapping[str, Any]) -> None:
    assert format_pipeline(parse(case["text"])) == case["canonical"]


@_cases("value")
async def test_the_value(case: Mapping[str, Any]) -> None:
    found = await _value(case)
    assert found == case["value"]
    assert json.dumps(found) == json.dumps(case["value"])  # true is not 1, nor 1 the same as 1.0


@_cases("value")
async def test_the_value_is_that_of_the_canonical_text(case: Mapping[str, Any]) -> None:
    assert await _value({**case, "text": format_pipeline(parse(case["text"]))}) == case["value"]


@_cases("error")
async def test_the_error_and_its_place(case: Mapping[str, Any]) -> None:
    expected = case["error"]
    found = await _error(case)
    assert found.code == expected["code"]
    for part in ("line", "column", "offset", "length", "hint"):
        if part in expected or part != "hint":
            assert getattr(found, part) == expected.get(part), part
    if "suggests" in expected:
        assert found.message.endswith(f"did you mean {expected['suggests']}?")
