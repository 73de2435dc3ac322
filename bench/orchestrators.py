"""Two frameworks that run steps, where they are installed: what one step of theirs costs.

Both are measured as a chain of steps that give on what they get, as ours are, and in an environment of
their own: `PYTHON -m bench.orchestrators NAME STEPS SECONDS` prints the seconds that a step takes.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

from bench.processes import ROOT, NotMeasured, clean_environment
from bench.timing import least_seconds

VARIABLE = "ORCHESTRATORS_VENV"
PACKAGES = {"langchain": "langchain-core", "haystack": "haystack-ai"}
_TELEMETRY_OFF = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LANGSMITH_TRACING": "false"}
_MISSING = 3


def find() -> Path | None:
    """The interpreter of the virtual environment that they are installed in."""
    venv = Path(os.environ.get(VARIABLE) or ROOT / ".venv-orchestrators")
    python = venv.absolute() / "bin" / "python"
    return python if python.is_file() else None


def how(name: str) -> str:
    """How to have one."""
    return (
        "not installed. To see it beside: python3 -m venv .venv-orchestrators && "
        f".venv-orchestrators/bin/pip install {PACKAGES[name]} (another venv: {VARIABLE}=…)"
    )


def step_seconds(python: Path, name: str, steps: int, directory: Path) -> float | None:
    """What a step takes there; None where it is not installed. Raises `NotMeasured`."""
    done = subprocess.run(
        [str(python), "-m", "bench.orchestrators", name, str(steps)],
        cwd=directory,
        env=clean_environment(directory, _TELEMETRY_OFF),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == _MISSING:
        return None
    if done.returncode:
        raise NotMeasured(f"{name} failed:\n{done.stdout}{done.stderr}")
    return float(done.stdout)


def langchain(steps: int) -> Callable[[], object]:
    """A run of LangChain's expression language."""
    runnables: Any = importlib.import_module("langchain_core.runnables")
    parts = [runnables.RunnableLambda(_same) for _ in range(steps)]
    chain = reduce(lambda left, right: left | right, parts)
    return lambda: chain.invoke("a")


def haystack(steps: int) -> Callable[[], object]:
    """A run of a Haystack pipeline."""
    module: Any = importlib.import_module("haystack")

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


def _main(name: str, steps: int) -> int:
    try:
        run = {"langchain": langchain, "haystack": haystack}[name](steps)
    except ModuleNotFoundError:
        return _MISSING
    assert "a" in str(run())
    print(least_seconds(run, 1.0) / steps)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2])))
