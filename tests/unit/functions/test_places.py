"""Places are shared out: nobody has all, and who has few comes first."""

from __future__ import annotations

import asyncio

from aieye.functions.places import Places


class _Wanted:
    """Who wants a place, in order, and who has one; each keeps it until told to `leave`."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self.inside: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def want(self, *names: str) -> None:
        """The first letter of a name is the owner."""
        for name in names:
            self._tasks[name] = asyncio.create_task(self._have(name))
        await self._settle()

    async def leave(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await self._settle()

    async def _have(self, name: str) -> None:
        async with self._places.place(None if name.startswith("-") else name[0]):
            self.inside.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.remove(name)

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_one_owner_never_has_all() -> None:
    wanted = _Wanted(Places(3))
    await wanted.want("a1", "a2", "a3", "b1")
    assert wanted.inside == ["a1", "a2", "b1"]
    await wanted.leave("b1")
    assert wanted.inside == ["a1", "a2"]
    await wanted.leave("a1", "a2", "a3")


async def test_two_who_keep_all_that_they_get_leave_a_place_for_a_third() -> None:
    wanted = _Wanted(Places(7))
    names = [f"{owner}{number}" for owner in "ab" for number in range(7)]
    await wanted.want(*names)
    assert [name[0] for name in wanted.inside] == ["a", "a", "a", "a", "b", "b"]
    await wanted.want("c1")
    assert wanted.inside[-1] == "c1"
    await wanted.leave(*names, "c1")


async def test_who_has_fewest_comes_first_and_equals_in_their_order() -> None:
    wanted = _Wanted(Places(3))
    await wanted.want("a1", "a2", "b1", "a3", "b2", "c1", "c2")
    for leaving, entering in (("a1", "c1"), ("a2", "a3"), ("b1", "b2")):
        await wanted.leave(leaving)
        assert wanted.inside[-1] == entering
    await wanted.leave("a3", "b2", "c1", "c2")


async def test_nobody_in_particular_may_have_all_and_one_place_is_for_anybody() -> None:
    wanted = _Wanted(Places(2))
    await wanted.want("-1", "-2")
    assert wanted.inside == ["-1", "-2"]
    single = _Wanted(Places(1))
    await single.want("a1")
    assert single.inside == ["a1"]
    await wanted.leave("-1", "-2")
    await single.leave("a1")


async def test_a_place_is_not_lost_when_who_waits_gives_up() -> None:
    wanted = _Wanted(Places(2))
    await wanted.want("a1", "b1", "c1", "d1")
    # The place is handed to c1 in the same moment in which c1 gives up.
    await wanted.leave("b1", "c1")
    assert wanted.inside == ["a1", "d1"]
    await wanted.leave("a1", "d1")
    await wanted.want("e1", "f1")
    assert wanted.inside == ["e1", "f1"]
    await wanted.leave("e1", "f1")
