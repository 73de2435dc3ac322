"""Functions from files to calls, on both databases: registered, followed, refused, removed."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from sqlalchemy import delete, select
from structlog.testing import capture_logs

from aieye.access.audit import COMMAND_LINE
from aieye.db.engine import Database, bump_revision
from aieye.db.tables import AuditEntry, CallableName, RegisteredFunction
from aieye.functions.errors import (
    ArgumentRefused,
    FunctionFailed,
    FunctionTimeout,
    FunctionUnavailable,
)
from aieye.functions.loader import packaged_builtins
from aieye.functions.registry import SyncResult
from aieye.functions.service import Functions
from aieye.settings import load_settings

GREET = "def greet(buddy):\n    return f'Hi, {buddy}'\n"


class Installation:
    """A database and a directory of functions, with as many processes' worth of services as asked."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self.settings = load_settings(data_dir=directory.parent, funcs_dir=directory)

    def write(self, name: str, text: str) -> None:
        """A file, which comes all at once."""
        self.directory.mkdir(exist_ok=True)
        temporary = self.directory / f"{name}.new"
        temporary.write_text(dedent(text))
        temporary.rename(self.directory / name)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Functions]:
        """What one server process holds."""
        functions = Functions(self.database, self.settings)
        try:
            await functions.start()
            yield functions
        finally:
            await functions.close()

    async def rows(self, table: Any) -> list[Any]:
        async with self.database.read() as session:
            return list(await session.scalars(select(table)))


@pytest.fixture
async def installation(database_url: str, tmp_path: Path) -> AsyncIterator[Installation]:
    database = Database(database_url)
    try:
        yield Installation(database, tmp_path / "funcs")
    finally:
        await database.close()


async def call(functions: Functions, name: str, *, seconds: float = 20, **arguments: Any) -> Any:
    return await functions.call(functions.get(name), arguments, None, seconds)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not is_so():
            await asyncio.sleep(0.01)


def failures(result: SyncResult) -> list[str]:
    return [str(failure) for failure in result.failed]


# -- builtins -----------------------------------------------------------------------------------


async def test_the_builtins_are_registered_from_the_start(installation: Installation) -> None:
    async with installation.process() as functions:
        assert await call(functions, "uppercase", s="abc") == "ABC"
        assert await call(functions, "regex_find", s="a1", pattern="[0-9]") == "1"
        ids = {name: function.id for name, function in functions.current.items()}
    names = {row.name: (row.kind, row.object_id) for row in await installation.rows(CallableName)}
    assert names == {name: ("function", id_) for name, id_ in ids.items()}
    # Once: a second start finds them there.
    audit = await installation.rows(AuditEntry)
    async with installation.process() as functions:
        assert {name: function.id for name, function in functions.current.items()} == ids
    assert len(await installation.rows(AuditEntry)) == len(audit) == 1


async def test_two_processes_that_start_at_once_register_them_once(
    installation: Installation,
) -> None:
    async with installation.process() as one, installation.process() as other:
        assert one.current.keys() == other.current.keys()
    first, second = (
        Functions(installation.database, installation.settings),
        Functions(installation.database, installation.settings),
    )
    async with installation.database.write() as session:
        await session.execute(delete(CallableName))
        await session.execute(delete(RegisteredFunction))
    await asyncio.gather(first.start(), second.start())
    await asyncio.gather(first.close(), second.close())
    assert first.current.keys() == second.current.keys() == one.current.keys()


async def test_a_file_of_builtins_in_the_directory_replaces_the_packages_copy_whole(
    installation: Installation,
) -> None:
    installation.write(
        "builtins.py", "def uppercase(s):\n    return 'other'\ndef own(): return 1\n"
    )
    async with installation.process() as functions:
        assert set(functions.current) == {"uppercase", "own"}
        assert functions.current["own"].runs == "inline"
        assert await call(functions, "uppercase", s="abc") == "other"
        shutil.copy(packaged_builtins(), installation.directory / "builtins.py")
        result = await functions.sync(COMMAND_LINE)
        assert ("own" in result.removed, "add" in result.added) == (True, True)
        assert (result.changed, result.failed) == (("uppercase",), ())


