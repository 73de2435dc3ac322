"""Functions of custom files that are not cacheable keep the order of the text among themselves."""

from __future__ import annotations

import pytest

from aieye.pipeline import evaluator
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from tests.unit.pipeline.runs import Steps, run

ORDERED = {"first", "second", "last", "both"}


def _of_order(steps: Steps) -> list[str]:
    """What started and ended among the ordered calls."""
    return [
        line for line in steps.log if line.split("/")[-1].lstrip("+-x").split("#")[0] in ORDERED
    ]


def _alone(*paths: str) -> list[str]:
    """One after the other."""
    return [sign + path for path in paths for sign in "+-"]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("both(first(1), second(2), last(3))", ["first", "second", "last", "both"]),
        ("both(c=first(1), a=second(2))", ["first", "second", "both"]),
        ("[first(1), {k: second(2)}, first(3)]", ["first", "second", "first#2"]),
        ("pick(first(slow(1)), second(2))", ["first", "second"]),
        ("let a = first(1); let b = second(2); [b, a]", ["first", "second"]),
        ("let a = first(1); let b = second(2); both(last(3), b, a)", [
            *("first", "second", "last", "both")
        ]),
        # A let that one branch alone needs has its turn when that is taken.
        ("let a = first(1); [if(slow(true), 0, a), second(2)]", ["second"]),
        ("let a = first(1); [if(slow(true), a, 0), second(2)]", ["first", "second"]),
        ("let a = first(1); [second(2), if(slow(true), a, 0)]", ["second", "first"]),
        ("[if(first(true), second(2), 0), last(3)]", ["first", "second", "last"]),
        ("let a = first(1); if(second(false), 0, a)", ["second", "first"]),
        ("let a = first(1); [if(slow(false), a, 0), if(second(true), a, 0)]", ["second", "first"]),
        ("[try(first(1), second(2)), last(3)]", ["first", "last"]),
        ("[try(fail(1), second(2)), last(3)]", ["second", "last"]),
        ("[try(slow(fail(1)), second(2)), last(3)]", ["second", "last"]),
        ("[map(first, [1, 2]), second(2)]", ["map[0]/first", "map[1]/first", "second"]),
        ("[reduce(both, [1, 2], 0), second(2)]", ["reduce[0]/both", "reduce[1]/both", "second"]),
        ("[inner(first(1), second(2)), last(3)]", [
            *("first", "second", "inner/last", "inner/both", "last")
        ]),
        ("[inner(1, 2) @(retries=1), last(3)]", ["inner/last", "inner/both", "last"]),
        ("[map(inner, [1, 2], b=3), last(3)]", [
            *("map[0]/inner/last", "map[0]/inner/both", "map[1]/inner/last", "map[1]/inner/both"),
            "last",
        ]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("late", ["none", "first", "second", "slow"])
async def test_ordered_calls_run_one_after_the_other_as_they_stand(
    text: str, order: list[str], late: str
) -> None:
    steps = Steps()
    steps.delay = lambda path: 25 if path.endswith(late) else 1
    await run(
        text, steps, pipelines={"inner": "param a; param b; let x = last(a); both(b, slow(x))"}
    )
    assert _of_order(steps) == _alone(*order)


async def test_model_calls_never_wait_for_ordered_ones() -> None:
    steps = Steps()
    steps.delay = lambda path: 50 if path == "first" else 1
    await run("[first(1), second(2), model('a'), slow(3)]", steps)
    assert steps.log.index("-model") < steps.log.index("-first")
    assert steps.log.index("-slow") < steps.log.index("-first")


async def test_model_calls_of_items_run_beside_each_other_while_ordered_ones_take_turns() -> None:
    steps = Steps()
    steps.delay = lambda path: 20 if "first" in path else 1
    pipelines = {"item": "param x; [first(x), model(x)]"}
    await run("map(item, numbers(5))", steps, pipelines=pipelines)
    assert _of_order(steps) == _alone(*(f"map[{n}]/item/first" for n in range(5)))
    assert steps.log.index("-map[4]/item/model") < steps.log.index("-map[0]/item/first")


async def test_more_ordered_items_than_a_window_have_their_turns() -> None:
    steps = Steps()
    steps.delay = lambda path: 0
    await run("map(first, numbers(200))", steps)
    assert _of_order(steps) == _alone(*(f"map[{n}]/first" for n in range(200)))


async def test_a_branch_that_is_given_up_passes_its_turn_on() -> None:
    def refuse(_: Attempt) -> StepResult:
        raise StepFailed("no")

    steps = Steps()
    steps.scripts["slow"] = refuse
    steps.hanging.add("first")
    outcome = await run("[try(pick(slow(1), first(2), second(3)), 0), last(4)]", steps)
    assert outcome.value == [0, 4]
    assert _of_order(steps) == ["+first", "xfirst", "-first", "+last", "-last"]


async def test_turns_do_not_take_long_in_a_graph_of_shared_lets() -> None:
    lets = "let t0 = slow(first(1));" + "".join(
        f"let t{n} = slow(pick(t{n - 1}, same(t{n - 1}), {n}).c);" for n in range(1, 41)
    )
    steps = Steps()
    await run(f"{lets} pick(t40, second(2))", steps)
    assert _of_order(steps) == _alone("first", "second")


async def test_turns_are_taken_when_each_step_takes_all_the_time_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluator, "SLICE_SECONDS", 0)
    steps = Steps()
    await run("let a = first(1); [if(second(false), 0, a), last(2)]", steps)
    assert _of_order(steps) == _alone("second", "first", "last")
