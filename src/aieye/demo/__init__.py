"""The simulated provider: OpenAI's API without OpenAI, for a first look, for tests and for CI.

`demo_app` is a raw ASGI app, `serve_demo` runs one in the running event loop. It is deterministic
(the same request with the same key gives the same bytes) and says everywhere that it is simulated:
`x-simulated: true`, `fp_simulated`, `owned_by: "simulated"`, and the text itself. What an account
stores (files, uploads, batches, vector stores, responses) is kept in memory per API key, and each
creation there gets an id of its own, as at the real provider.

Faults and delays are asked for by the model's name; directives combine (`sim-delay-500-cut-3`):

    sim-error-429    answer with that status (429 carries `retry-after: 1`)
    sim-delay-2000   wait so many milliseconds before the first byte
    sim-slow-50      wait so many milliseconds between stream events
    sim-cut-5        cut the connection after so many stream events, or inside a plain body
    sim-long-400     answer with so many tokens, which are as many words

`routing` lists what it answers. Shapes and error texts follow
https://platform.openai.com/docs/api-reference.
"""

from aieye.demo.app import DemoProvider, Receive, Scope, Send, demo_app
from aieye.demo.behaviour import MODELS, read_model
from aieye.demo.server import DemoServer, serve_demo
from aieye.demo.tokens import count_tokens

__all__ = [
    "MODELS",
    "DemoProvider",
    "DemoServer",
    "Receive",
    "Scope",
    "Send",
    "count_tokens",
    "demo_app",
    "read_model",
    "serve_demo",
]
