"""What is never started, what `try` catches, and what is stopped when nobody needs it."""

from __future__ import annotations

import re

import pytest

from aieye.pipeline.options import RunOptions
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from tests.unit.pipeline.runs import Steps, failure, run, value


def _fail(_: Attempt) -> StepResult:
    raise StepFailed("no")


@pytest.mark.parametrize(("flag", "started"), [(True, ["slow"]), (False, ["other"])])
async def test_only_the_branch_that_is_taken_starts(flag: bool, started: list[str]) -> None:
    steps = Steps()
    await run("if(flag, slow(1), other(2))", steps, flag=flag)
    assert steps.started == started


async def test_a_let_of_one_branch_starts_only_with_it() -> None:
    steps = Steps()
    text = "let a = slow(1); let b = other(a); if(positive(n), b, third(2))"
    assert await value(text, steps, n=-1) == 2
    assert steps.started == ["third"]
    assert await value(text, steps, n=1) == 1


async def test_a_condition_is_converted_or_refused_at_its_place() -> None:
    assert await value("if(x, 1, 2)", x=" Yes ") == 1
    text = "if(same(x), 1, 2)"
    found = (await failure(text, x="maybe")).diagnostic
    assert (found.code, found.offset, found.length) == ("E402", 3, 7)


async def test_branches_may_be_one_and_the_same() -> None:
    assert await value("let a = slow(1); if(x, a, a)", x=True) == 1
    assert await value("let a = slow(true); if(a, a, 2)") is True
    assert await value("let a = slow(false); if(a, 2, a)") is False


async def test_a_let_is_still_wanted_when_one_of_two_branches_is_not_taken() -> None:
    assert await value("let a = slow(1); pick(if(x, a, 0), a)", x=False) == {"a": 0, "b": 1}


async def test_a_fallback_starts_only_after_a_failure() -> None:
    steps = Steps()
    assert await value("try(slow(1), other(2))", steps) == 1
    assert steps.started == ["slow"]
    steps.scripts["slow"] = _fail
    assert await value("try(slow(1), other(2))", steps) == 2


@pytest.mark.parametrize(
    "text",
    [
        "fail(1)",
        "bar(same('x'))",
        "object('a').nothing",
        "slow(1) @(timeout=0.005)",
        "map(fail, [1])",
        "reduce(add, ['x'], 1)",
        "upper(fail(1))",
        "[1, {k: fail(1)}]",
        "inner(1)",
        "if(fail(1), 2, 3)",
        "if(true, fail(1), 3)",
        "try(fail(1), fail(2))",
        "map(same, numbers(1001))",
        "repeat('x', 1100000)",
    ],
)
async def test_try_catches_whatever_fails_inside(text: str) -> None:
    steps = Steps()
    steps.hanging.add("slow")
    pipelines = {"inner": "same(fail(s))"}
    assert await value(f"try({text}, 'caught')", steps, pipelines=pipelines) == "caught"


@pytest.mark.parametrize("code", ["E503", "E504", "E505"])
async def test_try_does_not_catch_cancellation_budget_and_a_missing_answer(code: str) -> None:
    def refuse(_: Attempt) -> StepResult:
        raise StepFailed("no", code=code)  # type: ignore[arg-type]  # it is one of them

    steps = Steps()
    steps.scripts["slow"] = refuse
    steps.hanging.add("other")
    error = await failure("[try(slow(1), 2), other(3)]", steps)
    assert error.diagnostic.code == code
    assert "xother" in steps.log


async def test_of_both_failures_that_of_the_fallback_is_reported() -> None:
    found = (await failure("try(fail(1), fail(2))")).diagnostic
    assert found.message == "'fail' failed: 2 is not wanted"
    assert found.offset == 13


async def test_what_a_failed_value_needed_is_stopped() -> None:
    steps = Steps()
    steps.scripts["slow"] = _fail
    steps.hanging.add("other")
    assert await value("try(pick(slow(1), same(other(2))), third(3))", steps) == 3
    assert "xother" in steps.log


async def test_what_somebody_else_needs_goes_on_when_a_value_failed() -> None:
    steps = Steps()
    steps.scripts["slow"] = _fail
    steps.delay = lambda path: 30 if path == "other" else 1
    text = "let b = other(2); pick(try(pick(slow(1), b), 'caught'), b)"
    assert await value(text, steps) == {"a": "caught", "b": 2}
    assert steps.started.count("other") == 1


