"""What all charts write their shapes with. Pure."""

from __future__ import annotations

from markupsafe import Markup


def named(label: str) -> Markup:
    """What a picture is called; without a name it only repeats what stands beside it."""
    if label:
        return Markup('role="img" aria-label="{}"').format(label)
    return Markup('aria-hidden="true"')


def tenth(value: float) -> str:
    """A coordinate to a tenth, where there are hundreds of them."""
    return f"{value:.1f}".removesuffix(".0")


def short(value: float) -> str:
    """A coordinate in few characters."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