async def test_a_builtin_whose_name_is_taken_is_left_out_and_said(
    installation: Installation,
) -> None:
    async with installation.database.write() as session:
        session.add(CallableName(name="uppercase", kind="prompt", object_id=7))
    async with installation.process() as functions:
        assert "uppercase" not in functions.current
        result = await functions.sync(COMMAND_LINE)
    (failure,) = failures(result)
    assert failure.startswith("builtins.py:")
    assert failure.endswith("'uppercase' is the name of something else already")


# -- synchronisation ----------------------------------------------------------------------------


async def test_a_function_is_callable_when_it_is_registered_and_not_before(
    installation: Installation,
) -> None:
    installation.write("custom_a.py", GREET)
    async with installation.process() as functions:
        with pytest.raises(FunctionUnavailable, match="no longer registered"):
            functions.get("greet")
        result = await functions.sync(COMMAND_LINE)
        assert result == SyncResult(("greet",), (), (), ())
        assert await call(functions, "greet", buddy="Ada") == "Hi, Ada"
        assert await functions.sync(COMMAND_LINE) == SyncResult((), (), (), ())
        entry = (await installation.rows(AuditEntry))[1]
    assert (entry.action, entry.actor, entry.details["added"]) == (
        "function.sync", "command line", ["greet"],
    )  # fmt: skip
    # A new process knows it from what was registered.
    async with installation.process() as functions:
        assert await call(functions, "greet", buddy="Ben") == "Hi, Ben"


async def test_a_synchronisation_tells_what_changed_and_what_went(
    installation: Installation,
) -> None:
    installation.write(
        "custom_a.py", "def a(): return 1\n\ndef b(): return 1\n\ndef c(): return 1\n"
    )
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        ids = {name: functions.get(name).id for name in "abc"}
        installation.write("custom_a.py", "# moved\n\ndef a(): return 1\n\ndef b(x): return x\n")
        assert await functions.sync(COMMAND_LINE) == SyncResult((), ("b",), ("c",), ())
        assert await call(functions, "b", x=2) == 2
        with pytest.raises(FunctionUnavailable, match="'c' is no longer registered"):
            functions.get("c")
        assert "c" not in [row.name for row in await installation.rows(CallableName)]
        # What comes back is what pipelines called before.
        installation.write("custom_b.py", "def c(): return 2\n")
        assert (await functions.sync(COMMAND_LINE)).added == ("c",)
        assert functions.get("c").id == ids["c"]