async def test_what_the_fallback_may_need_goes_on_and_is_not_made_twice() -> None:
    steps = Steps()
    steps.scripts["slow"] = _fail
    steps.delay = lambda path: 30 if path == "other" else 1
    assert await value("let b = other(2); try(pick(slow(1), b), b)", steps) == 2
    assert steps.started.count("other") == 1
    assert "xother" not in steps.log


async def test_an_operand_that_failed_before_it_was_asked_for_fails_at_once() -> None:
    text = "let a = slow(1); pick(try(a, 'first'), try(if(third(true), a, 0), 'second'))"
    steps = Steps()
    steps.scripts["slow"] = _fail
    steps.delay = lambda path: 20 if path == "third" else 1
    assert await value(text, steps) == {"a": "first", "b": "second"}


async def test_the_other_operands_of_a_step_that_fails_at_once_do_not_start() -> None:
    text = "let a = slow(1); pick(try(a, 1), try(if(third(true), pick(other(2), a), 0), 'second'))"
    steps = Steps()
    steps.scripts["slow"] = _fail
    steps.delay = lambda path: 20 if path == "third" else 1
    assert await value(text, steps) == {"a": 1, "b": "second"}
    assert "other" not in steps.started


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"let t{n} = try({f't{n - 1}' if n else 'bad'}, same(bad));" for n in range(600)),
        "".join(f"let t{n} = try(bad, {f't{n - 1}' if n else '1'});" for n in range(600)),
        "".join(f"let t{n} = same({f't{n - 1}' if n else 'bad'});" for n in range(600)),
        "".join(f"let t{n} = if(x, {f't{n - 1}' if n else 'bad'}, 1);" for n in range(600)),
    ],
)
async def test_long_chains_are_settled_without_recursion(text: str) -> None:
    whole = f"let bad = fail(1); {text} try(t599, 'end')"
    assert await value(whole, x=True) in {"end", 1}


async def test_a_map_that_fails_stops_its_other_items() -> None:
    steps = Steps()
    steps.hanging |= {f"map[{n}]/inner/model" for n in range(3)}
    steps.scripts["map[3]/inner/model"] = _fail
    pipelines = {"inner": "param s; same(model(s))"}
    assert await value("try(map(inner, numbers(4)), 1)", steps, pipelines=pipelines) == 1
    assert sum(line[0] == "x" for line in steps.log) == 3


async def test_a_map_of_a_branch_that_nobody_needs_any_longer_is_stopped() -> None:
    steps = Steps()
    steps.hanging.add("map[0]/model")
    steps.scripts["slow"] = _fail
    steps.delay = lambda path: 10
    outcome = await run("try(pick(slow(1), map(model, ['a'])), 1)", steps)
    assert outcome.value == 1
    assert {trace.path: trace.status for trace in outcome.trace} == {
        "slow": "failed",
        "map": "cancelled",
        "map[0]/model": "cancelled",
    }


# --- Identical steps


async def test_identical_model_calls_are_one() -> None:
    steps = Steps()
    outcome = await run("[model('a'), model(text='a'), model(same('a')), model('b')]", steps)
    assert outcome.value == ["a", "a", "a", "b"]
    assert sorted(steps.started) == ["model", "model#4"]
    assert {trace.path: trace.also_at for trace in outcome.trace if trace.kind == "prompt"} == {
        "model": ["model#2", "model#3"],
        "model#4": [],
    }


async def test_what_becomes_identical_by_conversion_is_one() -> None:
    steps = Steps()
    assert await value("[model(1), model('1')]", steps) == ["1", "1"]
    assert len(steps.started) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[model('a'), model('a') @(cache=\"off\")]",
        "[first(1), first(1)]",
        "[slow(1), slow(1.0)]",
        "[slow(1), slow(true)]",
        "[slow({a: 1, b: 2}), slow({b: 2, a: 1})]",
        "[slow(1), other(1)]",
    ],
)
async def test_what_differs_or_may_have_effects_is_made_each_time(text: str) -> None:
    steps = Steps()
    await run(text, steps)
    assert len(steps.started) == 2


async def test_identical_calls_share_a_failure() -> None:
    steps = Steps()
    steps.scripts["slow"] = _fail
    assert await value("try(pick(slow(1), slow(1)), try(slow(1), 'caught'))", steps) == "caught"
    assert len(steps.started) == 1


