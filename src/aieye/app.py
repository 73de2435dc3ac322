"""The ASGI application: builds the state at its start and takes it down at its end.

`/v1` goes to the gateway's own endpoint before the framework sees it; everything else is FastAPI's.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request

from aieye import __version__
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.access.setup import FirstStart, first_start
from aieye.access.snapshot import ProviderInfo, Snapshot
from aieye.api import admin, health, original_pipelines, originals, saga
from aieye.api.deps import assert_every_route_has_a_policy
from aieye.api.front import Front
from aieye.api.idempotency import Idempotency
from aieye.api.openai import STOP_SECONDS, OpenAIEndpoint
from aieye.api.openapi import install as install_openapi
from aieye.api.pipeline_models import PipelineModels
from aieye.api.preset_models import PresetModels
from aieye.api.rendering import add_error_handlers, is_saga, render_error
from aieye.api.saga_callers import MOST_BYTES
from aieye.background import Background
from aieye.cache.service import Cache, CacheLimits
from aieye.collector import rest_while_starting, watch_what_comes
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.migrate import migrate
from aieye.db.presence import Presence
from aieye.errors import PayloadTooLarge
from aieye.functions.service import Functions
from aieye.gateway.admission import LedgerAdmission
from aieye.gateway.owned import Owned
from aieye.gateway.relay import Relay
from aieye.gateway.service import Gateway
from aieye.headers import BodyLimit, ClientAddress, SecurityHeaders, TrustedProxies
from aieye.ledger.book import Book
from aieye.ledger.interrupted import keep_beating, mark_interrupted
from aieye.ledger.redact import hide_imported
from aieye.ledger.retention import keep_pruning
from aieye.pipeline.model_calls import ModelCalls
from aieye.pipeline.preset_calls import PresetCalls
from aieye.pipeline.running import Pipelines
from aieye.presets.book import PresetBook
from aieye.presets.embedding import Embedding
from aieye.presets.processing import Processing
from aieye.presets.search import Search
from aieye.settings import Settings, load_settings
from aieye.state import State
from aieye.telemetry import configure_logs, hide_secrets
from aieye.telemetry.colleagues import VARIABLE, Colleagues
from aieye.telemetry.lag import LoopLag
from aieye.telemetry.loggers import get_logger
from aieye.telemetry.metrics import Metrics
from aieye.ui import failures, pages, site

log = get_logger()

MOST_FORM_BYTES = 2**20
# The documents of a search as a file: 50,000, in JSON Lines with more than their texts.
MOST_FILE_BYTES = 256 * 2**20
LONGEST_LAG_SECONDS = 1.0
_PARTS = (originals, original_pipelines, saga, admin, health)

Announce = Callable[[FirstStart, ProviderInfo | None], None]


def worker_app() -> Any:
    """The application of one of several workers, its settings read from the environment."""
    configure_logs()
    rest_while_starting()
    shared = os.environ.get(VARIABLE)
    return create_app(
        load_settings(),
        announce=lambda _first, _default: watch_what_comes(),
        workers_at=None if shared is None else Path(shared),
    )


def create_app(
    settings: Settings,
    *,
    demo: bool = False,
    announce: Announce | None = None,
    workers_at: Path | None = None,
) -> Any:
    """The whole service as an ASGI application.

    `demo` forces the simulated provider. `announce` is told, once the service can answer, what the
    first start made and which provider serves models that name none. `workers_at` is a directory
    that the workers of one server share.
    """
    return _Service(settings, demo=demo, announce=announce, workers_at=workers_at)


class _Service:
    """Sends `/v1` to the gateway and the rest to FastAPI."""

    def __init__(
        self,
        settings: Settings,
        *,
        demo: bool,
        announce: Announce | None,
        workers_at: Path | None,
    ) -> None:
        self._settings = settings
        self._workers_at = workers_at
        self._demo = demo
        self._announce = announce
        self._openai: OpenAIEndpoint | None = None
        self.fastapi = self._make_fastapi()
        self._rest = ClientAddress(
            SecurityHeaders(Front(self.fastapi), is_https=settings.base_url.startswith("https://")),
            TrustedProxies(settings.trusted_proxies),
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if (
            scope["type"] == "http"
            and scope["path"].startswith("/v1/")
            and self._openai is not None
        ):
            await self._openai(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    def _make_fastapi(self) -> FastAPI:
        app = FastAPI(
            title="AI-Eye",
            version=__version__,
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
            # As they are: to include a router is to build each of its routes once more.
            routes=[route for part in _PARTS for route in part.router.routes],
        )
        site.mount(app)
        # The request's id, which the handlers of errors add around it, is in its refusals too.
        app.add_middleware(BodyLimit, longest=_longest_body, render=_render_too_large)
        add_error_handlers(app)
        failures.add_handlers(app)
        install_openapi(app)
        assert_every_route_has_a_policy(app)
        return app

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        started = running(self._settings, demo=self._demo, workers_at=self._workers_at)
        async with started as (state, first):
            app.state.aieye = state
            self._openai = OpenAIEndpoint(
                self._settings,
                state.directory,
                state.gateway,
                state.relay,
                Idempotency(
                    state.database, state.writer, state.gateway,
                    most_seconds=self._settings.upstream_timeout + 60,
                ),
                state.metrics,
                PipelineModels(state.pipelines),
                PresetModels(state.presets, state.processing, state.search, state.relay),
            )  # fmt: skip
            if self._announce is not None:
                self._announce(first, state.directory.current.default)
            yield
            await _until_over(state.metrics)
            self._openai = None


def _longest_body(path: str) -> int | None:
    """Forms and administrators' JSON are small; the originals' routes count for themselves."""
    if path.startswith(("/api/openai/", "/api/cache/", "/_saga/")):
        return None
    if path.startswith("/api/v1/presets/") and path.endswith("/documents"):
        return None
    if path.startswith("/presets/") and path.endswith("/documents"):
        return MOST_FILE_BYTES
    # With the documents of a search.
    return MOST_BYTES if path.startswith(("/api/v1/presets", "/presets/")) else MOST_FORM_BYTES


async def _render_too_large(scope: Any, error: PayloadTooLarge) -> Any:
    """As the path's other errors: for programs below `/api`, elsewhere a page for people."""
    request = Request(scope)
    if scope["path"].startswith("/api/") or is_saga(scope["path"]):
        return await render_error(request, error)
    return pages.render_error(request, error)


