"""What a run tells of each of its steps, while it runs and afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aieye.api.original_views import meta_view
from aieye.api.run_views import result_view
from aieye.pipeline.executions import Totals
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.source import Source
from aieye.pipeline.options import RunOptions
from aieye.pipeline.run_record import MOST_SHOWN, Finished
from aieye.pipeline.sizes import canonical
from aieye.pipeline.step_runner import Attempt, StepFailed, StepResult
from aieye.pipeline.steps import Place
from aieye.pipeline.trace import MOST_PLACES, PREVIEW_CHARACTERS, StepTrace, preview
from tests.unit.pipeline.runs import Steps, failure, run


async def test_a_step_tells_where_it_stands_what_it_got_and_gave_and_what_it_cost() -> None:
    text = "upper(model(s))"
    outcome = await run(text, s="a")
    model, upper = outcome.trace
    assert (model.path, model.name, model.kind, model.status) == (
        "model",
        "model",
        "prompt",
        "done",
    )
    assert text[model.place.start : model.place.end] == "model(s)"
    assert (model.arguments, model.value) == ({"text": "a"}, "a")
    assert (model.model, model.cache, model.tokens_input, model.tokens_output) == (
        *("gpt", "miss"),
        *(3, 2),
    )
    assert (model.cost_nano, model.saved_nano, upper.cost_nano) == (100, 0, 0)
    assert model.started_at is not None
    assert model.ended_at is not None
    assert model.queued_at <= model.started_at <= model.ended_at <= upper.queued_at
    assert (upper.kind, upper.attempts, upper.cache) == ("function", 1, None)


async def test_attempts_add_up_and_a_cost_that_is_not_known_stays_so() -> None:
    def twice(attempt: Attempt) -> StepResult:
        if attempt.number == 1:
            raise StepFailed("no", used=StepResult(None, "gpt", "miss", 5, 0, 70, 0))
        return StepResult("b", "gpt", "miss", 5, 1, 80, 0)

    steps = Steps()
    steps.scripts["model"] = twice
    steps.scripts["slow"] = lambda attempt: StepResult(1, "gpt", "miss", 5, 1, None, 0)
    outcome = await run("[model('a') @(retries=1), slow(1)]", steps)
    model, slow = outcome.trace
    assert (model.attempts, model.tokens_input, model.cost_nano) == (2, 10, 150)
    assert slow.cost_nano is None


async def test_a_run_is_simulated_where_nothing_of_it_misses_a_price() -> None:
    def told(*misses: bool) -> StepTrace:
        step = StepTrace("model", "model", "prompt", Place(Source("model"), 0, 1), {}, 0.0)
        for one in misses:
            step.count(StepResult("a", cost_nano=None, misses_price=one))
        return step

    free = StepTrace("upper", "upper", "function", Place(Source("model"), 0, 1), {}, 0.0)
    assert [told(False).is_simulated, told(False, True).is_simulated] == [True, False]
    assert free.is_simulated is False
    assert Totals.of([free, told(False)]).is_simulated
    assert not Totals.of([told(True), told(False)]).is_simulated
    assert not Totals.of([free]).is_simulated
    # Beside what was paid its money would be lost in a sum that misses nothing.
    paid = told()
    paid.count(StepResult("a", cost_nano=70))
    assert not Totals.of([paid, told(False)]).is_simulated
    for costs in ((70, None), (None, 70), (None, 0, 70)):
        mixed = told()
        for cost in costs:
            mixed.count(StepResult("a", cost_nano=cost))
        assert (mixed.cost_nano, mixed.is_simulated) == (None, False), costs
    assert Totals.of([told(False), free]).is_simulated


async def test_a_hit_costs_nothing_and_tells_what_was_saved() -> None:
    steps = Steps()
    steps.scripts["model"] = lambda attempt: StepResult("x", "gpt", "hit", 3, 2, 0, 100)
    (trace,) = (await run("model('a')", steps)).trace
    assert (trace.cache, trace.cost_nano, trace.saved_nano) == ("hit", 0, 100)


async def test_a_failure_leaves_the_trace_of_what_was_done() -> None:
    steps = Steps()
    steps.hanging.add("slow")
    error = await failure("pick(model('a'), slow(1), fail(model('a')))", steps)
    assert {trace.path: trace.status for trace in error.trace} == {
        "model": "done",
        "slow": "cancelled",
        "fail": "failed",
    }
    failed = next(trace for trace in error.trace if trace.status == "failed")
    assert (failed.error_code, failed.error) == ("E501", "'fail' failed: a is not wanted")
    assert failed.output_preview is None


async def test_a_map_has_a_trace_of_its_own_that_costs_nothing() -> None:
    outcome = await run("map(model, ['a', 'b'])")
    assert [(trace.path, trace.kind, trace.cost_nano) for trace in outcome.trace] == [
        ("map", "form", 0),
        ("map[0]/model", "prompt", 100),
        ("map[1]/model", "prompt", 100),
    ]
    assert outcome.trace[0].value == ["a", "b"]
    with pytest.raises(RunFailed) as caught:
        await run("map(fail, [1])")
    assert [trace.status for trace in caught.value.trace] == ["failed", "failed"]


async def test_steps_are_told_of_when_they_start_and_when_they_end() -> None:
    told: list[tuple[str, str]] = []
    options = RunOptions(
        max_in_flight=1, on_step=lambda trace: told.append((trace.path, trace.status))
    )
    await run("[slow(1), other(2), upper('a')]", options=options)
    assert told == [
        ("slow", "running"),
        ("other", "queued"),
        ("upper", "done"),
        ("slow", "done"),
        ("other", "running"),
        ("other", "done"),
    ]


async def test_a_step_of_a_pipeline_stands_in_its_own_text() -> None:
    outcome = await run("same(inner('a'))", pipelines={"inner": "upper(upper(s))"})
    first, second, _ = outcome.trace
    assert (first.path, second.path) == ("inner/upper", "inner/upper#2")
    assert (first.place.within, first.place.start, first.place.end) == ("inner", 6, 14)


def test_previews_are_cut_off_and_never_fail() -> None:
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    assert preview("ab") == "ab"
    assert preview({"a": [1, None]}) == '{"a":[1,null]}'
    assert preview("x" * 501) == "x" * (PREVIEW_CHARACTERS - 1) + "…"
    assert len(preview(["é" * 5_000])) == PREVIEW_CHARACTERS
    assert preview(2**70) == str(2**70)
    assert preview("\ud800")
    assert preview(["\ud800"]) == '["\\ud800"]'
    assert "too deep" in preview(deep)  # type: ignore[arg-type]  # it is JSON, level by level


@pytest.mark.parametrize(
    "whole",
    [
        [1] * 400,
        ["x" * 300, "y" * 300, "z"],
        {f"k{n}": [n, None, {"a": "é" * n}] for n in range(100)},
        {"k" * 3_000: 1, "b": 2},
        [[[]] * 90, {"a": "\n" * 450}, 1.5] * 3,
        {"a": ["x" * 2_000]},
        {"a": ["x" * 1_999, "y", {"b": "z"}]},
    ],
)
def test_a_preview_is_the_beginning_of_what_is_not_written_as_a_whole(
    whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = canonical(whole).decode()
    sizes: list[int] = []

    def noting(value: object) -> bytes:
        written = canonical(value)
        sizes.append(len(written))
        return written

    monkeypatch.setattr("aieye.pipeline.trace.canonical", noting)
    found = preview(whole)
    assert found == (expected if len(expected) <= 500 else expected[:499] + "…")
    preview([whole] * 100_000)
    preview({"text": "x" * 1_000_000})
    assert max(sizes) < 40_000


def test_of_calls_that_are_one_a_hundred_paths_are_kept() -> None:
    trace = StepTrace("a", "a", "prompt", Place(Source("a"), 0, 1), {}, 0.0)
    for number in range(MOST_PLACES + 10):
        trace.add_place(str(number))
    assert trace.also_at == [str(number) for number in range(MOST_PLACES)]


def test_an_answer_tells_of_the_first_steps_and_how_many_more_there_were() -> None:
    place = Place(Source("a"), 0, 1)
    trace = [StepTrace(str(n), "a", "prompt", place, {}, 0.0) for n in range(MOST_SHOWN + 5)]
    finished = Finished("0", 1, None, None, trace, Totals())
    result = result_view(finished)
    assert [step.path for step in result.steps] == [str(n) for n in range(MOST_SHOWN)]
    assert result.steps_left_out == 5
    meta = meta_view(finished)
    assert (len(meta["steps"]), meta["steps_left_out"]) == (MOST_SHOWN, 5)
    assert result_view(replace(finished, trace=trace[:3])).steps_left_out == 0


def test_a_trace_has_previews_of_what_went_in_and_came_out() -> None:
    place = None
    trace = StepTrace("p", "p", "function", place, {"a": 1}, 0.0)  # type: ignore[arg-type]  # not needed here
    assert (trace.input_preview, trace.output_preview) == ('{"a":1}', None)
    trace.status, trace.value = "done", "text"
    assert trace.output_preview == "text"
