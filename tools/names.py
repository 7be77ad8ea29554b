"""What to say of a name that is none: the ones it is likely meant for, or all that there are."""

import difflib
from collections.abc import Collection


def instead(name: str, names: Collection[str]) -> str:
    """`did you mean ...?`, or `there are ...`; empty where there is no name at all."""
    likely = difflib.get_close_matches(name, names, n=2)
    if likely:
        return f"did you mean {' or '.join(map(repr, likely))}?"
    return f"there are {', '.join(names)}" if names else ""
