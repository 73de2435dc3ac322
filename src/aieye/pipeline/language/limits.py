"""How large a pipeline may be: section 7 of the language, as far as its text is concerned."""

from __future__ import annotations

from typing import Final

MAX_SOURCE_BYTES: Final = 64 * 1024
MAX_TOKENS: Final = 20_000
MAX_NESTING: Final = 100
MAX_TREE_DEPTH: Final = 2 * MAX_NESTING + 1
"""Nodes on a path from the root: a delimiter's on each level, a chain's around it, and a leaf."""

MAX_NAME_CHARACTERS: Final = 100
MAX_STRING_BYTES: Final = 16 * 1024
MAX_PIPELINE_DEPTH: Final = 8
MAX_DIAGNOSTICS: Final = 50

MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**63 - 1
