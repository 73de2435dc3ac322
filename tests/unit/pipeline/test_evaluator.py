"""What a run gives: values, where its errors point, and what a caller may say of it."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import replace
from typing import cast

import pytest

from aieye.pipeline import evaluator
from aieye.pipeline.evaluation import calls
from aieye.pipeline.evaluation.applications import Application
from aieye.pipeline.evaluation.calls import Calls
from aieye.pipeline.evaluation.cancellation import Cancellation
from aieye.pipeline.evaluation.frames import Frame
from aieye.pipeline.evaluation.operations import Operation
from aieye.pipeline.evaluator import evaluate
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.values import Json
from aieye.pipeline.options import RunOptions
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from aieye.pipeline.steps import CacheMode, Callee
from aieye.pipeline.trace import StepTrace
from tests.unit.pipeline.runs import Definitions, Steps, failure, run, value


def _place(error: RunFailed, text: str) -> tuple[str, str]:
    """The code and the text that the error points at."""
    found = error.diagnostic
    assert found.offset is not None
    assert found.length is not None
    return found.code, text[found.offset : found.offset + found.length]


def _times_out(_: Attempt) -> StepResult:
    raise StepFailed("gave up", code="E502")


# --- Arguments


async def test_an_argument_that_is_missing_is_named_without_a_place() -> None:
    steps = Steps()
    found = (await failure("pick(slow(1), x, y)", steps, x=1)).diagnostic
    assert (found.code, found.line, found.message) == ("E507", None, "the argument 'y' is missing")
    assert steps.started == []


@pytest.mark.parametrize(("type_", "is_taken"), [("int", False), ("int?", True), ("any", True)])
async def test_null_is_an_argument_where_the_type_admits_it(type_: str, is_taken: bool) -> None:
    text = f"param x: {type_}; same(x)"
    if is_taken:
        assert await value(text, x=None) is None
    else:
        assert (await failure(text, x=None)).diagnostic.code == "E507"


async def test_placeholders_and_params_without_a_type_take_null() -> None:
    assert await value("same(x)", x=None) is None
    assert await value("param x; same(x)", x=None) is None


async def test_an_argument_is_converted_or_refused_at_its_param() -> None:
    text = "param n: int; same(n)"
    assert await value(text, n=" 12 ") == 12
    assert _place(await failure(text, n="twelve"), text) == ("E402", "n")
    assert await value('param n: int = "7"; same(n)') == 7


async def test_arguments_that_nobody_asks_for_are_ignored() -> None:
    assert await value("same(x)", x=1, y=2) == 1


# --- Places of errors


async def test_a_conversion_fails_at_the_argument() -> None:
    assert _place(await failure("bar(same('x1'))"), "bar(same('x1'))") == ("E402", "same('x1')")
    assert _place(await failure("foo(x)", x=[1]), "foo(x)") == ("E402", "x")


async def test_a_selector_fails_from_the_start_of_the_access_through_itself() -> None:
    text = "upper(object('a').list[7].x)"
    assert _place(await failure(text), text) == ("E403", "object('a').list[7]")


async def test_a_call_that_fails_is_shown_whole() -> None:
    text = "upper( fail( 'a' ) )"
    error = await failure(text)
    assert _place(error, text) == ("E501", "fail( 'a' )")
    assert error.diagnostic.message == "'fail' failed: a is not wanted"
    assert isinstance(error.__cause__, StepFailed)
    assert error.step == "fail"


async def test_what_fails_in_a_pipeline_is_shown_at_its_call_and_said_where() -> None:
    text = "upper(outer(x))"
    pipelines = {"inner": "same(\n  fail(s))", "outer": "inner(s)"}
    error = await failure(text, pipelines=pipelines, x="a")
    assert _place(error, text) == ("E501", "outer(x)")
    assert error.diagnostic.message == "in 'inner' at 2:3: 'fail' failed: a is not wanted"
    assert error.step == "outer/inner/fail"


async def test_an_item_that_fails_is_numbered() -> None:
    text = "map(fail, [1])"
    error = await failure(text)
    assert _place(error, text) == ("E501", text)
    assert error.diagnostic.message == "'fail' failed: 1 is not wanted (item 0)"
    text = "map(bar, same(['1', 'x']))"
    error = await failure(text)
    assert _place(error, text) == ("E402", "same(['1', 'x'])")
    assert error.diagnostic.message.endswith("(item 1)")


async def test_what_a_runner_raises_otherwise_ends_the_run_as_it_is() -> None:
    def broken(_: Attempt) -> StepResult:
        raise LookupError("a fault of ours")

    for text, path in [("[slow(1), other(2)]", "slow"), ("[same(1), other(2)]", "same")]:
        steps = Steps()
        steps.scripts[path] = broken
        steps.hanging.add("other")
        with pytest.raises(LookupError):
            await run(text, steps)
        assert steps.is_idle


# --- Pipelines that are called


async def test_a_pipeline_gets_its_arguments_defaults_and_conversions() -> None:
    pipelines = {"inner": 'param n: int; param by: int = "3"; [n, by]'}
    assert await value("inner(x)", x="5", pipelines=pipelines) == [5, 3]
    assert await value("inner(by=x, n=1)", x=2, pipelines=pipelines) == [1, 2]
    text = "inner(same(x))"
    assert _place(await failure(text, x="a", pipelines=pipelines), text) == ("E402", "same(x)")


async def test_the_arguments_of_a_pipeline_are_evaluated_even_if_it_ignores_them() -> None:
    pipelines = {"first": "param a; param b; a"}
    assert (await failure("first(1, fail(2))", pipelines=pipelines)).diagnostic.code == "E501"
    steps = Steps()
    assert await value("first(1, slow(2))", steps, pipelines=pipelines) == 1
    assert steps.started == ["slow"]


async def test_steps_of_a_pipeline_start_before_all_of_its_arguments_are_there() -> None:
    steps = Steps()
    steps.delay = lambda path: 50 if path == "slow" else 1
    await run("inner(slow(1), other(2))", steps, pipelines={"inner": "[same(a), third(b)]"})
    assert steps.log.index("+inner/third") < steps.log.index("-slow")


# --- Times and attempts


async def test_a_step_that_takes_too_long_is_cancelled_and_fails() -> None:
    text = "same(slow(1) @(timeout=0.01))"
    steps = Steps()
    steps.hanging.add("slow")
    error = await failure(text, steps)
    assert _place(error, text) == ("E502", "slow(1) @(timeout=0.01)")
    assert error.diagnostic.message == "'slow': took longer than 0.01 s"
    assert "xslow" in steps.log


async def test_attempts_are_made_until_one_succeeds_and_each_has_its_time() -> None:
    steps = Steps()
    steps.hanging.add("slow")

    def second(attempt: Attempt) -> StepResult:
        return StepResult(attempt.number)

    steps.scripts["slow"] = second
    task = asyncio.create_task(run("slow(1) @(timeout=0.02, retries=3)", steps))
    await steps.hung.wait()
    steps.hanging.clear()
    assert (await task).value == 2
    assert [attempt.number for attempt in steps.attempts] == [1, 2]


async def test_a_failure_says_after_how_many_attempts() -> None:
    steps = Steps()
    steps.scripts["slow"] = _times_out
    error = await failure("slow(1) @(retries=2)", steps)
    assert error.diagnostic.message == "'slow': gave up (after 3 attempts)"
    inline = Steps()
    error = await failure("fail(1) @(retries=1)", inline)
    assert error.diagnostic.message == "'fail' failed: 1 is not wanted (after 2 attempts)"


@pytest.mark.parametrize("code", ["E402", "E504", "E505", "E510"])
async def test_only_failures_and_times_are_tried_again(code: str) -> None:
    def refuse(_: Attempt) -> StepResult:
        raise StepFailed("no", code=code)  # type: ignore[arg-type]  # it is one of them

    steps = Steps()
    steps.scripts["slow"] = refuse
    assert (await failure("slow(1) @(retries=5)", steps)).diagnostic.code == code
    assert len(steps.attempts) == 1


async def test_a_final_failure_is_not_tried_again() -> None:
    def refuse(_: Attempt) -> StepResult:
        raise StepFailed("no", is_final=True)

    steps = Steps()
    steps.scripts["slow"] = refuse
    await failure("slow(1) @(retries=5)", steps)
    assert len(steps.attempts) == 1


async def test_a_pipeline_has_attempts_as_a_whole() -> None:
    steps = Steps()
    seen: list[str] = []

    def fail_first(attempt: Attempt) -> StepResult | None:
        seen.append(attempt.path)
        if len(seen) == 1:
            raise StepFailed("not yet")
        return None

    steps.scripts["inner/slow"] = fail_first
    text = "inner(third(1)) @(retries=1)"
    assert await value(text, steps, pipelines={"inner": "slow(other(s))"}) == 1
    # An identical call that succeeded is not made again, and neither are the arguments.
    assert steps.started == ["third", "inner/other", "inner/slow", "inner/slow"]


async def test_a_pipeline_has_a_time_as_a_whole() -> None:
    text = "try(inner(1) @(timeout=0.01), 'late')"
    steps = Steps()
    steps.hanging.add("inner/other")
    assert await value(text, steps, pipelines={"inner": "slow(other(s))"}) == "late"
    assert "xinner/other" in steps.log
    error = await failure("inner(1) @(timeout=0.01)", steps, pipelines={"inner": "slow(other(s))"})
    assert error.diagnostic.message == "'inner': took longer than 0.01 s"


async def test_no_timer_is_left_when_a_run_has_ended() -> None:
    loop = asyncio.get_running_loop()
    text = "[slow(1) @(timeout=50), inner(1) @(timeout=60), inner(fail(1)) @(timeout=70)]"
    pipelines = {"inner": "same(other(s))"}
    await run("[slow(1) @(timeout=50), inner(1) @(timeout=60)]", pipelines=pipelines)
    await failure(text, pipelines=pipelines)
    timers = loop._scheduled  # type: ignore[attr-defined]  # asyncio tells of them in no other way
    assert [timer for timer in timers if not timer.cancelled()] == []


async def test_a_run_has_a_time_and_try_does_not_help() -> None:
    steps = Steps()
    steps.hanging.add("slow")
    found = (await failure("try(slow(1), 2)", steps, options=RunOptions(timeout=0.01))).diagnostic
    assert (found.code, found.offset) == ("E502", None)
    assert found.message == "the run took longer than 0.01 s"


async def test_a_run_that_only_computes_has_a_time_and_lets_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Short turns: many of them fit into the time however busy the machine is.
    monkeypatch.setattr(evaluator, "SLICE_SECONDS", 0.0005)
    steps = Steps()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    other = asyncio.create_task(tick())
    pipelines = {"all": "param x; map(same, numbers(1000))"}
    try:
        error = await failure(
            "map(all, numbers(90))", steps, options=RunOptions(timeout=0.3), pipelines=pipelines
        )
    finally:
        other.cancel()
    assert error.diagnostic.code == "E502"
    assert ticks > 3


@pytest.mark.parametrize(
    ("asked", "callee", "expected"), [(None, "slow", 30), (None, "model", 60), (4, "model", 4)]
)
async def test_the_time_of_an_attempt_is_by_call_or_kind(
    asked: int | None, callee: str, expected: float
) -> None:
    steps = Steps()
    option = "" if asked is None else f" @(timeout={asked})"
    await run(f"{callee}('a'){option}", steps)
    assert steps.attempts[0].timeout == expected


# --- Cancellation


async def test_a_run_that_is_cancelled_leaves_no_call_in_flight() -> None:
    steps = Steps()
    steps.hanging.add("slow")
    told: list[tuple[str, str]] = []
    options = RunOptions(on_step=lambda trace: told.append((trace.path, trace.status)))
    task = asyncio.create_task(run("pick(slow(1), other(2))", steps, options))
    await steps.hung.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.is_idle
    assert "xslow" in steps.log
    assert set(told[-2:]) == {("slow", "cancelled"), ("other", "cancelled")}


async def test_a_failure_stops_what_is_in_flight() -> None:
    steps = Steps()
    steps.hanging |= {"other", "map[0]/model"}
    steps.scripts["slow"] = _times_out
    await failure("[slow(1), other(2), map(model, ['a'])]", steps)
    assert {"xother", "xmap[0]/model"} <= set(steps.log)


async def test_a_call_that_takes_its_time_to_stop_is_waited_for() -> None:
    ended = asyncio.Event()

    class Stubborn(Steps):
        async def run(self, *arguments: object) -> StepResult:
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(5):
                    await asyncio.sleep(0)
                ended.set()
            raise AssertionError

    stubborn = Stubborn()
    with pytest.raises(RunFailed):
        await evaluate(
            stubborn.definitions.plan("[slow(1), same(other(1))]"), {}, stubborn,
            RunOptions(timeout=0.01),
        )  # fmt: skip
    assert ended.is_set()


async def test_a_run_that_is_cancelled_again_while_it_ends_still_waits_for_its_calls() -> None:
    stopping = asyncio.Event()

    class Slow(Steps):
        async def run(self, *arguments: object) -> StepResult:
            try:
                await asyncio.Event().wait()
            finally:
                stopping.set()
                for _ in range(20):
                    await asyncio.sleep(0)
                self.log.append("ended")
            raise AssertionError

    steps = Slow()
    task = asyncio.create_task(run("slow(1)", steps))
    await asyncio.sleep(0)
    task.cancel()
    await stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.log == ["ended"]


class Deaf(Steps):
    """Its calls do not end when they are told to, but when `may_end` is set; then they succeed."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()
        self.may_end = asyncio.Event()
        self.task: asyncio.Task[object] | None = None

    async def run(self, *arguments: object) -> StepResult:
        self.task = asyncio.current_task()
        while not self.may_end.is_set():
            try:
                self.hung.set()
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.told.set()
        self.log.append("ended")
        return StepResult("late", "gpt", "miss", 3, 2, 100)


