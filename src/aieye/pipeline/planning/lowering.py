"""The text of one pipeline into steps. Pure.

Nothing here recurses over a tree: a method that needs a part of it lowered yields that, and whoever
runs the outermost keeps the stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, Final, TypeAlias, cast

from aieye.pipeline.language.catalogue import Definition, Parameter
from aieye.pipeline.language.limits import MAX_PIPELINE_DEPTH
from aieye.pipeline.language.nodes import Access, Call, Expr, Keyword, List, Map, Name, Type
from aieye.pipeline.language.values import convert
from aieye.pipeline.planning.building import Builder, Expansion, too_many
from aieye.pipeline.planning.reach import strict_lets, used_lets
from aieye.pipeline.steps import (
    Apply,
    Block,
    Body,
    Callee,
    CallOptions,
    CallStep,
    Choose,
    Constant,
    Convert,
    Edge,
    MakeList,
    MakeMap,
    Place,
    Scope,
    Select,
    Try,
)

Lowered: TypeAlias = "Generator[Lowered, int, int]"
"""A part that is being lowered: it yields parts of its own, is sent and returns their steps."""

_LIST: Final = Type("list", (Type("any"),))


class Text:
    """One pipeline's text while it is lowered; a pipeline that it calls is a text of its own."""

    __slots__ = (
        *("_bindings", "_body", "_builder", "_caller", "_depth", "_labels", "_lets", "_options"),
        *("_pipeline", "_prefix", "_run", "_scope", "_start", "_within"),
    )

    def __init__(
        self,
        run: Expansion,
        builder: Builder,
        body: Body,
        scope: dict[str, int],
        *,
        within: str | None = None,
        caller: Place | None = None,
        prefix: str = "",
        options: CallOptions = CallOptions(),  # noqa: B008  # it is frozen
        depth: int = 0,
    ) -> None:
        self._run = run
        self._builder = builder
        self._body = body
        self._pipeline = body.pipeline
        self._bindings = body.analysis.bindings
        self._scope = scope
        self._within = within
        self._caller = caller
        self._prefix = prefix
        self._options = options
        self._depth = depth
        self._labels: Counter[str] = Counter()
        self._lets: list[int] = []
        self._start = len(builder.steps)

    def body(self) -> Lowered:
        used = used_lets(self._pipeline)
        for let in self._pipeline.lets:
            if let.name in used:
                step = yield self._expr(let.value)
                self._scope[let.name] = step
                self._lets.append(step)
        return (yield self._expr(self._pipeline.result))

    def order(self, result: int) -> tuple[int, ...]:
        """What has its turn one after the other: the lets that are needed in any case, the result."""
        return (*strict_lets(self._builder.steps, self._lets, result, self._start), result)

    def _place(self, start: int, end: int) -> Place:
        return Place(self._pipeline.source, start, end, self._within, self._caller)

    def _label(self, name: str) -> str:
        """The path of the next call of that name."""
        self._labels[name] += 1
        count = self._labels[name]
        return f"{self._prefix}{name}" if count == 1 else f"{self._prefix}{name}#{count}"

    # --- Expressions

    def _expr(self, node: Expr) -> Lowered:
        match node:
            case Name():
                if node.name in self._scope:
                    return self._scope[node.name]
                return (yield self._call(Call(node.name, start=node.start, end=node.end)))
            case Call():
                return (yield self._call(node))
            case Access():
                base = yield self._expr(node.base)
                place = self._place(node.start, node.end)
                return self._builder.add(Select(base, node.selectors, place))
            case List():
                return (yield self._list(node))
            case Map():
                return (yield self._map(node))
        return self._builder.add(Constant(node.value))

    def _list(self, node: List) -> Lowered:
        place = self._place(node.start, node.end)
        self._run.count_operands(len(node.items), place)
        items = []
        for item in node.items:
            items.append((yield self._expr(item)))
        values = self._builder.constants(node.items, len(items))
        if values is not None:
            return self._builder.add(Constant(values))
        return self._builder.add(MakeList(tuple(items), place))

    def _map(self, node: Map) -> Lowered:
        place = self._place(node.start, node.end)
        self._run.count_operands(len(node.entries), place)
        operands = []
        for entry in node.entries:
            operands.append((yield self._expr(entry.value)))
        keys = tuple(entry.key for entry in node.entries)
        values = self._builder.constants((entry.value for entry in node.entries), len(operands))
        if values is not None:
            return self._builder.add(Constant(dict(zip(keys, values, strict=True))))
        return self._builder.add(MakeMap(keys, tuple(operands), place))

    # --- Calls

    def _call(self, node: Call) -> Lowered:
        binding = self._bindings[node.start]
        definition = binding.definition
        place = self._place(node.start, node.end)
        self._run.count_step(place)
        self._run.count_operands(len(node.arguments), place)
        if definition.name in {"map", "reduce"} and definition.kind == "form":
            return (yield self._apply(node, binding.parameters))
        edges = []
        for argument, parameter in zip(node.arguments, binding.parameters, strict=True):
            value = _value(argument)
            operand = yield self._expr(value)
            type_ = definition.by_name[parameter].type
            edges.append(
                Edge(parameter, operand, _effective(type_), self._place(value.start, value.end))
            )
        ordered = _by_parameter(edges, definition)
        if definition.kind == "form":
            return self._builder.add(_lazy(definition.name, ordered))
        name = self._place(node.start, node.start + len(node.name))
        return (yield self._call_of(definition, ordered, self._options_of(node), name, place))

    def _call_of(
        self,
        definition: Definition,
        edges: tuple[Edge, ...],
        options: CallOptions,
        name: Place,
        place: Place,
    ) -> Lowered:
        """The call of what is no form, its arguments being there."""
        callee = self._run.callee(definition, name)
        path = self._label(definition.name)
        if isinstance(callee, Callee):
            return self._builder.add(CallStep(callee, edges, options, place, path))
        return (yield self._pipeline_call(callee, definition.name, edges, options, place, path))

    def _options_of(self, node: Call) -> CallOptions:
        """A call's own options; cache and model are handed on by the pipeline around it."""
        own: dict[str, Any] = {option.name: option.value.value for option in node.options}
        return CallOptions(**{"cache": self._options.cache, "model": self._options.model} | own)

    # --- Pipelines that are called

    def _pipeline_call(
        self,
        body: Body,
        name: str,
        edges: tuple[Edge, ...],
        options: CallOptions,
        place: Place,
        path: str,
    ) -> Lowered:
        depth = self._depth + 1
        if depth > MAX_PIPELINE_DEPTH:
            what = f"pipelines call pipelines more than {MAX_PIPELINE_DEPTH} deep"
            raise too_many(what, place)
        arguments = [self._argument(edge) for edge in edges]
        given = dict(zip((edge.parameter for edge in edges), arguments, strict=True))
        parameters = body.analysis.arguments
        for parameter in parameters:
            if parameter.name not in given:
                given[parameter.name] = self._builder.add(_default(parameter))
        has_scope = options.timeout is not None or options.retries > 0
        builder = Builder(parameters) if has_scope else self._builder
        inner = Text(
            *(self._run, builder, body, builder.given() if has_scope else dict(given)),
            within=name,
            caller=self._caller or place,
            prefix="" if has_scope else f"{path}/",
            options=options,
            depth=depth,
        )
        result = yield inner.body()
        order = inner.order(result)
        if not has_scope:
            return self._builder.add(Block(tuple(arguments), result, (*arguments, *order)))
        operands = tuple(given[parameter.name] for parameter in parameters)
        plan = builder.plan(result, order)
        return self._builder.add(
            Scope(name, plan, operands, options.timeout, options.retries, place, path)
        )

    def _argument(self, edge: Edge) -> int:
        """What a pipeline receives for a param: converted, where that has a type."""
        return edge.operand if edge.type is None else self._builder.add(Convert(edge))

    # --- map and reduce

    def _apply(self, node: Call, parameters: tuple[str, ...]) -> Lowered:
        """Their items, and a plan for the call of one item."""
        values = map(_value, node.arguments)
        given = dict(zip(parameters, values, strict=True))
        called = cast(Name, given.pop("f"))
        operands: dict[str, int] = {}
        places: dict[str, Place] = {}
        for parameter, value in given.items():
            operands[parameter] = yield self._expr(value)
            places[parameter] = self._place(value.start, value.end)
        names = ["initial", "list"] if node.name == "reduce" else ["list"]
        names += [name for name in operands if name not in names]
        path = self._label(node.name)
        binding = self._bindings[called.start]
        types = binding.definition.by_name
        inner = self._for_items(tuple(map(Parameter, names)))
        edges = [
            Edge(parameter, index, _effective(types[parameter].type), places[name])
            for index, (name, parameter) in enumerate(zip(names, binding.parameters, strict=True))
        ]
        place = self._place(node.start, node.end)
        result = yield inner._call_of(
            binding.definition,
            _by_parameter(edges, binding.definition),
            self._options_of(node),
            self._place(called.start, called.end),
            place,
        )
        items = Edge("list", operands.pop("list"), _LIST, places["list"])
        initial = operands.pop("initial") if node.name == "reduce" else None
        body = inner._builder.plan(result, (result,))
        return self._builder.add(Apply(body, items, initial, tuple(operands.values()), place, path))

    def _for_items(self, parameters: tuple[Parameter, ...]) -> Text:
        """This text with a plan of its own for what is called with each item."""
        return Text(
            *(self._run, Builder(parameters), self._body, {}),
            within=self._within,
            caller=self._caller,
            options=self._options,
            depth=self._depth,
        )


def _value(argument: Expr | Keyword) -> Expr:
    return argument.value if isinstance(argument, Keyword) else argument


def _effective(type_: Type | None) -> Type | None:
    """The type, if it asks for anything."""
    return None if type_ is None or type_.name == "any" else type_


def _by_parameter(edges: Sequence[Edge], definition: Definition) -> tuple[Edge, ...]:
    """The edges in the order of the parameters, so that calls that bind alike are alike."""
    by_name = {edge.parameter: edge for edge in edges}
    return tuple(by_name[name] for name in definition.by_name if name in by_name)


def _lazy(name: str, edges: tuple[Edge, ...]) -> Choose | Try:
    if name == "if":
        condition, then, otherwise = edges
        return Choose(condition, then.operand, otherwise.operand)
    value, fallback = edges
    return Try(value.operand, fallback.operand)


def _default(parameter: Parameter) -> Constant:
    # Whether it can be converted was seen when the pipeline was analysed.
    return Constant(convert(parameter.default, parameter.type))
