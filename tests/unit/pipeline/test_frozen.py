"""Nodes are frozen dataclasses in all that can be seen of them, however they are made."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from inspect import signature

import pytest

from aieye.pipeline.language.frozen import node


@node
class Made:
    name: str
    parts: tuple[int, ...] = ()
    start: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Expected:
    name: str
    parts: tuple[int, ...] = ()
    start: int = field(default=0, compare=False)


def test_a_node_is_what_the_frozen_dataclass_of_its_fields_is() -> None:
    made, expected = Made("a", (1,), start=3), Expected("a", (1,), start=3)
    assert type(made) is Made
    assert repr(made).replace("Made", "Expected") == repr(expected)
    assert made == Made("a", (1,), start=7) != Made("b", (1,))
    assert hash(made) == hash(Made("a", (1,))) == hash(expected)
    assert signature(Made) == signature(Expected)
    assert [one.name for one in fields(Made)] == ["name", "parts", "start"]
    assert replace(made, name="b") == Made("b", (1,))
    assert pickle.loads(pickle.dumps(made)) == made
    assert not hasattr(made, "__dict__")


def test_a_node_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Made("a").name = "b"  # type: ignore[misc] # that is the point
    with pytest.raises(TypeError):
        Made()  # type: ignore[call-arg] # its name is missing
