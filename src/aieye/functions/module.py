"""From the text of a file to its functions. Runs the file: only in a worker process first."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from aieye.functions.authoring import Context, Options, options_of
from aieye.functions.building import WrongValue
from aieye.functions.model import Failure, Function, Invoke, Runs, Source
from aieye.functions.signature import Signature, Unfit, check_name, read_signature
from aieye.functions.values import NotJson
from aieye.pipeline.language.catalogue import UNREGISTRABLE
from aieye.pipeline.language.values import Json

MOST_MESSAGE: Final = 1_000
_MOST_PARSES: Final = 5


class Unloadable(Exception):
    """The file as a whole cannot be used; `failure` says why and where."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class WrongArgument(Exception):
    """An argument is not what its parameter is annotated with: the function was not called."""


def load(source: Source) -> ModuleType:
    """Run the file as a module. Raises `Unloadable`, whatever the file did short of ending us."""
    module = ModuleType(f"aieye_functions_{re.sub(r'[^A-Za-z0-9_]', '_', source.name[:-3])}")
    module.__file__ = source.path
    # Files may import others that lie beside them. Last, so that they hide nothing of Python's.
    if (directory := str(Path(source.path).parent)) not in sys.path:
        sys.path.append(directory)
    # Dataclasses and annotations look their module up by name.
    sys.modules[module.__name__] = module
    try:
        # The operator's own code, which only somebody with the right to write the directory adds.
        exec(compile(source.content, source.path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except SyntaxError as error:
        line = error.lineno if error.filename == source.path else _line_of(error, source.path)
        raise Unloadable(Failure(source.name, line, f"SyntaxError: {error.msg}")) from error
    except BaseException as error:
        # The file's own code: SystemExit too is its fault.
        line = _line_of(error, source.path)
        raise Unloadable(Failure(source.name, line, message_of(error))) from error
    return module


def find_functions(module: ModuleType, source: Source) -> tuple[list[Function], list[Failure]]:
    """The functions that a loaded file defines, and those of it that no pipeline could call.

    A name that starts with an underscore is the file's own business, and so is what it imported.
    """
    texts = _Texts(source)
    found: list[Function] = []
    failures: list[Failure] = []
    for name, implementation in _defined(module):
        line = texts.line(name, implementation)
        try:
            if name in texts.twice:
                first, second = texts.twice[name]
                raise Unfit(
                    f"'{name}' is defined twice: {source.name}:{first} and {source.name}:{second}"
                )
            found.append(_function(name, implementation, line, texts.digest(name), source))
        except Unfit as error:
            failures.append(Failure(source.name, line, f"{name}: {error}"))
    return found, failures


def message_of(error: BaseException) -> str:
    """An exception in one line, not longer than anybody would read."""
    try:
        text = " ".join(str(error).encode(errors="replace").decode().split())
    except Exception:  # noqa: BLE001 - an exception of the file's own that cannot even be written
        text = ""
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind)[:MOST_MESSAGE]


def explain(error: BaseException, source: Source) -> tuple[str, str]:
    """What a call failed of, and where in the file that was, such as `custom_a.py:7, in f`."""
    if isinstance(error, WrongArgument):
        return str(error)[:MOST_MESSAGE], ""
    if isinstance(error, NotJson):
        return f"what it returned is not JSON: {error}"[:MOST_MESSAGE], source.name
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == source.path
    ]
    place = f":{frames[-1].lineno}, in {frames[-1].name}" if frames else ""
    return message_of(error), f"{source.name}{place}"


def _line_of(error: BaseException, path: str) -> int | None:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == path
    ]
    return lines[-1] if lines else None


