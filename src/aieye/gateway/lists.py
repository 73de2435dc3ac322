"""A caller's own objects, out of lists that hold everybody's.

A provider lists what belongs to a key, whoever made it. So each key that the caller's objects were
made with is asked, page after page, until as many are found as the caller wants. The object that
the caller wants to go on after says where to begin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from aieye.access.directory import Directory
from aieye.gateway.calls import Call
from aieye.gateway.dispatch import AllCircuitsOpen, Outcome, ProviderRefusesKey
from aieye.gateway.owned import NoSuchObject, Owned, candidate_at
from aieye.gateway.references import brought, id_of, read_answer
from aieye.gateway.routing import Candidate, resolve

Ask = Callable[[Sequence[Candidate], str], Awaitable[Outcome]]
Json = dict[str, Any]

# As many as OpenAI gives to who does not say how many.
_USUAL_SIZE = 20
# The largest pages that OpenAI gives, and how many of them one call may cost.
_LARGEST_PAGE = 100
_LARGEST_PAGES = {"file": 10_000}
_MOST_PAGES = 100


@dataclass(frozen=True, slots=True)
class _Source:
    """Candidates whose lists are the same. From one of them, administrators also get the objects
    that AI-Eye has not seen being made."""

    candidates: Sequence[Candidate]
    lists_unknown: bool


@dataclass(frozen=True, slots=True)
class _Page:
    """A provider's answer; `own` is None where it is no list, but an error."""

    outcome: Outcome
    answer: Json
    own: list[Json] | None
    is_last: bool


class OwnLists:
    """Answers the calls that list objects."""

    def __init__(self, owned: Owned, directory: Directory) -> None:
        self._owned = owned
        self._directory = directory

    async def find(self, call: Call, ask: Ask) -> Outcome:
        """The answer with the caller's objects alone, byte for byte where it held no others.

        `ask` sends the call to one of the candidates with a query. Raises what it raises, and
        `NoSuchObject` for a cursor that is not the caller's.
        """
        query = _Query(call)
        sources = await self._sources(call, query.cursor)
        pages: list[_Page] = []
        kept: list[Json] = []
        has_more = False
        async for page in self._pages(call, ask, query, sources):
            if page.own is None:
                return page.outcome
            pages.append(page)
            kept += page.own
            is_enough = "has_more" in page.answer and len(kept) >= query.wanted
            if is_enough or len(pages) == _MOST_PAGES:
                has_more = not page.is_last
                break
        if not pages:
            raise NoSuchObject("The keys of your objects are not in use any more.")
        return _joined(pages, kept, query.limit, has_more=has_more)

    async def _sources(self, call: Call, cursor: str | None) -> list[_Source]:
        """Where the caller's objects are, from the cursor on."""
        snapshot, grant = self._directory.current, call.grant
        places = await self._owned.places_of_kind(grant, call.match.endpoint.lists or "")
        usual: Sequence[Candidate] = ()
        home = None
        if grant.is_administrator or not places:
            usual = resolve(snapshot, grant, None)
            home = usual[0].provider.id, usual[0].keys[0].id
            places = [home, *(place for place in places if place != home)]
        begin = None if cursor is None else await self._owned.check(grant, [cursor])
        if begin is not None:
            usual = ()
            places = places[places.index(begin) :] if begin in places else [begin]
        found = [(place, candidate_at(snapshot, place)) for place in places]
        return [
            _Source(
                usual if usual and place == home else (candidate,),
                lists_unknown=grant.is_administrator and place == home,
            )
            for place, candidate in found
            if candidate is not None
        ]

    async def _pages(
        self, call: Call, ask: Ask, query: _Query, sources: Sequence[_Source]
    ) -> AsyncIterator[_Page]:
        text: str | None = call.query
        has_answer = False
        for number, source in enumerate(sources, 1):
            while text is not None:
                try:
                    outcome = await ask(source.candidates, text)
                except (ProviderRefusesKey, AllCircuitsOpen):
                    if number == len(sources) and not has_answer:
                        raise
                    break
                has_answer = True
                answer = read_answer(outcome.body or b"") or {}
                text = query.after(answer)
                own = await self._own(call, outcome, answer, source)
                is_last = number == len(sources) and answer.get("has_more") is not True
                yield _Page(outcome, answer, own, is_last)
            text = query.beginning

    async def _own(
        self, call: Call, outcome: Outcome, answer: Json, source: _Source
    ) -> list[Json] | None:
        """The caller's objects of a page; the files that they bring become the caller's, too."""
        data = answer.get("data")
        if outcome.status >= 300 or not isinstance(data, list):
            return None
        by_id = {id_of(one): one for one in data if isinstance(one, dict)}
        ids = [external_id for external_id in by_id if external_id is not None]
        own, known = await self._owned.places(call.grant, ids)
        here = outcome.candidate.provider.id, outcome.key.id
        kept = []
        for external_id in ids:
            is_here = own.get(external_id) in {here, (here[0], None)}
            if is_here or (source.lists_unknown and external_id not in known):
                kept.append(by_id[external_id])
                for file_id in brought(call.match.endpoint.name, by_id[external_id]):
                    self._owned.note(call.grant, file_id, "file", here)
        return kept


class _Query:
    """What the caller wants: how many, and after which object."""

    def __init__(self, call: Call) -> None:
        pairs = parse_qsl(call.query, keep_blank_values=True)
        named = dict(pairs)
        self.cursor = named.get("after") or named.get("before") or None
        limit = named.get("limit", "")
        self.limit = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 7 else None
        # Backwards one page at a time, as it comes.
        self._is_backwards = "before" in named
        self.wanted = 0 if self._is_backwards else self.limit or _USUAL_SIZE
        # The same query from the beginning of a list.
        self.beginning = urlencode([pair for pair in pairs if pair[0] not in {"after", "before"}])
        self._others = [pair for pair in pairs if pair[0] not in {"after", "limit"}]
        self._largest = _LARGEST_PAGES.get(call.match.endpoint.lists or "", _LARGEST_PAGE)

    def after(self, answer: Json) -> str | None:
        """The query for what follows a page, if anything does."""
        data = answer.get("data")
        if answer.get("has_more") is not True or not isinstance(data, list) or not data:
            return None
        last = id_of(data[-1]) if isinstance(data[-1], dict) else None
        if last is None or self._is_backwards:
            return None
        return urlencode([*self._others, ("after", last), ("limit", str(self._largest))])


def _joined(
    pages: Sequence[_Page], kept: list[Json], limit: int | None, *, has_more: bool
) -> Outcome:
    """One answer with the objects of all pages."""
    outcome, answer = pages[-1].outcome, pages[-1].answer
    is_paged = "has_more" in answer
    if is_paged and limit is not None and len(pages) > 1 and len(kept) > limit:
        kept, has_more = kept[:limit], True
    is_whole = len(pages) == 1 and len(kept) == len(answer["data"])
    if is_whole and (not is_paged or answer["has_more"] is has_more):
        return outcome
    changed = {**answer, "data": kept}
    if is_paged:
        changed["has_more"] = has_more
    for name, index in (("first_id", 0), ("last_id", -1)):
        if name in answer:
            changed[name] = kept[index]["id"] if kept else None
    outcome.body = orjson.dumps(changed)
    return outcome
