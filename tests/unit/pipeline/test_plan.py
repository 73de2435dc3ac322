"""Plans: what they consist of, what they count, and whose texts they point into."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.analysis import analyse
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.parser import parse
from aieye.pipeline.limits import MAX_STEPS
from aieye.pipeline.plan import lower
from aieye.pipeline.steps import Apply, Block, Body, CallStep, Constant, Plan, Scope
from tests.unit.pipeline.pipelines import define
from tests.unit.pipeline.runs import Definitions, refused


def _paths(plan: Plan) -> list[str]:
    return [call.path for call in plan.calls]


def _plan(text: str, **pipelines: str) -> Plan:
    return Definitions(pipelines=pipelines).plan(text)


def test_steps_stand_behind_their_operands() -> None:
    plan = _plan("let a = slow(x); builtin_concat(upper(a), [y, {k: a}])")
    for index, operands in enumerate(plan.operands):
        assert all(operand < index for operand in operands)
        assert all(index in plan.parents[operand] for operand in operands)


def test_calls_are_named_by_the_pipelines_around_them_and_numbered() -> None:
    plan = _plan("pick(upper(x), inner(upper(x)), inner(y))", inner="upper(upper(s))")
    assert _paths(plan) == [
        *("upper", "upper#2", "inner/upper", "inner/upper#2", "inner#2/upper", "inner#2/upper#2"),
        "pick",
    ]


def test_a_let_that_is_not_used_is_no_part_of_the_plan() -> None:
    assert _paths(_plan("let a = slow(x); let b = other(a); let c = third(x); upper(c)")) == [
        "third",
        "upper",
    ]


def test_lists_and_maps_of_constants_are_constants() -> None:
    plan = _plan('same([1, {"a": [true, null]}, "x"])')
    constants = [step.value for step in plan.steps if isinstance(step, Constant)]
    assert constants == [[1, {"a": [True, None]}, "x"]]


def test_a_constant_that_a_let_holds_stays_where_it_is() -> None:
    plan = _plan("let a = 1; pick([a], [a, a], {k: a})")
    assert [step.value for step in plan.steps if isinstance(step, Constant)] == [1]


def test_arguments_are_in_the_order_of_the_parameters() -> None:
    first = _plan("builtin_concat(y='b', x='a')").calls[0]
    assert [edge.parameter for edge in first.edges] == ["x", "y"]


def test_options_of_a_pipelines_call_hand_on_cache_and_model() -> None:
    plan = _plan(
        'inner("a") @(cache="off", model="gpt-5")', inner='two(model(s), model(s) @(cache="use"))'
    )
    assert [(c.options.cache, c.options.model) for c in plan.calls] == [
        *[("off", "gpt-5"), ("use", "gpt-5"), ("off", "gpt-5")]
    ]
    assert isinstance(plan.steps[plan.result], Block)


def test_a_time_or_attempts_of_a_pipelines_call_make_a_plan_of_its_own() -> None:
    plan = _plan("inner('a') @(retries=2, timeout=3)", inner="slow(s)")
    scope = plan.steps[plan.result]
    assert isinstance(scope, Scope)
    assert (scope.retries, scope.timeout) == (2, 3)
    (call,) = plan.calls
    assert (call.options.retries, call.options.timeout, call.path) == (0, None, "slow")


def test_options_of_map_are_those_of_each_call() -> None:
    plan = _plan("map(model, ['a']) @(retries=2)")
    apply = plan.steps[plan.result]
    assert isinstance(apply, Apply)
    assert apply.body.calls[0].options.retries == 2


def test_the_calls_that_give_the_value_are_known() -> None:
    plan = _plan("if(flag, model('a'), inner('b'))", inner="two(upper(s), s)")
    assert {s.name for s in (plan.steps[i] for i in plan.finals) if isinstance(s, CallStep)} == {
        "model",
        "two",
    }
    assert _plan("try(model('a'), 'b')").finals == frozenset()


def test_what_cannot_run_has_no_plan() -> None:
    pipeline = parse("nothing(x)")
    with pytest.raises(InvalidPipeline) as caught:
        lower(pipeline, analyse(pipeline, {}), lambda _: None)
    assert caught.value.diagnostics[0].code == "E201"


def test_a_callee_that_is_gone_is_named_at_its_place() -> None:
    pipeline = parse("upper(\n  gone(x))")
    catalogue = {"upper": define("upper(s: str)"), "gone": define("gone(x)")}
    callees = Definitions().callees
    with pytest.raises(InvalidPipeline) as caught:
        lower(pipeline, analyse(pipeline, catalogue), lambda d: callees.get(d.name))
    (found,) = caught.value.diagnostics
    assert (found.code, found.line, found.column, found.length) == ("E201", 2, 3, 4)
    assert found.message == "the function 'gone' is no longer there"


def test_a_pipeline_that_can_no_longer_run_is_named_with_what_is_wrong_with_it() -> None:
    definitions = Definitions(pipelines={"p": "upper(s)"})
    pipeline = parse("lenght(s)")
    definitions.callees["p"] = Body(pipeline, analyse(pipeline, definitions.catalogue, "p"))
    with pytest.raises(InvalidPipeline) as caught:
        definitions.plan("same(p('a'))")
    here, inside, *_ = caught.value.diagnostics
    assert (here.code, here.offset, here.length) == ("E201", 5, 1)
    assert here.message == "the pipeline 'p' can no longer run"
    assert inside.message.endswith("did you mean 'length'?")


def test_more_steps_than_two_thousand_are_refused_before_anything_is_expanded() -> None:
    pipelines = {"p0": "upper(s)"}
    for level in range(1, 8):
        pipelines[f"p{level}"] = "join(" + ", ".join([f"p{level - 1}(s)"] * 2) + ")"
    wide = "[" + ", ".join(["p7('a')"] * 8) + "]"
    (found,) = refused(wide, pipelines).diagnostics
    assert found.code == "E508"
    assert f"{MAX_STEPS:,}" in found.message
    assert wide[found.offset or 0 :].startswith("p7('a')")


def test_a_map_counts_once() -> None:
    many = ", ".join(["map(upper, x)"] * 999)
    assert len(_plan(f"[{many}]").calls) == 999


def test_values_that_steps_take_are_limited_too() -> None:
    pipelines = {"wide": "same([" + "s, " * 4_000 + "])"}
    pipelines["call"] = "pick(" + ", ".join(["wide(s)"] * 3) + ")"
    assert len(_plan("call('a')", **pipelines).calls) == 4
    text = "[" + ", ".join(["call('a')"] * 30) + "]"
    assert refused(text, pipelines).diagnostics[0].code == "E508"


def test_pipelines_that_call_each_other_later_are_refused_however_they_were_saved() -> None:
    definitions = Definitions(pipelines={"p": "upper(s)"})
    body = Definitions(pipelines={"p": "upper(s)", "q": "p(s)"}).callees["q"]
    definitions.callees["p"] = body  # what p became: it calls p
    with pytest.raises(InvalidPipeline) as caught:
        definitions.plan("p('a')")
    (found,) = caught.value.diagnostics
    assert (found.code, found.offset) == ("E508", 0)


def test_lowering_does_not_recurse_over_what_is_nested() -> None:
    inner = "upper(" * 100 + "s" + ")" * 100
    pipelines = {"p0": inner}
    for level in range(1, 8):
        pipelines[f"p{level}"] = "upper(" * 99 + f"p{level - 1}(s)" + ")" * 99
    assert len(_plan("p7(x)", **pipelines).calls) == 793


def test_the_calls_that_give_the_value_are_found_in_time_where_branches_meet_again() -> None:
    lets = "let t0 = model(s);" + "".join(
        f"let t{n} = if(x, t{n - 1}, t{n - 1});" for n in range(1, 61)
    )
    plan = _plan(f"{lets} t60")
    assert [plan.steps[index] for index in plan.finals] == list(plan.calls)
