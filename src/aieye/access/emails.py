"""E-mail addresses as names of accounts: one written form. Pure."""

from __future__ import annotations

import re

from aieye.errors import Unprocessable

LONGEST_EMAIL = 254
# What a mail server accepts is its own affair; this much tells a typing error from an address.
_FORM = re.compile(r"[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]+")


def normal_email(text: str) -> str:
    """The one written form of an address: no space around it, small letters."""
    return text.strip().lower()


def check_email(text: str, *, param: str = "email") -> str:
    """The address in normal form. Raises `Unprocessable`."""
    email = normal_email(text)
    if len(email) > LONGEST_EMAIL or not email.isprintable() or _FORM.fullmatch(email) is None:
        raise Unprocessable("This is not an e-mail address, such as name@example.org.", param=param)
    return email
