"""`python -m bench.history DATABASE`: a month of a busy installation, for pages to be looked at.

Several teams with their tokens, models, providers and pipelines, days and nights, failures, slow
calls, hits, and texts to search in; the same rows whenever it is called with the same seed. The
database is one that `aieye migrate` made and nobody uses. SQLite only.
"""

from __future__ import annotations

import argparse
import math
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

import orjson

from aieye.access.cipher import Cipher, provider_key_place
from aieye.cache.entry import Entry, Provenance
from aieye.cache.key import cache_key, canonical, read_object
from aieye.cache.store import Store
from aieye.db.engine import Database
from aieye.gateway.usage import Usage
from aieye.ledger.book import EXACT, UNKNOWN, Book, CallRecord
from aieye.ledger.pricing import CompiledPrice, PriceBook
from aieye.settings import Settings
from bench.fill import BulkRows, call_id, in_bulk

_SECOND = 1_000_000
_HOUR = 3_600
_PROVIDERS = {
    "openai": "https://api.openai.com/v1",
    "together": "https://api.together.xyz/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "perplexity": "https://api.perplexity.ai",
    "x-ai": "https://api.x.ai/v1",
    "vllm-frankfurt": "https://vllm.fra.example.org/v1",
    "vllm-oregon": "https://vllm.pdx.example.org/v1",
    "ollama-lab": "https://ollama.lab.example.org/v1",
}
_PROVIDER_IDS = {name: 301 + number for number, name in enumerate(_PROVIDERS)}
_TEAMS = (
    *("search", "support", "billing", "research", "growth", "mobile", "checkout", "catalogue"),
    *("fraud", "legal", "finance", "marketing", "sales", "documentation", "localisation"),
    *("design", "security", "payments", "logistics", "warehouse", "pricing", "reviews"),
    *(
        "notifications",
        "advertising",
        "partners",
        "compliance",
        "platform",
        "data",
        "people",
        "labs",
    ),
)
# How steeply the share of a token falls from the busiest to the next.
_STEEPNESS = 0.12
# By alias, the providers and models that it stands for, in turn.
_ROUTES: dict[str, tuple[tuple[str, str], ...]] = {
    "fast": (("groq", "llama-3.3-70b-versatile"), ("openai", "gpt-4o-mini")),
    "smart": (("openai", "gpt-4.1"), ("openai", "gpt-4o")),
    "cheap": (("deepseek", "deepseek-chat"), ("openai", "gpt-4o-mini")),
    "reasoning": (("openai", "o4-mini"),),
    "embed": (("openai", "text-embedding-3-small"),),
    "gpt-3.5-turbo": (("openai", "gpt-4o-mini"),),
    "house-model": (("vllm-frankfurt", "house-model"), ("vllm-oregon", "house-model")),
    "translate": (("mistral", "mistral-small-latest"), ("openai", "gpt-4o-mini")),
    "summarise": (("openai", "gpt-4.1-mini"), ("mistral", "mistral-small-latest")),
    "code-review": (("openai", "gpt-4.1"), ("deepseek", "deepseek-chat")),
    "moderate": (("ollama-lab", "llama-guard3"),),
    "tiny": (("ollama-lab", "qwen2.5-0.5b-instruct"), ("openai", "gpt-4o-mini")),
}
_PIPELINES = ("triage", "translate", "weekly_summary")
# Of a token's calls those that a pipeline makes, and the models of a token: few, others have others.
_FROM_PIPELINES, _MODELS_A_TOKEN = 0.3, 3
# The share of answers that the cache holds still, and where.
_STORED, _NAMESPACE = 0.05, "default"
_ERRORS = {
    400: "The parameter `temperature` should be at most 2.",
    429: "Rate limit reached for requests.",
    502: "upstream_unreachable",
    499: "client_left",
}
_STATUSES = (200,) * 94 + (400, 400, 429, 429, 502, 499)
_CACHES = ("miss",) * 11 + ("hit",) * 6 + ("shared", "bypass", "refresh")
_WORDS = (
    *("invoice", "refund", "parcel", "delayed", "battery", "screen", "login", "password", "router"),
    *("cable", "summary", "contract", "holiday", "booking", "flight", "seat", "upgrade", "battery"),
    *("warranty", "repair", "shipment", "address", "change", "receipt"),
)


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    answered: str
    provider: str
    share: int
    endpoint: str = "chat/completions"
    words_a_second: int = 60


