"""Which parameter each argument of a call goes to: section 3 of the language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aieye.pipeline.language import options
from aieye.pipeline.language.catalogue import Definition
from aieye.pipeline.language.findings import Finding
from aieye.pipeline.language.nodes import Call, Expr, Keyword, Name
from aieye.pipeline.language.suggest import did_you_mean

IsPlaceholder = Callable[[Name], bool]
"""Whether a bare name stands for an argument of the pipeline: a placeholder or a param."""

_TAKES_MORE: Final = "map"
"""The callee whose further keywords are the arguments of what it calls."""


_OPTION: Final = "options stand behind the arguments: {}(…) @({}=…)"


@dataclass(frozen=True, slots=True)
class Bound:
    """The arguments of one call in source order: `parameters[i]` is where the i-th goes.

    None there is an argument that goes nowhere; then the findings, all but W609 errors, say why.
    """

    parameters: Sequence[str | None]
    findings: Sequence[Finding]

    @property
    def is_valid(self) -> bool:
        return all(finding.code == "W609" for finding in self.findings)


def bind(call: Call, definition: Definition, is_placeholder: IsPlaceholder) -> Bound:
    """Bind the arguments of a call to the parameters of what it calls."""
    if definition.kind == "prompt":
        targets = _prompt_targets(call, definition, is_placeholder)
    else:
        targets = _index_targets(call, definition)
    if targets is None:
        return Bound([None] * len(call.arguments), [*_late(call), _ambiguous(call)])
    bound: list[str | None] = []
    findings = _late(call)
    given: set[str] = set()
    has_extra = False
    for argument, target in zip(call.arguments, targets, strict=True):
        if target is None:
            # Of the arguments that are too many only the first is reported.
            if isinstance(argument, Keyword) or not has_extra:
                findings.append(_nowhere(argument, definition))
            has_extra = has_extra or not isinstance(argument, Keyword)
        elif target in given:
            findings.append(_twice(argument, target))
        else:
            given.add(target)
        bound.append(target)
    if not any(finding.code != "W609" for finding in findings):
        findings += _missing(call, definition, given)
    return Bound(bound, findings)


def _index_targets(call: Call, definition: Definition) -> list[str | None]:
    """A positional argument goes to the parameter of its own index."""
    parameters = definition.parameters
    return [
        _keyword_target(argument, definition)
        if isinstance(argument, Keyword)
        else parameters[index].name
        if index < len(parameters)
        else None
        for index, argument in enumerate(call.arguments)
    ]


def _prompt_targets(
    call: Call, definition: Definition, is_placeholder: IsPlaceholder
) -> list[str | None] | None:
    """Positional arguments go to the variables they are named like, or to those in order.

    None if some are named like variables and some are not.
    """
    variables = definition.by_name
    positional = [node for node in call.arguments if not isinstance(node, Keyword)]
    named = [
        node.name
        for node in positional
        if isinstance(node, Name) and node.name in variables and is_placeholder(node)
    ]
    free: Iterator[str]
    if named and len(named) == len(positional):
        free = iter(named)
    elif named and len(variables) > 1:
        return None
    else:
        taken = {node.name for node in call.arguments if isinstance(node, Keyword)}
        free = (variable for variable in variables if variable not in taken)
    return [
        _keyword_target(argument, definition) if isinstance(argument, Keyword) else next(free, None)
        for argument in call.arguments
    ]


def _keyword_target(argument: Keyword, definition: Definition) -> str | None:
    is_known = argument.name in definition.by_name or definition.name == _TAKES_MORE
    return argument.name if is_known else None


def _late(call: Call) -> list[Finding]:
    """W609 for each positional argument behind a keyword."""
    findings = []
    has_keyword = False
    for argument in call.arguments:
        if isinstance(argument, Keyword):
            has_keyword = True
        elif has_keyword:
            findings.append(Finding("W609", argument.start, argument.end, _late_message))
    return findings


def _late_message() -> str:
    return "positional argument after a keyword"


def _nowhere(argument: Expr | Keyword, definition: Definition) -> Finding:
    name = definition.name
    if isinstance(argument, Keyword):
        keyword = argument.name
        return Finding(
            *("E303", argument.start, argument.start + len(keyword)),
            lambda: (
                f"'{name}' has no parameter '{keyword}'" + did_you_mean(keyword, definition.by_name)
            ),
            hint=_OPTION.format(name, keyword) if keyword in options.NAMES else None,
        )
    count = len(definition.parameters)
    takes = f"at most {count} argument{'s' * (count != 1)}" if count else "no arguments"
    return Finding("E302", argument.start, argument.end, lambda: f"'{name}' takes {takes}")


def _twice(argument: Expr | Keyword, target: str) -> Finding:
    end = argument.end
    if isinstance(argument, Keyword):
        end = argument.start + len(argument.name)
    return Finding("E304", argument.start, end, lambda: f"argument '{target}' is given twice")


def _ambiguous(call: Call) -> Finding:
    return Finding(
        *("E305", call.start, call.start + len(call.name)),
        lambda: f"some arguments of '{call.name}' are named like its variables and some are not",
        hint="use keywords",
    )


def _missing(call: Call, definition: Definition, given: set[str]) -> list[Finding]:
    required = definition.required
    if len(given & required) == len(required):
        return []

    def message() -> str:
        absent = required - given
        missing = [f"'{p.name}'" for p in definition.parameters if p.name in absent]
        names = ", ".join(missing[:-1]) + " and " * (len(missing) > 1) + missing[-1]
        return f"'{call.name}' is missing the argument{'s' * (len(missing) > 1)} {names}"

    return [Finding("E301", call.start, call.start + len(call.name), message)]
