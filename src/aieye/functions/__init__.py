"""Functions that people add: what their files import from here, and what finds and runs them.

A file needs no import from us. `function` says how a function is to run, `infer` reads text into
values as the original's decorator did, and an async function may ask for a `Context`.
"""

from __future__ import annotations

from aieye.functions.authoring import Context, function, infer

__all__ = ["Context", "function", "infer"]
