"""Templates as they were compiled once: kept where Python keeps what it compiled of the package.

To compile the templates of a page takes some tenths of a second, of all pages seconds. Where nothing
may be written there, each process compiles for itself.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from hashlib import blake2b
from importlib.util import cache_from_source
from pathlib import Path

from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

# Beside templates, what decides what is compiled of them: filters of constants are applied then.
_MEANING = ("pages.py", "show.py")
# As the package's own files are: who installs is seldom who serves.
_READABLE = 0o644


class Compiled(FileSystemBytecodeCache):
    """Jinja's files, one a template, in the package's `__pycache__`."""

    def __init__(self) -> None:
        here = Path(__file__)
        texts = [(here.parent / name).read_bytes() for name in _MEANING]
        self._meaning = blake2b(b"\0".join(texts), digest_size=8).hexdigest()
        super().__init__(str(Path(cache_from_source(str(here))).parent), "template-%s.bin")

    def get_source_checksum(self, source: str) -> str:
        return super().get_source_checksum(self._meaning + source)

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if not sys.dont_write_bytecode:
            with suppress(OSError):
                Path(self.directory).mkdir(parents=True, exist_ok=True)
                super().dump_bytecode(bucket)
                # Jinja leaves a temporary file's mode, which is the writer's alone.
                Path(self._get_cache_filename(bucket)).chmod(_READABLE)
