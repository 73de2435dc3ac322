"""The bound for all streams together: who lets go when it is passed, and that this ends."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from aieye.gateway.held import Held


@dataclass(eq=False)
class Stream:
    """Holds so much, and needs so much of it."""

    size: int
    needed: int = 0
    let_go_count: int = 0

    def let_go(self) -> int:
        self.let_go_count += 1
        self.size = min(self.size, self.needed)
        return self.size


def test_the_largest_lets_go_first_and_nobody_more_than_is_needed() -> None:
    held = Held(100)
    small, large, new = Stream(30), Stream(60), Stream(20)
    for one in (small, large, new):
        held.note(one, one.size)
    assert [one.let_go_count for one in (small, large, new)] == [0, 1, 0]
    assert held.total_bytes == 50


def test_what_is_gone_does_not_count_any_more() -> None:
    held = Held(100)
    for _ in range(10):
        one = Stream(90)
        held.note(one, 90)
        held.note(one, 0)
        assert one.let_go_count == 0
    assert held.total_bytes == 0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50), st.integers(0, 50)), max_size=60),
    st.integers(0, 100),
)
def test_the_sum_is_within_the_bound_unless_the_largest_cannot_do_with_less(
    changes: list[tuple[int, int, int]], most: int
) -> None:
    held = Held(most)
    streams = [Stream(0) for _ in range(10)]
    for number, size, needed in changes:
        stream = streams[number]
        stream.size, stream.needed = size, min(size, needed)
        held.note(stream, size)
        assert held.total_bytes == sum(one.size for one in streams)
        largest = max(streams, key=lambda one: one.size)
        assert held.total_bytes <= most or any(
            one.needed == one.size for one in streams if one.size == largest.size
        )
