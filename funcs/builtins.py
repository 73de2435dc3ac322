"""The built-in functions of the pipeline language. Plain functions: values in, a value out.

They run on the server's own loop, with large arguments in a worker process, so none may take long or
much memory, whatever it is given: work and results are in proportion to the arguments, or bounded by
`LARGEST`. Patterns can be made to take for ever: what uses one runs in a worker process.

A parameter without a type takes any value. `infer` reads texts into what they look like first, so
that numbers and lists that come as text, as a model's answers do, can be reckoned with.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from aieye.functions import Context, function, infer
from aieye.pipeline.language.values import text_of
from aieye.prompts.substitution import substitute

# Characters or items of a result: a value of a pipeline may be no larger.
LARGEST = 2**20


def identity(x: Any) -> Any:
    """The value itself."""
    return x


# -- numbers -----------------------------------------------------------------------------------


@infer
def add(a: Any, b: Any) -> Any:
    """The sum of two numbers; two texts or two lists are put together."""
    if isinstance(a, str) and isinstance(b, str):
        return a + b
    if isinstance(a, list) and isinstance(b, list):
        return a + b
    return _number(a) + _number(b)


@infer
def subtract(a: Any, b: Any) -> Any:
    """The first number less the second."""
    return _number(a) - _number(b)


@infer
def multiply(a: Any, b: Any) -> Any:
    """The product of two numbers."""
    return _number(a) * _number(b)


@infer
def divide(a: Any, b: Any) -> Any:
    """The first number divided by the second, with a fraction."""
    return _number(a) / _number(b)


@infer
def modulo(a: Any, b: Any) -> Any:
    """What remains of the first number when it is divided by the second."""
    return _number(a) % _number(b)


@infer
def absolute(a: Any) -> Any:
    """The number without its sign."""
    return abs(_number(a))


@infer
def round_number(a: Any, digits: int = 0) -> Any:
    """The number rounded; without digits behind the point it is an integer."""
    if not -20 <= digits <= 20:
        raise ValueError("'digits' should be -20 to 20")
    return round(_number(a), digits) if digits else round(_number(a))


@infer
def minimum(lst: Any) -> Any:
    """The smallest of a list."""
    return min(_list(lst))


@infer
def maximum(lst: Any) -> Any:
    """The largest of a list."""
    return max(_list(lst))


@infer
def total(lst: Any) -> Any:
    """The sum of a list of numbers."""
    return sum(map(_number, _list(lst)))


# -- conditions --------------------------------------------------------------------------------


@infer
def equals(a: Any, b: Any) -> bool:
    """Whether two values are equal."""
    return bool(a == b)


@infer
def greater(a: Any, b: Any) -> bool:
    """Whether the first of two numbers or texts is the greater one."""
    return bool(a > b)


@infer
def less(a: Any, b: Any) -> bool:
    """Whether the first of two numbers or texts is the lesser one."""
    return bool(a < b)


def negate(condition: bool) -> bool:
    """True for false, false for true."""
    return not condition


def both(a: bool, b: bool) -> bool:
    """Whether both conditions hold."""
    return a and b


def either(a: bool, b: bool) -> bool:
    """Whether one of the conditions holds, or both."""
    return a or b


def is_empty(value: Any) -> bool:
    """Whether it is null, or a text, list or mapping with nothing in it."""
    return value is None or _opened(value) in ("", [], {})


def contains(value: Any, part: Any) -> bool:
    """Whether a text has this part, a list this item or a mapping this key."""
    whole = _opened(value)
    if isinstance(whole, list):
        return part in whole
    return text_of(part) in (whole if isinstance(whole, dict) else text_of(whole))


# -- text --------------------------------------------------------------------------------------


def uppercase(s: str) -> str:
    """The text in capitals."""
    return s.upper()


def lowercase(s: str) -> str:
    """The text in small letters."""
    return s.lower()


def capitalize(s: str) -> str:
    """The text with a capital first letter, the rest as it is."""
    return s[:1].upper() + s[1:]


def trim(s: str) -> str:
    """The text without white space at its ends."""
    return s.strip()


def concat(s1: str, s2: str) -> str:
    """Two texts, one behind the other."""
    return s1 + s2


def replace(s: str, old: str, new: str) -> str:
    """The text with every `old` replaced by `new`."""
    if not old:
        raise ValueError("'old' should not be empty")
    _bound(len(s) + s.count(old) * (len(new) - len(old)))
    return s.replace(old, new)


def starts_with(s: str, prefix: str) -> bool:
    """Whether the text starts so."""
    return s.startswith(prefix)


def ends_with(s: str, suffix: str) -> bool:
    """Whether the text ends so."""
    return s.endswith(suffix)


def truncate(s: str, length: int, ending: str = "…") -> str:
    """The text with at most `length` characters; `ending` shows that something is left out."""
    if len(s) <= length:
        return s
    return (s[: max(0, length - len(ending))] + ending)[: max(0, length)]


def split(s: str, separator: str | None = None) -> list[str]:
    """The parts of the text between the separators, by default white space."""
    return s.split(separator)


def lines(s: str) -> list[str]:
    """The lines of the text."""
    return s.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n") if s else []


def join(lst: list[Any], separator: str = "") -> str:
    """The items as texts with the separator between them."""
    _bound(len(lst) * len(separator))
    return separator.join(map(text_of, lst))


def length(s: Any) -> int:
    """How many characters a text has, or items a list or a mapping."""
    whole = _opened(s)
    return len(whole) if isinstance(whole, list | dict) else len(text_of(whole))


def to_str(anything: Any) -> str:
    """The value as text."""
    return text_of(anything)


def template(body: str, values: dict[str, Any]) -> str:
    """The text with each `{name}` replaced by the value of that name."""
    return substitute(body, {name: text_of(value) for name, value in values.items()})


# -- lists -------------------------------------------------------------------------------------


@infer
def append(lst: Any, el: Any) -> Any:
    """The list with one more item at its end."""
    return [*_list(lst), el]


@infer
def remove(lst: Any, el: Any) -> Any:
    """The list without the first such item; an error if there is none."""
    items = list(_list(lst))
    items.remove(el)
    return items


@infer
def sort(lst: Any, descending: bool = False) -> Any:
    """The items in order; all numbers or all texts."""
    return sorted(_list(lst), reverse=descending)


@infer
def unique(lst: Any) -> Any:
    """The items without repetitions, each where it comes first."""
    seen: dict[str, Any] = {}
    for item in _list(lst):
        seen.setdefault(json.dumps(item, sort_keys=True), item)
    return list(seen.values())


@infer
def reverse(lst: Any) -> Any:
    """The items from the last to the first."""
    return _list(lst)[::-1]


@infer
def first(lst: Any) -> Any:
    """The first item, null if there is none."""
    return next(iter(_list(lst)), None)


@infer
def last(lst: Any) -> Any:
    """The last item, null if there is none."""
    return next(iter(_list(lst)[-1:]), None)


def part(value: Any, start: int = 0, end: int | None = None) -> Any:
    """The items of a list, or characters of a text, from `start` up to `end`; both may be negative."""
    whole = _opened(value)
    return (whole if isinstance(whole, list) else text_of(whole))[start:end]


@infer
def flatten(lst: Any) -> Any:
    """The list with the items of the lists in it in their place, one level deep."""
    return [one for item in _list(lst) for one in (item if isinstance(item, list) else [item])]


# -- JSON --------------------------------------------------------------------------------------


def json_get(value: Any, path: str, default: Any = None) -> Any:
    """What stands at a path of keys and numbers such as `items.0.name`, else the default."""
    found = _opened(value)
    for step in path.split("."):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and re.fullmatch(r"-?[0-9]{1,9}", step):
            if not -len(found) <= int(step) < len(found):
                return default
            found = found[int(step)]
        else:
            return default
    return found


@infer
def json_keys(value: Any) -> list[str]:
    """The keys of a mapping."""
    return list(_mapping(value))


@infer
def json_merge(a: Any, b: Any) -> Any:
    """Two mappings in one; what both have is the second's, mappings in them are merged likewise."""
    return _merged(_mapping(a), _mapping(b))


