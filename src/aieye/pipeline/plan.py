"""A checked tree into a flat plan: section 8, rule 1 of the language. Pure.

Pipelines that are called become part of the plan, so that their steps start as soon as their own
operands have values.
"""

from __future__ import annotations

from aieye.pipeline.language.analysis import Analysis
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Pipeline
from aieye.pipeline.planning.building import Builder, Expansion, Resolve
from aieye.pipeline.planning.lowering import Lowered, Text
from aieye.pipeline.steps import Body, Place, Plan


def lower(pipeline: Pipeline, analysis: Analysis, resolve: Resolve) -> Plan:
    """The plan of a pipeline. `resolve` is asked once for each definition.

    Raises `InvalidPipeline`: what the analysis found, E201 for a callee that is no longer there, E508
    for more than 2,000 steps or pipelines more than 8 deep.
    """
    if not analysis.is_valid:
        raise InvalidPipeline(*analysis.diagnostics)
    places = {
        param.name: Place(pipeline.source, param.start, param.start + len(param.name))
        for param in pipeline.params
    }
    run = Expansion(resolve)
    builder = Builder(analysis.arguments)
    text = Text(run, builder, Body(pipeline, analysis), builder.given())
    result = _flatten(text.body())
    return builder.plan(result, text.order(result), places)


def _flatten(part: Lowered) -> int:
    """Run a part and what it yields, innermost first, without recursing."""
    waiting = [part]
    step = 0
    is_new = True
    while waiting:
        try:
            inner = next(waiting[-1]) if is_new else waiting[-1].send(step)
        except StopIteration as returned:
            waiting.pop()
            step, is_new = returned.value, False
        else:
            waiting.append(inner)
            is_new = True
    return step