_MODELS = (
    _Model("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai", 34),
    _Model("gpt-4o", "gpt-4o-2024-08-06", "openai", 14, words_a_second=45),
    _Model("gpt-4.1", "gpt-4.1-2025-04-14", "openai", 9, words_a_second=50),
    _Model("gpt-4.1-mini", "gpt-4.1-mini-2025-04-14", "openai", 12, words_a_second=80),
    _Model("o4-mini", "o4-mini-2025-04-16", "openai", 4, "responses", 30),
    _Model("text-embedding-3-small", "text-embedding-3-small", "openai", 18, "embeddings"),
    _Model("house-model", "house-model", "vllm-frankfurt", 3),
    _Model("llama-3.3-70b-versatile", "llama-3.3-70b-versatile", "groq", 8, words_a_second=250),
    _Model("deepseek-chat", "deepseek-chat", "deepseek", 6, words_a_second=35),
    _Model("mistral-small-latest", "mistral-small-latest", "mistral", 5, words_a_second=90),
    _Model(
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "together",
        6,
    ),
)


def main() -> None:
    """Fill the database named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("database", type=Path)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if not asked.database.is_file():
        parser.error(f"{asked.database} is not there: make it with `aieye migrate`.")
    write_history(asked.database, calls=asked.calls, days=asked.days, seed=asked.seed)


def write_history(database: Path, *, calls: int, days: int = 30, seed: int = 1) -> None:
    """Put `calls` calls of the last `days` into the database."""
    dice = random.Random(seed)
    cipher = Cipher(Settings(data_dir=database.parent).secret_keys())
    started = time.monotonic()
    with in_bulk(database) as (connection, rows):
        _people(connection, cipher)
        _write(rows, Store(Database(f"sqlite+aiosqlite:///{database}"), rows), calls, days, dice)
        rows.finish()
        # How often an entry answered is counted as it is used: a few do nearly all of it.
        connection.execute(
            "UPDATE cache_entries SET hits = 900 / (1 + abs(random()) % 300), "
            "last_used_at = last_used_at + (abs(random()) % 3600000000)"
        )
    print(f"{calls:,} calls in {time.monotonic() - started:.0f} s", file=sys.stderr)


def _people(connection: sqlite3.Connection, cipher: Cipher) -> None:
    """Users 101…, tokens 201…, providers 301… and their keys 401…; routes."""
    moment = time.time_ns() // 1_000
    stamps = (moment, moment)
    for number, team in enumerate(_TEAMS):
        connection.execute(
            "INSERT OR IGNORE INTO users (id, email, name, role, is_active, is_builtin, created_at, "
            "updated_at) VALUES (?, ?, ?, 'user', 1, 0, ?, ?)",
            (101 + number, f"{team}@example.org", team.title(), *stamps),
        )
        for kind in range(2):
            token = 201 + 2 * number + kind
            connection.execute(
                "INSERT OR IGNORE INTO tokens (id, user_id, name, prefix, digest, scope, "
                "cache_namespace, cache_enabled, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, 'proxy', 'default', 1, ?, ?)",
                (token, 101 + number, f"{team}-{('prod', 'ci')[kind]}", f"aie_hist{token:04d}",
                 f"history-{token}", *stamps),
            )  # fmt: skip
    for number, (name, url) in enumerate(_PROVIDERS.items()):
        connection.execute(
            "INSERT OR IGNORE INTO providers (id, name, base_url, is_default, created_at, updated_at)"
            " SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM providers WHERE name = ?)",
            (301 + number, name, url, number == 0, *stamps, name),
        )
        for key in range(2):
            key_id, secret = 401 + 2 * number + key, f"no-key-of-anybody-{number:02}{key}aZ9"
            connection.execute(
                "INSERT OR IGNORE INTO provider_keys (id, provider_id, name, sealed, last4, "
                "is_active, created_at, updated_at) "
                "SELECT ?, id, ?, ?, ?, 1, ?, ? FROM providers WHERE name = ?",
                (key_id, ("main", "spare")[key],
                 cipher.seal(secret, place=provider_key_place(key_id, url)), secret[-4:], *stamps,
                 name),
            )  # fmt: skip
    for alias, targets in _ROUTES.items():
        written = [
            {"model": model, "provider": provider, "key_id": None, "weight": 1}
            for provider, model in targets
        ]
        connection.execute(
            "INSERT OR IGNORE INTO routes (alias, strategy, targets, created_at, updated_at) "
            "VALUES (?, 'ordered', ?, ?, ?)",
            (alias, orjson.dumps(written).decode(), *stamps),
        )


def _write(rows: BulkRows, store: Store, calls: int, days: int, dice: random.Random) -> None:
    book, prices = Book(rows, "history"), PriceBook()
    known: dict[str, CompiledPrice | None] = {
        model.name: prices.price_for(
            model.provider, _PROVIDERS[model.provider], model.answered, datetime.now(UTC)
        )
        for model in _MODELS
    }
    of_tokens = [_models_of(token) for token in range(2 * len(_TEAMS))]
    last_body: dict[str, str] = {}
    for number, moment in enumerate(_moments(calls, days)):
        token = min(len(of_tokens) - 1, int(dice.expovariate(_STEEPNESS)))
        models, shares = of_tokens[token]
        model = dice.choices(models, cum_weights=shares)[0]
        record = _call(dice, model, token, moment, call_id(moment, number))
        _price(record, known[model.name], book)
        if record.cache in {"hit", "shared"}:
            record.body_id = last_body.get(model.name)
        elif record.status != 499:
            record.body_id = last_body[model.name] = record.id
            texts = _texts(dice, model, record)
            book.keep_body(record.id, moment, *texts)
            if record.status == 200 and dice.random() < _STORED:
                _keep_entry(store, record, *texts)
        book.settle(record)


def _models_of(token: int) -> tuple[list[_Model], list[int]]:
    """The models that a token uses, and their shares added up."""
    models = [_MODELS[(token + 3 * step) % len(_MODELS)] for step in range(_MODELS_A_TOKEN)]
    return models, list(accumulate(model.share for model in models))


def _call(dice: random.Random, model: _Model, token: int, moment: int, id_: str) -> CallRecord:
    status, cache = dice.choice(_STATUSES), dice.choice(_CACHES)
    is_answered = status == 200
    if not is_answered:
        cache = "miss"
    is_hit = cache in {"hit", "shared"}
    asked, said = int(dice.lognormvariate(6, 0.9)), int(dice.lognormvariate(4.6, 0.8))
    if model.endpoint == "embeddings":
        said = 0
    first_us = 900 if is_hit else int(dice.lognormvariate(-0.9, 0.5) * _SECOND)
    last_us = first_us + (0 if is_hit else said * _SECOND // model.words_a_second)
    is_stream = model.endpoint != "embeddings" and dice.random() < 0.4
    provider_id = _PROVIDER_IDS[model.provider]
    key_id = 401 + 2 * (provider_id - 301)
    attempts = None
    if not is_hit:
        provider = {"provider": model.provider, "key_id": key_id}
        told_us = first_us if is_stream and is_answered else last_us
        attempts = [{**provider, "status": status, "ms": (told_us - 400) // 1_000}]
        if dice.random() < 0.03:
            attempts.insert(0, {**provider, "status": 503, "ms": 212, "error": "overloaded"})
            first_us, last_us = first_us + 700_000, last_us + 700_000
    is_run = model.endpoint != "embeddings" and dice.random() < _FROM_PIPELINES
    pipeline = _PIPELINES[token // 2 % len(_PIPELINES)] if is_run else None
    return CallRecord(
        model.endpoint,
        token_id=201 + token,
        user_id=101 + token // 2,
        provider_id=provider_id,
        key_id=key_id,
        model_asked=model.name,
        model=model.answered,
        is_stream=is_stream,
        status=status,
        error=_ERRORS.get(status),
        cache=cache,
        ttft_us=first_us if is_stream and is_answered else None,
        latency_us=last_us,
        tokens_input=asked if is_answered else None,
        tokens_cached=asked // 2 if is_answered and dice.random() < 0.2 else 0,
        tokens_output=said if is_answered else None,
        tokens_reasoning=said // 3 if model.name == "o4-mini" else 0,
        attempts=attempts,
        tags={"team": _TEAMS[token // 2], "env": ("prod", "ci")[token % 2]},
        pipeline=pipeline,
        run_id=f"run_{id_[:16]}" if pipeline else None,
        step="summarise" if pipeline else None,
        id=id_,
        created_at=moment,
    )


def _price(record: CallRecord, price: CompiledPrice | None, book: Book) -> None:
    if price is None:
        record.cost_state = UNKNOWN
        return
    record.price_id, record.cost_state = book.keep_price(price), EXACT
    usage = Usage(
        input=record.tokens_input or 0,
        output=record.tokens_output or 0,
        cached=record.tokens_cached or 0,
        reasoning=record.tokens_reasoning or 0,
    )
    cost = price.cost_nano(usage) if record.status == 200 else 0
    if record.cache in {"hit", "shared"}:
        record.cost_nano, record.saved_nano = 0, cost
    else:
        record.cost_nano = cost
    record.usage = {"prompt_tokens": usage.input, "completion_tokens": usage.output}


def _keep_entry(store: Store, record: CallRecord, request: bytes, response: bytes) -> None:
    hashed, provider_id = canonical(read_object(request)), record.provider_id or 0
    meta = Provenance(
        model=record.model, key_id=record.key_id, cost_nano=record.cost_nano,
        tokens_input=record.tokens_input, tokens_cached=record.tokens_cached,
        tokens_output=record.tokens_output, tokens_reasoning=record.tokens_reasoning,
    )  # fmt: skip
    store.put(
        Entry(
            key=cache_key(record.endpoint, provider_id, _NAMESPACE, hashed),
            endpoint=record.endpoint,
            provider_id=provider_id,
            namespace=_NAMESPACE,
            model=record.model_asked or "",
            is_stream=False,
            headers=((b"content-type", b"application/json"),),
            body=response,
            provenance=meta,
            created_at=record.created_at,
            expires_at=None,
        ),
        hashed,
        is_kept=False,
    )


def _texts(dice: random.Random, model: _Model, record: CallRecord) -> tuple[bytes, bytes]:
    question = " ".join(dice.choices(_WORDS, k=12))
    request: dict[str, object] = {"model": model.name, "input": question}
    if model.endpoint == "chat/completions":
        request = {"model": model.name, "messages": [{"role": "user", "content": question}]}
    if record.status != 200:
        return orjson.dumps(request), orjson.dumps({"error": {"message": record.error}})
    answer = " ".join(dice.choices(_WORDS, k=20))
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}}
    usage = record.usage or {}
    return orjson.dumps(request), orjson.dumps({"choices": [choice], "usage": usage})


def _moments(calls: int, days: int) -> Iterator[int]:
    """Moments in microseconds since 1970, by time: many by day, few at night and on weekends."""
    end = time.time_ns() // 1_000 - 2 * _SECOND
    hours = [end // _SECOND - _HOUR * back for back in range(24 * days, 0, -1)]
    weights = [_busy(datetime.fromtimestamp(hour, UTC)) for hour in hours]
    whole, due, made = sum(weights), 0.0, 0
    for hour, weight in zip(hours, weights, strict=True):
        due += calls * weight / whole
        count = (calls if hour == hours[-1] else int(due)) - made
        for number in range(count):
            yield hour * _SECOND + number * _HOUR * _SECOND // count
        made += count


def _busy(moment: datetime) -> float:
    by_day = 1 + math.sin((moment.hour - 8) / 24 * 2 * math.pi) * 0.8
    return by_day * (0.35 if moment.weekday() >= 5 else 1)


if __name__ == "__main__":
    main()
