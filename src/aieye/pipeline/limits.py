"""How large a run may be: section 7 of the language, as far as evaluation is concerned."""

from __future__ import annotations

from typing import Final

MAX_STEPS: Final = 2_000
"""Calls in a plan with the pipelines that it calls; what `map` and `reduce` call counts once."""

MAX_OPERANDS: Final = 100_000
"""Values that the steps of a plan take: a pipeline of 20,000 tokens may be called 2,000 times."""

MAX_CALLS: Final = 100_000
"""Calls that a run makes, those included that an identical one answers, and again items of `map` and
`reduce`: a `map` of a pipeline with a `map` could be a million."""

MAX_ITEMS: Final = 1_000
MAX_VALUE_BYTES: Final = 1 << 20
MAX_RUN_BYTES: Final = 64 << 20
MAX_RUN_MEMORY: Final = 256 << 20
"""What the values of a run may take in memory, by an estimate: small items take many times their JSON."""

RUN_SECONDS: Final = 900.0
MODEL_STEP_SECONDS: Final = 60.0
FUNCTION_STEP_SECONDS: Final = 30.0
LARGE_BYTES: Final = 64 << 10
"""From here on a value or a text takes the server's loop for so long that it is worked on elsewhere."""

SLICE_SECONDS: Final = 0.005
"""How long what never waits may keep the loop from others."""

STOP_SECONDS: Final = 5.0
"""How long a call that is broken off may take to end; what does not end by then is left to itself."""

MAX_IN_FLIGHT: Final = 64
"""Calls of one run that are waited for at a time; further ones queue."""