async def test_what_all_functions_of_a_file_use_changes_all_of_them(
    installation: Installation,
) -> None:
    installation.write("custom_a.py", "N = 1\ndef a(): return N\ndef b(): return N\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        installation.write("custom_a.py", "N = 2\ndef a(): return N\ndef b(): return N\n")
        assert (await functions.sync(COMMAND_LINE)).changed == ("a", "b")


async def test_a_bad_file_fails_alone_and_what_is_registered_from_it_stays_registered(
    installation: Installation,
) -> None:
    installation.write("custom_a.py", GREET)
    installation.write("custom_b.py", "def good(): return 'good'\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        installation.write("custom_a.py", GREET + "\ndef broken(:\n")
        installation.write("custom_c.py", "import os\nos._exit(1)\n")
        result = await functions.sync(COMMAND_LINE)
        assert (result.added, result.changed, result.removed) == ((), (), ())
        assert failures(result) == [
            "custom_a.py:4: SyntaxError: invalid syntax",
            "custom_c.py: while it was imported its process ended with exit code 1",
        ]
        with pytest.raises(FunctionUnavailable, match=r"custom_a\.py:4: SyntaxError"):
            functions.get("greet")
        assert functions.fault("greet") == "custom_a.py:4: SyntaxError: invalid syntax"
        assert await call(functions, "good") == "good"
        installation.write("custom_a.py", GREET)
        await functions.sync(COMMAND_LINE)
        assert await call(functions, "greet", buddy="Ada") == "Hi, Ada"


async def test_a_file_that_cannot_be_read_fails_alone(installation: Installation) -> None:
    installation.write("custom_a.py", GREET)
    (installation.directory / "custom_b.py").symlink_to(installation.directory / "nowhere")
    (installation.directory / "custom_c.py").mkdir()
    installation.write("custom_d.py", "#" * 2**20 + "#")
    (installation.directory / "custom_e.py~").write_text("def e(): return 1")
    (installation.directory / "custom_f.py").write_text("")
    async with installation.process() as functions:
        result = await functions.sync(COMMAND_LINE)
    assert result.added == ("greet",)
    assert failures(result) == [
        "custom_b.py: No such file or directory",
        "custom_d.py: the file has more than 1 MiB",
    ]


async def test_a_name_that_two_files_define_is_refused_naming_both(
    installation: Installation,
) -> None:
    installation.write("custom_a.py", "x = 1\n\ndef twice(): return 'a'\n")
    installation.write("custom_b.py", "def twice(): return 'b'\n")
    async with installation.process() as functions:
        result = await functions.sync(COMMAND_LINE)
        places = "'twice' is defined twice: custom_a.py:3 and custom_b.py:1"
        assert (result.added, failures(result)) == (
            (), [f"custom_a.py:3: {places}", f"custom_b.py:1: {places}"],
        )  # fmt: skip
        # Of a builtin and a file that people added the registered one stays.
        installation.write("custom_b.py", "def uppercase(s): return 'mine'\n")
        result = await functions.sync(COMMAND_LINE)
        (failure,) = failures(result)
        assert failure.startswith("custom_b.py:1: 'uppercase' is defined twice: builtins.py:")
        assert failure.endswith("and custom_b.py:1")
        assert result.added == ("twice",)
        assert await call(functions, "uppercase", s="abc") == "ABC"


async def test_a_name_that_a_prompt_has_is_refused(installation: Installation) -> None:
    installation.write("custom_a.py", GREET + "\ndef other(): return 1\n")
    async with installation.database.write() as session:
        session.add(CallableName(name="greet", kind="prompt", object_id=7))
    async with installation.process() as functions:
        result = await functions.sync(COMMAND_LINE)
    assert result.added == ("other",)
    assert failures(result) == ["custom_a.py:1: 'greet' is the name of something else already"]


async def test_without_an_audit_row_nothing_is_registered(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installation.process() as functions:
        installation.write("custom_a.py", GREET)

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError

        monkeypatch.setattr("aieye.functions.service.record", fail)
        with pytest.raises(RuntimeError):
            await functions.sync(COMMAND_LINE)
        assert "greet" not in [row.name for row in await installation.rows(RegisteredFunction)]


# -- following ----------------------------------------------------------------------------------


async def test_every_process_follows_an_edited_file(installation: Installation) -> None:
    installation.write("custom_a.py", "def f(): return 1\n")
    async with installation.process() as one, installation.process() as other:
        await one.sync(COMMAND_LINE)
        other.notice()
        await until(lambda: "f" in other.current)
        held = other.get("f")
        installation.write("custom_a.py", "def f(x=2): return x\n")
        for functions in (one, other):
            await until(lambda functions=functions: bool(functions.get("f").parameters))  # type: ignore[misc] # bound at once
            assert await call(functions, "f") == 2
        # A run goes on with the function that it began with.
        assert await other.call(held, {}, None, 20) == 1
        (installation.directory / "custom_a.py").unlink()
        await until(lambda: other.fault("f") == "its file custom_a.py is gone")


async def test_every_process_follows_what_lies_beside_a_file(installation: Installation) -> None:
    installation.write("beside_the_files.py", "VALUE = 1\n")
    installation.write("custom_a.py", "import beside_the_files as b\ndef f(): return b.VALUE\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        assert await call(functions, "f") == 1
        installation.write("beside_the_files.py", "VALUE = 2222\n")
        async with asyncio.timeout(30):
            while await call(functions, "f") != 2222:
                await asyncio.sleep(0.01)


async def test_a_process_follows_a_removal_in_the_database(installation: Installation) -> None:
    installation.write("custom_a.py", GREET)
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        async with installation.database.write() as session:
            await session.execute(
                delete(RegisteredFunction).where(RegisteredFunction.name == "greet")
            )
            await bump_revision(session)
        functions.notice()
        await until(lambda: "greet" not in functions.current)


async def test_a_file_that_was_edited_while_nothing_ran_is_known_from_the_start(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.functions.service.SETTLE_SECONDS", 60.0)
    installation.write("custom_a.py", "def f(): return 1\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
    installation.write("custom_a.py", "import time\ntime.sleep(0.5)\ndef f(): return 2\n")
    with capture_logs() as logs:
        async with installation.process() as functions:
            assert functions.is_settled
            assert await call(functions, "f") == 2
        # Also where it has become another file of the same text.
        (installation.directory / "custom_a.py").rename(installation.directory / "custom_b.py")
        async with installation.process() as functions:
            assert await call(functions, "f") == 2
    assert [line["event"] for line in logs] == []


async def test_a_file_that_takes_long_to_import_is_waited_for_by_whoever_needs_functions(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.functions.service.SETTLE_SECONDS", 0.01)
    installation.write("custom_a.py", "def f(): return 1\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
    go_on = installation.directory / "go_on"
    waiting = f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)\n"
    installation.write("custom_a.py", waiting + "def f(): return 2\n")
    async with installation.process() as functions:
        assert not functions.is_settled
        assert functions.fault("f") == "custom_a.py has changed and is being looked at"
        monkeypatch.setattr("aieye.functions.service.SETTLE_SECONDS", 60.0)
        needed = asyncio.create_task(functions.settle())
        go_on.touch()
        await needed
        assert await call(functions, "f") == 2


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_file_that_has_become_bad_holds_no_start_up_and_is_told_about(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.functions.workers.IMPORT_SECONDS", 3.0)
    monkeypatch.setattr("aieye.functions.service.SETTLE_SECONDS", 0.01)
    names = ("custom_a.py", "custom_b.py", "custom_c.py", "custom_d.py")
    for name in names:
        installation.write(name, f"def of_{name[7]}(): return 1\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
    texts = ("import time\ntime.sleep(60)", "import os\nos._exit(1)", "import sys\nsys.exit(2)")
    for name, text in zip(names, texts, strict=False):
        installation.write(name, text)
    async with installation.process() as functions:
        assert await call(functions, "uppercase", s="abc") == "ABC"
        assert await call(functions, "of_d") == 1
        for name, reason in (("of_a", "longer than 3 s"), ("of_b", "exit code 1"), ("of_c", "2")):
            await until(lambda name=name, reason=reason: reason in str(functions.fault(name)))  # type: ignore[misc] # bound at once
            with pytest.raises(FunctionUnavailable):
                functions.get(name)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_file_that_is_gone_is_named_and_so_is_one_that_defines_it_no_longer(
    installation: Installation,
) -> None:
    for name in ("a", "b"):
        installation.write(f"custom_{name}.py", f"def of_{name}(): return 1\n")
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        (installation.directory / "custom_a.py").unlink()
        installation.write("custom_b.py", "def other(): return 1\n")
        await until(lambda: len(functions.faults) == 2)
        assert functions.faults == {
            "of_a": "its file custom_a.py is gone",
            "of_b": "custom_b.py no longer defines it",
        }


# -- running ------------------------------------------------------------------------------------

HERE = """
    import asyncio, os, sys, threading, time
    from aieye.functions import function

    @function(inline=True)
    def inline(lst): lst.append(os.getpid()); return lst
    @function(inline=True)
    def inline_exit(): sys.exit("enough")
    @function(isolate=False)
    def thread(lst): lst.append(threading.current_thread().name); return lst
    @function(isolate=False)
    def thread_exit(): sys.exit("enough")
    @function(isolate=False)
    def thread_hang(): time.sleep(1)
    @function(timeout=0.2)
    def given_little(): time.sleep(60)
    async def on_loop(context): await asyncio.sleep(0); return context.run_id
    async def loop_exit(): sys.exit("enough")
    async def loop_hang(): await asyncio.sleep(60)
    async def loop_timeout(): raise TimeoutError("its own")
    async def loop_cancelled(): raise asyncio.CancelledError
"""


class Run:
    """As much of a context as is looked at."""

    run_id = "run-7"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_functions_run_where_they_say(installation: Installation) -> None:
    import os  # noqa: PLC0415 - the one test that compares processes

    installation.write("custom_a.py", HERE)
    async with installation.process() as functions:
        assert failures(await functions.sync(COMMAND_LINE)) == []
        given: list[Any] = []
        assert await call(functions, "inline", lst=given) == [os.getpid()]
        assert await call(functions, "thread", lst=given) == ["function thread"]
        assert given == []
        one: Any = Run()
        assert await functions.call(functions.get("on_loop"), {}, one, 5) == "run-7"
        for name in ("inline_exit", "thread_exit", "loop_exit"):
            with pytest.raises(FunctionFailed, match="SystemExit: enough") as failed:
                await call(functions, name)
            assert failed.value.detail.startswith("custom_a.py:")
        for name, reason in (
            ("loop_timeout", "TimeoutError: its own"),
            ("loop_cancelled", "CancelledError"),
        ):
            with pytest.raises(FunctionFailed, match=reason):
                await call(functions, name)
        # Of what the caller and what the author gives, the less counts.
        for name, seconds in (("thread_hang", 0.1), ("loop_hang", 0.1), ("given_little", 20)):
            with pytest.raises(FunctionTimeout) as late:
                await call(functions, name, seconds=seconds)
            assert late.value.seconds == min(seconds, 0.2)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_function_that_gives_a_value_when_its_time_is_up_was_too_slow(
    installation: Installation,
) -> None:
    installation.write(
        "custom_a.py",
        """
        import asyncio

        async def late():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "late"
    """,
    )
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        with pytest.raises(FunctionTimeout):
            await call(functions, "late", seconds=0.05)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["unique", "sort"])
async def test_a_builtin_with_much_to_do_leaves_the_loop_to_others(
    installation: Installation, name: str
) -> None:
    items = [number * 7_919 % 100_003 for number in range(150_000)]
    async with installation.process() as functions:
        began = time.thread_time()
        value = await call(functions, name, lst=items)
        kept = time.thread_time() - began
    assert value == (list(dict.fromkeys(items)) if name == "unique" else sorted(items))
    # What the loop's own thread did of it, whatever else the machine does.
    assert kept < 0.05


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_an_argument_that_does_not_fit_its_class_is_refused_wherever_it_runs(
    installation: Installation,
) -> None:
    installation.write("custom_a.py", """
        from dataclasses import dataclass
        from aieye.functions import function

        @dataclass
        class P:
            age: int

        def process(p: P): return p.age
        @function(inline=True)
        def inline(p: P): return p.age
        async def loop(p: P): return p.age
    """)  # fmt: skip
    async with installation.process() as functions:
        assert failures(await functions.sync(COMMAND_LINE)) == []
        for name in ("process", "inline", "loop"):
            assert await call(functions, name, p={"age": 5}) == 5
            with pytest.raises(ArgumentRefused, match="wrong value for 'p': age should be int"):
                await call(functions, name, p={"age": "5"})


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_who_waits_for_a_function_may_give_up(installation: Installation) -> None:
    installation.write("custom_a.py", HERE)
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        for name in ("loop_hang", "thread_hang"):
            task = asyncio.create_task(call(functions, name))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_threads_that_never_end_do_not_take_more_than_their_places(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.functions.running.MOST_THREADS", 1)
    installation.write("custom_a.py", HERE)
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        hanging = asyncio.create_task(call(functions, "thread_hang"))
        await asyncio.sleep(0.05)
        with pytest.raises(FunctionTimeout):
            await call(functions, "thread", lst=[], seconds=0.1)
        assert await hanging is None
        assert await call(functions, "thread", lst=[]) == ["function thread"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_what_is_too_deep_to_be_copied_fails_its_call_and_takes_no_place(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.functions.running.MOST_THREADS", 1)
    installation.write("custom_a.py", HERE)
    deep: list[Any] = []
    for _ in range(2_000):
        deep = [deep]
    async with installation.process() as functions:
        await functions.sync(COMMAND_LINE)
        with pytest.raises(FunctionFailed):
            await call(functions, "thread", lst=deep)
        assert await call(functions, "thread", lst=[]) == ["function thread"]
