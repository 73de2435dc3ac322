"""Keys that nothing is stored under, known without asking the database."""

from __future__ import annotations

from hashlib import sha256

from aieye.cache.absent import KeyFilter


def key(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def test_what_was_added_is_never_called_absent() -> None:
    keys = KeyFilter(1_000)
    for number in range(20_000):
        keys.add(key(number))
    assert all(keys.may_hold(key(number)) for number in range(20_000))


def test_few_absent_keys_are_taken_for_stored_ones() -> None:
    keys = KeyFilter(200_000)
    for number in range(keys.capacity):
        keys.add(key(number))
    mistaken = sum(keys.may_hold(key(-number)) for number in range(1, 10_001))
    assert keys.count == keys.capacity
    assert 0 < mistaken < 150


def test_an_empty_one_holds_nothing() -> None:
    assert not any(KeyFilter(0).may_hold(key(number)) for number in range(100))
