"""The simulated tokeniser, the same everywhere: a token per 4 characters, rounded up."""

CHARACTERS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """How many tokens `text` has."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def split_tokens(text: str) -> list[str]:
    """The tokens of `text`; their number is `count_tokens(text)`."""
    step = CHARACTERS_PER_TOKEN
    return [text[at : at + step] for at in range(0, len(text), step)]
