"""POST /v1/completions and /v1/edits, the older endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from aieye.demo.answers import CREATED, Json, Outcome
from aieye.demo.calls import Call
from aieye.demo.choices import completion_logprobs, finish, head, usage
from aieye.demo.models import check_kind
from aieye.demo.params import integer, string
from aieye.demo.prompts import read_prompts
from aieye.demo.replies import write
from aieye.demo.tokens import count_tokens, split_tokens


@dataclass(frozen=True, slots=True)
class _Choice:
    """The tokens to show, where in prompt and text they start, and why they end."""

    index: int
    tokens: list[str]
    offset: int
    finish: str
    candidates: int | None

    def whole(self) -> Json:
        """The choice of a plain answer."""
        logprobs = completion_logprobs(self.tokens, self.offset, self.candidates)
        return self._said("".join(self.tokens), logprobs, self.finish)

    def deltas(self) -> Iterator[Json]:
        """The choices of the chunks of a stream."""
        offset = self.offset
        for token in self.tokens:
            yield self._said(token, completion_logprobs([token], offset, self.candidates))
            offset += len(token)
        yield self._said("", None, self.finish)

    def _said(self, text: str, logprobs: Json | None, finish: str | None = None) -> Json:
        return {"text": text, "index": self.index, "logprobs": logprobs, "finish_reason": finish}


def create(call: Call) -> Outcome:
    """Echo each prompt, `n` times; with `echo` the prompt itself comes first."""
    check_kind(call.model, "completion")
    params, prompts = call.params, read_prompts(call.params, "prompt")
    limit = 16 if params.get("max_tokens") is None else params["max_tokens"]
    candidates = integer(params, "logprobs", 0, 5)
    choices: list[_Choice] = []
    written = 0
    for prompt, variant in product(prompts, range(params.get("n") or 1)):
        text = f"Simulated answer to: {prompt.text}"
        reply = write(call, text, limit=limit, variant=variant)
        written += reply.tokens
        tokens, offset = split_tokens(reply.text), len(prompt.text)
        if params.get("echo") is True:
            tokens, offset = split_tokens(prompt.text) + tokens, 0
        choices.append(_Choice(len(choices), tokens, offset, reply.finish, candidates))
    return finish(
        call,
        head(call, "cmpl-", "text_completion"),
        (choice.whole() for choice in choices),
        (delta for choice in choices for delta in choice.deltas()),
        usage(sum(prompt.tokens for prompt in prompts), written),
    )


def edit(call: Call) -> Outcome:
    """Show input and instruction, `n` times."""
    check_kind(call.model, "completion")
    instruction = string(call.params, "instruction")
    given = string(call.params, "input") if call.params.get("input") is not None else ""
    text = f"Simulated edit of: {given} ({instruction})"
    replies = [write(call, text, variant=index) for index in range(call.params.get("n") or 1)]
    counts = usage(
        count_tokens(given) + count_tokens(instruction), sum(reply.tokens for reply in replies)
    )
    choices = [{"text": reply.text, "index": index} for index, reply in enumerate(replies)]
    return {"object": "edit", "created": CREATED, "choices": choices, "usage": counts}
