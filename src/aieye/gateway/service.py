"""The gateway: takes a call, finds its answer in the cache or at a provider, and sees it recorded.

Every call that is let in is settled exactly once, and its row is durable before the last bytes of
its answer are handed out.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aieye.access.directory import Directory
from aieye.access.snapshot import Snapshot
from aieye.cache.controls import DEFAULT, Controls
from aieye.cache.entry import Entry
from aieye.cache.key import digest
from aieye.cache.service import Cache
from aieye.db.group_writer import GroupWriter
from aieye.errors import AieyeError
from aieye.gateway.accounts import Accounts
from aieye.gateway.admission import Admission
from aieye.gateway.answer_headers import fixed_of_hit, headers_of_hit
from aieye.gateway.calls import Call, Reply
from aieye.gateway.circuits import Circuits
from aieye.gateway.client import UpstreamClient
from aieye.gateway.dispatch import Dispatcher
from aieye.gateway.prepare import Plan, prepare
from aieye.gateway.replay import body_from, fill_from_entry
from aieye.gateway.results import Results
from aieye.gateway.routing import Candidate, Router
from aieye.gateway.sharing import Exchanges
from aieye.gateway.tariff import Tariff
from aieye.gateway.upstream import Upstream
from aieye.gateway.wire import Endpoint, Header
from aieye.ledger.book import Book
from aieye.settings import Settings

# Bodies whose reading is remembered.
_MOST_KNOWN = 8_192
# A body's hash (as a dictionary takes it: a hint), the path, the token, the key that the caller is
# pinned to, its own default provider, and the trials it takes part in.
_Place = tuple[int, str, int | None, int | None, int | None, str]


class CacheMiss(AieyeError):
    """The caller wants a stored answer or none (RFC 9111, 5.2.1.7), and there is none."""

    status = 504
    type = "invalid_request_error"
    code = "cache_miss"

    def __init__(self, message: str) -> None:
        # Neither a hit nor forwarded (RFC 9211, 2).
        super().__init__(message, headers={"Cache-Status": "aieye; detail=only-if-cached"})


@dataclass(slots=True)
class _Known:
    """What was found out about a body when it was read: enough to answer it from the cache.

    `digest` is the body's own; `fixed` is what answers out of `entry`, the last one given, say.
    """

    digest: bytes
    endpoint: Endpoint
    key: bytes
    model: str | None
    is_stream: bool
    wants_usage: bool
    controls: Controls
    tags: dict[str, str] | None
    entry: Entry | None = None
    fixed: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a call would come to: the first candidate, and the stored answer with its body, if any."""

    candidate: Candidate
    entry: Entry | None
    body: bytes | None


