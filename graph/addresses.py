"""Addresses that a recipe may hold: it is kept in the run's folder, and a secret is not."""

import re
from urllib.parse import urlsplit

KEY = re.compile(r"[\w-]{20,}")
"""A part of a path that is as long as a webhook's key."""


def public(where: str) -> str:
    """The address, if it is one and nothing in it can be a secret. Raises ValueError, which does not repeat it."""
    at = urlsplit(where)
    if at.scheme not in ("http", "https") or not at.hostname:
        raise ValueError("notify is no address; write one such as https://example.org/hook, or set $BREAKFIX_NOTIFY, "
                         "which may be a command too")  # fmt: skip
    if at.username or at.password or at.query or at.fragment or any(map(KEY.fullmatch, at.path.split("/"))):
        raise ValueError("notify has what may be a key or a password in it, and would lie in the run's folder; set "
                         "$BREAKFIX_NOTIFY to that address instead")  # fmt: skip
    return where
