"""Whether a filter is true of a device: the meaning of the language, which `sql.py` has to agree with."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from edgekit.fleet.query.parser import number
from edgekit.fleet.query.tree import All, Any, Has, Node, Not, Op, Serves, Test
from edgekit.fleet.query.versions import version_key

if TYPE_CHECKING:
    from edgekit.fleet.store.base import DeviceRow, ServedModel

_ORDERS: dict[Op, Callable[[object, object], bool]] = {
    Op.LT: lambda one, other: one < other,  # type: ignore[operator]  # both numbers, or both keys of versions
    Op.LE: lambda one, other: one <= other,  # type: ignore[operator]
    Op.GT: lambda one, other: one > other,  # type: ignore[operator]
    Op.GE: lambda one, other: one >= other,  # type: ignore[operator]
}
_PLAIN = {"site": "site", "device": "device", "state": "presence", "reason": "presence_reason", "agent": "agent"}
_SERVED = {"model": "name", "version": "version", "runtime": "runtime", "artifact": "artifact"}


def matches(node: Node, row: "DeviceRow") -> bool:  # noqa: PLR0911  # a case each
    """Return whether the tree is true of a device."""
    match node:
        case All(parts):
            return all(matches(part, row) for part in parts)
        case Any(parts):
            return any(matches(part, row) for part in parts)
        case Not(part):
            return not matches(part, row)
        case Serves(tests):
            return any(all(_served(test, model) for test in tests) for model in row.models)
        case Has("label", key):
            return key in row.labels
        case Has(_, key):
            return row.hardware.get(key) is not None
        case Test():
            return _device(node, row)


def _served(test: Test, model: "ServedModel") -> bool:
    return compare(test, getattr(model, _SERVED[test.field]))


def _device(test: Test, row: "DeviceRow") -> bool:
    if test.field == "label":
        return compare(test, row.labels.get(test.key))
    if test.field == "hardware" and test.key:
        return _figure(test, row.hardware.get(test.key))
    if test.field == "hardware":
        # imported late: the language is used where the store's libraries are not needed, too
        from edgekit.fleet.store.series import hardware_name

        return compare(test, hardware_name(dict(row.hardware)))
    return compare(test, getattr(row, _PLAIN[test.field]))


def compare(test: Test, text: str | None) -> bool:
    """Return whether a text is what a test asks for; one that is not there is unlike everything."""
    if test.op is Op.NE:
        return text not in test.values
    if text is None:
        return False
    if test.op is Op.EQ:
        return text in test.values
    if test.op is Op.LIKE:
        return pattern(test.values[0]).fullmatch(text) is not None
    return _ORDERS[test.op](version_key(text), version_key(test.values[0]))


def _figure(test: Test, value: object) -> bool:
    """Compare what a device tells of its hardware: text with text, numbers with numbers."""
    if isinstance(value, bool):
        return compare(test, str(value).lower()) if test.op not in _ORDERS else False
    if isinstance(value, int | float):
        wanted = [number(one) for one in test.values]
        if test.op in _ORDERS:
            return _ORDERS[test.op](float(value), wanted[0])
        if test.op is Op.LIKE:
            return False
        return (float(value) in wanted) is (test.op is Op.EQ)
    if test.op in _ORDERS:
        return False
    return compare(test, value if isinstance(value, str) else None)


@lru_cache(maxsize=256)
def pattern(text: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern with `*` and `?`."""
    parts = {"*": ".*", "?": "."}
    # many stars in a row would take long to fail, and mean one
    squeezed = re.sub(r"\*+", "*", text)
    return re.compile("".join(parts.get(letter) or re.escape(letter) for letter in squeezed), re.DOTALL)
