"""Numpy is loaded late, whole, and for one core."""

from __future__ import annotations

import subprocess
import sys

_ONE_CORE = """
import asyncio, os, sys
from aieye.presets.embedding import load_numpy

async def main():
    assert "numpy" not in sys.modules
    # The pool has its first thread, which loads it then.
    await asyncio.to_thread(int)
    before = len(os.listdir("/proc/self/task"))
    ranking = await load_numpy("ranking")
    rows = ranking.np.ones((2000, 500), dtype="float32")
    rows @ rows[0]
    assert len(os.listdir("/proc/self/task")) == before
    # Functions in processes of their own decide for themselves.
    assert "OPENBLAS_NUM_THREADS" not in os.environ

asyncio.run(main())
"""
_WHOLE = """
import asyncio
from aieye.presets.embedding import load_numpy

async def use():
    assert hasattr(await load_numpy("ranking"), "Matrix")

async def main():
    calls = [asyncio.create_task(use())]
    while not calls[0].done():
        calls.append(asyncio.create_task(use()))
        await asyncio.sleep(0.001)
    await asyncio.gather(*calls)

asyncio.run(main())
"""


def run(script: str) -> None:
    """In a process that has loaded nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60,
        env={},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_products_of_matrices_take_one_core() -> None:
    run(_ONE_CORE)


def test_who_comes_while_it_is_loaded_waits_for_all_of_it() -> None:
    run(_WHOLE)
