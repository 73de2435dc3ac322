"""What a preset and its caller say, as the model sees it, and what comes back."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.errors import InvalidRequest
from aieye.presets.apply import (
    MissingPrompt,
    Prompt,
    assemble,
    chat_body,
    completion_body,
    embeddings_body,
    joined,
    with_restart,
    with_success,
)

words = st.text(max_size=12)
injects = words | st.lists(words, max_size=4)
tokens = st.lists(st.lists(st.integers(0, 50_000), min_size=1, max_size=4), min_size=1, max_size=3)


@given(st.text(min_size=1, max_size=12), words, injects)
def test_the_model_sees_prompt_and_text_and_what_is_injected(
    prompt: str, text: str, inject: str | list[str]
) -> None:
    seen = assemble({"prompt": prompt, "injectStart": inject}, text, None)
    assert seen == prompt + text + "".join(inject)


@given(st.lists(words, min_size=1, max_size=4), words, injects)
def test_each_of_several_prompts_gets_the_text(
    prompts: list[str], text: str, inject: str | list[str]
) -> None:
    seen = assemble({"prompt": prompts, "injectStart": inject}, text, None)
    assert seen == [prompt + text + joined(inject) for prompt in prompts]


@given(tokens)
def test_tokens_go_up_as_they_are(prompt: list[list[int]]) -> None:
    assert assemble({"prompt": prompt, "injectStart": ["", ""]}, "", None) == prompt


@given(tokens, st.text(min_size=1, max_size=5))
def test_nothing_is_added_to_tokens(prompt: list[list[int]], text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        assemble({"prompt": prompt}, text, None)
    assert refused.value.param == "text"
    with pytest.raises(InvalidRequest) as refused:
        assemble({"prompt": prompt, "injectStart": text}, "", None)
    assert refused.value.param == "injectStart"


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_presets_prompt_counts_before_the_callers(own: str, given_one: str) -> None:
    assert assemble({"prompt": own}, "", given_one) == own


@pytest.mark.parametrize("own", [{}, {"prompt": None}, {"prompt": ""}, {"prompt": []}])
def test_without_a_prompt_of_its_own_the_callers_is_taken(own: dict[str, Prompt]) -> None:
    assert assemble(own, "?", "Is it ") == "Is it ?"
    assert assemble(own, "?", ["a", "b"]) == ["a?", "b?"]
    assert assemble(own, "?", "") == "?"
    nothing: Prompt | None
    for nothing in (None, []):
        with pytest.raises(MissingPrompt) as refused:
            assemble(own, "?", nothing)
        assert (refused.value.status, refused.value.param) == (400, "prompt")


def test_several_texts_are_asked_about_of_one_prompt() -> None:
    assert assemble({"prompt": "Is it ", "injectStart": "?"}, ["a", "b"], None) == [
        "Is it a?",
        "Is it b?",
    ]
    with pytest.raises(InvalidRequest):
        assemble({"prompt": ["x", "y"]}, ["a", "b"], None)


def test_the_fields_of_the_original_go_up_by_their_own_names() -> None:
    config = {
        "engine_id": "davinci", "prompt": "Here goes the prompt", "max_tokens": 16,
        "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "best_of": 1,
        "logprobs": 0, "echo": False, "stop": [], "injectStart": "", "injectRestart": "",
    }  # fmt: skip
    assert completion_body(config, "davinci", "Here goes the promptand the text") == {
        "model": "davinci",
        "prompt": "Here goes the promptand the text",
        "max_tokens": 16,
        "temperature": 1,
        "top_p": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "logprobs": 0,
    }


@pytest.mark.parametrize(
    ("field", "value", "goes_up"),
    [
        ("best_of", 3, True),
        ("best_of", 1, False),
        ("echo", True, True),
        ("echo", False, False),
        ("logprobs", 0, True),
        ("logprobs", None, False),
        ("stop", "\n", True),
        ("stop", ["\n", "."], True),
        ("stop", [], False),
    ],
)
def test_what_asks_for_nothing_is_not_said(field: str, value: object, goes_up: bool) -> None:
    body = completion_body({field: value}, "m", "p")
    assert (body.get(field), field in body) == (value if goes_up else None, goes_up)


@given(st.lists(words, max_size=3), injects)
def test_what_restarts_follows_each_text_and_nothing_else_changes(
    texts: list[str], inject: str | list[str]
) -> None:
    choices = [
        {"text": text, "index": index, "logprobs": {"tokens": [text]}, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    answer = {"id": "cmpl-1", "choices": choices, "usage": None}
    restart = joined(inject)
    continued = with_restart(answer, restart)
    assert [one["text"] for one in continued["choices"]] == [text + restart for text in texts]
    assert [{**one, "text": ""} for one in continued["choices"]] == [
        {**one, "text": ""} for one in choices
    ]
    assert {**continued, "choices": None} == {**answer, "choices": None}


@pytest.mark.parametrize("answer", [b'{"a":1.10}', b' \n{ "a": 1e2}', b"{}", b"{ }"])
def test_a_success_is_the_answer_with_one_field_more(answer: bytes) -> None:
    said = with_success(answer)
    assert orjson.loads(said) == {"_success": True, **orjson.loads(answer)}
    assert answer.strip()[1:].strip() in said


def test_a_chat_presets_messages_come_before_the_callers() -> None:
    system = {"role": "system", "content": "Be brief."}
    asked = {"role": "user", "content": "Why?"}
    config = {"model": "gpt-4o", "messages": [system], "temperature": 0, "seed": None}
    assert chat_body(config, [asked], None) == {
        "model": "gpt-4o", "temperature": 0, "messages": [system, asked],
    }  # fmt: skip
    assert chat_body({"model": "gpt-4o"}, [asked], "gpt-5")["model"] == "gpt-5"


def test_an_embeddings_preset_is_given_what_to_embed() -> None:
    config = {"model": "text-embedding-3-small", "dimensions": 256, "encoding_format": None}
    assert embeddings_body(config, "Jaws", None) == {
        "model": "text-embedding-3-small", "dimensions": 256, "input": "Jaws",
    }  # fmt: skip