def json_parse(text: str) -> Any:
    """The value that a JSON text stands for."""
    return json.loads(text)


def json_dump(value: Any, indent: int | None = None) -> str:
    """The value as JSON text, on one line or with this many spaces a level."""
    if indent is not None and not 0 <= indent <= 8:
        raise ValueError("'indent' should be 0 to 8")
    written, size = [], 0
    for piece in json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(value):
        size += len(piece)
        _bound(size)
        written.append(piece)
    return "".join(written)


# -- patterns ----------------------------------------------------------------------------------


@function(isolate=True)
def regex_matches(s: str, pattern: str) -> bool:
    """Whether the pattern (a regular expression of Python's) occurs in the text."""
    return re.search(pattern, s) is not None


@function(isolate=True)
def regex_find(s: str, pattern: str) -> str | None:
    """The first occurrence, of a pattern with groups the first group; null if there is none."""
    match = re.search(pattern, s)
    return None if match is None else match[1 if match.re.groups else 0]


@function(isolate=True)
def regex_find_all(s: str, pattern: str) -> list[Any]:
    """Every occurrence; of a pattern with several groups, lists of them."""
    return re.findall(pattern, s)


@function(isolate=True)
def regex_replace(s: str, pattern: str, replacement: str) -> str:
    r"""The text with every occurrence replaced; `\1` stands for the first group."""
    return re.sub(pattern, replacement, s)


