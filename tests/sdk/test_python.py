"""OpenAI's SDK for Python against a real `aieye serve`: everything it can do works through it."""

from __future__ import annotations

import io
import json

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.sdk.conftest import PROVIDER_KEY, Gateway
from tests.servers import free_port

MODEL = "gpt-4o-mini"


def _said(question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": question}]


# ------------------------------------------------------------------------------------------- chat


def test_chat_answers_with_text_and_usage(client: OpenAI, question: str) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=_said(question))
    assert question in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id is not None
    assert answer._request_id.startswith("req_")


def test_a_streamed_chat_gives_the_same_text_without_a_usage_chunk_that_nobody_asked_for(
    client: OpenAI, question: str
) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=_said(question))
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=_said(question + " Again."), stream=True
        )
    )
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == (whole.choices[0].message.content or "").replace(question, question + " Again.")
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_streamed_chat_ends_with_the_usage_that_was_asked_for(
    client: OpenAI, question: str
) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=_said(question),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def test_a_chat_calls_the_tool_that_it_is_told_to(client: OpenAI, question: str) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=_said(question),
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "look_up",
                    "parameters": {
                        "type": "object",
                        "properties": {"term": {"type": "string"}},
                        "required": ["term"],
                    },
                },
            }
        ],
        tool_choice="required",
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "look_up"
    assert set(json.loads(call.function.arguments)) == {"term"}


class _Verdict(BaseModel):
    good: bool
    reason: str


def test_a_chat_is_parsed_into_the_model_that_was_asked_for(client: OpenAI, question: str) -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=_said(question), response_format=_Verdict
    )
    assert isinstance(answer.choices[0].message.parsed, _Verdict)


