"""The registered functions as pipelines are checked against them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aieye.functions.model import Function
from aieye.pipeline.language.catalogue import Definition


class KnownFunctions(dict[str, Definition]):
    """Those that can be called, by name; `faults` say of others why they cannot."""

    def __init__(self, functions: Mapping[str, Function], faults: Mapping[str, str]) -> None:
        super().__init__((name, one.definition) for name, one in functions.items())
        self.faults = faults
