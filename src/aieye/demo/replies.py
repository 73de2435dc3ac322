"""What the simulated model says, whatever the endpoint: text, or a call of a function."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import orjson

from aieye.demo.answers import Json
from aieye.demo.calls import Call
from aieye.demo.errors import invalid, missing, wrong_type
from aieye.demo.params import section, strings
from aieye.demo.schema_example import SchemaExample
from aieye.demo.tokens import CHARACTERS_PER_TOKEN, count_tokens

# Four characters each with its space: as many tokens as words.
_LONG_WORDS = ("sim", "ula", "ted", "out", "put")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the simulated model says, or the arguments with which it calls the caller's function."""

    text: str
    finish: str
    function: str = ""
    call_id: str = ""

    @property
    def tokens(self) -> int:
        """Completion tokens, by `count_tokens`."""
        return count_tokens(self.function) + count_tokens(self.text)


def answer(
    call: Call, prompt: str, form: Json, *, limit: int | None, variants: int = 1
) -> list[Reply]:
    """Replies to `prompt` in the response format `form`, or the function call that is forced."""
    text = f"Simulated answer to: {prompt}"
    if reply := _forced_call(call, text):
        return [reply] * variants
    text = _formatted(form, text)
    return [write(call, text, limit=limit, variant=index) for index in range(variants)]


def write(call: Call, text: str, *, limit: int | None = None, variant: int = 0) -> Reply:
    """Finish a reply: long output, variant `n`, stop sequences, then the limit in tokens."""
    if call.behaviour.long_tokens is not None:
        words = itertools.islice(itertools.cycle(_LONG_WORDS), call.behaviour.long_tokens)
        text = " ".join(words)
    if variant:
        text = f"{text} (variant {variant + 1})"
    for stop in strings(call.params, "stop"):
        if stop:
            text = text.partition(stop)[0]
    if limit is not None and count_tokens(text) > limit:
        return Reply(text[: limit * CHARACTERS_PER_TOKEN], "length")
    return Reply(text, "stop")


def _formatted(form: Json, text: str) -> str:
    """`text` in the response format asked for: as is, a JSON object, or an instance of a schema."""
    match form.get("type"):
        case "json_object":
            return orjson.dumps({"simulated": True, "answer": text}).decode()
        case "json_schema":
            # Chat nests the schema once more than responses do.
            schema = section(section(form, "json_schema") or form, "schema")
            if not schema:
                raise missing("response_format.json_schema.schema")
            return SchemaExample(schema, text).json()
        case _:
            return text


def _forced_call(call: Call, text: str) -> Reply | None:
    """The forced function call, or None: `tool_choice` "auto" is always answered with text."""
    tools = call.params.get("tools") or []
    if not isinstance(tools, list):
        raise wrong_type("tools", "an array of objects")
    functions = [_unwrap(tool) for tool in tools if isinstance(tool, dict)]
    named = [tool for tool in functions if isinstance(tool.get("name"), str)]
    schemas = {tool["name"]: section(tool, "parameters") for tool in named}
    match call.params.get("tool_choice"):
        case "required":
            name = next(iter(schemas), None)
        case dict() as choice:
            name = _unwrap(choice).get("name")
        case _:
            return None
    if not isinstance(name, str) or name not in schemas:
        raise invalid("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")
    arguments = SchemaExample(schemas[name] or {"type": "object"}, text).json()
    return Reply(arguments, "tool_calls", name, f"call_{call.digest[:24]}")


def _unwrap(tool: Json) -> Json:
    """Chat wraps the function in an object, responses do not."""
    return section(tool, "function") or tool
