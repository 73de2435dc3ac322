"""How a run is made: times of the settings, of what is called, and of who calls."""

from __future__ import annotations

import pytest

from aieye.pipeline.options import RunOptions
from aieye.pipeline.steps import Callee
from aieye.settings import Settings
from tests.unit.pipeline.pipelines import define


def test_a_run_takes_as_long_as_the_settings_say_or_less() -> None:
    settings = Settings(
        _env_file=None, pipeline_timeout=10, pipeline_model_timeout=2, pipeline_function_timeout=1,
        pipeline_map_items=5,
    )  # type: ignore[call-arg] # pydantic-settings' own argument  # fmt: skip
    options = RunOptions.of(settings)
    assert (options.timeout, options.max_items) == (10, 5)
    assert (options.model_timeout, options.function_timeout) == (2, 1)
    assert RunOptions.of(settings, timeout=3).timeout == 3
    assert RunOptions.of(settings, timeout=11).timeout == 10


@pytest.mark.parametrize(
    ("own", "asked", "found"),
    [
        (None, None, 30), (5, None, 5), (5, 7, 7),
        # What a clock could not hold was refused neither in texts nor in files for a while.
        (1e308, None, 86_400), (None, 1e308, 86_400),
    ],
)  # fmt: skip
def test_a_step_takes_a_day_at_most(own: float | None, asked: float | None, found: float) -> None:
    callee = Callee(define("slow()"), None, timeout=own)
    assert RunOptions().timeout_of(callee, asked) == found
