"""What a new installation is filled with for its pages to be looked at: a few things, or very many.

Names, texts and numbers as people have them, short and at their longest, with failures among them; the
simulated provider answers. Nothing is left to chance, so that two pictures differ by the pages alone.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import httpx

from tests.browser.rig import EMAIL, PASSWORD
from tests.live import LiveServer

MODELS: Final = ("gpt-4o-mini", "gpt-4o", "o4-mini", "gpt-4.1", "our-own-model")
QUESTIONS: Final = 40
LONG_NAME: Final = (
    "summarise_the_quarterly_report_of_the_customer_support_department_for_the_board_of_directors"
)
TEAMS: Final = ("search", "support", "billing", "research", "growth", "mobile", "checkout", "legal")
ACTS: Final = ("classify", "translate", "summarise", "extract", "rewrite", "score", "answer")
MANY_VERSIONS: Final = 60

FUNCTIONS: Final = '''"""Functions of our own, for tickets."""


def loudly(text: str, times: int = 1) -> str:
    """The text in capital letters, with as many exclamation marks as asked for.

    Nothing is done about what is loud already.
    """
    return text.upper() + "!" * times


def priority_of_a_ticket(
    subject: str, body: str = "", customers: list[str] | None = None, is_paying: bool = False
) -> dict[str, int]:
    """How urgent a ticket is, from 0 to 9, by the words in it and by who wrote it."""
    return {"priority": 9 if is_paying or "urgent" in (subject + body).lower() else 3}
'''
FAULTY: Final = "def broken(:\n    pass\n"
TICKET: Final = """param ticket: str;
param lang: str = "en";
# What it is about, in one word, and what is to be answered.
let subject = classify_ticket(ticket) @(retries=2, timeout=30);
let answer = answer_ticket(ticket, subject=subject, lang=lang);
if(equals(subject, "spam"), "Nothing is answered.", join([uppercase(lang), answer], ": "))"""
DIGEST: Final = """param tickets: list[str];
param lang: str = "en";
let short = map(classify_ticket, tickets) @(retries=1);
let answers = map(answer_ticket, tickets, subject="refund", lang=lang);
let joined = join(answers, "\\n\\n");
let title = try(classify_ticket(joined), "no title");
join([title, join(short, "; "), truncate(joined, 400)], "\\n")"""
FAILING: Final = """param ticket: str;
let subject = classify_ticket(ticket);
concat(subject, no_answer(ticket))"""
TEXT: Final = """You answer customers of a shop that sells bicycles, on its behalf.

Subject: {subject}
Language: {lang}

Their message:
{ticket}

