"""Passwords in URLs: where one is recognised, refused in an option, and taken out of whatever is said or written."""

from __future__ import annotations

import re

# What follows the colon of a port is a slash; a web address with a name and no password has a token in its place.
_PASSWORD = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,20}:/+)[^\s/@:\[]{0,100}:(?!\d{1,5}(?:/|$))[^\s'\"]{0,256}@"
    r"|(?P<web>\bhttps?:/+)[^\s/@:\['\"]{1,256}@",
    re.IGNORECASE,
)


def holds_password(text: str) -> bool:
    """Return whether a text has a URL with a password or a token in it.

    Examples
    --------
    >>> holds_password("s3://bucket/a"), holds_password("http://head:8265/@x"), holds_password("ftp://me:hush@host/a")
    (False, False, True)
    """
    return "@" in text and _PASSWORD.search(text) is not None


def without_passwords(text: str) -> str:
    """Return a text whose URLs hold no password.

    Examples
    --------
    >>> without_passwords("no route to https://me:hush@host/shards")
    'no route to https://(withheld)@host/shards'
    """
    return _PASSWORD.sub(r"\g<scheme>\g<web>(withheld)@", text) if "@" in text else text
