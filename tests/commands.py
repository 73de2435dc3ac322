"""The command line in a process of its own, with nothing of the outer environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import forked


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def aieye(directory: Path, *arguments: str, **environment: str) -> Ended:
    """Run a command of `aieye` in a directory."""
    ended = subprocess.run(
        [sys.executable, "-m", "aieye", *arguments],
        cwd=directory,
        env=_environment(directory, environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def aieye_forked(directory: Path, *arguments: str, **environment: str) -> Ended:
    """The same where everything has been imported: for tests of what it does at a server."""
    ended = forked.run(
        arguments, cwd=directory, env=_environment(directory, environment), timeout=120
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def _environment(directory: Path, given: Mapping[str, str]) -> dict[str, str]:
    passed = {name: os.environ[name] for name in forked.PASSED_ON if name in os.environ}
    return {**passed, "HOME": str(directory), "LANG": "C.UTF-8", **given}
