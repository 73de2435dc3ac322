"""A hundred texts that would do something if a page took them for markup, and where they are put.

Whatever one of them would load, call or change has `/canary` in its address.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import httpx

from tests.browser.rig import EMAIL, PASSWORD
from tests.fakes.recorded import Given, Seen

MARK = "canary"
_URL = f"/{MARK}"

_SCRIPTS = [
    "<script>alert('canary')</script>",
    "<script src=/canary></script>",
    "<ScRiPt>fetch('/canary')</sCrIpT>",
    "<script type=module>import('/canary')</script>",
    "<script\x20defer\x20src='/canary'></script>",
    "<svg><script>alert('canary')</script></svg>",
    "<svg><script href=/canary /></svg>",
    "</script><script>alert('canary')</script>",
    "<<script>alert('canary');//<</script>",
    '<noscript><p title="</noscript><img src=/canary>">',
]
_HANDLERS = [
    *(f"<{tag} {event}=\"fetch('/canary')\">" for tag, event in (
        ("img src=x", "onerror"), ("svg", "onload"), ("body", "onload"), ("input autofocus", "onfocus"),
        ("video src=x", "onerror"), ("details open", "ontoggle"), ("marquee", "onstart"),
        ("div tabindex=0 autofocus", "onfocus"), ("p", "onpointerenter"), ("audio src=x", "onerror"),
        ("object data=x", "onerror"), ("select autofocus", "onfocus"), ("textarea autofocus", "onfocus"),
    )),
    "<img src=`x` onerror=fetch('/canary')>",
    "<img/src=x/onerror=fetch('/canary')>",
]  # fmt: skip
_BREAKS = [
    '"><img src=/canary>',
    "'><img src=/canary>",
    "\" autofocus onfocus=fetch('/canary') x=\"",
    "' autofocus onfocus=fetch('/canary') x='",
    '" hx-get="/canary" hx-trigger="load" x="',
    "</textarea><img src=/canary>",
    "</title><img src=/canary>",
    "</style><img src=/canary>",
    "</code></pre><img src=/canary>",
    "</td></tr></table><img src=/canary>",
    "</option></select><img src=/canary>",
    "</template><img src=/canary>",
    "</button><form action=/canary><button autofocus>",
    "--><img src=/canary>",
    "]]><img src=/canary>",
    "</dialog></aside></main><img src=/canary>",
    '\\"><img src=/canary>',
    "`${fetch('/canary')}`",
    "';fetch('/canary');'",
    "\";fetch('/canary');\"",
]
_HTMX = [
    "<div hx-get=/canary hx-trigger=load></div>",
    "<div data-hx-get=/canary hx-trigger=load></div>",
    "<div hx-post=/canary hx-trigger='load delay:1ms'></div>",
    "<form hx-post=/canary hx-trigger=load><input name=a></form>",
    "<div hx-trigger=load hx-delete=/canary></div>",
    "<div hx-trigger=revealed hx-get=/canary></div>",
    "<div hx-trigger='every 1s' hx-get=/canary></div>",
    "<div hx-on:load=fetch('/canary')></div>",
    "<div hx-on:htmx:after:init=fetch('/canary')></div>",
    "<div hx-sse:connect=/canary></div>",
    "<a hx-boost:inherited=true href=/canary autofocus>x</a>",
    "<hx-partial hx-target=#main><img src=/canary></hx-partial>",
    "<hx-partial hx-target=body hx-swap=innerHTML><p>canary</p></hx-partial>",
    "<div hx-swap-oob=innerHTML:#main><img src=/canary></div>",
    "<div id=main hx-swap-oob=true>canary</div>",
    "<template hx type=partial hx-target=#main><img src=/canary></template>",
    '<div hx-headers:inherited=\'js:{"a":fetch("/canary")}\'></div>',
    "<div hx-vals='js:{a:fetch(\"/canary\")}' hx-get=/canary hx-trigger=load></div>",
    "<div hx-action=/canary hx-method=post hx-trigger=load></div>",
    "<div hx-preserve id=toasts><img src=/canary></div>",
]
_LINKS = [
    "<a href=javascript:fetch('/canary') autofocus>x</a>",
    "<a href='java\tscript:fetch(\"/canary\")'>x</a>",
    "javascript:fetch('/canary')",
    "JaVaScRiPt:fetch('/canary')",
    "data:text/html,<script>fetch('/canary')</script>",
    "[x](javascript:fetch('/canary'))",
    "![x](/canary)",
    "<iframe src=/canary></iframe>",
    '<iframe srcdoc="<img src=/canary>"></iframe>',
    "<embed src=/canary>",
    "<object data=/canary></object>",
    "<base href=/canary/>",
    "<link rel=stylesheet href=/canary>",
    "<link rel=prefetch href=/canary>",
    "<meta http-equiv=refresh content='0;url=/canary'>",
    "<form action=/canary method=post><input type=submit autofocus></form>",
    "<img src=/canary>",
    "<img srcset='/canary 1x'>",
    "<video poster=/canary></video>",
    "<svg><use href=/canary#x /></svg>",
    "<svg><image href=/canary /></svg>",
    "<svg><a xlink:href=javascript:fetch('/canary')><text y=20>x</text></a></svg>",
    "<math><maction xlink:href=javascript:fetch('/canary')>x</maction></math>",
    "<audio src=/canary autoplay></audio>",
    "<input type=image src=/canary>",
]
_OTHERS = [
    "<style>@import '/canary';</style>",
    "<p style=\"background:url(/canary)\">x</p>",
    "{{ 7*7 }}{{ cycler.__init__.__globals__ }} canary",
    "{% include '/canary' %}",
    "${7*7} #{7*7} <%= 7*7 %> canary",
    "&lt;img src=/canary&gt;",
    "&#60;img src=/canary&#62;",
    "\\u003cimg src=/canary\\u003e",
    "%3Cimg%20src%3D/canary%3E",
    "＜img src=/canary＞",
]  # fmt: skip

PAYLOADS: Sequence[str] = [*_SCRIPTS, *_HANDLERS, *_BREAKS, *_HTMX, *_LINKS, *_OTHERS]
BUNDLE = 20
# What the descriptions of functions begin with: a payload as well, between the marks of code.
DESCRIBED = f"Described as `{PAYLOADS[0]}`."


def bundles() -> Iterable[str]:
    """All payloads, a few in each text: one a line."""
    for start in range(0, len(PAYLOADS), BUNDLE):
        yield "\n".join(PAYLOADS[start : start + BUNDLE])


def functions() -> str:
    """A file of functions whose authors say the payloads of them, and have them for defaults."""
    return "\n".join(
        f"def hostile_{i}(text: str = {text!r}) -> str:\n    {text!r}\n    return text\n"
        for i, text in enumerate(bundles())
    )


def answer_with_payloads(seen: Seen) -> Given | None:
    """The provider says what it was asked: what a model may say is anything."""
    if not seen.path.endswith("/chat/completions"):
        return None
    asked = json.loads(seen.body)
    said = asked["messages"][-1]["content"]
    if asked["model"].startswith("gpt-refuse"):
        fault = {"error": {"message": said, "type": said[:80], "code": said[:80], "param": None}}
        return Given(400, (json.dumps(fault).encode(),))
    answer = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    }  # fmt: skip
    return Given(200, (json.dumps(answer).encode(),))


def fill(base_url: str) -> None:
    """Put the payloads wherever a person, a program or a model can leave a text."""
    with httpx.Client(base_url=base_url, trust_env=False, timeout=30) as client:
        client.post("/login", data={"email": EMAIL, "password": PASSWORD})
        client.headers["x-csrftoken"] = client.cookies["csrftoken"]

        def make(resource: str, **fields: Any) -> dict[str, Any]:
            answer = client.post(f"/api/v1/{resource}", json=fields)
            assert answer.status_code in {200, 201}, (resource, fields, answer.text)
            made: dict[str, Any] = answer.json()
            return made

        make("functions/sync")
        # What an administrator says of a function stands in place of what its author does.
        for function in client.get("/api/v1/functions", params={"limit": 100}).json()["data"]:
            if function["name"].startswith("hostile_"):
                said = f"{DESCRIBED}\n{function['docstring']}"
                client.patch(
                    f"/api/v1/functions/{function['id']}", json={"description": said}
                ).raise_for_status()
        client.patch("/api/v1/users/me", json={"name": PAYLOADS[0]})
        for i, payload in enumerate(PAYLOADS):
            label = " ".join(payload.split())
            make("tokens", name=label[:100])
            make("users", email=f"u{i}@example.org", name=label[:150])
        token = make("tokens", name="caller")["token"]
        texts = list(bundles())
        searched = {"engine_id": PAYLOADS[0], "documents": texts}
        search = make("presets", name="search", type="search", config=searched)
        searched["documents"] = texts[::-1]
        client.patch(
            f"/api/v1/presets/{search['id']}", json={"config": searched}
        ).raise_for_status()
        # There a preset may have any name.
        completed = {"engine_id": PAYLOADS[1], "prompt": PAYLOADS[2], "injectStart": PAYLOADS[3]}
        for name in PAYLOADS[20:23]:
            client.post(
                "/_saga/gpt3/create",
                headers={"authorization": f"Bearer {token}"},
                json={"name": name, "type": "completion", "config": completed},
            ).raise_for_status()
        for i, text in enumerate(bundles()):
            label = " ".join(text.split())
            body = text.replace("{", "{{").replace("}", "}}")
            prompt = make(
                "prompts",
                name=f"prompt_{i}",
                body=body,
                model=label[:100],
                description=label[:1000],
            )
            changed = {"body": f"{body}\n{{x}}", "params": {"system": text}}
            client.patch(f"/api/v1/prompts/{prompt['id']}", json=changed)
            chat = {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": text}]}
            make("presets", name=f"preset_{i}", type="chat", config=chat)
            source = f"uppercase({json.dumps(text, ensure_ascii=False)})"
            make("pipelines", name=f"pipeline_{i}", source=source, tags=[label[:40]])
            make(f"pipelines/pipeline_{i}/call", args={})
            for model in (f"gpt-{label[:60]}", "gpt-refuse"):
                client.post(
                    "/v1/chat/completions",
                    headers={"authorization": f"Bearer {token}"},
                    json={
                        "model": model,
                        "messages": [{"role": "user", "content": text}],
                        "metadata": {"note": label[:80]},
                    },
                )