async def test_a_call_that_succeeds_after_its_time_has_failed_and_what_it_used_is_counted() -> None:
    steps = Deaf()
    task = asyncio.create_task(run("try(slow(1) @(timeout=0.01), 'fallback')", steps))
    await steps.told.wait()
    steps.may_end.set()
    outcome = await task
    assert outcome.value == "fallback"
    (trace,) = outcome.trace
    assert (trace.status, trace.error_code, trace.tokens_input, trace.cost_nano) == (
        "failed", "E502", 3, 100,
    )  # fmt: skip


async def test_a_call_that_does_not_end_when_it_is_told_to_is_closed_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "STOP_SECONDS", 0.05)
    steps = Deaf()
    outcome = await run("try(slow(1) @(timeout=0.01, retries=2), 'fallback')", steps)
    assert outcome.value == "fallback"
    (trace,) = outcome.trace
    # To begin it once more while it goes on would only make two of them.
    assert trace.attempts == 1
    assert trace.error == "'slow': took longer than 0.01 s and does not end"
    # It is closed where it stands, so that it does not keep the server from stopping.
    assert steps.task is not None
    await asyncio.wait({steps.task}, timeout=10)
    assert steps.task.done()
    assert steps.log == []


async def test_a_run_that_is_told_to_end_waits_for_no_call_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "STOP_SECONDS", 0.05)
    steps = Deaf()
    cancellation = Cancellation()
    plan = steps.definitions.plan("slow(1)")
    task = asyncio.create_task(evaluate(plan, {}, steps, cancellation=cancellation))
    await steps.hung.wait()
    cancellation.ask()
    with pytest.raises(RunFailed) as failed:
        await task
    assert failed.value.diagnostic.code == "E503"
    assert [trace.status for trace in failed.value.trace] == ["cancelled"]
    assert steps.task is not None
    await asyncio.wait({steps.task}, timeout=10)
    assert steps.task.done()


