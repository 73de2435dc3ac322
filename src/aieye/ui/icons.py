"""Icons of the set that `assets/icons.txt` lists: one file for all, kept by browsers for ever."""

from __future__ import annotations

from markupsafe import Markup

from aieye.ui import static


def icon(name: str, label: str = "") -> Markup:
    """The icon `name`; without a `label` it is decoration beside a word."""
    named = (
        Markup('role="img" aria-label="{}"').format(label)
        if label
        else Markup('aria-hidden="true"')
    )
    return Markup('<svg class="icon" {}><use href="{}#{}"/></svg>').format(
        named, static.url("icons.svg"), name
    )