Answer in at most three sentences. Say JSON such as {{"answer": "…"}}."""


class Filler:
    """Makes things by the API, as the administrator, and calls as programs do."""

    def __init__(self, server: LiveServer) -> None:
        self._client = httpx.Client(base_url=server.base_url, trust_env=False, timeout=60)
        self._client.post("/login", data={"email": EMAIL, "password": PASSWORD})
        self._client.headers["x-csrftoken"] = self._client.cookies["csrftoken"]
        token = re.search(r"aie_\w+", server.output())
        assert token is not None, server.output()
        self._bearer = {"Authorization": f"Bearer {token[0]}"}

    def close(self) -> None:
        self._client.close()

    def make(self, resource: str, **fields: Any) -> dict[str, Any]:
        answer = self._client.post(f"/api/v1/{resource}", json=fields)
        assert answer.status_code in {200, 201}, (resource, fields, answer.text)
        made: dict[str, Any] = answer.json()
        return made

    def change(self, resource: str, **fields: Any) -> None:
        answer = self._client.patch(f"/api/v1/{resource}", json=fields)
        assert answer.is_success, (resource, fields, answer.text)

    def run(self, pipeline: str, **args: Any) -> None:
        """Run a pipeline; one that fails is kept as well."""
        self._client.post(f"/api/v1/pipelines/{pipeline}/call", json={"args": args})

    def ask(self, question: str, model: str, **fields: Any) -> None:
        message = {"role": "user", "content": question}
        body = {"model": model, "messages": [message], **fields}
        self._client.post("/v1/chat/completions", json=body, headers=self._bearer)


def fill(server: LiveServer, *, much: bool) -> None:
    """Fill a new installation: with some calls and one or two things of each kind, or with very many."""
    filler = Filler(server)
    try:
        _few(filler)
        if much:
            _many(filler)
        _provider(filler)
        if much:
            _many_routes(filler)
    finally:
        filler.close()


def _few(filler: Filler) -> None:
    for number in range(QUESTIONS):
        for _ in range(1 + number % 4):
            filler.ask(f"What is {number // 2} squared?", MODELS[number % len(MODELS)])
    filler.ask("What is the time?", "sim-error-429")
    filler.make("functions/sync")
    filler.make("users", email="grace@example.org", name="Grace", password="another quiet river")
    filler.make("tokens", name="laptop", models=["gpt-4o-mini"])
    filler.make("prices", model="our-own-*", rates={"input": "0.15", "output": "0.6"})
    short = {"name": "classify_ticket", "model": "gpt-4o-mini", "params": {"temperature": 0}}
    filler.make("prompts", body="One word for what this is about: {ticket}", **short)
    filler.change("prompts/classify_ticket", body="In one word, what is this about?\n{ticket}")
    said = "Answers a ticket in the language of who wrote it."
    filler.make("prompts", name="answer_ticket", body=TEXT, model="gpt-4o", description=said)
    filler.make("pipelines", name="answer", source=TICKET, tags=["support"])
    filler.change("pipelines/answer", source=TICKET.replace("retries=2", "retries=3"))
    for lang in ("en", "de"):
        filler.run("answer", ticket="My bicycle came without its saddle.", lang=lang)
    films = ["A shark eats swimmers.", "A ship sinks in the ice.", "A robot falls in love."]
    found = {"engine_id": "text-embedding-3-small", "documents": films}
    filler.make("presets", name="films", type="search", config=found)
    asked = {"model": "gpt-4o-mini", "temperature": 0.2}
    preset = filler.make("presets", name="answers", type="chat", config=asked)
    filler.change(f"presets/{preset['id']}", config={**asked, "temperature": 0.4})


def _provider(filler: Filler) -> None:
    """From now on no answer is simulated, and nobody is asked."""
    url = "https://llm.example.org/v1"
    filler.make("providers", name="house", base_url=url, key="sk-nobody-has-this-key-0001")
    filler.make("routes", alias="fast", targets=[{"provider": "house", "model": "gpt-4o-mini"}])


def _many(filler: Filler) -> None:
    _many_people(filler)
    _many_texts(filler)
    _many_runs(filler)


def _many_people(filler: Filler) -> None:
    for number in range(60):
        team = TEAMS[number % len(TEAMS)]
        user = filler.make(
            "users", email=f"{team}-{number:03}@departments.example.org",
            name=f"{team.title()} {number}", role="user" if number % 9 else "administrator",
        )  # fmt: skip
        filler.make(
            "tokens", name=f"{team} service in production, region {number:02}", user_id=user["id"],
            models=[*MODELS[: number % 5], *(["sim-*"] if number % 5 else ["*"])],
            scope=("proxy", "saga", "admin")[number % 3] if number % 9 == 0 else "proxy",
        )  # fmt: skip
    filler.make("users", email=f"{'long.' * 12}name@{'sub.' * 20}example.org", name="N" * 90)


def _many_routes(filler: Filler) -> None:
    for number in range(20):
        filler.make(
            "routes", alias=f"team-{TEAMS[number % 8]}-{number}", strategy="weighted",
            targets=[{"provider": "house", "model": model, "weight": 3} for model in MODELS],
        )  # fmt: skip
        filler.make("prices", model=f"house-model-{number}", rates={"input": "0.1", "output": "2"})


def _many_texts(filler: Filler) -> None:
    for number in range(70):
        name = f"{ACTS[number % 7]}_{TEAMS[number % 8]}_{number:02}"
        body = f"{ACTS[number % 7].title()} for {TEAMS[number % 8]}:\n{{text}}"
        said = f"How the {TEAMS[number % 8]} team has a text worked on before anybody reads it."
        filler.make(
            "prompts", name=name, body=body, model=MODELS[number % 5], description=said,
            shared=number % 3 == 0,
        )  # fmt: skip
        source = f"param text: str;\nuppercase({name}(text))"
        tags = [TEAMS[number % 8], "production", "weekly"][: number % 4]
        filler.make("pipelines", name=f"{name}_pipeline", source=source, tags=tags)
        config = {"model": MODELS[number % 5], "messages": [{"role": "system", "content": body}]}
        filler.make("presets", name=f"{name}_preset", type="chat", config=config)
    documents = [f"Document about {ACTS[i % 7]} in {TEAMS[i % 8]}, page {i}." for i in range(200)]
    found = {"engine_id": "text-embedding-3-small", "documents": documents}
    filler.make("presets", name="handbook_of_the_house", type="search", config=found)
    filler.make("prompts", name=LONG_NAME, body=f"{TEXT}\n{TEXT}", model="gpt-4o-mini")
    for number in range(MANY_VERSIONS):
        filler.change(f"prompts/{LONG_NAME}", body=f"{TEXT}\n{TEXT}\nRevision {number}.")
    for number, label in enumerate(("production", "staging", "what-the-board-has-seen", "old")):
        filler.make(f"prompts/{LONG_NAME}/labels", label=label, version=MANY_VERSIONS - 9 * number)


def _many_runs(filler: Filler) -> None:
    filler.make(
        "prompts", name="no_answer", body="Answer this: {ticket}", model="sim-error-500",
        description="Asks a model that always fails.",
    )  # fmt: skip
    filler.make("pipelines", name="failing", source=FAILING, tags=["broken"])
    name = f"{LONG_NAME}_p"
    filler.make("pipelines", name=name, source=DIGEST, tags=["weekly", *TEAMS[:4]])
    for number in range(MANY_VERSIONS // 4):
        filler.change(f"pipelines/{name}", source=DIGEST.replace("400", str(401 + number)))
    for number in range(30):
        filler.run(
            "answer", ticket=f"Order {number % 20} has not come.", lang=("en", "fr")[number % 2]
        )
        filler.run("failing", ticket=f"Order {number} has come twice.")
    tickets = [f"Ticket {i}: {json.dumps(TEAMS[i % 8])} waits for an answer." for i in range(20)]
    filler.run(name, tickets=tickets[:12])
    filler.run(name, tickets=tickets, lang="pt")