async def test_what_a_call_had_used_when_it_was_broken_off_is_counted() -> None:
    class Used(Steps):
        async def run(self, *arguments: object) -> StepResult:
            try:
                self.hung.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError as error:
                used = StepResult(None, "gpt", "miss", 3, 0, 100)
                raise StepFailed("cancelled", code="E503", used=used) from error
            raise AssertionError

    late = await failure("slow(1) @(timeout=0.01)", Used())
    assert [(one.tokens_input, one.cost_nano) for one in late.trace] == [(3, 100)]
    steps = Used()
    cancellation = Cancellation()
    plan = steps.definitions.plan("slow(1)")
    task = asyncio.create_task(evaluate(plan, {}, steps, cancellation=cancellation))
    await steps.hung.wait()
    cancellation.ask()
    with pytest.raises(RunFailed) as failed:
        await task
    assert [(one.status, one.tokens_input) for one in failed.value.trace] == [("cancelled", 3)]


async def test_an_inline_call_with_large_arguments_does_not_keep_the_loop() -> None:
    steps = Steps()
    callees = steps.definitions.callees
    callees["length"] = replace(cast(Callee, callees["length"]), waits_if_large=True)
    assert (await run("length(x)", steps, x="a" * 1_000)).value == 1_000
    assert steps.started == []
    await run("length(x)", steps, x="a" * 100_000)
    assert steps.started == ["length"]