def _defined(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    seen: set[int] = set()
    functions = [
        (name, value)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]
    # Of a function with several names the one that it was defined under comes first, and alone.
    for name, value in sorted(functions, key=lambda one: one[0] != one[1].__name__):
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def _function(
    name: str, implementation: Callable[..., Any], line: int, digest: str, source: Source
) -> Function:
    check_name(name)
    if name in UNREGISTRABLE:
        raise Unfit(f"'{name}' means something in the pipeline language already")
    if inspect.isgeneratorfunction(implementation) or inspect.isasyncgenfunction(implementation):
        raise Unfit("it yields: a step has one value, which is returned")
    signature = read_signature(implementation)
    options = options_of(implementation)
    return Function(
        id=0,
        name=name,
        parameters=signature.parameters,
        returns=signature.returns,
        doc=inspect.getdoc(implementation) or "",
        file=source.name,
        line=line,
        source_hash=source.hash,
        digest=digest,
        runs=_runs(implementation, options, is_builtin=source.is_builtin),
        timeout=options.timeout,
        cacheable=options.cacheable,
        is_builtin=source.is_builtin,
        takes_context=signature.context is not None,
        source=source,
        invoke=_invoke(implementation, signature),
    )


def _runs(implementation: Callable[..., Any], options: Options, *, is_builtin: bool) -> Runs:
    if inspect.iscoroutinefunction(implementation):
        if options.inline or options.isolate is not None:
            raise Unfit("an async function runs on the server's loop: not inline, not isolated")
        return "loop"
    if options.isolate is None:
        return "inline" if options.inline or is_builtin else "process"
    return "process" if options.isolate else "thread"


def _invoke(implementation: Callable[..., Any], signature: Signature) -> Invoke:
    context_name, positional, builds = signature.context, signature.positional, signature.builds
    defaults = {one.name: one.default for one in signature.parameters if not one.is_required}

    def invoke(arguments: dict[str, Json], context: Context | None) -> Any:
        values: dict[str, Any] = arguments
        for name, build in builds:
            if name in values:
                try:
                    values[name] = build(values[name])
                except WrongValue as error:
                    raise WrongArgument(f"wrong value for '{name}': {error}") from error
        if context_name is not None:
            values[context_name] = context
        if not positional:
            return implementation(**values)
        # One that is left out may stand before one that is given.
        first = [
            values.pop(name) if name in values else defaults[name]
            for name in positional
            if name in values or name in defaults
        ]
        return implementation(*first, **values)

    return invoke


def _parse(source: Source) -> ast.Module:
    """The file's tree. Raises `SyntaxError`.

    CPython 3.11 keeps one count of levels for all threads that make trees at a time, and takes it for
    broken where they meet; the next time they do not.
    """
    for _ in range(_MOST_PARSES - 1):
        try:
            return ast.parse(source.content, source.path)
        except SystemError:
            continue
    return ast.parse(source.content, source.path)


class _Texts:
    """Where the functions stand in the file, and what tells what they say from anything else.

    Comments and blank lines say nothing.
    """

    def __init__(self, source: Source) -> None:
        tree = _parse(source)
        functions = [
            node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        counted = Counter(node.name for node in functions)
        self.twice: Mapping[str, tuple[int, int]] = {
            name: _first_two([node.lineno for node in functions if node.name == name])
            for name, times in counted.items()
            if times > 1
        }
        self._nodes = {node.name: node for node in functions}
        # What all functions of the file may use: imports, constants, helpers.
        tree.body = [node for node in tree.body if node not in functions or _is_hidden(node)]
        self._rest = ast.dump(tree)

    def line(self, name: str, implementation: Callable[..., Any]) -> int:
        first: int = inspect.unwrap(implementation).__code__.co_firstlineno
        return self._nodes[name].lineno if name in self._nodes else first

    def digest(self, name: str) -> str:
        own = ast.dump(self._nodes[name]) if name in self._nodes else ""
        return sha256(f"{own}\0{self._rest}".encode(errors="surrogatepass")).hexdigest()


def _is_hidden(node: ast.stmt) -> bool:
    return getattr(node, "name", "").startswith("_")


def _first_two(lines: list[int]) -> tuple[int, int]:
    return lines[0], lines[1]
