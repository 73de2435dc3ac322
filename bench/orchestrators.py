"""Two frameworks that run steps, where they are installed: what one step of theirs costs.

Both are measured as a chain of steps that give on what they get, as ours are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import reduce
from typing import Any


def langchain(steps: int) -> Callable[[], object] | str:
    """A run of LangChain's expression language, or how to have it."""
    try:
        runnables: Any = importlib.import_module("langchain_core.runnables")
    except ModuleNotFoundError:
        return "not installed. To see it beside: .venv/bin/pip install langchain-core"
    parts = [runnables.RunnableLambda(_same) for _ in range(steps)]
    chain = reduce(lambda left, right: left | right, parts)
    return lambda: chain.invoke("a")


def haystack(steps: int) -> Callable[[], object] | str:
    """A run of a Haystack pipeline, or how to have it."""
    try:
        module: Any = importlib.import_module("haystack")
    except ModuleNotFoundError:
        return "not installed. To see it beside: .venv/bin/pip install haystack-ai"

    class Same:
        def run(self, value: str) -> dict[str, str]:
            return {"value": value}

    # Without `from __future__ import annotations` its decorator would read the types themselves.
    Same.run.__annotations__ = {"value": str, "return": dict[str, str]}
    Same.run = module.component.output_types(value=str)(Same.run)  # type: ignore[method-assign]  # a decorator
    component = module.component(Same)
    pipeline = module.Pipeline()
    for number in range(steps):
        pipeline.add_component(f"c{number}", component())
    for number in range(1, steps):
        pipeline.connect(f"c{number - 1}.value", f"c{number}.value")
    return lambda: pipeline.run({"c0": {"value": "a"}})


def _same(value: str) -> str:
    return value
