"""The cache's tier in memory: never over its bytes, and the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from aieye.cache.entry import Entry, Provenance
from aieye.cache.memory import MemoryTier

MOST_BYTES = 40_000


def entry(name: str, length: int = 1_000) -> Entry:
    return Entry(
        key=sha256(name.encode()).digest(),
        endpoint="chat/completions",
        provider_id=1,
        namespace="default",
        model="m",
        is_stream=False,
        headers=(),
        body=b"x" * length,
        provenance=Provenance(),
        created_at=0,
        expires_at=None,
    )


def test_what_was_not_used_for_longest_goes_first() -> None:
    memory = MemoryTier(MOST_BYTES)
    size = entry("0").size_bytes
    fitting = MOST_BYTES // size
    for number in range(fitting):
        memory.put(entry(str(number)))
    assert memory.find(entry("0").key) is not None
    memory.put(entry("one more"))
    assert memory.find(entry("0").key) is not None
    assert memory.find(entry("1").key) is None
    assert memory.find(entry("one more").key) is not None


def test_an_entry_that_would_push_out_most_others_is_not_held() -> None:
    memory = MemoryTier(MOST_BYTES)
    memory.put(entry("small"))
    memory.put(entry("large", MOST_BYTES // 2))
    memory.put(entry("larger than all", MOST_BYTES * 2))
    assert memory.find(entry("small").key) is not None
    assert len(memory) == 1


def test_a_large_answer_in_place_of_a_small_one_leaves_no_stale_one_behind() -> None:
    memory = MemoryTier(MOST_BYTES)
    memory.put(entry("a"))
    memory.put(entry("a", MOST_BYTES))
    assert memory.find(entry("a").key) is None
    assert memory.size_bytes == 0


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 12_000), st.booleans())),
)
def test_after_any_sequence_the_sum_is_right_and_within_the_limit(
    steps: list[tuple[str, int, bool]],
) -> None:
    memory = MemoryTier(MOST_BYTES)
    model: OrderedDict[bytes, int] = OrderedDict()
    for name, length, is_put in steps:
        one = entry(name, length)
        if is_put:
            memory.put(one)
            model[one.key] = one.size_bytes
        else:
            memory.drop(one.key)
            model.pop(one.key, None)
        held = {key for key in model if memory.find(key) is not None}
        model = OrderedDict((key, size) for key, size in model.items() if key in held)
        assert memory.size_bytes == sum(model.values()) <= MOST_BYTES
        assert len(memory) == len(model)
