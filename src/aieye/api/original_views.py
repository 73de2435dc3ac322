"""Runs and arguments as the original AI-Eye showed them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from aieye.db.tables import Execution, ExecutionStep
from aieye.ledger.pricing import format_usd
from aieye.pipeline.language.catalogue import Parameter
from aieye.pipeline.language.printer import format_type
from aieye.pipeline.language.values import text_of
from aieye.pipeline.run_record import Finished
from aieye.pipeline.trace import StepTrace

# The original knew how a run ended only, and began each as one that has failed.
_STATUSES: Final = {"done": "success", "running": "running"}


def arguments_view(parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The arguments of a pipeline, in order."""
    return {
        "success": True,
        "response": [one.name for one in parameters],
        "params": [
            {
                "name": one.name,
                "type": None if one.type is None else format_type(one.type),
                "required": one.is_required,
                "default": one.default,
            }
            for one in parameters
        ],
    }


def execution_view(row: Execution) -> dict[str, Any]:
    """A run. Costs are dollars, null where they are not known."""
    return {
        "id": row.id,
        "pipeline": row.pipeline_id,
        "status": _STATUSES.get(row.status, "error"),
        "start_date": _moment(row.started_at),
        "end_date": _moment(row.ended_at),
        "parameters": row.arguments,
        "output": None if row.output is None else text_of(row.output),
        "error": None if row.error is None else row.error["message"],
        "total_prompt_tokens": row.tokens_input,
        "total_completion_tokens": row.tokens_output,
        "total_tokens": row.tokens_input + row.tokens_output,
        "total_prompt_cost": _dollars(row.cost_input_nano),
        "total_completion_cost": _output_cost(row),
        "total_cost": _dollars(row.cost_nano),
    }


def entries_view(steps: Iterable[ExecutionStep]) -> list[dict[str, Any]]:
    """The steps of a run, in the order in which they began to wait."""
    return [
        {
            "fn_name": step.name,
            "fn_type": "prompt" if step.kind in {"prompt", "preset"} else "builtin",
            "model": step.model,
            "parameters": step.arguments or {},
            "output": None if step.output is None else text_of(step.output),
            "prompt_tokens": step.tokens_input or 0,
            "completion_tokens": step.tokens_output or 0,
            "prompt_cost": _dollars(step.cost_input_nano),
            "completion_cost": _output_cost(step),
            "start_date": _moment(step.started_at),
            "end_date": _moment(step.ended_at),
        }
        for step in steps
    ]


def meta_view(finished: Finished) -> dict[str, Any]:
    """What a run used, and its calls, the first ones of many. Money is a decimal text of dollars."""
    totals = finished.totals
    return {
        "run_id": finished.run_id,
        "execution_id": finished.execution_id,
        "usage": {
            "prompt_tokens": totals.tokens_input,
            "completion_tokens": totals.tokens_output,
            "total_tokens": totals.tokens_input + totals.tokens_output,
        },
        "cost_usd": usd(totals.cost_nano),
        "saved_usd": usd(totals.saved_nano),
        "steps": [step_view(step) for step in finished.shown],
        "steps_left_out": finished.left_out,
    }


def step_view(step: StepTrace) -> dict[str, Any]:
    """A step of a run that is over."""
    return {
        "path": step.path,
        "name": step.name,
        "kind": step.kind,
        "status": step.status,
        "attempts": step.attempts,
        "model": step.model,
        "cache": step.cache,
        "input": step.input_preview,
        "output": step.output_preview,
        "error": step.error,
        "tokens_input": step.tokens_input,
        "tokens_output": step.tokens_output,
        "cost_usd": usd(step.cost_nano),
        "saved_usd": usd(step.saved_nano),
        "started_at": step.started_at,
        "ended_at": step.ended_at,
    }


def usd(nano: int | None) -> str | None:
    """Nano-dollars as a decimal text of dollars."""
    return None if nano is None else format_usd(nano)


def _dollars(nano: int | None) -> float | None:
    """As the original's clients know costs: a number."""
    return None if nano is None else nano / 1e9


def _output_cost(row: Execution | ExecutionStep) -> float | None:
    if row.cost_nano is None or row.cost_input_nano is None:
        return None
    return _dollars(row.cost_nano - row.cost_input_nano)


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