async def test_a_shared_call_goes_on_while_anyone_needs_it() -> None:
    steps = Steps()
    steps.scripts["third"] = _fail
    steps.delay = lambda path: 30 if path == "slow" else 1
    text = "[try(pick(third(1), slow(1)), 'caught'), slow(1)]"
    assert await value(text, steps) == ["caught", 1]
    assert steps.started.count("slow") == 1
    assert "xslow" not in steps.log


async def test_a_call_that_was_broken_off_is_made_again_when_it_is_needed() -> None:
    steps = Steps()
    steps.scripts["third"] = _fail
    steps.delay = lambda path: 30 if path == "slow" else 1
    assert await value("try(pick(third(1), slow(1)), slow(1))", steps) == 1
    assert steps.started == ["third", "slow", "slow#2"]


async def test_items_that_are_alike_are_one_call() -> None:
    steps = Steps()
    assert await value("map(model, ['a', 'a', 'b'])", steps) == ["a", "a", "b"]
    assert len(steps.started) == 2


# --- map and reduce


async def test_map_keeps_the_order_of_its_items_and_hands_on_keywords() -> None:
    steps = Steps()
    steps.delay = lambda path: 40 - int(path[4]) * 10
    assert await value("map(two, [1, 2, 3], y=z)", steps, z="!") == ["1 vs !", "2 vs !", "3 vs !"]
    assert steps.log.index("-map[2]/two") < steps.log.index("-map[0]/two")


@pytest.mark.parametrize(("text", "expected"), [("map(bar, [])", []), ("reduce(add, [], 7)", 7)])
async def test_no_items_call_nothing(text: str, expected: object) -> None:
    outcome = await run(text)
    assert (outcome.value, list(outcome.trace)) == (expected, [])


async def test_items_may_be_json_in_a_text() -> None:
    assert await value("map(bar, x)", x="```json\n[1, 2]\n```") == [10, 20]
    text = "map(bar, same(x))"
    found = (await failure(text, x={"a": 1})).diagnostic
    assert (found.code, found.offset, found.length) == ("E402", 9, 7)


async def test_reduce_goes_from_the_first_item_to_the_last() -> None:
    assert await value("reduce(join, ['b', 'c'], 'a')") == "abc"


async def test_reduce_of_a_pipeline_that_waits_is_one_after_the_other() -> None:
    steps = Steps()
    pipelines = {"step": "param sum; param item; add(slow(sum), item)"}
    assert await value("reduce(step, [1, 2, 3], 0)", steps, pipelines=pipelines) == 6
    assert steps.started == [f"reduce[{n}]/step/slow" for n in range(3)]


async def test_maps_within_maps_have_paths_of_their_own() -> None:
    pipelines = {"row": "param n; map(model, numbers(n))"}
    steps = Steps()
    assert await value("map(row, [1, 2])", steps, pipelines=pipelines) == [["0"], ["0", "1"]]
    assert steps.started == ["map[0]/row/map[0]/model", "map[1]/row/map[1]/model"]


async def test_a_pipeline_may_give_back_what_it_was_given() -> None:
    pipelines = {"id": "param x; x", "one": "1"}
    assert await value("[map(id, [1, 2]), id(3) @(retries=1), one()]", pipelines=pipelines) == [
        [1, 2],
        3,
        1,
    ]
    assert (
        await value("reduce(last_of, [1, 2], 0)", pipelines={"last_of": "param a; param b; b"}) == 2
    )


# --- Limits


async def test_more_items_than_a_thousand_are_refused() -> None:
    text = "map(same, numbers(1001))"
    found = (await failure(text)).diagnostic
    assert (found.code, found.offset, found.length) == ("E508", 0, len(text))
    assert found.message == "'map' takes at most 1,000 items, not 1,001"
    assert await value("map(same, numbers(1000))") == list(range(1000))
    error = await failure("map(same, [1, 2, 3])", options=RunOptions(max_items=2))
    assert error.diagnostic.code == "E508"


@pytest.mark.parametrize(
    "text",
    [
        "repeat('x', 1048577)",
        "[repeat('x', 600000), repeat('x', 600000)]",
        "{a: repeat('x', 600000), b: repeat('x', 600000)}",
        "map(repeat, ['x', 'x'], n=600000)",
    ],
)
async def test_a_value_above_a_mebibyte_is_refused(text: str) -> None:
    found = (await failure(text)).diagnostic
    assert (found.code, found.offset, found.length) == ("E510", 0, len(text))


