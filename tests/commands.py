"""The command line in a process of its own, with nothing of the outer environment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.live import PASSED_ON


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def aieye(directory: Path, *arguments: str, **environment: str) -> Ended:
    """Run a command of `aieye` in a directory."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    ended = subprocess.run(
        [sys.executable, "-m", "aieye", *arguments],
        cwd=directory,
        env={**passed, "HOME": str(directory), "LANG": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