async def test_the_asynchronous_client_works_as_well(gateway: Gateway, question: str) -> None:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=gateway.token.secret) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=_said(question))
        assert question in (answer.choices[0].message.content or "")
        stream = await client.chat.completions.create(
            model=MODEL, messages=_said(question), stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == answer.choices[0].message.content
        names = [model.id async for model in client.models.list()]
        assert MODEL in names


# ------------------------------------------------------------------------------------- the others


def test_completions_answer_plain_and_streamed(client: OpenAI, question: str) -> None:
    model = "gpt-3.5-turbo-instruct"
    whole = client.completions.create(model=model, prompt=question)
    chunks = list(client.completions.create(model=model, prompt=question, stream=True))
    assert question in whole.choices[0].text
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0


def test_a_response_is_made_streamed_retrieved_and_deleted(client: OpenAI, question: str) -> None:
    made = client.responses.create(model=MODEL, input=question)
    assert question in made.output_text
    assert client.responses.retrieve(made.id).output_text == made.output_text
    assert client.responses.input_items.list(made.id).data
    events = list(client.responses.create(model=MODEL, input=question + " Streamed.", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_streamed_response_is_retrieved_by_its_id(client: OpenAI, question: str) -> None:
    *_, last = client.responses.create(model=MODEL, input=question, stream=True)
    assert last.type == "response.completed"
    assert client.responses.retrieve(last.response.id).output_text == last.response.output_text


def test_a_response_goes_on_from_an_earlier_one(client: OpenAI, question: str) -> None:
    first = client.responses.create(model=MODEL, input=question)
    second = client.responses.create(model=MODEL, input="And why?", previous_response_id=first.id)
    assert second.previous_response_id == first.id


def test_embeddings_come_as_base64_and_as_numbers_and_are_equal(
    client: OpenAI, question: str
) -> None:
    model = "text-embedding-3-small"
    # Without a format the SDK asks for base64 and decodes it.
    packed = client.embeddings.create(model=model, input=[question, "another"])
    plain = client.embeddings.create(
        model=model, input=[question, "another"], encoding_format="float"
    )
    assert [len(one.embedding) for one in packed.data] == [1536, 1536]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens


def test_moderations_judge(client: OpenAI, question: str) -> None:
    answer = client.moderations.create(input=question)
    assert len(answer.results) == 1
    assert answer.results[0].flagged in {True, False}


def test_models_are_listed_and_read_one_by_one(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert MODEL in names
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_images_are_generated_edited_and_varied(client: OpenAI, question: str) -> None:
    made = client.images.generate(model="gpt-image-1", prompt=question)
    assert made.data is not None
    assert made.data[0].b64_json
    picture = ("picture.png", b"\x89PNG\r\n\x1a\n" + question.encode(), "image/png")
    edited = client.images.edit(model="gpt-image-1", image=picture, prompt=question)
    assert edited.data
    with pytest.deprecated_call():
        assert client.images.create_variation(model="dall-e-2", image=picture).data


def test_speech_is_spoken_and_transcribed_and_translated(client: OpenAI, question: str) -> None:
    sound = client.audio.speech.create(
        model="tts-1", voice="alloy", input=question, response_format="wav"
    ).read()
    assert sound.startswith(b"RIFF")
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", sound))
    assert f"({len(sound)} bytes)" in heard.text
    as_text = client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", sound), response_format="text"
    )
    assert f"({len(sound)} bytes)" in str(as_text)
    with pytest.deprecated_call():
        translated = client.audio.translations.create(model="whisper-1", file=("a.wav", sound))
    assert "translation" in translated.text


def test_speech_streams_to_a_file(client: OpenAI, question: str) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=question, response_format="wav"
    ) as answer:
        sound = b"".join(answer.iter_bytes(1_000))
    assert sound.startswith(b"RIFF")


def test_a_transcription_streams_events(client: OpenAI) -> None:
    events = list(
        client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.wav", b"RIFF"), stream=True
        )
    )
    assert events[-1].type == "transcript.text.done"


# ---------------------------------------------------------------------------------- kept objects


def test_a_file_is_made_listed_read_and_deleted(client: OpenAI, question: str) -> None:
    content = question.encode() * 1_000
    made = client.files.create(file=("notes.txt", content), purpose="user_data")
    assert made.bytes == len(content)
    assert made.id in [file.id for file in client.files.list()]
    assert client.files.retrieve(made.id).filename == "notes.txt"
    assert client.files.content(made.id).read() == content
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_file_is_nobody_elses(gateway: Gateway, client: OpenAI) -> None:
    made = client.files.create(file=("mine.txt", b"mine"), purpose="user_data")
    with OpenAI(base_url=gateway.base_url, api_key=gateway.another.secret) as other:
        assert made.id not in [file.id for file in other.files.list()]
        for read in (other.files.retrieve, other.files.content, other.files.delete):
            with pytest.raises(openai.NotFoundError):
                read(made.id)
    assert client.files.retrieve(made.id).id == made.id


def test_a_large_file_goes_up_in_parts(client: OpenAI) -> None:
    content = b"0123456789" * 30_000
    made = client.uploads.upload_file_chunked(
        file=content,
        filename="large.txt",
        bytes=len(content),
        mime_type="text/plain",
        purpose="assistants",
        part_size=100_000,
    )
    assert made.status == "completed"
    assert made.file is not None
    assert client.files.content(made.file.id).read() == content


def test_an_upload_is_cancelled(client: OpenAI) -> None:
    made = client.uploads.create(
        bytes=10, filename="a.txt", mime_type="text/plain", purpose="assistants"
    )
    assert client.uploads.cancel(made.id).status == "cancelled"


def test_a_batch_runs_and_its_output_is_read(client: OpenAI, question: str) -> None:
    line = {
        "custom_id": "one",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": MODEL, "messages": _said(question)},
    }
    file = client.files.create(
        file=("tasks.jsonl", io.BytesIO(json.dumps(line).encode())), purpose="batch"
    )
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    done = client.batches.retrieve(made.id)
    assert done.status == "completed"
    assert done.output_file_id is not None
    answer = json.loads(client.files.content(done.output_file_id).read())
    assert question in answer["response"]["body"]["choices"][0]["message"]["content"]
    assert made.id in [batch.id for batch in client.batches.list()]


def test_a_batch_that_has_not_begun_is_cancelled(client: OpenAI) -> None:
    file = client.files.create(file=("tasks.jsonl", b"{}"), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
    )
    assert client.batches.cancel(made.id).status in {"cancelling", "cancelled"}


def test_a_vector_store_is_made_filled_searched_and_deleted(client: OpenAI) -> None:
    file = client.files.create(
        file=("animals.txt", b"The quick brown fox jumps over the lazy dog."), purpose="assistants"
    )
    made = client.vector_stores.create(name="animals", file_ids=[file.id])
    assert made.id in [one.id for one in client.vector_stores.list()]
    assert client.vector_stores.retrieve(made.id).name == "animals"
    assert client.vector_stores.update(made.id, name="creatures").name == "creatures"
    assert file.id in [one.id for one in client.vector_stores.files.list(made.id)]
    assert client.vector_stores.files.retrieve(file.id, vector_store_id=made.id).id == file.id
    found = client.vector_stores.search(made.id, query="fox").data
    assert "fox" in found[0].content[0].text
    assert client.vector_stores.files.delete(file.id, vector_store_id=made.id).deleted
    again = client.vector_stores.files.create(made.id, file_id=file.id)
    assert again.id == file.id
    assert client.vector_stores.delete(made.id).deleted


# ------------------------------------------------------------------------------------------ cache


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_the_second_identical_call_is_a_hit_with_the_same_bytes(
    gateway: Gateway, client: OpenAI, question: str, streamed: bool
) -> None:
    before = len(gateway.provider.seen)
    raw = client.chat.completions.with_raw_response
    answers, bodies = [], []
    for _ in range(2):
        answers.append(raw.create(model=MODEL, messages=_said(question), stream=streamed))
        bodies.append(answers[-1].http_response.read())
    assert [answer.headers["x-aieye-cache"] for answer in answers] == ["miss", "hit"]
    assert bodies[0] == bodies[1]
    assert "age" in answers[1].headers
    assert answers[1].headers["cache-status"].startswith("aieye; hit")
    assert float(answers[1].headers["x-aieye-saved-usd"]) > 0
    assert answers[0].headers["x-request-id"] != answers[1].headers["x-request-id"]
    assert len(gateway.provider.seen) == before + 1


def test_a_hit_in_the_other_form_says_the_same(client: OpenAI, question: str) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=_said(question))
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=_said(question),
        stream=True,
        stream_options={"include_usage": True},
    )
    assert raw.headers["x-aieye-cache"] == "hit"
    chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