# --- Cache modes


@pytest.mark.parametrize(
    ("whole", "own", "expected"),
    [
        ("use", None, "use"),
        ("off", None, "off"),
        ("use", "refresh", "refresh"),
        ("refresh", "off", "off"),
        ("only", "off", "only"),
        ("only", "refresh", "only"),
    ],
)
async def test_a_step_says_its_cache_mode_but_only_holds_for_all(
    whole: CacheMode, own: str | None, expected: str
) -> None:
    steps = Steps()
    option = "" if own is None else f' @(cache="{own}")'
    await run(f"model('a'){option}", steps, RunOptions(cache=whole))
    assert [attempt.cache for attempt in steps.attempts] == [expected]


async def test_the_model_of_a_call_is_handed_to_the_runner() -> None:
    steps = Steps()
    await run('[model("a") @(model="gpt-5"), model("a")]', steps)
    assert [attempt.model for attempt in steps.attempts] == ["gpt-5", None]


# --- Runs beside each other


async def test_a_plan_is_shared_by_runs_that_know_nothing_of_each_other() -> None:
    definitions = Definitions()
    plan = definitions.plan("join(slow(x), model(x))")

    async def one(number: int) -> Json:
        steps = Steps(definitions)
        steps.delay = lambda path: number % 7
        return (await evaluate(plan, {"x": f"{number}"}, steps)).value

    values = await asyncio.gather(*map(one, range(50)))
    assert values == [f"{number}{number}" for number in range(50)]


