"""Pipelines as they are called: found, made ready once for each version, run, and put on record."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import structlog
import uuid_utils

from aieye.access.audit import Actor
from aieye.access.directory import Directory
from aieye.access.snapshot import Grant, PipelineInfo, Snapshot
from aieye.db.engine import Database
from aieye.db.tables import Pipeline
from aieye.db.types import now
from aieye.errors import AieyeError, NotFound
from aieye.functions.model import Function
from aieye.functions.service import Functions
from aieye.pipeline import executions
from aieye.pipeline.compiling import compile_program
from aieye.pipeline.evaluator import evaluate
from aieye.pipeline.executions import Run, Status, Totals
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.kept_results import KeptResults
from aieye.pipeline.language.catalogue import Catalogue, Definition
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.language.values import Json
from aieye.pipeline.model_calls import SLOW_SECONDS, ModelCalls, Origin
from aieye.pipeline.options import RunOptions
from aieye.pipeline.program import load_program
from aieye.pipeline.runner import Means, Runner
from aieye.pipeline.steps import Plan
from aieye.pipeline.trace import StepTrace
from aieye.settings import Settings

log = structlog.get_logger()

# Plans that are remembered until the next change of anything.
_MOST_PLANS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is over. `failure` says why it has no value."""

    run_id: str
    execution_id: int
    value: Json
    failure: RunFailed | None
    trace: Sequence[StepTrace]
    totals: Totals

    @property
    def steps(self) -> Sequence[StepTrace]:
        """The calls alone."""
        return [step for step in self.trace if step.kind != "form"]


class Pipelines:
    """One a process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        directory: Directory,
        functions: Functions,
        models: ModelCalls,
        instance_id: str,
    ) -> None:
        self._database = database
        self._directory = directory
        self._functions = functions
        self._means = Means(database, functions, models, KeptResults())
        self._instance_id = instance_id
        self._keeps_values = settings.ledger_bodies
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()
        self._catalogue: Catalogue = {}
        self._functions_known: Mapping[str, Function] | None = None
        directory.on_change(self._follow)

    def _follow(self, _snapshot: Snapshot) -> None:
        # A plan holds all that it calls, any of which may have changed.
        self._plans.clear()

    # --- What there is

    def catalogue(self) -> Catalogue:
        """The registered functions by name, as pipelines are checked against them."""
        current = self._functions.current
        if current is not self._functions_known:
            self._plans.clear()
            self._catalogue = _definitions(current)
            self._functions_known = current
        return self._catalogue

    def find(self, name: str, actor: Actor) -> PipelineInfo | None:
        """The pipeline of that name, if the actor may call it."""
        found = self._directory.current.pipelines.get(name)
        return found if found is not None and _may_call(actor, found) else None

    def get_named(self, name: str, actor: Actor) -> PipelineInfo:
        """The pipeline of that name. Raises `NotFound`, also when the actor may not call it."""
        found = self.find(name, actor)
        if found is None:
            raise NotFound("There is no such pipeline.")
        return found

    def get(self, pipeline_id: int, actor: Actor) -> PipelineInfo:
        """The pipeline of that id. Raises `NotFound`, also when the actor may not call it."""
        for found in self._directory.current.pipelines.values():
            if found.id == pipeline_id and _may_call(actor, found):
                return found
        raise NotFound(f"There is no pipeline {pipeline_id}.")

    def list_callable(self, user_id: int, *, is_administrator: bool) -> Sequence[PipelineInfo]:
        """The pipelines that the user may call, the oldest first."""
        return [
            found
            for found in self._directory.current.pipelines.values()
            if is_administrator or found.is_shared or found.user_id == user_id
        ]

    async def plan(self, info: PipelineInfo) -> Plan:
        """The plan of a pipeline in the version that runs. Raises `InvalidPipeline`, `NotFound`."""
        functions = self.catalogue()
        place = (info.id, info.version)
        plan = self._plans.get(place)
        if plan is not None:
            self._plans.move_to_end(place)
            return plan
        snapshot, current = self._directory.current, self._functions.current
        async with self._database.read() as session:
            row = await session.get(Pipeline, info.id)
            if row is None or row.deleted_at is not None:
                raise NotFound(f"There is no pipeline {info.id}.")
            program = await load_program(session, functions, row)
        plan = compile_program(program, current.values())
        is_current = snapshot is self._directory.current and current is self._functions_known
        if is_current and program.main.version == info.version:
            self._plans[place] = plan
            if len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        return plan

    # --- Runs

    async def run(
        self,
        info: PipelineInfo,
        arguments: Mapping[str, Json],
        grant: Grant,
        options: RunOptions | None = None,
    ) -> Finished:
        """Run a pipeline for the caller whose grant this is; the run is on record at the end.

        A run that fails is a result too. Raises `InvalidPipeline` before anything runs, `NotFound`,
        and what keeps the record from being written.
        """
        plan = await self.plan(info)
        run = Run(
            run_id=uuid_utils.uuid7().hex,
            instance_id=self._instance_id,
            pipeline_id=info.id,
            pipeline_version=info.version,
            pipeline=info.name,
            user_id=grant.user_id,
            token_id=grant.token_id,
            key_id=grant.key_id,
            arguments={
                parameter.name: arguments[parameter.name]
                for parameter in plan.parameters
                if parameter.name in arguments
            },
            started_at=now(),
        )
        return await self._run(run, plan, grant, options or RunOptions())

    async def _run(self, run: Run, plan: Plan, grant: Grant, options: RunOptions) -> Finished:
        seen: dict[str, StepTrace] = {}
        told = options.on_step

        def note(step: StepTrace) -> None:
            seen[step.path] = step
            if told is not None:
                told(step)

        runner = Runner(self._means, Origin(run.run_id, run.pipeline, grant), options)
        record = _Record(self._database, run, keeps_values=self._keeps_values)
        try:
            outcome = await evaluate(plan, run.arguments, runner, replace(options, on_step=note))
        except RunFailed as failure:
            status: Status = "cancelled" if failure.diagnostic.code == "E503" else "failed"
            return await record.end(status, failure.trace, failure=failure)
        except asyncio.CancelledError:
            await record.end("cancelled", list(seen.values()))
            raise
        except AieyeError as error:
            found = Diagnostic.nowhere("E501", error.message)
            await record.end("failed", list(seen.values()), error=found)
            raise
        except Exception:
            # Our own fault, told by whoever called: here it only gets its row.
            found = Diagnostic.nowhere("E501", "something went wrong in AI-Eye itself")
            await record.end("failed", list(seen.values()), error=found)
            raise
        return await record.end("done", outcome.trace, value=outcome.value)


class _Record:
    """The record of one run: a row at once for those that take their time, all of it at the end."""

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
        async with self._database.write() as session:
            return await executions.end_run(
                session, self._run, execution_id, status=status, ended_at=ended_at, output=value,
                error=error, trace=trace, totals=totals, keeps_values=self._keeps_values,
            )  # fmt: skip

    async def _opened(self) -> int | None:
        if self._opening is None:
            return None
        try:
            return await self._opening
        except AieyeError as error:
            log.warning("execution_not_noted", run_id=self._run.run_id, reason=error.code)
            return None


def _definitions(functions: Mapping[str, Function]) -> dict[str, Definition]:
    return {name: function.definition for name, function in functions.items()}


def _may_call(actor: Actor, pipeline: PipelineInfo) -> bool:
    return pipeline.is_shared or actor.may_see(pipeline.user_id)