@pytest.mark.parametrize("kind", ["completions", "responses", "embeddings", "moderations"])
def test_other_endpoints_hit_as_well(client: OpenAI, question: str, kind: str) -> None:
    def ask() -> str:
        match kind:
            case "completions":
                raw = client.completions.with_raw_response.create(
                    model="gpt-3.5-turbo-instruct", prompt=question
                )
                return raw.headers["x-aieye-cache"]
            case "responses":
                made = client.responses.with_raw_response.create(model=MODEL, input=question)
                return made.headers["x-aieye-cache"]
            case "embeddings":
                found = client.embeddings.with_raw_response.create(
                    model="text-embedding-3-small", input=question
                )
                return found.headers["x-aieye-cache"]
            case _:
                judged = client.moderations.with_raw_response.create(input=question)
                return judged.headers["x-aieye-cache"]

    assert [ask(), ask()] == ["miss", "hit"]


def test_the_cache_is_steered_from_the_body(
    gateway: Gateway, client: OpenAI, question: str
) -> None:
    states = [
        client.chat.completions.with_raw_response.create(
            model=MODEL, messages=_said(question), extra_body={"cache": {"mode": mode}}
        ).headers["x-aieye-cache"]
        for mode in ("use", "use", "refresh", "off")
    ]
    assert states == ["miss", "hit", "refresh", "bypass"]
    assert all(b'"cache"' not in seen.body for seen in gateway.calls("/v1/chat/completions"))


# ----------------------------------------------------------------------------------------- errors


def test_a_wrong_token_is_an_authentication_error(gateway: Gateway, question: str) -> None:
    before = len(gateway.provider.seen)
    for key in ("sk-wrong", gateway.token.secret[:-1] + "!", "aie_" + "x" * 60):
        with OpenAI(base_url=gateway.base_url, api_key=key) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                client.chat.completions.create(model=MODEL, messages=_said(question))
            assert caught.value.code == "invalid_api_key"
            assert caught.value.response.headers["www-authenticate"] == "Bearer"
            assert caught.value.request_id
            with pytest.raises(openai.AuthenticationError):
                client.models.list()
    assert len(gateway.provider.seen) == before


def test_an_unknown_model_is_not_found(client: OpenAI, question: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=_said(question))
    assert caught.value.code == "model_not_found"


def test_a_bad_request_says_which_parameter_is_wrong(client: OpenAI, question: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=_said(question), temperature=7)
    assert caught.value.param == "temperature"


def test_a_wrong_cache_field_is_our_own_bad_request(client: OpenAI, question: str) -> None:
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model=MODEL, messages=_said(question), extra_body={"cache": {"mode": "perhaps"}}
        )


