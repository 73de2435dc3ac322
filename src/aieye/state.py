"""The one container of what a running process holds; `aieye.app` builds it, handlers are given it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.cache.service import Cache
from aieye.db.engine import Database, DatabaseUnavailable
from aieye.db.group_writer import GroupWriter
from aieye.db.types import now
from aieye.functions.service import Functions
from aieye.gateway.relay import Relay
from aieye.gateway.service import Gateway
from aieye.ledger.queries.ahead import Ahead
from aieye.ledger.queries.period_sums import Memory
from aieye.ledger.retention import Pruned
from aieye.ledger.tail import Tail
from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.running import Pipelines
from aieye.presets.book import PresetBook
from aieye.presets.processing import Processing
from aieye.presets.search import Search
from aieye.settings import Settings
from aieye.telemetry.colleagues import Colleagues
from aieye.telemetry.lag import LoopLag
from aieye.telemetry.loggers import get_logger
from aieye.telemetry.metrics import Metrics

log = get_logger()


@dataclass(slots=True)
class State:
    """What lives as long as the process."""

    settings: Settings
    database: Database
    cipher: Cipher
    directory: Directory
    writer: GroupWriter
    cache: Cache
    gateway: Gateway
    relay: Relay
    functions: Functions
    pipelines: Pipelines
    presets: PresetBook
    processing: Processing
    search: Search
    metrics: Metrics = field(default_factory=Metrics)
    lag: LoopLag = field(default_factory=LoopLag)
    # The registered functions as pipelines are checked against them, by name.
    function_catalogue: Callable[[], Catalogue] = dict
    # Each says what keeps the process from serving, or None.
    ready_checks: list[Callable[[], str | None]] = field(default_factory=list)
    # The provider that the configuration file names for the models of `/_saga`.
    saga_provider: str | None = None
    # The other workers of this server, where there are several.
    colleagues: Colleagues | None = None
    started_at: datetime = field(default_factory=now)
    # What periods that are over came to, what is read of them before it is asked for, and the calls
    # that begin and end while somebody watches.
    periods: Memory = field(default_factory=Memory)
    ahead: Ahead = field(init=False)
    # The last removal of what is past its time, by this process.
    pruned: Pruned | None = None
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.ahead = Ahead(self.database, self.periods)
        self.tail = Tail(self.database)

    def note_pruning(self, pruned: Pruned) -> None:
        """Remember it for whoever asks how the installation does."""
        self.pruned = pruned


@asynccontextmanager
async def change(state: State) -> AsyncIterator[AsyncSession]:
    """One change: committed at the end, after which this process itself knows of it."""
    async with state.database.write() as session:
        yield session
    if session.info.get("bumped"):
        try:
            await state.directory.refresh()
        except DatabaseUnavailable:
            # The change stands: to answer with an error now would be wrong. The directory goes on
            # trying, as it does for the changes of other processes.
            log.warning("directory_not_refreshed", reason="DatabaseUnavailable")
