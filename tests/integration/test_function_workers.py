"""Functions in real worker processes: whatever one does, it fails its own call and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from aieye.functions.errors import FunctionFailed, FunctionTimeout
from aieye.functions.model import Function, Source
from aieye.functions.workers import Workers

FILE = """
    import ctypes, os, sys, threading, time
    from pathlib import Path

    def foo(bar, fred):
        return f"{bar} and {fred}"

    def pid():
        return os.getpid()

    def sleep(seconds):
        time.sleep(seconds)
        return "slept"

    def environment():
        return dict(os.environ)

    def change(lst):
        lst.append("changed")
        return lst

    def leave_a_process(file):
        if os.fork() == 0:
            Path(file).write_text(str(os.getpid()))
            time.sleep(60)
        time.sleep(60)

    def come_back_twice():
        os.fork()
        return "once"

    def write_to_every_descriptor():
        for descriptor in range(3, 32):
            try:
                os.write(descriptor, b"x" * 100)
            except OSError:
                pass
        return "written"

    def end_soon():
        threading.Timer(0.05, os._exit, (9,)).start()
        return os.getpid()

    def exit_at_once(): os._exit(3)
    def exit_politely(): sys.exit("enough")
    def interrupt(): raise KeyboardInterrupt
    def crash(): ctypes.string_at(0)
    def kill(): os.kill(os.getpid(), 9)
    def close(): os.closerange(3, 32)
    def hang():
        while True: pass
    def ignore():
        import signal
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        hang()
    def eat(): return len(bytes(3 * 2**30))
    def flood(): print("x" * 10**8, file=sys.stderr); return "flooded"
    def recurse(): return recurse()
    def endless(): return "x" * 10**8
    def fill(): open("full", "wb").write(b"x" * 2**30)
    def not_json(): return {1, 2}
    def unspeakable():
        class Odd(Exception):
            def __str__(self): raise ValueError
        raise Odd
"""


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    pool = Workers(size=2)
    yield pool
    await pool.close()


Functions = dict[str, Function]
Write = Callable[..., Source]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file of functions with this text."""

    def written(text: str, name: str = "custom_a.py") -> Source:
        path = tmp_path / name
        path.write_text(dedent(text))
        return Source(name, str(path), path.read_bytes(), is_builtin=False)

    return written


async def named(workers: Workers, source: Source) -> Functions:
    found, failures = await workers.inspect(source)
    assert failures == ()
    return {function.name: function for function in found}


@pytest.fixture
async def functions(workers: Workers, write: Write) -> Functions:
    return await named(workers, write(FILE))


async def call(workers: Workers, function: Function, *values: Any, seconds: float = 20) -> Any:
    names = [parameter.name for parameter in function.parameters]
    return await workers.call(function, dict(zip(names, values, strict=True)), seconds)


async def test_a_plain_function_works_as_it_is(workers: Workers, functions: Functions) -> None:
    assert functions["foo"].runs == "process"
    assert await call(workers, functions["foo"], 1, [None]) == "1 and [None]"


