"""The worker processes: how many there are, which one does what, and when they are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from aieye.functions.errors import ArgumentRefused, FunctionFailed, FunctionTimeout
from aieye.functions.model import Failure, Function, Source, read_description
from aieye.functions.places import Places
from aieye.functions.process import WorkerEnded, WorkerProcess
from aieye.pipeline.language.values import Json

MOST_WORKERS: Final = 7
IMPORT_SECONDS: Final = 10.0


class Workers:
    """At most `size` processes, started when there is work for them.

    A call waits until one is free; that time is not its function's. Of seven one owner has four at
    most, a second two, and the last is for others: functions that hang are in nobody else's way.
    A process that failed in any way is ended and another takes its place.
    """

    def __init__(self, size: int = MOST_WORKERS) -> None:
        self._places = Places(size)
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()
        # Those that were started before this many replacements are not used again.
        self._generation = 0
        self._generations: dict[WorkerProcess, int] = {}

    async def call(
        self,
        function: Function,
        arguments: Mapping[str, Json],
        seconds: float,
        owner: Hashable = None,
    ) -> Json:
        """What the function returns. Raises `FunctionFailed`, `FunctionTimeout`."""
        async with self._places.place(owner):
            answer: dict[str, Any] | None = None
            while answer is None:
                worker = self._take(function.source_hash)
                try:
                    answer = await self._ask(worker, function, arguments, seconds)
                finally:
                    self._give_back(worker)
        if "error" in answer:
            kind = ArgumentRefused if answer.get("refused") else FunctionFailed
            raise kind(answer["error"], answer["detail"])
        value: Json = answer["value"]
        return value

    async def _ask(
        self,
        worker: WorkerProcess,
        function: Function,
        arguments: Mapping[str, Json],
        seconds: float,
    ) -> dict[str, Any] | None:
        """The answer; None if what ended the process was not this call, which had not begun."""
        is_new = not worker.loaded
        try:
            if function.source_hash not in worker.loaded:
                await self._load(worker, function.source)
            return await worker.ask(
                seconds,
                do="call",
                hash=function.source_hash,
                name=function.name,
                arguments=arguments,
            )
        except TimeoutError as error:
            raise FunctionTimeout(seconds) from error
        except WorkerEnded as error:
            if is_new or error.has_begun:
                raise FunctionFailed(str(error), function.file) from error
            return None
        except (ValueError, RecursionError) as error:
            raise FunctionFailed(f"the arguments cannot be passed on: {error}") from error

    async def inspect(self, source: Source) -> tuple[Sequence[Function], Sequence[Failure]]:
        """The functions of a file and what of it cannot be used, found out in a new process.

        A file that as a whole cannot be used has no functions and one failure.
        """
        async with self._places.place(None):
            worker = self._start()
            try:
                answer = await _ask_to_load(worker, source)
            except TimeoutError:
                reason = f"it took longer than {IMPORT_SECONDS:g} s to import"
                return (), (Failure(source.name, None, reason),)
            except WorkerEnded as error:
                return (), (Failure(source.name, None, f"while it was imported {error}"),)
            finally:
                # What the import left behind is nothing for the calls of other files.
                worker.is_usable = False
                self._give_back(worker)
        failures = tuple(Failure(source.name, line, why) for line, why in answer["failures"])
        return [read_description(one, source) for one in answer["functions"] or ()], failures

    def replace(self) -> None:
        """Files have changed: idle processes end now, the others after what they are doing."""
        self._generation += 1
        while self._idle:
            self._drop(self._idle.pop())

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(worker.end() for worker in self._all))

    def _take(self, source_hash: str) -> WorkerProcess:
        """A process that has loaded the file, else any that is idle, else a new one."""
        for worker in [one for one in self._idle if not one.is_usable]:
            self._idle.remove(worker)
            self._drop(worker)
        for index, worker in enumerate(self._idle):
            if source_hash in worker.loaded:
                return self._idle.pop(index)
        return self._idle.pop() if self._idle else self._start()

    def _start(self) -> WorkerProcess:
        try:
            worker = WorkerProcess()
        except OSError as error:
            raise FunctionFailed(f"no worker process can be started: {error.strerror}") from error
        self._all.add(worker)
        self._generations[worker] = self._generation
        return worker

    def _give_back(self, worker: WorkerProcess) -> None:
        if worker.is_usable and self._generations.get(worker) == self._generation:
            self._idle.append(worker)
        else:
            self._drop(worker)

    def _drop(self, worker: WorkerProcess) -> None:
        """End it without waiting for that."""
        self._generations.pop(worker, None)
        worker.kill().add_done_callback(lambda _ended: self._all.discard(worker))

    async def _load(self, worker: WorkerProcess, source: Source) -> None:
        try:
            answer = await _ask_to_load(worker, source)
        except TimeoutError as error:
            raise FunctionFailed(
                f"its file took longer than {IMPORT_SECONDS:g} s to import", source.name
            ) from error
        if answer["functions"] is None:
            worker.is_usable = False
            line, reason = answer["failures"][0]
            raise FunctionFailed(f"its file cannot be used: {Failure(source.name, line, reason)}")
        worker.loaded.add(source.hash)


async def _ask_to_load(worker: WorkerProcess, source: Source) -> dict[str, Any]:
    return await worker.ask(
        IMPORT_SECONDS,
        do="load",
        name=source.name,
        path=source.path,
        content=source.content.decode("latin-1"),
        is_builtin=source.is_builtin,
    )
