"""A filter: parsed once, asked of rows in memory or of the store."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.fleet.query.matching import matches
from edgekit.fleet.query.parser import ORDERED, read
from edgekit.fleet.query.tree import All, Any, Node, Not, Op, Serves, Test

if TYPE_CHECKING:
    from edgekit.fleet.store import DeviceRow, Store

LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which devices; `str()` is what was written."""

    text: str
    tree: Node

    def __str__(self) -> str:
        """Return it as it was written."""
        return self.text

    def __and__(self, other: "Filter") -> "Filter":
        """Return the filter that is true where both are."""
        return Filter(f"({self.text}) and ({other.text})", All((self.tree, other.tree)))

    def matches(self, row: "DeviceRow") -> bool:
        """Return whether it is true of a device."""
        return matches(self.tree, row)

    def devices(self, store: "Store", limit: int = LIMIT) -> "list[DeviceRow]":
        """Return the devices it is true of, by site and name; the database looks for them."""
        from edgekit.fleet.query.sql import Writer

        ordered = {test.field for test in _tests(self.tree) if test.op in _ORDER} & ORDERED
        versions: Mapping[str, Collection[str]] = {field: store.devices.texts(field) for field in ordered}
        return store.devices.query(Writer(store.engine.dialect.name, versions).condition(self.tree), limit)


def parse(text: str) -> Filter:
    """Read a filter; an empty one is true of every device.

    Raises:
        FilterError: if it is not of the language, with the place and what was perhaps meant.
    """
    return Filter(text, read(text))


_ORDER = frozenset({Op.LT, Op.LE, Op.GT, Op.GE})


def _tests(node: Node) -> Iterator[Test]:
    match node:
        case Test():
            yield node
        case Serves(tests):
            yield from tests
        case Not(part):
            yield from _tests(part)
        case All(parts) | Any(parts):
            for part in parts:
                yield from _tests(part)