async def test_who_fills_the_processes_keeps_nobody_else_waiting(
    workers: Workers, functions: Functions
) -> None:
    long = [
        asyncio.create_task(workers.call(functions["sleep"], {"seconds": 60}, 60, owner=1))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        value = await workers.call(functions["foo"], {"bar": 1, "fred": 2}, 20, owner=2)
    assert value == "1 and 2"
    for task in long:
        assert task.cancel()
    await asyncio.wait(long)


async def test_a_process_serves_many_calls(workers: Workers, functions: Functions) -> None:
    first = await call(workers, functions["pid"])
    assert first != os.getpid()
    assert [await call(workers, functions["pid"]) for _ in range(5)] == [first] * 5


async def test_a_function_gets_copies_and_no_environment(
    workers: Workers, functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIEYE_SECRET_KEY", "canary-0123456789abcdefghijklmnop")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    given = ["as it was"]
    assert await call(workers, functions["change"], given) == ["as it was", "changed"]
    assert given == ["as it was"]
    seen = await call(workers, functions["environment"])
    assert "canary" not in str(seen)
    assert seen["HOME"] != os.environ.get("HOME")


@pytest.mark.parametrize(
    "name, message",
    [
        ("exit_at_once", "its process ended with exit code 3"),
        ("exit_politely", "SystemExit: enough"),
        ("interrupt", "KeyboardInterrupt"),
        ("crash", "its process was ended by SIGSEGV"),
        ("kill", "its process was ended by SIGKILL"),
        ("close", "its process ended with exit code"),
        ("write_to_every_descriptor", "its process"),
        ("eat", "MemoryError"),
        ("recurse", "RecursionError"),
        ("endless", "the result has more than"),
        ("fill", "its process was ended by SIGXFSZ"),
        ("not_json", "what it returned is not JSON: set is not JSON"),
        ("unspeakable", "Odd"),
    ],
)
async def test_one_that_ends_crashes_or_eats_memory_fails_its_own_call_alone(
    workers: Workers, functions: Functions, name: str, message: str
) -> None:
    if name == "fill":
        message = "File too large|SIGXFSZ"
    other = asyncio.create_task(call(workers, functions["sleep"], 0.3))
    with pytest.raises(FunctionFailed, match=message) as failed:
        await call(workers, functions[name])
    assert failed.value.detail.startswith(("custom_a.py", "")[name == "endless" or name == "eat"])
    assert await other == "slept"
    assert await call(workers, functions["foo"], 1, 2) == "1 and 2"


@pytest.mark.parametrize("name", ["hang", "ignore"])
async def test_one_that_hangs_is_killed_and_its_place_is_free_again(
    workers: Workers, functions: Functions, name: str
) -> None:
    # More of them than there are places.
    tasks = [asyncio.create_task(call(workers, functions[name], seconds=0.2)) for _ in range(3)]
    for task in tasks:
        with pytest.raises(FunctionTimeout, match=r"longer than 0\.2 s"):
            await task
    assert await call(workers, functions["foo"], 1, 2) == "1 and 2"


async def test_what_a_function_started_ends_with_it(
    workers: Workers, functions: Functions, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    task = asyncio.create_task(call(workers, functions["leave_a_process"], str(file)))
    while not (file.exists() and file.read_text()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await workers.close()
    async with asyncio.timeout(20):
        while _is_running(int(file.read_text())):
            await asyncio.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_cancelled_call_leaves_its_place_to_the_next(
    workers: Workers, functions: Functions
) -> None:
    tasks = [asyncio.create_task(call(workers, functions["hang"])) for _ in range(2)]
    await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    assert await call(workers, functions["foo"], 1, 2) == "1 and 2"
    assert all(
        isinstance(one, BaseException)
        for one in await asyncio.gather(*tasks, return_exceptions=True)
    )


async def test_a_function_that_comes_back_twice_has_one_result(
    workers: Workers, functions: Functions
) -> None:
    assert [await call(workers, functions["come_back_twice"]) for _ in range(3)] == ["once"] * 3
    assert await call(workers, functions["foo"], 1, 2) == "1 and 2"


async def test_a_process_that_ended_since_its_last_call_is_not_held_against_the_next(
    workers: Workers, functions: Functions
) -> None:
    first = await call(workers, functions["pid"])
    os.kill(first, signal.SIGKILL)
    # At once, before the loop has heard of it.
    assert await call(workers, functions["pid"]) != first


async def test_a_process_that_was_busy_when_files_changed_does_nothing_more(
    functions: Functions,
) -> None:
    workers = Workers(size=1)
    try:
        first = await call(workers, functions["pid"])
        busy = asyncio.create_task(call(workers, functions["sleep"], 0.2))
        await asyncio.sleep(0)
        workers.replace()
        assert await busy == "slept"
        assert await call(workers, functions["pid"]) != first
    finally:
        await workers.close()


async def test_what_a_function_prints_is_nobodys(workers: Workers, functions: Functions) -> None:
    assert await call(workers, functions["flood"]) == "flooded"


async def test_files_can_import_what_lies_beside_them(workers: Workers, write: Write) -> None:
    write("def shared(): return 'shared'", "helper_of_tests.py")
    source = write("import helper_of_tests\ndef f(): return helper_of_tests.shared()")
    assert await call(workers, (await named(workers, source))["f"]) == "shared"


async def test_models_of_a_files_own_are_made_of_what_arrives(
    workers: Workers, write: Write
) -> None:
    source = write("""
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass
        class Person:
            name: str
            age: int = 0

        def older(person: Person, years: int, /, other: Person | None = None) -> Person:
            return Person(person.name, person.age + years)
    """)
    older = (await named(workers, source))["older"]
    ada, ben = {"name": "ada", "age": 36}, {"name": "ben"}
    assert await call(workers, older, ada, 1, ben) == {"name": "ada", "age": 37}
    with pytest.raises(FunctionFailed, match='"size" is no field of Person'):
        await call(workers, older, {"size": 1}, 1, None)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, line, reason",
    [
        ("def f(:\n", 1, "SyntaxError"),
        ("x = 1\n\nraise ValueError('no')\n", 3, "ValueError: no"),
        ("import nowhere_at_all\n", 1, "ModuleNotFoundError"),
        ("import sys\nsys.exit(4)\n", 2, "SystemExit: 4"),
        ("def f():\n    raise KeyError('k')\n\nf()\n", 2, "KeyError: 'k'"),
        (
            "import os\nos._exit(5)\n",
            None,
            "while it was imported its process ended with exit code 5",
        ),
        ("import ctypes\nctypes.string_at(0)\n", None, "SIGSEGV"),
        ("x = bytearray(2**40)\n", 1, "MemoryError"),
        ("\x00", None, "null bytes"),
    ],
)
async def test_a_file_that_cannot_be_imported_says_where_and_why(
    workers: Workers, write: Write, text: str, line: int | None, reason: str
) -> None:
    found, failures = await workers.inspect(write(text))
    (failure,) = failures
    assert (list(found), failure.file) == ([], "custom_a.py")
    assert reason in failure.reason
    assert failure.line == line


async def test_a_file_of_another_encoding_is_read_as_it_says(
    workers: Workers, tmp_path: Path
) -> None:
    text = "# coding: latin-1\ndef f(): return 'é'\n".encode("latin-1")
    source = Source("custom_a.py", str(tmp_path / "custom_a.py"), text, is_builtin=False)
    assert await call(workers, (await named(workers, source))["f"]) == "é"
    bad = Source("custom_b.py", str(tmp_path / "custom_b.py"), b"x = '\xff'\n", is_builtin=False)
    _, (failure,) = await workers.inspect(bad)
    assert "SyntaxError" in failure.reason


async def test_a_file_that_takes_for_ever_is_given_up(
    workers: Workers, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aieye.functions.workers.IMPORT_SECONDS", 0.5)
    found, failures = await workers.inspect(write("import time\ntime.sleep(60)"))
    assert (list(found), [str(one) for one in failures]) == (
        [],
        ["custom_a.py: it took longer than 0.5 s to import"],
    )


async def test_one_function_that_cannot_be_used_does_not_keep_the_others_out(
    workers: Workers, write: Write
) -> None:
    source = write("""
        import asyncio, functools
        from json import dumps
        from aieye.functions import function

        def good(x): return x
        def stars(*x): return x
        def twice(): return 1
        def twice(): return 2
        def map(f): return f
        def many(): yield 1
        async def blocks(): return 1
        @function(inline=True)
        async def confused(): return 1
        def _helper(): return 1
        class NoFunction: pass
        alias = good
        small = lambda x: x + 1
    """)
    found, failures = await workers.inspect(source)
    assert {function.name: function.runs for function in found} == {
        "good": "process", "blocks": "loop", "small": "process",
    }  # fmt: skip
    assert sorted(str(failure) for failure in failures) == [
        "custom_a.py:10: map: 'map' means something in the pipeline language already",
        "custom_a.py:11: many: it yields: a step has one value, which is returned",
        "custom_a.py:14: confused: an async function runs on the server's loop: "
        "not inline, not isolated",
        "custom_a.py:7: stars: it takes *x: a pipeline needs a name for each argument",
        "custom_a.py:9: twice: 'twice' is defined twice: custom_a.py:8 and custom_a.py:9",
    ]


async def test_a_new_text_of_a_file_runs_in_a_new_process_and_the_old_one_as_it_was(
    workers: Workers, write: Write
) -> None:
    old = (await named(workers, write("import os\ndef f(): return ['old', os.getpid()]")))["f"]
    text, process = await call(workers, old)
    new = (await named(workers, write("import os\ndef f(): return ['new', os.getpid()]")))["f"]
    workers.replace()
    assert (await call(workers, new))[0] == "new"
    again, other = await call(workers, old)
    assert (text, again) == ("old", "old")
    assert process != other
