"""Compiled templates: kept for the next process, and only as long as they mean the same."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from aieye.ui import compiled
from aieye.ui.compiled import Compiled

TEXT = "{{ 2 + 2 }}"


@pytest.fixture(autouse=True)
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path


class Compiling(Environment):
    """Counts what is compiled."""

    count = 0

    def compile(self, *args: object, **others: object) -> object:  # type: ignore[override] # as given
        type(self).count += 1
        return super().compile(*args, **others)  # type: ignore[call-overload] # as given


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    Compiling.count = 0


def render() -> str:
    """What a process makes of the template that has read nothing yet."""
    environment = Compiling(loader=DictLoader({"page.html": TEXT}), bytecode_cache=Compiled())
    return environment.get_template("page.html").render()


def files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


def test_the_next_process_has_what_one_has_compiled(kept_in: Path) -> None:
    assert (render(), render()) == ("4", "4")
    assert (Compiling.count, len(files(kept_in))) == (1, 1)


def test_what_was_compiled_is_there_for_whoever_may_read_the_package(kept_in: Path) -> None:
    render()
    (kept,) = files(kept_in)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644


def test_what_decides_over_the_outcome_is_part_of_it(
    kept_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render()
    # As if the filters had been changed: of constants their outcome is compiled in.
    monkeypatch.setattr(compiled, "_MEANING", ("pages.py",))
    render()
    assert Compiling.count == 2


def test_a_file_that_is_damaged_is_made_anew(kept_in: Path) -> None:
    render()
    for path in files(kept_in):
        path.write_bytes(b"no code")
    assert (render(), render()) == ("4", "4")
    assert Compiling.count == 2


@pytest.mark.parametrize("reason", ["said", "read_only"])
def test_where_nothing_may_be_written_each_compiles_for_itself(
    kept_in: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    if reason == "said":
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
    else:
        # A file where the directory would be: nobody can write there, not even root.
        (kept_in / "taken").write_bytes(b"")
        monkeypatch.setattr(sys, "pycache_prefix", str(kept_in / "taken"))
    before = files(kept_in)
    assert (render(), render()) == ("4", "4")
    assert (Compiling.count, files(kept_in)) == (2, before)
