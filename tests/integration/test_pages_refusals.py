"""What forms say of wrong input: under its field, and in the form's words."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from tests.integration.test_page_access import House, database_kind, house
from tests.integration.test_pages_handing_out import send
from tests.integration.test_pages_owned import make

__all__ = ["database_kind", "house"]

LONG = "x" * 300
NAME = "A name has 1 to 100 letters, digits and _, and does not start with a digit."
LABEL = "A label has 1 to 63 of a-z, 0-9, _ and -, and starts with a letter or digit."
LINE = "This should have 1 to 200 printable characters."
REQUIRED = "This is required: a line of 1 to 200 characters."
BELOW = "This cannot be saved as it is: see below."
UNSTORABLE = "This holds a character that cannot be stored."

# What is sent beside what is right, under which field it is told (none: of the form), and what.
Row = tuple[dict[str, str | list[str]], str, str]
PROMPTS: list[Row] = [
    ({"name": "1 a"}, "name", NAME),
    ({"name": "if"}, "name", "'if' means something in pipelines already."),
    ({"name": "taken"}, "name", "This name is taken already."),
    ({"body": ""}, "body", "This should not be empty."),
    ({"body": "a\0"}, "body", UNSTORABLE),
    ({"model": ""}, "model", LINE),
    ({"model": "preset/x"}, "model", "A prompt asks a model, and preset/x is none. Call the preset "
                                     "as a step of a pipeline."),
    ({"description": "x" * 10_001}, "description", "This has 10,000 characters at most."),
    ({"temperature": "3"}, "temperature", "This should be a number from 0 to 2."),
    ({"max_tokens": "0"}, "max_tokens", "This should be a whole number from 1 to 2,147,483,647."),
    ({"schema": '{"type": "x"}'}, "schema", "`type` should be one of array, boolean, integer, null, "
                                            "number, object, string, or a list of them."),
    ({"params": '{"model": 1}'}, "params", "`model` is a field of the prompt itself."),
    ({"params": '{"temprature": 1}'}, "params",
     "`temprature` is no parameter of a chat; did you mean `temperature`?"),
    ({"system": "x" * 70_000}, "", "System text and parameters together: 65,536 bytes at most."),
]  # fmt: skip
PIPELINES: list[Row] = [
    ({"name": LONG}, "name", NAME),
    ({"source": "f("}, "source", BELOW),
    ({"source": "a\0"}, "source", BELOW),
    ({"tags": LONG}, "tags", "A tag has 1 to 50 printable characters."),
    ({"tags": ",".join(map(str, range(21)))}, "tags", "There are 20 tags at most."),
]
COMPLETIONS: list[Row] = [
    ({"name": "taken"}, "name", "This name is taken already."),
    ({"engine_id": ""}, "engine_id", REQUIRED),
    ({"temperature": "9"}, "temperature", "This should be a number from 0 to 2."),
    ({"prompt": "{", "prompt_as_json": "on"}, "prompt",
     "This is not JSON: unexpected end of data: line 1 column 2 (char 1)."),
    ({"stop": "a\nb\nc\nd\ne"}, "stop",
     "This should be text, or a list of at most 4 texts (these are 5)."),
]  # fmt: skip
CHATS: list[Row] = [
    ({"model": LONG}, "model", "This should be a line of 1 to 200 characters."),
    ({"response_format": "[]"}, "response_format", "This should be an object."),
    ({"more": '{"stream": true}'}, "more", "'stream' is decided by who calls."),
    ({"role": "json", "content": "[]"}, "content-0",
     'This should be an object with a role: {"role": "user", …}.'),
]  # fmt: skip
SEARCHES: list[Row] = [
    (
        {"document": ["a", "", "b"]},
        "document-1",
        "Document (1) is empty: write it, or take it out.",
    ),
]
RUNS: list[Row] = [
    ({"arg-n": ""}, "arg-n", "This needs a value."),
    ({"arg-n": "many"}, "arg-n", "This text cannot become int."),
    ({"payer": "anything"}, "payer", "Choose one of the list."),
]
LABELS: list[Row] = [
    ({"label": ""}, "", LABEL),
    ({"label": "A B"}, "", LABEL),
    ({"label_version": "9"}, "", "There is no version 9."),
]
FORMS: dict[str, tuple[dict[str, str], list[Row]]] = {
    "/prompts/new": ({"name": "one", "body": "b", "model": "gpt-4o"}, PROMPTS),
    "/pipelines/new": ({"name": "one", "source": "uppercase(a)"}, PIPELINES),
    "/presets/new/completion": ({"name": "one", "engine_id": "e"}, COMPLETIONS),
    "/presets/new/chat": ({"name": "one", "model": "m"}, CHATS),
    "/presets/new/search": ({"name": "one", "engine_id": "e"}, SEARCHES),
    "/pipelines/1/run": ({"arg-n": "1"}, RUNS),
    "/functions/truncate/try": ({"arg-s": "a", "arg-length": "1"}, [
        ({"arg-length": "many"}, "arg-length", "This text cannot become int."),
    ]),
    **dict.fromkeys(
        ("/prompts/1/labels", "/pipelines/1/labels"), ({"label": "a", "label_version": "1"}, LABELS)
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
async def test_what_is_wrong_is_told_under_its_field_in_the_words_of_the_form(
    house: House, path: str
) -> None:
    await make(house, "prompt", "taken")
    await make(house, "pipeline", "own", source="param n: int; n")
    right, wrong = FORMS[path]
    for fields, place, said in wrong:
        sent: dict[str, Any] = {**right, **fields}
        answer = await send(house.user, path, **sent)
        assert 400 <= answer.status_code < 500, (fields, answer.status_code)
        told = re.findall(
            r'<p class="[^"]*"( id="[^"]*")? role="alert"[^>]*>(.*?)</p>', answer.text
        )
        at = f' id="{place}-error"' if place else ""
        assert [(where, unescape(words)) for where, words in told] == [(at, said)], fields
