"""Pipelines as they are called: found, made ready once for each version, run, and put on record."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import uuid_utils

from aieye.access.audit import Actor
from aieye.access.authored import owner_of_new
from aieye.access.directory import Directory
from aieye.access.snapshot import Grant, PipelineInfo, Snapshot
from aieye.db.engine import Database
from aieye.db.tables import Pipeline
from aieye.db.types import now
from aieye.errors import AieyeError, NotFound
from aieye.functions.model import Function
from aieye.functions.service import Functions
from aieye.pipeline import executions
from aieye.pipeline.apart import apart, is_large
from aieye.pipeline.catalogue import against_usable
from aieye.pipeline.checking import check_valid
from aieye.pipeline.compiling import compile_program
from aieye.pipeline.evaluation.cancellation import Cancellation
from aieye.pipeline.evaluator import evaluate
from aieye.pipeline.executions import Past, Run, Status
from aieye.pipeline.explaining import Explanation, explain
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.ignored import ignored_arguments
from aieye.pipeline.kept_results import KeptResults
from aieye.pipeline.known_functions import KnownFunctions
from aieye.pipeline.language.analysis import Analysis
from aieye.pipeline.language.catalogue import Catalogue, Parameter
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.language.nodes import Pipeline as Tree
from aieye.pipeline.language.suggest import did_you_mean
from aieye.pipeline.language.values import Json
from aieye.pipeline.model_calls import ModelCalls, OnText, Origin
from aieye.pipeline.open_runs import OpenRuns
from aieye.pipeline.options import RunOptions
from aieye.pipeline.preset_calls import PresetCalls
from aieye.pipeline.program import Program, complete, load_program
from aieye.pipeline.repository import versions_of
from aieye.pipeline.resolution import Resolved
from aieye.pipeline.run_record import Finished, RunRecord
from aieye.pipeline.runner import Listener, Means, Runner
from aieye.pipeline.steps import CacheMode, CallStep, Plan
from aieye.pipeline.stored import read_arguments
from aieye.pipeline.trace import StepTrace
from aieye.settings import Settings

# Plans that are remembered until the next change of anything.
_MOST_PLANS: Final = 1_000
# How long the end of runs that the server's stop cuts off may take.
STOP_SECONDS: Final = 5.0


def new_run_id() -> str:
    """The id of a run that is about to begin."""
    return uuid_utils.uuid7().hex


class Pipelines:
    """One a process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        directory: Directory,
        functions: Functions,
        models: ModelCalls,
        presets: PresetCalls,
        instance_id: str,
    ) -> None:
        self._database = database
        self._directory = directory
        self._functions = functions
        self._means = Means(database, functions, models, presets, KeptResults())
        self._instance_id = instance_id
        self._settings = settings
        self._plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()
        self._catalogue: Catalogue = {}
        self._functions_known: Mapping[str, Function] | None = None
        self.open = OpenRuns(database)
        directory.on_change(self._follow)

    async def close(self) -> None:
        """Wait for the records of runs that the server's stop cut off."""
        await self.open.wait(STOP_SECONDS)

    def _follow(self, _snapshot: Snapshot) -> None:
        # A plan holds all that it calls, any of which may have changed.
        self._plans.clear()

    # --- What there is

    def catalogue(self) -> Catalogue:
        """The registered functions by name, as pipelines are checked against them."""
        current = self._functions.current
        if current is not self._functions_known:
            self._plans.clear()
            self._catalogue = KnownFunctions(current, self._functions.faults)
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
            known = self._directory.current.pipelines.values()
            meant = did_you_mean(name, [one.name for one in known if _may_call(actor, one)])
            raise NotFound(f"There is no pipeline '{name[:100]}'{meant or '.'}")
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

    async def list_arguments(
        self, user_id: int, *, is_administrator: bool
    ) -> Sequence[tuple[str, Sequence[Parameter]]]:
        """The names of the pipelines that the user may call, each with what it asks for."""
        found = self.list_callable(user_id, is_administrator=is_administrator)
        async with self._database.read() as session:
            versions = await versions_of(session, {one.id: one.version for one in found})
        return [
            (one.name, read_arguments(versions[one.id].arguments))
            for one in found
            if one.id in versions
        ]

    async def plan(self, info: PipelineInfo) -> Plan:
        """The plan of a pipeline in the version that runs. Raises `InvalidPipeline`, `NotFound`."""
        await self._functions.settle()
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
        plan = await _compiled(program, current)
        is_current = snapshot is self._directory.current and current is self._functions_known
        if is_current and program.main.version == info.version:
            self._plans[place] = plan
            if len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        return plan

    async def plan_of_text(self, source: str, actor: Actor) -> Plan:
        """The plan of a text that is not saved, with the actor's rights. Raises `InvalidPipeline`."""
        await self._functions.settle()
        functions = self.catalogue()
        async with self._database.read() as session:
            owner_id = await owner_of_new(session, actor)
            tree, analysis = await against_usable(session, functions, owner_id, source, check_valid)
        return await self.plan_of_tree(tree, analysis, actor)

    async def plan_of_tree(self, tree: Tree, analysis: Analysis, actor: Actor) -> Plan:
        """The same of a text that was found to be in order. Raises `InvalidPipeline`."""
        functions, current = self.catalogue(), self._functions.current
        async with self._database.read() as session:
            owner_id = await owner_of_new(session, actor)
            main = Resolved(0, "", owner_id, 0, tree, analysis)
            program = await complete(session, functions, main)
        return await _compiled(program, current)

    async def explain(
        self,
        plan: Plan,
        arguments: Mapping[str, Json],
        grant: Grant,
        *,
        info: PipelineInfo | None = None,
        cache: CacheMode = "use",
    ) -> Explanation:
        """What running a plan would come to. Nothing is run, and nothing is spent."""
        past: Mapping[str, Past] = {}
        if info is not None:
            async with self._database.read() as session:
                past = await executions.past_steps(session, info.id)
        means = self._means
        return await explain(plan, arguments, means.models, means.presets, grant, past, cache)

    # --- Runs

    def options(self, *, cache: CacheMode = "use", timeout: float | None = None) -> RunOptions:
        """How a run is made here: as the settings say, `timeout` seconds long if that is shorter."""
        return RunOptions.of(self._settings, cache=cache, timeout=timeout)

    async def run(
        self,
        info: PipelineInfo,
        arguments: Mapping[str, Json],
        grant: Grant,
        options: RunOptions | None = None,
        *,
        run_id: str | None = None,
        on_text: OnText | None = None,
    ) -> Finished:
        """Run a pipeline for the caller whose grant this is; the run is on record at the end.

        `run_id` is one of `new_run_id`; by it `open` ends the run. Where the value is what a model says
        in the end, `on_text` is told it as it comes, or the beginning of it.
        A run that fails is a result too. Raises `InvalidPipeline` before anything runs, `NotFound`,
        and what keeps the record from being written.
        """
        plan = await self.plan(info)
        return await self.run_plan(
            plan, arguments, grant, options, run_id=run_id, on_text=on_text, info=info
        )

    async def run_plan(
        self,
        plan: Plan,
        arguments: Mapping[str, Json],
        grant: Grant,
        options: RunOptions | None = None,
        *,
        run_id: str | None = None,
        on_text: OnText | None = None,
        info: PipelineInfo | None = None,
    ) -> Finished:
        """Run a plan, as `run` does: that of a saved pipeline (`info`), or of a text that is not saved."""
        run = Run(
            run_id=run_id or new_run_id(),
            instance_id=self._instance_id,
            pipeline_id=None if info is None else info.id,
            pipeline_version=None if info is None else info.version,
            pipeline=None if info is None else info.name,
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
        listener = None
        if on_text is not None:
            last = [plan.steps[index] for index in plan.finals]
            listener = Listener([one for one in last if isinstance(one, CallStep)], on_text)
        finished = await self._run(run, plan, grant, options or self.options(), listener)
        return _warned(finished, ignored_arguments(plan.parameters, arguments))

    async def _run(
        self, run: Run, plan: Plan, grant: Grant, options: RunOptions, listener: Listener | None
    ) -> Finished:
        with self.open.holding(run) as cancellation:
            return await self._recorded(run, plan, grant, options, listener, cancellation)

    async def _recorded(
        self,
        run: Run,
        plan: Plan,
        grant: Grant,
        options: RunOptions,
        listener: Listener | None,
        cancellation: Cancellation,
    ) -> Finished:
        seen: dict[int, StepTrace] = {}
        told = options.on_step

        def note(step: StepTrace) -> None:
            seen[id(step)] = step
            if told is not None:
                told(step)

        runner = Runner(self._means, Origin(run.run_id, run.pipeline, grant), options, listener)
        record = RunRecord(self._database, run, keeps_values=self._settings.ledger_bodies)
        try:
            outcome = await evaluate(
                plan, run.arguments, runner, replace(options, on_step=note), cancellation
            )
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


async def _compiled(program: Program, functions: Mapping[str, Function]) -> Plan:
    """The plan of a program. One that calls pipelines may come to much, however short its text."""
    is_heavy = bool(program.pipelines) or is_large(program.main.tree.source.text)
    return await apart(is_heavy, compile_program, program, list(functions.values()))


def _warned(finished: Finished, ignored: Sequence[str]) -> Finished:
    """The run with what was ignored of its arguments; one that is missing may be among that."""
    if not ignored:
        return finished
    failure = finished.failure
    if failure is not None and failure.diagnostic.code == "E507":
        failure.diagnostic = replace(failure.diagnostic, hint=", ".join(ignored))
    return replace(finished, warnings=ignored)


def _may_call(actor: Actor, pipeline: PipelineInfo) -> bool:
    return pipeline.is_shared or actor.may_see(pipeline.user_id)