async def test_the_results_of_a_run_are_limited_together_and_try_does_not_help() -> None:
    pipelines = {"one": "param n; length(builtin_concat(repeat('x', 1000000), n))"}
    text = "try(map(one, numbers(40)), 1)"
    found = (await failure(text, pipelines=pipelines)).diagnostic
    assert found.code == "E510"
    assert "results of the run" in found.message
    assert (
        await value("map(one, numbers(30))", pipelines=pipelines)
        == [1_000_002] * 10 + [1_000_003] * 20
    )


async def test_an_argument_above_a_mebibyte_is_refused() -> None:
    assert (await failure("length(x)", x="x" * 1048577)).diagnostic.code == "E510"


async def test_a_value_nested_too_deep_is_refused_wherever_it_comes_from() -> None:
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    for text in (
        "same(x)",
        "same(y.a)",
        "reduce(nest, numbers(400), 0)",
        "reduce(wrap2, numbers(400), 0)",
    ):
        pipelines = {"nest": "param a; param b; [a]", "wrap2": "param a; param b; wrap(a)"}
        error = await failure(
            text, pipelines=pipelines, x=deep, y='{"a": ' + "[" * 400 + "]" * 400 + "}"
        )
        assert error.diagnostic.code == "E510", text


@pytest.mark.parametrize(
    "text",
    [
        "map(same, D)",
        "reduce(last_of, D, 1)",
        "same(D)",
        "D[0]",
        "map(nest_all, [L])",
        "reduce(wrap_key, L, [])",
    ],
)
@pytest.mark.parametrize("first", [1, 2**70])
async def test_a_list_that_is_made_deeper_and_deeper_fails_where_it_is_too_deep(
    text: str, first: int
) -> None:
    """An integer that JSON's writer does not take is no way around it."""
    made = "reduce(nest, L, [first])"
    pipelines = {
        "nest": "param acc; param item; [acc, item]",
        "last_of": "param acc; param item; item",
        "nest_all": "param items; reduce(nest, items, [])",
        "wrap_key": "param acc; param item; {key: acc, n: item}",
    }
    text = text.replace("D", made).replace("L", "numbers(300)")
    found = (await failure(text, pipelines=pipelines, first=first)).diagnostic
    assert found.code == "E510"
    assert re.fullmatch(r"in '\w+' at 1:\d+: the value is nested too deep", found.message)


async def test_a_list_as_deep_as_it_may_be_is_handed_on() -> None:
    pipelines = {"nest": "param acc; param item; [acc, item]"}
    made = "reduce(nest, numbers(253), [])"
    assert await value(f"map(same, {made})[1]", pipelines=pipelines) == 252
    found = (await failure(f"[{made}]", pipelines=pipelines)).diagnostic
    assert (found.code, found.offset) == ("E510", 0)


async def test_calls_of_a_run_are_limited_and_try_does_not_help() -> None:
    pipelines = {
        "row": "param n; map(same, numbers(1000))",
        "rows": "param n; map(row, numbers(200))",
    }
    options = RunOptions(max_calls=1_500)
    error = await failure("try(rows(1), 2)", options=options, pipelines=pipelines)
    assert error.diagnostic.code == "E508"


async def test_no_more_calls_are_in_flight_than_allowed_and_the_others_queue() -> None:
    steps = Steps()
    most = 0

    def delay(_: str) -> int:
        nonlocal most
        most = max(most, len(steps.started) - sum(line[0] == "-" for line in steps.log))
        return 3

    steps.delay = delay
    outcome = await run("map(model, numbers(20))", steps, RunOptions(max_in_flight=4))
    assert most == 4
    assert len(steps.started) == 20
    queued = [
        trace for trace in outcome.trace if trace.started_at and trace.started_at > trace.queued_at
    ]
    assert queued


async def test_calls_that_queue_and_are_not_needed_any_longer_never_start() -> None:
    steps = Steps()
    steps.scripts["slow"] = _fail
    outcome = await run(
        "try(pick(slow(1), other(2), third(3)), 1)", steps, RunOptions(max_in_flight=1)
    )
    assert outcome.value == 1
    assert steps.started == ["slow"]
    assert [trace.status for trace in outcome.trace] == ["failed", "cancelled", "cancelled"]
