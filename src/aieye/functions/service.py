"""The functions that pipelines may call: found in files, registered in the database, run.

What is registered are names. What a name does is what its file says, in every process: each follows
the files and the database. A function in hand goes on being what it was when it was looked up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from aieye.access.audit import SYSTEM, Actor, record
from aieye.db.engine import Database, bump_revision
from aieye.db.tables import RegisteredFunction
from aieye.errors import AieyeError
from aieye.functions import loader
from aieye.functions.authoring import Context
from aieye.functions.errors import FunctionUnavailable
from aieye.functions.model import Failure, Function, Source, read_description
from aieye.functions.module import Unloadable, find_functions, load
from aieye.functions.registry import (
    Found,
    SyncResult,
    gather,
    is_up_to_date,
    list_functions,
    register,
)
from aieye.functions.running import Threads, run_inline, run_on_loop
from aieye.functions.workers import Workers
from aieye.pipeline.language.values import Json
from aieye.settings import Settings
from aieye.telemetry.loggers import get_logger

log = get_logger()

POLL_SECONDS: Final = 0.25
SETTLE_SECONDS: Final = 5.0
"""How long a start, and whoever needs functions, waits for files that changed while nothing ran."""


class _File:
    """A file as it was found out about once: its functions by name and its failures."""

    def __init__(
        self, source: Source, functions: Sequence[Function], failures: Sequence[Failure]
    ) -> None:
        self.source = source
        self.functions = functions
        self.failures = failures


class Functions:
    """`current` are the registered functions that can be called now, by name."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.current: Mapping[str, Function] = MappingProxyType({})
        self._database = database
        self._directory = settings.funcs_dir
        self._workers = Workers()
        self._threads = Threads()
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._state: loader.State = ()
        # By the hash of their text, those of the present files only.
        self._files: dict[str, _File] = {}
        self._unreadable: Sequence[Failure] = ()
        # Whether there are files that have changed since they were registered, not yet looked at.
        self._is_behind = False
        self._settled = asyncio.Event()
        # Why a registered function cannot be called, by name.
        self._faults: Mapping[str, str] = MappingProxyType({})

    async def start(self) -> None:
        """Register the built-in functions that are not yet, and follow what changes from now on.

        A file that was edited while nothing ran is found out about at once; one that takes long, or
        never ends, holds up the start no longer than `SETTLE_SECONDS`.
        """
        async with self._lock:
            rows = await self._rows()
            await self._read_files(registered=rows)
            builtins = [one for one in self._found(rows).functions.values() if one.is_builtin]
            if not is_up_to_date(rows, builtins):
                await self._register(SYSTEM, only_builtins=True)
            await self._refresh()
        self._watching = asyncio.create_task(self._watch())
        await self.settle()

    @property
    def is_settled(self) -> bool:
        """Whether all that is registered has been looked for in the files as they are."""
        return self._settled.is_set()

    async def settle(self) -> None:
        """Wait until it is settled, but not for ever."""
        if not self.is_settled:
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    await self._settled.wait()

    async def close(self) -> None:
        """Stop following, and end the worker processes."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self._workers.close()

    def notice(self) -> None:
        """Something has changed in the database: look at once."""
        self._woken.set()

    @property
    def faults(self) -> Mapping[str, str]:
        """Why registered functions cannot be called at present, by name."""
        return self._faults

    def fault(self, name: str) -> str | None:
        """Why a registered function cannot be called at present."""
        return self._faults.get(name)

    def get(self, name: str) -> Function:
        """The function as it is now. Raises `FunctionUnavailable`, which says why."""
        if (function := self.current.get(name)) is not None:
            return function
        fault = self._faults.get(name)
        raise FunctionUnavailable(
            f"the function '{name}' is no longer registered"
            if fault is None
            else f"the function '{name}' cannot be called: {fault}"
        )

    async def sync(self, actor: Actor) -> SyncResult:
        """Register what the files hold, and no longer what they do not.

        Every file is looked at anew, also one that has not changed: what it needs may be there now.
        """
        async with self._lock:
            self._files = {}
            await self._read_files()
            result = await self._register(actor, only_builtins=False)
            await self._refresh()
        return result

    async def call(
        self,
        function: Function,
        arguments: Mapping[str, Json],
        context: Context | None,
        timeout: float,  # noqa: ASYNC109 - a limit of the function's own run, not of waiting for a worker
        owner: Hashable = None,
    ) -> Json:
        """What the function returns, as JSON that is the caller's own.

        `timeout` are seconds, of which its author may have given it fewer; `owner` is who shares
        the worker processes with others. A builtin that could run inline and comes here has much to
        do, so that a worker process does it. Raises `FunctionFailed`, `FunctionTimeout`.
        """
        seconds = timeout if function.timeout is None else min(timeout, function.timeout)
        match function.runs:
            case "inline" if not function.is_builtin:
                return run_inline(function, arguments)
            case "inline" | "process":
                return await self._workers.call(function, arguments, seconds, owner)
            case "loop":
                return await run_on_loop(function, arguments, context, seconds)
            case "thread":
                return await self._threads.run(function, arguments, seconds)

    # -- following --------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow files and registrations for ever. What is away is waited for."""
        seen = self._state
        while True:
            is_woken = await self._rest()
            try:
                state = await asyncio.to_thread(loader.look, self._directory)
                # A file that is being written is left alone until it has come to rest.
                is_changed, seen = state == seen != self._state, state
                if is_woken or is_changed:
                    async with self._lock:
                        await self._read_files()
                        await self._refresh()
            except (AieyeError, SQLAlchemyError, OSError) as error:
                log.warning("functions_not_refreshed", reason=type(error).__name__)
                await asyncio.sleep(POLL_SECONDS)
                self._woken.set()

    async def _rest(self) -> bool:
        """Wait a moment, or until woken; whether it was that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        is_woken = self._woken.is_set()
        self._woken.clear()
        return is_woken

    async def _read_files(self, registered: Sequence[RegisteredFunction] | None = None) -> None:
        """Find out about the files that are new or changed.

        At the start `registered` tells of those that are as they were when they were registered;
        to find out about the others may take long, so that is left to the watching.
        """
        state = await asyncio.to_thread(loader.look, self._directory)
        sources, unreadable = await asyncio.to_thread(loader.read_files, self._directory)
        if state != self._state:
            self._workers.replace()
        files = dict(self._files)
        unknown = [source for source in sources if source.hash not in files]
        if registered is not None:
            recalled = [_recalled(source, registered) for source in unknown]
            inspected = await asyncio.gather(*(_in_server(one) for one in recalled if one))
            self._is_behind = None in recalled
            if self._is_behind:
                self._woken.set()
        else:
            inspected = await asyncio.gather(*map(self._inspect, unknown))
            self._is_behind = False
        files |= {one.source.hash: one for one in inspected}
        self._files = {one.hash: files[one.hash] for one in sources if one.hash in files}
        self._unreadable, self._state = unreadable, state

    async def _inspect(self, source: Source) -> _File:
        """What a file holds: one that people added is first run in a worker process."""
        if source.is_builtin:
            return await _in_server(_File(source, (), ()))
        return await _in_server(_File(source, *await self._workers.inspect(source)))

    async def _rows(self) -> Sequence[RegisteredFunction]:
        async with self._database.read() as session:
            return await list_functions(session)

    def _found(self, rows: Sequence[RegisteredFunction]) -> Found:
        """What all files hold, given what is registered already."""
        found = gather(
            ((one.source.name, one.functions, one.failures) for one in self._files.values()),
            {row.name: row.file for row in rows},
        )
        found.failures += self._unreadable
        found.broken |= {failure.file for failure in self._unreadable}
        found.files = {one.source.name for one in self._files.values()} | found.broken
        return found

    async def _register(self, actor: Actor, *, only_builtins: bool) -> SyncResult:
        async with self._database.write() as session:
            # First, for the revision's row lets one change through at a time.
            await bump_revision(session)
            found = self._found(await list_functions(session))
            result = await register(session, found, only_builtins=only_builtins)
            record(
                session, actor, "function.sync", "function", "*",
                added=result.added, changed=result.changed, removed=result.removed,
                failed=[str(failure) for failure in result.failed],
            )  # fmt: skip
        return result

    async def _refresh(self) -> None:
        """Make `current` of what is registered and what the files hold."""
        rows = await self._rows()
        found = self._found(rows)
        current: dict[str, Function] = {}
        faults: dict[str, str] = {}
        for row in rows:
            function = found.functions.get(row.name)
            if function is not None:
                current[row.name] = replace(function, id=row.id)
            elif self._is_behind:
                faults[row.name] = f"{row.file} has changed and is being looked at"
            else:
                faults[row.name] = _why(row, found)
                if self._faults.get(row.name) != faults[row.name]:
                    log.warning("function_unavailable", function=row.name, reason=faults[row.name])
        self.current, self._faults = MappingProxyType(current), MappingProxyType(faults)
        if not (self._is_behind and faults):
            self._settled.set()


def _recalled(source: Source, rows: Sequence[RegisteredFunction]) -> _File | None:
    """What is known of a file from its registration; None if it has changed since."""
    if source.is_builtin:
        return _File(source, (), ())
    here = [row for row in rows if row.file == source.name and row.source_hash == source.hash]
    return (
        _File(source, [read_description(row.definition, source) for row in here], ())
        if here
        else None
    )


async def _in_server(file: _File) -> _File:
    """The file with what this process itself has to load of it, which it does in a thread."""
    if not file.source.is_builtin and all(one.runs == "process" for one in file.functions):
        return file
    try:
        return _File(file.source, *await asyncio.to_thread(_load, file.source))
    except Unloadable as error:
        return _File(file.source, (), (error.failure,))


def _load(source: Source) -> tuple[Sequence[Function], Sequence[Failure]]:
    return find_functions(load(source), source)


def _why(row: RegisteredFunction, found: Found) -> str:
    failures = [failure for failure in found.failures if failure.file == row.file]
    named = [
        failure
        for failure in failures
        if failure.reason.startswith((f"{row.name}:", f"'{row.name}'"))
    ]
    if row.file in found.broken or named:
        return str((named or failures)[0])
    if row.file not in found.files:
        return f"its file {row.file} is gone"
    return f"{row.file} no longer defines it"
