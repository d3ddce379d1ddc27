"""Names of inputs and outputs where a framework gives none that are its own."""

from collections.abc import Sequence


def unique(names: Sequence[str]) -> list[str]:
    """Return the names with `_1`, `_2` and so on behind those that stand before already."""
    taken: dict[str, None] = {}
    for name in names:
        wanted, count = name, 0
        while wanted in taken:
            count += 1
            wanted = f"{name}_{count}"
        taken[wanted] = None
    return list(taken)
