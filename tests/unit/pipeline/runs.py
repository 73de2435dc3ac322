"""What the tests of evaluation share: functions, prompts, a step runner, and short ways to run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aieye.pipeline.evaluator import Outcome, evaluate
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.catalogue import Definition
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.values import Json
from aieye.pipeline.options import RunOptions
from aieye.pipeline.plan import lower
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from aieye.pipeline.steps import Body, Callee, CallStep, Plan
from tests.unit.pipeline.pipelines import define, prompt

Function = Callable[..., Any]


def _fails(x: Json) -> Json:
    raise StepFailed(f"{x} is not wanted")


# Inline functions, memoised or not as their names say, by signature.
INLINE: dict[str, Function] = {
    "upper(s: str)": lambda s: s.upper(),
    "builtin_concat(x: str; y: str)": lambda x, y: f"{x} {y}",
    "fred(a; b; c: int)": lambda a, b, c: a + b + c,
    "bar(x: int)": lambda x: x * 10,
    "foo(x: int)": lambda x: f"foo:{x}",
    "length(s: str)": lambda **given: len(given["s"]),
    "now()": lambda: "now",
    "same(x)": lambda x: x,
    "positive(x: int)": lambda x: x > 0,
    "greet(name; greeting=)": lambda name, greeting="hello": f"{greeting} {name}",
    "object(json: str)": lambda json: {"text": json, "list": [1, 2, 3]},
    "repeat(s: str; n: int)": lambda s, n: s * n,
    "numbers(n: int)": lambda n: list(range(n)),
    "wrap(x)": lambda x: [x],
    "add(a: int; b: int)": lambda a, b: a + b,
    "join(a: str; b: str)": lambda a, b: a + b,
    "fail(x)": _fails,
}
# Functions that are tasks: `_` stands before those that are custom and keep their order.
WAITING = (
    "slow(x=)", "other(x=)", "third(x=)", "_first(x=)", "_second(x=)", "_last(x=)",
    "_both(a=; b=; c=)", "pick(a=; b=; c=)",
)  # fmt: skip
PROMPTS = {
    "prompt_buddy": "Hey {buddy}",
    "two": "{x} vs {y}",
    "p1": "p1 {a1}",
    "model": "{text}",
}


@dataclass
class Definitions:
    """What there is: functions, prompts and pipelines by name."""

    inline: Mapping[str, Function] = field(default_factory=lambda: dict(INLINE))
    prompts: Mapping[str, str] = field(default_factory=lambda: dict(PROMPTS))
    pipelines: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions: dict[str, Function] = {}
        self.catalogue: dict[str, Definition] = {}
        self.callees: dict[str, Callee | Body] = {}
        for signature, function in self.inline.items():
            definition = define(signature)
            self.functions[definition.name] = function
            self._add(Callee(definition, is_inline=True))
        for signature in WAITING:
            definition = define(signature.removeprefix("_"))
            is_ordered = signature.startswith("_")
            self._add(Callee(definition, is_ordered=is_ordered, is_memoised=not is_ordered))
        for name, body in self.prompts.items():
            variables = [part.split("}")[0] for part in body.split("{")[1:]]
            self._add(Callee(prompt(name, *variables), is_memoised=True))
        for name, text in self.pipelines.items():
            self._add_pipeline(name, text)

    def _add(self, callee: Callee) -> None:
        self.catalogue[callee.definition.name] = callee.definition
        self.callees[callee.definition.name] = callee

    def _add_pipeline(self, name: str, text: str) -> None:
        pipeline = parse(text)
        analysis = analyse(pipeline, self.catalogue, name)
        called = {binding.definition for binding in analysis.bindings.values()}
        calls = tuple(d.name for d in called if d.kind == "pipeline")
        self.catalogue[name] = Definition(name, "pipeline", analysis.arguments, calls=calls)
        self.callees[name] = Body(pipeline, analysis)

    def plan(self, text: str) -> Plan:
        pipeline = parse(text)
        analysis = analyse(pipeline, self.catalogue)
        return lower(pipeline, analysis, lambda definition: self.callees.get(definition.name))


class Steps:
    """A step runner of plain functions; prompts are echoed, and the model says what it got.

    `delays` are in loop turns; `scripts` are what calls by path do instead of succeeding; `log` is
    what started and ended, in order.
    """

    def __init__(self, definitions: Definitions | None = None) -> None:
        self.definitions = definitions or Definitions()
        self.log: list[str] = []
        self.attempts: list[Attempt] = []
        self.delay: Callable[[str], int] = lambda path: 1
        self.scripts: dict[str, Callable[[Attempt], StepResult | None]] = {}
        self.hanging: set[str] = set()
        self.hung = asyncio.Event()

    async def run(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        self.log.append(f"+{attempt.path}")
        self.attempts.append(attempt)
        try:
            if attempt.path in self.hanging:
                self.hung.set()
                await asyncio.Event().wait()
            for _ in range(self.delay(attempt.path)):
                await asyncio.sleep(0)
            script = self.scripts.get(attempt.path)
            found = None if script is None else script(attempt)
            return found or self._result(step, arguments)
        except asyncio.CancelledError:
            self.log.append(f"x{attempt.path}")
            raise
        finally:
            self.log.append(f"-{attempt.path}")

    def run_inline(
        self, step: CallStep, arguments: Mapping[str, Json], attempt: Attempt
    ) -> StepResult:
        self.attempts.append(attempt)
        script = self.scripts.get(attempt.path)
        found = None if script is None else script(attempt)
        return found or StepResult(self.definitions.functions[step.name](**arguments))

    def _result(self, step: CallStep, arguments: Mapping[str, Json]) -> StepResult:
        if step.callee.is_model:
            text = self.definitions.prompts[step.name]
            for name, value in arguments.items():
                text = text.replace(f"{{{name}}}", str(value))
            return StepResult(text, "gpt", "miss", 3, 2, 100, 0)
        return StepResult(
            dict(arguments) if len(arguments) > 1 else next(iter(arguments.values()), None)
        )

    @property
    def started(self) -> list[str]:
        return [line[1:] for line in self.log if line[0] == "+"]

    @property
    def is_idle(self) -> bool:
        """Whether all that started has ended."""
        return sorted(self.started) == sorted(line[1:] for line in self.log if line[0] == "-")


async def run(
    text: str,
    steps: Steps | None = None,
    options: RunOptions = RunOptions(),  # noqa: B008  # it is frozen
    pipelines: Mapping[str, str] | None = None,
    **arguments: Json,
) -> Outcome:
    steps = steps or Steps()
    if pipelines is not None:
        steps.definitions = Definitions(pipelines=pipelines)
    return await evaluate(steps.definitions.plan(text), arguments, steps, options)


async def value(text: str, steps: Steps | None = None, **arguments: Any) -> Json:
    return (await run(text, steps, **arguments)).value


async def failure(text: str, steps: Steps | None = None, **arguments: Any) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        await run(text, steps, **arguments)
    assert steps is None or steps.is_idle
    return caught.value


def refused(text: str, pipelines: Mapping[str, str] | None = None) -> InvalidPipeline:
    definitions = Definitions(pipelines=pipelines or {})
    with pytest.raises(InvalidPipeline) as caught:
        definitions.plan(text)
    return caught.value
