"""The files of functions: which there are, and what each of them says at present.

`builtins.py` is the one in the directory of `AIEYE_FUNCS_DIR`, else the package's own copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from aieye.functions.model import Failure, Source

BUILTINS: Final = "builtins.py"
MOST_FILE_BYTES: Final = 2**20
_PACKAGED: Final = Path(__file__).parent.parent / "_funcs"
_IN_PROJECT: Final = Path(__file__).parents[3] / "funcs"

State: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""What changes when a file does: of each its name, inode, size and time of change."""


def read_files(directory: Path) -> tuple[Sequence[Source], Sequence[Failure]]:
    """The files as they are now, the built-in ones first, and those that cannot be read."""
    sources: list[Source] = []
    failures: list[Failure] = []
    for path in _paths(directory):
        try:
            content = path.read_bytes()
        except OSError as error:
            failures.append(Failure(path.name, None, error.strerror or type(error).__name__))
            continue
        if len(content) > MOST_FILE_BYTES:
            reason = f"the file has more than {MOST_FILE_BYTES >> 20} MiB"
            failures.append(Failure(path.name, None, reason))
            continue
        is_builtin = path.name == BUILTINS
        sources.append(Source(path.name, str(path.absolute()), content, is_builtin))
    return sources, failures


def look(directory: Path) -> State:
    """The state of the directory's Python files, those that others import included."""
    found = []
    for path in _listed(directory, "*.py"):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path.name, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def packaged_builtins() -> Path:
    """The copy that serves where the directory has none."""
    return (_PACKAGED if _PACKAGED.is_dir() else _IN_PROJECT) / BUILTINS


def _paths(directory: Path) -> Iterator[Path]:
    own = directory / BUILTINS
    yield own if own.exists() else packaged_builtins()
    yield from _listed(directory, "custom_*.py")


def _listed(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in directory.glob(pattern) if not path.is_dir())
    except OSError:
        return []