async def _until_over(metrics: Metrics) -> None:
    """Wait for the calls that the server cut off when it had waited long enough: each still has its
    row to write and its end to say, for which the ledger and the database have to be there."""
    with suppress(TimeoutError):
        async with asyncio.timeout(2 * STOP_SECONDS):
            while metrics.in_flight:  # noqa: ASYNC110 - no call pays for an event that one stop needs
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    settings: Settings, *, demo: bool = False, workers_at: Path | None = None
) -> AsyncIterator[tuple[State, FirstStart]]:
    """Everything that lives as long as the process, started in order and stopped in reverse."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(migrate, settings.database)
        database = Database(settings.database)
        stack.push_async_callback(database.close)
        cipher = Cipher(settings.secret_keys())
        directory = Directory(database, cipher)
        presets = PresetBook()
        directory.read_with(presets.read)
        await directory.start()
        directory.on_change(
            lambda snapshot: hide_secrets(key.hidden.decode() for key in snapshot.keys.values())
        )
        directory.on_change(lambda snapshot: hide_imported(snapshot.old_tokens))
        first = await first_start(database, cipher, directory, settings)
        await directory.refresh()
        if demo or directory.is_keyless:
            await _start_demo(stack, directory, forced=demo)

        writer = GroupWriter(database)
        await writer.start()
        stack.push_async_callback(writer.close)
        cache = Cache(
            database, writer, CacheLimits(settings.cache_memory_bytes, settings.cache_store_bytes)
        )
        await cache.start()
        stack.push_async_callback(cache.close)
        presence = Presence(database, secrets.token_hex(16))
        await presence.start()
        stack.push_async_callback(presence.close)
        await mark_interrupted(database, presence)
        metrics = Metrics()
        directory.on_change(lambda snapshot: _name_providers(metrics, snapshot))
        gateway = Gateway(
            settings, directory, cache, writer, Book(writer, presence.instance_id),
            LedgerAdmission(writer),
        )  # fmt: skip
        metrics.knows_model = _known_models(gateway)
        stack.push_async_callback(gateway.close)
        functions = Functions(database, settings)
        stack.push_async_callback(functions.close)
        await functions.start()
        directory.on_change(lambda _snapshot: functions.notice())
        relay = Relay(settings, gateway, Owned(database, writer))
        processing = Processing(relay, gateway, metrics)
        models = ModelCalls(relay, gateway, metrics)
        search = Search(
            database, directory, Embedding(relay, gateway, metrics), settings.search_model
        )
        stack.push_async_callback(search.close)
        pipelines = Pipelines(
            settings, database, directory, functions, models,
            PresetCalls(models, processing, search), presence.instance_id,
        )  # fmt: skip
        stack.push_async_callback(pipelines.close)
        relay.models.extra.append(PipelineModels(pipelines).list)
        relay.models.extra.append(PresetModels(presets, processing, search, relay).list)
        state = State(
            settings=settings,
            database=database,
            cipher=cipher,
            directory=directory,
            writer=writer,
            cache=cache,
            gateway=gateway,
            relay=relay,
            functions=functions,
            pipelines=pipelines,
            presets=presets,
            processing=processing,
            search=search,
            function_catalogue=pipelines.catalogue,
            metrics=metrics,
            saga_provider=None if demo else first.saga_provider,
        )
        background = Background()
        state.ready_checks.append(background.find_fault)
        _watch(state)
        if workers_at is not None:
            state.colleagues = Colleagues(workers_at, settings.workers, metrics)
            await state.colleagues.start()
            stack.push_async_callback(state.colleagues.close)
        # On a SQLite file there is no other process that could be asked to end a run of this one.
        beside_others = {} if database.is_sqlite else {"open runs": pipelines.open.watch}
        await stack.enter_async_context(
            background.running(
                {
                    "directory": directory.watch,
                    "cache": cache.maintain,
                    "lag": state.lag.watch,
                    "reading ahead": state.ahead.watch,
                    "pruning": partial(keep_pruning, database, settings, state.note_pruning),
                    "vectors": search.keep_pruning,
                    "heartbeat": partial(keep_beating, database, presence),
                    **beside_others,
                }
            )
        )
        yield state, first


async def _start_demo(stack: AsyncExitStack, directory: Directory, *, forced: bool) -> None:
    from aieye.demo import serve_demo  # noqa: PLC0415 - only where there is no real provider

    server = await serve_demo("127.0.0.1", 0)
    stack.push_async_callback(server.close)
    directory.set_demo(f"{server.base_url.removesuffix('/v1')}/v1", forced=forced)
    await directory.refresh()


def _known_models(gateway: Gateway) -> Callable[[str], bool]:
    """Names that may be labels of metrics: what has a price, and what an alias stands for."""

    def knows(name: str) -> bool:
        return gateway.tariff.has_charged(name) or any(
            target.model == name
            for route in gateway.directory.current.routes.values()
            for target in route.targets
        )

    return knows


def _name_providers(metrics: Metrics, snapshot: Snapshot) -> None:
    metrics.providers = {id_: provider.name for id_, provider in snapshot.providers_by_id.items()}


def _watch(state: State) -> None:
    """What readiness and metrics look at."""
    writer, lag, functions = state.writer, state.lag, state.functions
    state.ready_checks.append(lambda: None if writer.is_healthy else "the ledger cannot be written")
    state.ready_checks.append(
        lambda: None if functions.is_settled else "files of functions are still being looked at"
    )
    state.ready_checks.append(lambda: _lag_fault(lag))
    state.metrics.watch(
        "aieye_ledger_backlog_rows", "Rows waiting for the next commit.", lambda: writer.backlog
    )
    state.metrics.watch(
        "aieye_ledger_commit_seconds",
        "How long the last commit took.",
        lambda: writer.stats.last_commit_seconds,
    )
    state.metrics.watch(
        "aieye_ledger_refused_rows",
        "Rows that the database refused.",
        lambda: writer.stats.refused,
        is_counter=True,
    )
    state.metrics.watch("aieye_loop_lag_seconds", "Worst recent lag.", lambda: lag.seconds)
    state.metrics.watch(
        "aieye_cache_memory_bytes", "Held in memory.", lambda: state.cache.memory.size_bytes
    )
    state.metrics.watch(
        "aieye_cache_memory_entries", "Held in memory.", lambda: len(state.cache.memory)
    )
    state.metrics.watch(
        "aieye_open_circuits",
        "Provider keys that are left alone after failures.",
        lambda: len(state.gateway.circuits.open_keys()),
    )


def _lag_fault(lag: LoopLag) -> str | None:
    return None if lag.seconds < LONGEST_LAG_SECONDS else "the event loop is not keeping up"