@pytest.mark.parametrize(
    "text",
    [
        "[x, [upper(x)]]",
        "[model(x), model(x), slow(x), first(x), second(x)]",
        "map(row, [1, 2, 3])",
        "reduce(two, ['a', 'b'], 'c')",
        "try(map(row_that_fails, [1, 2, 3]), 1)",
        "row_that_fails(1) @(timeout=1, retries=2)",
        "pick(model(x), slow(fail(x)), third(x) @(retries=1))",
        "[fail(x), slow(x)]",
        "[hanging(x) @(timeout=0.01), map(other, [1, 2])]",
    ],
)
async def test_a_run_that_has_ended_leaves_nothing_to_the_garbage_collector(text: str) -> None:
    pipelines = {
        "row": "param n; map(model, [n, 1])",
        "row_that_fails": "param n; [slow(n), fail(model(n))]",
        "hanging": "param n; slow(n)",
    }
    steps = Steps()
    if "hanging" in text:
        steps.hanging.add("hanging/slow")

    async def run_once() -> None:
        with suppress(RunFailed):
            await run(text, steps, pipelines=pipelines, x="a")

    def alive() -> list[object]:
        kinds = (Frame, Operation, Application, StepTrace, Calls)
        return [one for one in gc.get_objects() if isinstance(one, kinds)]

    gc.collect()
    gc.disable()
    try:
        # What another test of this process keeps is none of this one's.
        others = alive()
        await asyncio.create_task(run_once())
        await asyncio.sleep(0)
        ours = [one for one in alive() if not any(one is other for other in others)]
        assert ours == []
    finally:
        gc.enable()
