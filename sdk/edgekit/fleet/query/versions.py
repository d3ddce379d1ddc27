"""The order of version texts: 1.9 < 1.10, 1.3-rc1 < 1.3, 1.3 and 1.3.0 side by side."""

import re

Key = tuple[tuple[int, int, str], ...]
_PART = re.compile(r"\d+|[a-z]+")
_LONGEST = 18
_ZERO = (1, 0, "")
_END = (0, 0, "~")
"""Behind every letter and before every number: what has letters where another ends comes before it."""


def version_key(text: str) -> Key:
    """Return what sorts as the version does; what stands behind a '+' says nothing of the order."""
    parts: list[tuple[int, int, str]] = []
    for word in (*_PART.findall(text.lower().partition("+")[0].removeprefix("v")), ""):
        if not word.isdigit():  # 1.0 and 1, 1.0-rc1 and 1-rc1 are the same
            while parts and parts[-1] == _ZERO:
                parts.pop()
        parts.append(_part(word) if word else _END)
    return tuple(parts)


def _part(text: str) -> tuple[int, int, str]:
    # a number of thousands of digits takes quadratic time to read, and none is meant
    return (1, int(text[:_LONGEST]), "") if text.isdigit() else (0, 0, text)