class Gateway:
    """One a process. `infer` is the way of every call that asks a model."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        cache: Cache,
        writer: GroupWriter,
        book: Book,
        admission: Admission,
    ) -> None:
        self.circuits = Circuits()
        self.client = UpstreamClient(connect_timeout=settings.connect_timeout)
        self.dispatcher = Dispatcher(self.circuits, total_seconds=settings.upstream_timeout)
        self.tariff = Tariff(book)
        self.admission = admission
        self.book = book
        self.writer = writer
        self.directory = directory
        self.accounts = Accounts(settings, writer, book, admission, self.tariff)
        # What else answers calls settles them in the same way.
        self.settle = self.accounts.settle
        self.settle_failed = self.accounts.settle_failed
        self.durable = self.accounts.durable
        self.exchanges = Exchanges(
            settings,
            self.dispatcher,
            Upstream(self.client, settings),
            self.tariff,
            self.accounts,
            Results(settings, cache, book, self.tariff),
        )
        self._settings = settings
        self._cache = cache
        self._known: OrderedDict[_Place, _Known] = OrderedDict()
        self._router = Router(directory.current)
        directory.on_change(self._follow)

    async def close(self) -> None:
        await self.client.close()

    def _follow(self, snapshot: Snapshot) -> None:
        # What was found out about a body holds for the snapshot it was found out with.
        self._known.clear()
        self._router = Router(snapshot)
        self.tariff.follow(snapshot)
        self.circuits.follow(snapshot)
        self._cache.follow(snapshot)

    # -- the way of a call ------------------------------------------------------------------

    async def infer(self, call: Call, bind: Callable[[Call], Awaitable[None]]) -> Reply:
        """Answer a call that asks a model. Raises `AieyeError`, after the call was settled.

        `bind` sees that the objects which the body names are the caller's, and sets `key_id`.
        """
        record, grant = call.record, call.grant
        record.token_id, record.user_id = grant.token_id, grant.user_id
        try:
            self.admission.admit(grant, call.match.endpoint)
            reply = self._recall(call)
            if reply is not None:
                await self.durable(call)
                return reply
            await bind(call)
            return await self._infer(call)
        except AieyeError as error:
            if call.record.status is None:
                await self.settle_failed(call, error)
            raise
        except asyncio.CancelledError:
            if call.record.status is None:
                self.accounts.settle_left(call)
            raise
        except Exception:
            # Our own fault, told by whoever called: here it only gets its row.
            if call.record.status is None:
                self.accounts.settle_crashed(call)
            raise

    async def forecast(self, call: Call) -> Forecast:
        """Where a call would go, and what of the cache would answer it; nothing is asked or booked.

        Raises what `prepare` does.
        """
        plan = prepare(call.match, call.body, call.grant, self._router, call.controls)
        is_looked_up = self._mode(call, plan) in {"use", "only"}
        for key in plan.keys if is_looked_up else ():
            entry = await self._cache.find(key)
            if entry is not None and entry.is_fresh(call.record.created_at, None):
                body = body_from(entry, plan.endpoint, is_stream=False, wants_usage=False)
                if body is not None:
                    return Forecast(plan.candidates[0], entry, body)
        return Forecast(plan.candidates[0], None, None)

    def _recall(self, call: Call) -> Reply | None:
        """The short way: the answer to what the same token has asked before, out of memory."""
        if call.controls is not DEFAULT:
            return None
        known = self._known.get(_place(call))
        if known is None or known.digest != digest(call.body):
            return None
        record = call.record
        entry = self._cache.find_in_memory(known.key)
        if entry is None or not entry.is_fresh(record.created_at, known.controls.max_age_us):
            return None
        body = body_from(
            entry, known.endpoint, is_stream=known.is_stream, wants_usage=known.wants_usage
        )
        if body is None:
            return None
        record.model_asked, record.tags = known.model, _tags(call, known.tags)
        record.is_stream = known.is_stream
        if known.entry is not entry:
            known.entry, known.fixed = entry, self._fixed(entry, is_stream=known.is_stream)
        self._book_hit(call, entry, body)
        return Reply(200, headers_of_hit(call, entry, known.fixed), body)

    async def _infer(self, call: Call) -> Reply:
        record = call.record
        plan = self._prepare(call)
        mode = self._mode(call, plan)
        if mode in {"use", "only"}:
            reply = await self._look_up(call, plan)
            if reply is not None:
                if mode == "use" and call.key_id is None:
                    self._remember(call, plan)
                await self.durable(call)
                return reply
            if mode == "only":
                record.cache = "miss"
                raise CacheMiss("There is no stored answer to this request.")
        else:
            call.forwarded_for = b"request" if mode == "refresh" else b"bypass"
        record.cache = {"use": "miss", "refresh": "refresh"}.get(mode, "bypass")
        return await self.exchanges.answer(call, plan, keeps=mode != "off", shares=mode == "use")

    def _prepare(self, call: Call) -> Plan:
        plan = prepare(
            call.match, call.body, call.grant, self._router, call.controls,
            key_id=call.key_id, beta=call.beta,
        )  # fmt: skip
        record = call.record
        record.model_asked, record.is_stream = plan.model, plan.is_stream
        record.tags = _tags(call, plan.tags)
        return plan

    def _mode(self, call: Call, plan: Plan) -> str:
        """What to do with the cache: as the call says, else as the settings do (`cache_default`,
        which nothing else decides by). A token whose switch is off has no cache in either case.
        """
        if not plan.keys or not call.grant.cache_enabled:
            if plan.controls.mode == "only":
                call.record.cache = "bypass"
                raise CacheMiss("This call cannot be answered from the cache.")
            return "off"
        if not self._settings.cache_default and not plan.controls.is_explicit:
            return "off"
        return plan.controls.mode

    def _remember(self, call: Call, plan: Plan) -> None:
        """Let `recall` answer the next one that asks the same; which objects it names was asked."""
        if call.controls is not DEFAULT or len(plan.candidates) != 1:
            return
        self._known[_place(call)] = _Known(
            digest(call.body), plan.endpoint, plan.keys[0], plan.model, plan.is_stream,
            plan.wants_usage, plan.controls, plan.tags,
        )  # fmt: skip
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    # -- answers from the cache -------------------------------------------------------------

    async def _look_up(self, call: Call, plan: Plan) -> Reply | None:
        for key in plan.keys:
            entry = await self._cache.find(key)
            if entry is None:
                continue
            if entry.is_fresh(call.record.created_at, plan.controls.max_age_us):
                reply = self._from_entry(call, entry, plan)
                if reply is not None:
                    return reply
            else:
                is_current = entry.is_fresh(call.record.created_at, None)
                call.forwarded_for = b"request" if is_current else b"stale"
        return None

    def _from_entry(self, call: Call, entry: Entry, plan: Plan) -> Reply | None:
        """The entry as a reply, booked as a hit."""
        body = body_from(
            entry, plan.endpoint, is_stream=plan.is_stream, wants_usage=plan.wants_usage
        )
        if body is None:
            return None
        self._book_hit(call, entry, body)
        fixed = self._fixed(entry, is_stream=plan.is_stream)
        return Reply(200, headers_of_hit(call, entry, fixed), body)

    def _book_hit(self, call: Call, entry: Entry, body: bytes) -> None:
        record = call.record
        record.cache = "hit"
        fill_from_entry(record, entry)
        self._cache.touch(entry)
        self.accounts.settle_answer(call, 200, body)

    def _fixed(self, entry: Entry, *, is_stream: bool) -> tuple[Header, ...]:
        provider = self.directory.current.providers_by_id.get(entry.provider_id)
        name = None if provider is None else provider.name
        return fixed_of_hit(entry, name, is_stream=is_stream)


def _place(call: Call) -> _Place:
    grant = call.grant
    return (
        *(hash(call.body), call.match.path),
        *(grant.token_id, grant.key_id, grant.home_id, call.beta),
    )


def _tags(call: Call, asked: dict[str, str] | None) -> dict[str, str] | None:
    return asked if call.tags is None else {**(asked or {}), **call.tags}
