// OpenAI's SDK for Node, unchanged but for base URL and key, against a running gateway.
// Run by tests/sdk/test_node.py, which gives the addresses and tokens in the environment.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { toFile } from "openai";

const baseURL = process.env.GATEWAY_URL;
const client = new OpenAI({ baseURL, apiKey: process.env.GATEWAY_TOKEN });
const other = new OpenAI({ baseURL, apiKey: process.env.ANOTHER_TOKEN });
const model = "gpt-4o-mini";
const run = process.env.GATEWAY_RUN;

const said = (text) => [{ role: "user", content: `${run}: ${text}` }];

async function all(iterable) {
  const found = [];
  for await (const one of iterable) found.push(one);
  return found;
}

test("chat answers with text and usage", async () => {
  const answer = await client.chat.completions.create({ model, messages: said("chat") });
  assert.match(answer.choices[0].message.content, /chat/);
  assert.ok(answer.usage.total_tokens > 0);
  assert.match(answer._request_id, /^req_/);
});

test("a streamed chat has no usage chunk that nobody asked for", async () => {
  const chunks = await all(
    await client.chat.completions.create({ model, messages: said("streamed"), stream: true }),
  );
  assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && !chunk.usage));
  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
  assert.match(text, /streamed/);
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
});

test("a streamed chat ends with the usage that was asked for", async () => {
  const chunks = await all(
    await client.chat.completions.create({
      model,
      messages: said("with usage"),
      stream: true,
      stream_options: { include_usage: true },
    }),
  );
  assert.equal(chunks.at(-1).choices.length, 0);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
});

test("the stream helper folds a stream into its final message", async () => {
  const stream = client.chat.completions.stream({ model, messages: said("helper") });
  assert.match(await stream.finalContent(), /helper/);
});

test("completions answer plain and streamed", async () => {
  const asked = { model: "gpt-3.5-turbo-instruct", prompt: `${run}: completion` };
  const whole = await client.completions.create(asked);
  const chunks = await all(await client.completions.create({ ...asked, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), whole.choices[0].text);
});

test("presets are models, called plain and streamed", async () => {
  const names = (await all(await client.models.list())).map((one) => one.id);
  assert.ok(names.includes("preset/brief"));
  for (const [asked, answered] of [["preset/brief", model], ["gpt-4o@preset/brief", "gpt-4o"]]) {
    const messages = said("preset");
    const whole = await client.chat.completions.create({ model: asked, messages });
    assert.equal(whole.model, answered);
    const chunks = await all(
      await client.chat.completions.create({ model: asked, messages, stream: true }),
    );
    const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
    assert.equal(text, whole.choices[0].message.content);
  }
  for (const asked of ["preset/continue_it", "preset/chat_it"]) {
    const body = { model: asked, prompt: `${run}: preset`, max_tokens: 60 };
    const whole = await client.completions.create(body);
    assert.match(whole.choices[0].text, /So: /);
    const chunks = await all(await client.completions.create({ ...body, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), whole.choices[0].text);
  }
  await assert.rejects(
    client.chat.completions.create({ model: "preset/nothing", messages: said("nothing") }),
    OpenAI.NotFoundError,
  );
});

test("a response is made, streamed, retrieved and deleted", async () => {
  const made = await client.responses.create({ model, input: `${run}: response` });
  assert.match(made.output_text, /response/);
  assert.equal((await client.responses.retrieve(made.id)).id, made.id);
  const events = await all(
    await client.responses.create({ model, input: `${run}: events`, stream: true }),
  );
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).type, "response.completed");
  await client.responses.delete(made.id);
  await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
});

test("embeddings come as base64 and as numbers and are equal", async () => {
  const asked = { model: "text-embedding-3-small", input: [`${run}: one`, "two"] };
  const packed = await client.embeddings.create(asked);
  const plain = await client.embeddings.create({ ...asked, encoding_format: "float" });
  assert.equal(packed.data[0].embedding.length, 1536);
  packed.data[0].embedding.forEach((value, index) => {
    assert.ok(Math.abs(value - plain.data[0].embedding[index]) < 1e-6);
  });
});

test("moderations judge and images are made", async () => {
  const judged = await client.moderations.create({ input: `${run}: judge` });
  assert.equal(judged.results.length, 1);
  const made = await client.images.generate({ model: "gpt-image-1", prompt: `${run}: image` });
  assert.ok(made.data[0].b64_json);
});

test("models are listed and read one by one", async () => {
  const names = (await all(client.models.list())).map((one) => one.id);
  assert.ok(names.includes(model));
  assert.equal((await client.models.retrieve(model)).id, model);
});

