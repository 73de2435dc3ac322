"""Whose fault it was that a run failed."""

from __future__ import annotations

import pytest

from aieye.errors import AieyeError
from aieye.gateway.calls import Reply
from aieye.gateway.faults import Unreachable, UpstreamTimeout
from aieye.gateway.routing import ModelNotAllowed, NoRoute
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.catalogue import Kind
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.language.source import Source
from aieye.pipeline.model_calls import ProviderFailed
from aieye.pipeline.steps import Place
from aieye.pipeline.trace import Status, StepTrace


def failed(code: str, cause: BaseException | None = None) -> RunFailed:
    error = RunFailed(Diagnostic.nowhere(code, "it failed"))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (None, None),
        (ValueError(), None),
        (Unreachable("gone", ""), 502),
        (UpstreamTimeout("silent"), 504),
        (ProviderFailed(Reply(500, [])), 502),
        (ProviderFailed(Reply(504, [])), 504),
        (ProviderFailed(Reply(429, [])), 502),
        (ProviderFailed(Reply(400, [])), None),
        (NoRoute("nobody"), 502),
        (ModelNotAllowed("no"), None),
    ],
)
def test_a_providers_fault_is_found_behind_whatever_it_caused(
    cause: AieyeError | None, status: int | None
) -> None:
    outer = RuntimeError()
    outer.__cause__ = cause
    assert failed("E501", cause).fault_status == status
    assert failed("E501", outer).fault_status == status


def test_a_budget_has_a_status_of_its_own() -> None:
    assert failed("E504").fault_status == 402


@pytest.mark.parametrize(
    ("path", "kind", "status", "step", "expected"),
    [
        ("p", "prompt", "failed", "p", 504),
        ("p", "preset", "failed", "p", 504),
        ("p", "function", "failed", "p", None),
        ("inner/p", "prompt", "cancelled", "inner", 504),
        ("inner/p", "preset", "cancelled", "inner", 504),
        ("inner/p", "prompt", "done", "inner", None),
        ("inner/f", "function", "cancelled", "inner", None),
        ("inner2/p", "prompt", "cancelled", "inner", None),
    ],
)
def test_time_that_went_by_waiting_for_a_model_is_a_providers_fault(
    path: str, kind: Kind, status: Status, step: str, expected: int | None
) -> None:
    place = Place(Source("x"), 0, 1)
    trace = StepTrace(path, "x", kind, place, {}, 0.0, status)
    late = Diagnostic.nowhere("E502", "it took longer")
    assert RunFailed(late, step=step, trace=[trace]).fault_status == expected


def test_causes_without_end_are_no_providers_fault() -> None:
    one, other = ValueError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert failed("E501", one).fault_status is None
