"""Runs from a page: the answer to its form, told step by step, or whole where there are no scripts.

With scripts the answer is a stream of the page's parts, and the run ends when the page is left; without,
it leads to the page of the run when that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, get_args

from fastapi import Response

from aieye.errors import AieyeError
from aieye.pipeline.executions import get_execution
from aieye.pipeline.run_record import Finished
from aieye.pipeline.running import new_run_id
from aieye.pipeline.steps import CacheMode
from aieye.pipeline.trace import StepTrace
from aieye.run_stream import Begin, RunStream
from aieye.ui.executions import last_runs, run_values
from aieye.ui.fields import Fields
from aieye.ui.pages import go, is_fragment, part
from aieye.ui.session import Visitor
from aieye.ui.shown_runs import as_text
from aieye.waiting import unless_gone

CACHE_MODES: Final = (
    ("use", "use what is there, ask for the rest"),
    ("refresh", "ask anew, and keep the answers"),
    ("off", "ask anew, and keep nothing"),
    ("only", "take all from the cache, or fail"),
)
# What is wrong with the form goes into the form, not to where the run would be told of.
INTO_FORM: Final = {"HX-Retarget": "#run-form", "HX-Reswap": "outerHTML"}

Run = Callable[[str, Callable[[StepTrace], None] | None], Coroutine[Any, Any, Finished]]
"""Begins a run of this id, which tells of its steps if it is given whom."""


def read_cache_mode(fields: Fields) -> CacheMode:
    """How the form says that the cache is used."""
    modes: tuple[CacheMode, ...] = get_args(CacheMode)
    return next((one for one in modes if one == fields.text("cache")), "use")


async def answer(visitor: Visitor, run: Run, remark: str) -> Response:
    """The answer to a form that starts a run; `remark` is said of what it was given, if anything is."""
    run_id = new_run_id()
    if is_fragment(visitor.request):
        return PageRun(visitor, run_id, lambda tell: run(run_id, tell), remark)
    finished = await unless_gone(visitor.request, run(run_id, None))
    return go(visitor.request, f"/pipelines/executions/{finished.execution_id}", toast=remark)


class PageRun(RunStream):
    """A run as the page is told of it: each event holds parts of the page, with where they go."""

    def __init__(self, visitor: Visitor, run_id: str, begin: Begin, remark: str) -> None:
        super().__init__(visitor.request, run_id, begin)
        self._visitor = visitor
        self._remark = remark

    def begun(self) -> bytes:
        return self._event("run_begun", run_id=self.run_id, remark=self._remark)

    def step_ended(self, step: StepTrace, number: int) -> bytes:
        return self._event("run_step", step=step, number=number)

    async def ended(self, finished: Finished) -> bytes:
        async with self._visitor.state.database.read() as session:
            row = await get_execution(session, finished.execution_id, actor=self._visitor.actor)
            values = await run_values(self._visitor, session, row)
            # The page of the pipeline lists them; that of a function has none.
            place = row.pipeline_id
            runs = [] if place is None else await last_runs(self._visitor, session, place)
        return self._event(
            "run_ended", warnings=finished.warnings, whole=as_text(finished.value),
            pipeline_id=place, runs=runs, remark=self._remark, **values,
        )  # fmt: skip

    def broken_off(self, error: AieyeError) -> bytes:
        return self._event("run_broken_off", message=error.message)

    def _event(self, block: str, **values: object) -> bytes:
        html = part(self.request, "run_events.html", block, **values)
        lines = html.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return ("".join(f"data: {line}\n" for line in lines) + "\n").encode("utf-8", "replace")