@function(isolate=True)
def regex_split(s: str, pattern: str) -> list[str | None]:
    """The parts of the text between the occurrences."""
    return re.split(pattern, s)


# -- dates -------------------------------------------------------------------------------------


def now() -> str:
    """The time in UTC, such as `2026-11-20T12:00:00+00:00`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def today() -> str:
    """The date in UTC, such as `2026-11-20`."""
    return datetime.now(UTC).date().isoformat()


def date_parse(text: str, format: str) -> str:  # noqa: A002 - a pipeline's argument
    """A date or time that is written in the format (`%d.%m.%Y`), in the ISO form."""
    return datetime.strptime(text, format).isoformat()


def date_format(date: str, format: str) -> str:  # noqa: A002
    """A date or time of the ISO form, written in the format (`%d.%m.%Y`)."""
    if len(format) > 100:
        raise ValueError("'format' should have 100 characters at most")
    return _moment(date).strftime(format)


def date_add(date: str, days: float = 0, hours: float = 0, minutes: float = 0) -> str:
    """The date or time that much later; a date without a time stays one, unless hours are added."""
    span = timedelta(days=days, hours=hours, minutes=minutes)
    moment = _moment(date) + span
    is_date = _is_date(date) and not span % timedelta(days=1)
    return moment.date().isoformat() if is_date else moment.isoformat()


def date_difference(start: str, end: str) -> float:
    """The seconds from the one to the other; what names no zone is UTC."""
    return (_aware(_moment(end)) - _aware(_moment(start))).total_seconds()


# -- prompts -----------------------------------------------------------------------------------


async def get_prompts(context: Context) -> dict[str, str]:
    """The prompts that the run may use: their names with their descriptions."""
    return dict(await context.prompts())


async def prompt(prompt_name: str, context: Context) -> str:
    """The text of a prompt, its variables not filled in."""
    return await context.prompt_body(prompt_name)


# -- what the functions above share ------------------------------------------------------------


@infer
def _read(value: Any) -> Any:
    return value


def _opened(value: Any) -> Any:
    """The list or mapping that a text stands for; any other value as it is."""
    found = _read(value)
    return found if isinstance(found, list | dict) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{_shown(value)} is no number")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{_shown(value)} is no list")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} is no mapping")
    return value


def _merged(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    merged = {**a, **b}
    for key in a.keys() & b.keys():
        if isinstance(a[key], dict) and isinstance(b[key], dict):
            merged[key] = _merged(a[key], b[key])
    return merged


def _shown(value: Any) -> str:
    return truncate(json.dumps(value, ensure_ascii=False), 40)


def _bound(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"the result would have more than {LARGEST:,} characters")


def _is_date(text: str) -> bool:
    return len(text.strip()) == len("2026-11-20")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.strip())


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
