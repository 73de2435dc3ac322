"""`.ci/run` with a `make` that is told how its tests end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Takes the next word of `ends`: how many tests fail of this run, and whether it breaks off.
MAKE = f"""#!{sys.executable}
import json, pathlib, sys
if sys.argv[1] == "test":
    with open("asked", "a") as asked:
        print(*sys.argv[2:], file=asked)
    failed, *ends = pathlib.Path("ends").read_text().split()
    pathlib.Path("ends").write_text(" ".join(ends))
    cache = pathlib.Path(".pytest_cache/v/cache")
    cache.mkdir(parents=True, exist_ok=True)
    if failed != "00":
        (cache.parent / "ended").write_text("3" if failed.endswith("broken") else str(int(failed != "0")))
    failed = failed.removesuffix("broken")
    names = {{f"tests/test_a.py::test_{{number}}[: true]": True for number in range(int(failed))}}
    if names:
        (cache / "lastfailed").write_text(json.dumps(names, indent=2))
    print(f"= {{failed}} failed =")
    sys.exit(2 if names or failed == "00" else 0)
"""
AGAIN = "args=--last-failed --last-failed-no-failures=none -n 0"


@pytest.mark.parametrize(
    ("ends", "code", "asked"),
    [
        ("0", 0, [""]),
        ("2 0", 0, ["", AGAIN]),
        ("10 1", 2, ["", AGAIN]),
        ("11", 1, [""]),
        # Two had failed when it broke off.
        ("2broken", 1, [""]),
        # It ended before it had any result.
        ("00", 1, [""]),
    ],
)
def test_ci_runs_a_few_failed_tests_again_and_once(
    tmp_path: Path, ends: str, code: int, asked: list[str]
) -> None:
    shutil.copytree(PROJECT / ".ci", tmp_path / ".ci")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(MAKE)
    make.chmod(0o755)
    (tmp_path / "ends").write_text(ends)
    # What an earlier run on the same checkout left is none of this one's.
    old = tmp_path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"tests/test_b.py::test_old": True}, indent=2))
    ended = subprocess.run(
        [tmp_path / ".ci" / "run"],
        env={"PATH": f"{make.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert (tmp_path / "asked").read_text().split("\n")[:-1] == asked
    assert ended.stdout.splitlines()[-1].startswith("= ")


def test_what_passes_only_alone_is_listed_as_flaky(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "tests" / "tools.py", tmp_path / "tools.py")
    (tmp_path / "conftest.py").write_text(
        "import tools\n"
        "def pytest_terminal_summary(terminalreporter):\n"
        "    tools.report_flaky(terminalreporter)\n"
    )
    (tmp_path / "test_a.py").write_text(
        "import pathlib\n"
        "def test_good(): pass\n"
        "def test_flaky():\n"
        "    seen = pathlib.Path('seen')\n"
        "    assert seen.exists() or seen.touch()\n"
        "def test_bad(): assert False\n"
    )
    first, second = _pytest(tmp_path), _pytest(tmp_path, "--last-failed", "-n", "0")
    assert "FLAKY" not in first
    flaky = [line for line in second.splitlines() if line.startswith("FLAKY")]
    assert flaky == ["FLAKY: test_a.py::test_flaky"]
    assert "= 1 failed, 1 passed in " in second.splitlines()[-1]
    without_cache = _pytest(tmp_path, "-p", "no:cacheprovider")
    assert "= 1 failed, 2 passed in " in without_cache.splitlines()[-1]


def _pytest(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", directory, *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    ).stdout
