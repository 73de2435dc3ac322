"""The record of one run: a row at once for those that take their time, all of it at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from aieye.db.engine import Database
from aieye.db.types import now
from aieye.errors import AieyeError
from aieye.pipeline import executions
from aieye.pipeline.executions import Run, Status, Totals
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.language.values import Json
from aieye.pipeline.model_calls import SLOW_SECONDS
from aieye.pipeline.trace import StepTrace
from aieye.telemetry.loggers import get_logger

log = get_logger()


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over. `failure` says why it has no value; `warnings` what of it was ignored."""

    run_id: str
    execution_id: int
    value: Json
    failure: RunFailed | None
    trace: Sequence[StepTrace]
    totals: Totals
    warnings: Sequence[str] = ()

    @property
    def steps(self) -> Sequence[StepTrace]:
        """The calls alone."""
        return [step for step in self.trace if step.kind != "form"]


class RunRecord:
    """Made when the run begins; `end` is called once."""

    def __init__(self, database: Database, run: Run, *, keeps_values: bool) -> None:
        self._database = database
        self._run = run
        self._keeps_values = keeps_values
        self._opening: asyncio.Task[int] | None = None
        self._timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._begin)

    def _begin(self) -> None:
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> int:
        async with self._database.write() as session:
            return await executions.open_run(session, self._run, keeps_values=self._keeps_values)

    async def end(
        self,
        status: Status,
        trace: Sequence[StepTrace],
        *,
        value: Json = None,
        failure: RunFailed | None = None,
        error: Diagnostic | None = None,
    ) -> Finished:
        """Write it down, whatever happens to the caller meanwhile."""
        self._timer.cancel()
        totals = Totals.of(trace)
        found = failure.diagnostic if failure is not None else error
        writing = asyncio.ensure_future(self._write(status, trace, totals, value, found))
        try:
            execution_id = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            raise
        return Finished(self._run.run_id, execution_id, value, failure, trace, totals)

    async def _write(
        self,
        status: Status,
        trace: Sequence[StepTrace],
        totals: Totals,
        value: Json,
        error: Diagnostic | None,
    ) -> int:
        execution_id = await self._opened()
        ended_at: datetime = now()
        return await self._database.write_at_once(
            partial(
                executions.end_run, run=self._run, execution_id=execution_id, status=status,
                ended_at=ended_at, output=value, error=error, trace=trace, totals=totals,
                keeps_values=self._keeps_values,
            )
        )  # fmt: skip

    async def _opened(self) -> int | None:
        if self._opening is None:
            return None
        try:
            return await self._opening
        except AieyeError as error:
            log.warning("execution_not_noted", run_id=self._run.run_id, reason=error.code)
            return None
