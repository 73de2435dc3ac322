"""A program as a plan whose calls know what carries them out."""

from __future__ import annotations

from collections.abc import Iterable

from aieye.functions.model import Function
from aieye.pipeline.language.catalogue import Definition
from aieye.pipeline.plan import lower
from aieye.pipeline.program import Program
from aieye.pipeline.steps import Body, Callee, Plan


def compile_program(program: Program, functions: Iterable[Function]) -> Plan:
    """The plan. Raises `InvalidPipeline`."""
    functions_by_id = {function.id: function for function in functions}

    def resolve(definition: Definition) -> Callee | Body | None:
        id_ = definition.id
        if not isinstance(id_, int):
            return None
        if definition.kind == "function":
            function = functions_by_id.get(id_)
            return None if function is None else callee_of(definition, function)
        if definition.kind == "prompt":
            prompt = program.prompts.get(id_)
            return None if prompt is None else Callee(definition, prompt, is_memoised=True)
        if definition.kind == "preset":
            preset = program.presets.get(id_)
            return None if preset is None else Callee(definition, preset, is_memoised=True)
        pipeline = program.pipelines.get(id_)
        return None if pipeline is None else Body(pipeline.tree, pipeline.analysis)

    return lower(program.main.tree, program.main.analysis, resolve)


def callee_of(definition: Definition, function: Function) -> Callee:
    """How the evaluator treats a function."""
    return Callee(
        definition,
        function,
        is_inline=function.runs == "inline",
        is_memoised=function.cacheable,
        is_ordered=not (function.is_builtin or function.cacheable),
        timeout=function.timeout,
        keeps_time=function.runs == "process"
        or (function.is_builtin and function.runs == "inline"),
        waits_if_large=function.is_builtin,
    )