test("speech is spoken and transcribed", async () => {
  const spoken = await client.audio.speech.create({
    model: "tts-1",
    voice: "alloy",
    input: `${run}: speech`,
    response_format: "wav",
  });
  const sound = Buffer.from(await spoken.arrayBuffer());
  assert.equal(sound.subarray(0, 4).toString(), "RIFF");
  const heard = await client.audio.transcriptions.create({
    model: "whisper-1",
    file: await toFile(sound, "a.wav"),
  });
  assert.ok(heard.text.includes(`(${sound.length} bytes)`));
});

test("a file is made, listed, read and deleted, and is nobody else's", async () => {
  const content = `${run}: content of the file`;
  const made = await client.files.create({
    file: await toFile(Buffer.from(content), "notes.txt"),
    purpose: "user_data",
  });
  assert.ok((await all(client.files.list())).some((file) => file.id === made.id));
  assert.equal((await client.files.retrieve(made.id)).filename, "notes.txt");
  assert.equal(await (await client.files.content(made.id)).text(), content);
  await assert.rejects(other.files.retrieve(made.id), OpenAI.NotFoundError);
  assert.ok(!(await all(other.files.list())).some((file) => file.id === made.id));
  assert.ok((await client.files.delete(made.id)).deleted);
  await assert.rejects(client.files.retrieve(made.id), OpenAI.NotFoundError);
});

test("a large file goes up in parts", async () => {
  const upload = await client.uploads.create({
    bytes: 20,
    filename: "large.txt",
    mime_type: "text/plain",
    purpose: "assistants",
  });
  const parts = [];
  for (const text of ["0123456789", "abcdefghij"]) {
    const data = await toFile(Buffer.from(text), "part");
    parts.push((await client.uploads.parts.create(upload.id, { data })).id);
  }
  const done = await client.uploads.complete(upload.id, { part_ids: parts });
  assert.equal(done.status, "completed");
  assert.equal(await (await client.files.content(done.file.id)).text(), "0123456789abcdefghij");
});

test("a batch runs", async () => {
  const line = {
    custom_id: "one",
    method: "POST",
    url: "/v1/chat/completions",
    body: { model, messages: said("batch") },
  };
  const file = await client.files.create({
    file: await toFile(Buffer.from(JSON.stringify(line)), "tasks.jsonl"),
    purpose: "batch",
  });
  const made = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  const done = await client.batches.retrieve(made.id);
  assert.equal(done.status, "completed");
  assert.match(await (await client.files.content(done.output_file_id)).text(), /batch/);
});

test("a vector store is made, searched and deleted", async () => {
  const file = await client.files.create({
    file: await toFile(Buffer.from("The quick brown fox."), "animals.txt"),
    purpose: "assistants",
  });
  const made = await client.vectorStores.create({ name: "animals", file_ids: [file.id] });
  const found = await client.vectorStores.search(made.id, { query: "fox" });
  assert.match(found.data[0].content[0].text, /fox/);
  assert.ok((await client.vectorStores.delete(made.id)).deleted);
});

test("the second identical call is a hit with the same bytes", async () => {
  for (const stream of [false, true]) {
    const ask = () =>
      client.chat.completions
        .create({ model, messages: said(`hit ${stream}`), stream })
        .asResponse();
    const first = await ask();
    assert.equal(first.headers.get("x-aieye-cache"), "miss");
    const text = await first.text();
    const second = await ask();
    assert.equal(second.headers.get("x-aieye-cache"), "hit");
    assert.equal(await second.text(), text);
  }
});

test("errors are the SDK's own errors", async () => {
  const wrong = new OpenAI({ baseURL, apiKey: "sk-wrong" });
  const messages = said("error");
  await assert.rejects(
    wrong.chat.completions.create({ model, messages }),
    (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key",
  );
  await assert.rejects(
    client.chat.completions.create({ model: "no-such-model", messages }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
  await assert.rejects(
    client.chat.completions.create({ model, messages, temperature: 7 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature",
  );
  await assert.rejects(
    client.chat.completions.create({ model: "sim-error-429", messages, stream: true }),
    (error) => error instanceof OpenAI.RateLimitError && error.headers.get("retry-after") === "1",
  );
  await assert.rejects(
    client.chat.completions.create({ model: "sim-error-503", messages }),
    (error) => error instanceof OpenAI.InternalServerError && error.status === 503,
  );
  await assert.rejects(
    client.chat.completions.create({ model: "sim-error-401", messages }),
    (error) => error instanceof OpenAI.InternalServerError && error.status === 502,
  );
});

test("a stream that is cut fails and never ends well", async () => {
  const stream = await client.chat.completions.create({
    model: "sim-cut-3",
    messages: said("cut"),
    stream: true,
  });
  await assert.rejects(all(stream), OpenAI.APIError);
});

test("a server that is not there is a connection error", async () => {
  const nowhere = new OpenAI({ baseURL: process.env.NOWHERE_URL, apiKey: "x" });
  await assert.rejects(nowhere.models.list(), OpenAI.APIConnectionError);
});
