"""Whether a pipeline can run, and what its names stand for: section 3 of the language.

The tree is walked once, in the order of the text. All errors are found, and the first 50 reported;
warnings fill what is left of that number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from aieye.pipeline.language.binding import Bound, bind
from aieye.pipeline.language.catalogue import FORMS, Catalogue, Definition, Parameter
from aieye.pipeline.language.errors import Diagnostic, Fault, InvalidPipeline
from aieye.pipeline.language.findings import Finding, report
from aieye.pipeline.language.graph import find_cycle, is_too_deep
from aieye.pipeline.language.limits import (
    MAX_DIAGNOSTICS,
    MAX_PIPELINE_DEPTH,
    MAX_TREE_DEPTH,
)
from aieye.pipeline.language.nodes import (
    Access,
    Call,
    Expr,
    Keyword,
    Let,
    List,
    Map,
    Name,
    Param,
    Pipeline,
    Type,
)
from aieye.pipeline.language.options import check_options
from aieye.pipeline.language.scope import Scope
from aieye.pipeline.language.shapes import (
    NULL,
    TYPE_NAMES,
    constant_value,
    misnamed_type,
    refusal,
    shape_of,
)
from aieye.pipeline.language.strings import code_point
from aieye.pipeline.language.suggest import Spelling, did_you_mean

_APPLYING: Final = {"map": ("list",), "reduce": ("initial", "list")}
"""Callees whose first argument is called, and which of theirs it receives, in order."""

_MOST_EXAMINED: Final = 4 * MAX_DIAGNOSTICS
"""Placeholders that are held against all names; nobody writes more, and the time is bounded."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name stands for where it calls something, and where the call's arguments go.

    `parameters[i]` is the parameter of the i-th argument in the text. What `map` and `reduce` call
    has its own binding, at its name: first the items, then the keywords that `map` hands on.
    """

    definition: Definition
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of a pipeline before it runs.

    `arguments` are what it asks for, in order; `bindings` are by the offset of the callee's name,
    and hold every name that calls something.
    """

    arguments: tuple[Parameter, ...]
    bindings: Mapping[int, Binding]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def is_valid(self) -> bool:
        """Whether it can run: there are warnings at most."""
        return not any(found.is_error for found in self.diagnostics)


def analyse(pipeline: Pipeline, catalogue: Catalogue, name: str | None = None) -> Analysis:
    """Check a pipeline against what its owner may use. `name` is what it is saved under."""
    return _Analyser(pipeline, catalogue, name).analyse()


