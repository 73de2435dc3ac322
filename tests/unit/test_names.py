"""Names that pipelines call: what they look like, and that both places that know agree."""

from __future__ import annotations

import pytest

from aieye.access.names import RESERVED, check_callable_name
from aieye.errors import Unprocessable
from aieye.pipeline.language.catalogue import UNREGISTRABLE
from aieye.pipeline.language.errors import InvalidPipeline
from aieye.pipeline.language.nodes import Name
from aieye.pipeline.language.parser import parse

SAMPLES = ("a", "_", "A1", "x" * 100, "x" * 101, "1a", "a-b", "a b", "", "é", "a\n", "true", "if")


def test_the_reserved_names_are_those_of_the_language() -> None:
    assert RESERVED == UNREGISTRABLE


@pytest.mark.parametrize("text", SAMPLES)
def test_a_name_is_one_of_the_language(text: str) -> None:
    def accepts() -> bool:
        try:
            return check_callable_name(text) == text
        except Unprocessable:
            return False

    def parses() -> bool:
        try:
            node = parse(text).result
        except InvalidPipeline:
            return False
        return isinstance(node, Name) and node.name == text and text not in UNREGISTRABLE

    assert accepts() == parses()
