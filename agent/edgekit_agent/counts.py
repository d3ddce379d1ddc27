"""Counts and sums that add up over messages, workers and windows."""

from collections.abc import Mapping
from typing import Any


def add_counts(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add numbers to numbers, in nested tables and lists too."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            add_counts(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            before = into.get(key) or [0] * len(value)
            into[key] = [one + other for one, other in zip(before, value, strict=True)]
        else:
            into[key] = into.get(key, 0) + value