def test_the_providers_limit_comes_through_with_its_retry_after(
    gateway: Gateway, client: OpenAI, question: str
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="sim-error-429", messages=_said(question))
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["retry-after"] == "1"
    assert gateway.asked("sim-error-429", question) == 3


def test_a_failing_provider_is_a_server_error_and_is_asked_three_times_in_all(
    gateway: Gateway, client: OpenAI, question: str
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="sim-error-503", messages=_said(question))
    assert caught.value.status_code == 503
    assert gateway.asked("sim-error-503", question) == 3


def test_the_providers_refusal_of_our_key_is_not_the_clients(
    gateway: Gateway, client: OpenAI, question: str
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="sim-error-401", messages=_said(question))
    assert caught.value.status_code == 502
    assert caught.value.code == "provider_auth"
    assert gateway.asked("sim-error-401", question) == 1


def test_a_stream_that_is_cut_raises_and_never_ends_well(client: OpenAI, question: str) -> None:
    stream = client.chat.completions.create(
        model="sim-cut-3", messages=_said(question), stream=True
    )
    with pytest.raises(openai.APIError):
        list(stream)


def test_a_missing_page_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.get("/no/such/page", cast_to=object)
    assert caught.value.code == "unknown_url"


def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    with (
        OpenAI(base_url=f"http://127.0.0.1:{free_port()}/v1", api_key="x") as client,
        pytest.raises(openai.APIConnectionError),
    ):
        client.models.list()


def test_a_call_that_takes_too_long_for_the_client_times_out(client: OpenAI, question: str) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(
            model="sim-delay-3000", messages=_said(question)
        )


# ----------------------------------------------------------------------------------------- ledger


def test_every_answer_has_its_row(gateway: Gateway, client: OpenAI, question: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=_said(question))
    rows = gateway.installation.query(
        "SELECT state, status, model_asked, cache, tokens_output, cost_nano, cost_state"
        " FROM calls WHERE id = :id",
        id=raw.headers["x-request-id"].removeprefix("req_"),
    )
    answer = raw.parse()
    assert answer.usage is not None
    ((state, status, model, cache, tokens, cost, cost_state),) = rows
    assert (state, status, model, cache) == ("done", 200, MODEL, "miss")
    assert tokens == answer.usage.completion_tokens
    assert cost > 0
    assert cost_state == "exact"


def test_the_provider_sees_its_own_key_and_nothing_of_the_client(
    gateway: Gateway, client: OpenAI, question: str
) -> None:
    client.chat.completions.create(model=MODEL, messages=_said(question))
    seen = gateway.provider.seen[-1]
    assert seen.header("authorization") == f"Bearer {PROVIDER_KEY}"
    names = {name.decode() for name, _ in seen.headers}
    assert not [name for name in names if name.startswith("x-stainless")]
    assert all(gateway.token.secret.encode() not in one.text for one in gateway.provider.seen)


# ---------------------------------------------------------------------------------------- presets


def test_presets_are_models_and_called_as_such(client: OpenAI, question: str) -> None:
    names = {model.id for model in client.models.list()}
    assert {"preset/brief", "preset/continue_it", "preset/chat_it", "preset/vectors"} <= names
    assert client.models.retrieve("preset/brief").owned_by == "aieye"
    for model in ("preset/brief", "gpt-4o@preset/brief"):
        answer = client.chat.completions.create(model=model, messages=_said(question))
        assert question in (answer.choices[0].message.content or "")
        assert answer.model == ("gpt-4o" if "@" in model else "gpt-4o-mini")
        chunks = client.chat.completions.create(model=model, messages=_said(question), stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == answer.choices[0].message.content
    for model in ("preset/continue_it", "preset/chat_it"):
        whole = client.completions.create(model=model, prompt=question, max_tokens=60)
        assert f"So: {question}" in whole.choices[0].text
        assert whole.object == "text_completion"
        assert whole.usage is not None
        parts = client.completions.create(model=model, prompt=question, max_tokens=60, stream=True)
        assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text
        said = client.chat.completions.create(model=model, messages=_said(question), max_tokens=60)
        assert said.choices[0].message.content == whole.choices[0].text
    vectors = client.embeddings.create(model="preset/vectors", input=question)
    assert len(vectors.data[0].embedding) == 8
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="preset/nothing", messages=_said(question))