class _Analyser:
    """One walk over one tree."""

    __slots__ = (
        "_arguments",
        "_bindings",
        "_catalogue",
        "_depth",
        "_findings",
        "_name",
        "_paths",
        "_pipeline",
        "_scope",
    )

    def __init__(self, pipeline: Pipeline, catalogue: Catalogue, name: str | None) -> None:
        self._pipeline = pipeline
        self._catalogue = catalogue
        self._name = name
        self._scope = Scope(is_strict=bool(pipeline.params))
        self._arguments: list[Parameter] = []
        self._bindings: dict[int, Binding] = {}
        self._findings: list[Finding] = []
        self._paths: dict[str, tuple[str, str] | None] = {}
        self._depth = 0

    def analyse(self) -> Analysis:
        for param in self._pipeline.params:
            self._param(param)
        for let in self._pipeline.lets:
            self._visit(let.value)
            self._declare(let, self._shape(let.value))
        self._visit(self._pipeline.result)
        self._findings += self._scope.unused()
        self._findings += self._hidden()
        self._findings += self._misspelt()
        if not self._scope.is_strict:
            self._arguments = [Parameter(name) for name in self._scope.placeholders]
        diagnostics = report(self._findings, self._pipeline.source)
        return Analysis(tuple(self._arguments), self._bindings, diagnostics)

    # --- Declarations

    def _param(self, param: Param) -> None:
        type_ = param.type
        if type_ is not None and (wrong := misnamed_type(type_)) is not None:
            self._report("E211", wrong, partial(_type_message, wrong), _TYPES)
            type_ = None
        parameter = Parameter(param.name, type_)
        if param.default is not None:
            value = constant_value(param.default)
            parameter = Parameter(param.name, type_, is_required=False, default=value)
            if type_ is not None:
                self._check_value(param.default, type_, param.name)
        if self._declare(param, type_):
            self._arguments.append(parameter)

    def _declare(self, node: Param | Let, shape: Type | None) -> bool:
        finding = self._scope.declare(node, shape)
        if finding is not None:
            self._findings.append(finding)
        return finding is None

    # --- Expressions

    def _visit(self, node: Expr) -> None:
        if isinstance(node, Name):
            self._bare_name(node)
        elif isinstance(node, Call | Access | List | Map):
            self._depth += 1
            if self._depth > MAX_TREE_DEPTH:
                fault = Fault("E007", "nested too deep to be checked", node.start, node.end)
                raise InvalidPipeline(Diagnostic.at(fault, self._pipeline.source))
            self._visit_parts(node)
            self._depth -= 1

    def _visit_parts(self, node: Call | Access | List | Map) -> None:
        match node:
            case Call():
                self._call(node)
            case Access():
                self._visit(node.base)
            case List():
                for item in node.items:
                    self._visit(item)
            case Map():
                for entry in node.entries:
                    self._visit(entry.value)

    def _bare_name(self, node: Name) -> None:
        """A let or a param; else a callable that needs nothing; else a placeholder."""
        name = node.name
        if self._scope.use(name):
            return
        definition = self._find(name)
        if definition is not None:
            self._bare_callable(node, definition)
        elif self._scope.is_strict:
            visible = len(self._scope)
            self._report("E202", node, lambda: self._unknown("unknown name", name, visible))
        else:
            self._scope.placeholders.setdefault(name, node)

    def _bare_callable(self, node: Name, definition: Definition) -> None:
        name = node.name
        kind = "function" if definition.kind == "form" else definition.kind
        if self._leads_back(node, definition) and name == self._name:
            return
        if definition.required:
            message = f"'{name}' is a {kind} that needs arguments, not a value"
            self._report("E209", node, lambda: message, hint=f"write {name}(...)")
            return
        self._report("W603", node, lambda: f"'{name}' calls the {kind}", hint=f"write {name}()")
        self._bind(node.start, definition, ())

    def _call(self, node: Call) -> None:
        self._findings += check_options(node)
        definition = self._find(node.name)
        if definition is None:
            self._report_callee(node, "E201", lambda: self._unknown_callee(node.name))
        elif not self._leads_back(node, definition) or node.name != self._name:
            self._call_of(node, definition)
            return
        self._visit_all(map(_value, node.arguments))

    def _call_of(self, node: Call, definition: Definition) -> None:
        bound = bind(node, definition, self._is_placeholder)
        self._findings += bound.findings
        self._check_arguments(node, definition, bound)
        if definition.kind == "form" and definition.name in _APPLYING:
            self._apply(node, definition, bound)
        else:
            self._visit_all(map(_value, node.arguments))
        if bound.is_valid:
            self._bind(node.start, definition, bound.parameters)

    def _visit_all(self, nodes: Iterable[Expr]) -> None:
        for node in nodes:
            self._visit(node)

    def _apply(self, node: Call, form: Definition, bound: Bound) -> None:
        """`map` and `reduce`: their first argument is the name of what they call for the items."""
        values = [_value(argument) for argument in node.arguments]
        given = dict(zip(bound.parameters, values, strict=True))
        called = given.get("f")
        self._visit_all(value for value in values if value is not called)
        definition = None if called is None else self._find_applied(called, form)
        if definition is None or not isinstance(called, Name):
            return
        if self._leads_back(called, definition) or not bound.is_valid:
            return
        items = [given[name] for name in _APPLYING[form.name]]
        extras = [
            argument
            for argument, target in zip(node.arguments, bound.parameters, strict=True)
            if isinstance(argument, Keyword) and target not in form.by_name
        ]
        call = Call(called.name, (*items, *extras), start=called.start)
        applied = bind(call, definition, lambda _: False)
        self._findings += applied.findings
        self._check_arguments(call, definition, applied, skip=len(items))
        if applied.is_valid:
            self._bind(called.start, definition, applied.parameters)

    def _find_applied(self, node: Expr, form: Definition) -> Definition | None:
        """What `map` or `reduce` calls: always a callable, whatever is declared under its name."""
        if not isinstance(node, Name):
            message = f"'{form.name}' takes the name of what it calls, not a value"
            self._report("E401", node, lambda: message)
            return None
        name = node.name
        definition = self._find(name)
        if definition is None:
            self._report("E201", node, lambda: self._unknown_callee(name))
        elif definition.kind == "form":
            self._report("E209", node, lambda: f"'{name}' cannot be called by '{form.name}'")
            return None
        return definition

    # --- Names

    def _find(self, name: str) -> Definition | None:
        """What a name calls. The pipeline's own name is one, even while it is new."""
        found = FORMS.get(name) or self._catalogue.get(name)
        if found is None and name == self._name:
            return Definition(name, "pipeline")
        return found

    def _is_placeholder(self, node: Name) -> bool:
        name = node.name
        if name in self._scope:
            return name not in self._scope.lets
        return self._find(name) is None

    def _bind(self, start: int, definition: Definition, parameters: Sequence[str | None]) -> None:
        names = tuple(name for name in parameters if name is not None)
        self._bindings[start] = Binding(definition, names)

    def _leads_back(self, node: Name | Call, definition: Definition) -> bool:
        """E205 at a callee that leads back here, E508 at one that calls others too deep."""
        if definition.kind != "pipeline":
            return False
        name = node.name
        if name not in self._paths:
            self._paths[name] = self._path_fault(name)
        if (fault := self._paths[name]) is not None:
            code, message = fault
            self._report_callee(node, code, lambda: message)
        return fault is not None

    def _path_fault(self, callee: str) -> tuple[str, str] | None:
        way = self._name and find_cycle(callee, self._name, self._catalogue)
        if way:
            return "E205", f"pipelines call each other: {' -> '.join(way)}"
        if is_too_deep(callee, self._catalogue):
            return "E508", f"pipelines call pipelines more than {MAX_PIPELINE_DEPTH} deep"
        return None

    # --- Values

    def _check_arguments(
        self, call: Call, definition: Definition, bound: Bound, skip: int = 0
    ) -> None:
        """E401 and W611 for the arguments, but the first `skip`, that have a typed parameter."""
        parameters = definition.by_name
        for argument, target in zip(call.arguments[skip:], bound.parameters[skip:], strict=True):
            parameter = None if target is None else parameters.get(target)
            if parameter is not None and parameter.type is not None:
                self._check_value(_value(argument), parameter.type, parameter.name)

    def _check_value(self, node: Expr, type_: Type, name: str) -> None:
        shape = self._shape(node)
        if type_.name == "str":
            if shape == NULL and not type_.is_nullable:
                self._report("W611", node, lambda: f"null becomes the text 'null' in '{name}'")
            return
        reason = refusal(node, shape, type_)
        if reason is not None:
            self._report("E401", node, lambda: f"wrong value for '{name}': {reason}")

    def _shape(self, node: Expr) -> Type | None:
        if isinstance(node, Name):
            return self._scope.shapes.get(node.name)
        return shape_of(node)

    # --- Findings

    def _report(
        self,
        code: str,
        node: Expr | Type,
        message: Callable[[], str],
        hint: str | None = None,
    ) -> None:
        end = node.start + len(node.name) if isinstance(node, Type) else node.end
        self._findings.append(Finding(code, node.start, end, message, hint))

    def _report_callee(self, node: Name | Call, code: str, message: Callable[[], str]) -> None:
        self._findings.append(Finding(code, node.start, node.start + len(node.name), message))

    def _unknown_callee(self, name: str) -> str:
        return self._unknown("unknown function, prompt or pipeline", name)

    def _unknown(self, what: str, name: str, visible: int = 0) -> str:
        """The message about a name, which may mean a callable or one of the first declarations."""
        candidates = (*FORMS, *self._catalogue, *islice(self._scope, visible))
        return f"{what} '{name}'{did_you_mean(name, candidates)}"

    def _hidden(self) -> Iterator[Finding]:
        """W610 for each invisible character in a string."""
        text = self._pipeline.source.text
        for offset in self._pipeline.hidden:
            yield Finding("W610", offset, offset + 1, partial(_hidden_message, text[offset]))

    def _misspelt(self) -> Iterator[Finding]:
        """W604 for each placeholder that looks like a callable's name."""
        if not self._scope.placeholders:
            return
        spelling = Spelling((*FORMS, *self._catalogue))
        for name, node in islice(self._scope.placeholders.items(), _MOST_EXAMINED):
            if ending := spelling.did_you_mean(name):
                message = f"'{name}' becomes an argument of the pipeline{ending}"
                yield Finding("W604", node.start, node.end, partial(str, message))


def _value(argument: Expr | Keyword) -> Expr:
    return argument.value if isinstance(argument, Keyword) else argument


_TYPES: Final = "types are str, int, float, bool, list[T], dict[str, T] and any; T? takes null too"


def _type_message(type_: Type) -> str:
    if type_.name in TYPE_NAMES:
        return f"'{type_.name}' does not stand like this in a type"
    return f"unknown type '{type_.name}'{did_you_mean(type_.name, TYPE_NAMES)}"


def _hidden_message(character: str) -> str:
    return f"invisible character {code_point(character)} in a string"
