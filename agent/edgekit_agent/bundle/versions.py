"""Ranges of a runtime's versions: `>=2.3,<3`."""

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from types import MappingProxyType

from edgekit_agent.errors import BundleError

Release = tuple[int, ...]
Range = tuple[Callable[[Release, Release], bool], Release]

_OPERATORS: Mapping[str, Callable[[Release, Release], bool]] = MappingProxyType(
    {">=": ge, "<=": le, "==": eq, "!=": ne, ">": gt, "<": lt}
)
_RANGE = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,5})\s*")
_RELEASE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}")


def ranges(text: str) -> tuple[Range, ...]:
    """Read ranges, all of which a version must be in; none where the text is empty.

    Raises:
        BundleError: if one is not an operator and numbers with dots.
    """
    found = []
    for part in text.split(",") if text.strip() else ():
        match = _RANGE.fullmatch(part)
        if match is None:
            raise BundleError(f"versions '{text[:80]}' are not of the form >=2.3,<3")
        found.append((_OPERATORS[match[1]], _numbers(match[2])))
    return tuple(found)


def within(version: str, text: str) -> bool:
    """Say whether a version such as `2026.4.1-rc1` is in all ranges; what stands behind its numbers does not count.

    Raises:
        BundleError: as `ranges` does.
    """
    match = _RELEASE.match(version)
    wanted = ranges(text)
    return not wanted or (match is not None and all(holds(_numbers(match[0]), than) for holds, than in wanted))


def _numbers(text: str) -> Release:
    """Return the numbers without zeros at the end: 3 is 3.0."""
    numbers = [int(one) for one in text.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
