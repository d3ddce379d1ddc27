"""The table of probes: which op runs with which types on which runtime, as `probes/fill.py` measured it.

`table.json`, schema 1: `runtimes` in the order of the rows; `verdicts`, numbered, as [status, reason]; `versions` by
op: the op versions each runtime takes; `ops` by op: rows of verdict numbers (`?` was not asked), each with the types
(and facts after a `|`) it holds for.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from edgekit_converters.compat.findings import Status
from edgekit_converters.compat.nodes import Node

ABSENT = "the runtime does not have this op"
_NOT_ASKED = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the table says of a node on one runtime."""

    status: Status
    reason: str = ""


_UNKNOWN_OP = Verdict(status=Status.UNKNOWN, reason="this op was not probed")
_RUNS_VERDICT = Verdict(status=Status.RUNS)


class Table:
    """The table, held by op and key."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Take the parsed JSON."""
        self.runtimes: tuple[tuple[str, str], ...] = tuple(
            (name.rpartition(" ")[0], name.rpartition(" ")[2]) for name in stored["runtimes"]
        )
        self._verdicts = [Verdict(status=Status(status), reason=reason) for status, reason in stored["verdicts"]]
        self._versions: Mapping[str, Sequence[str]] = stored["versions"]
        self._ops: Mapping[str, Mapping[str, Sequence[str]]] = {
            op: {key: row.split() for row, keys in rows.items() for key in keys} for op, rows in stored["ops"].items()
        }

    def columns(self, runtime: str) -> dict[str, int]:
        """Return the versions of a runtime that were probed, oldest first, with their columns."""
        return {version: at for at, (name, version) in enumerate(self.runtimes) if name == runtime}

    def ask(self, node: Node, column: int) -> Verdict:
        """Return what is known of a node: its op, its version, its types, then each fact of its structure."""
        rows = self._ops.get(node.op if not node.op.startswith("CUSTOM:") else "CUSTOM:EdgeKitProbe")
        if rows is None:
            return _UNKNOWN_OP
        refused = self._absent(rows, column) or self._version(node, column)
        if refused is not None:
            return refused
        return self._at(rows, node.key, column) or self._combined(rows, node.types, sorted(node.facts), column)

    def _combined(self, rows: Mapping[str, Sequence[str]], types: str, facts: Sequence[str], column: int) -> Verdict:
        """Return the verdict on types and facts that were probed one by one only."""
        parts = {"these types": self._at(rows, types, column)}
        parts |= {fact: self._fact(rows, types, fact, column) for fact in facts}
        bad = [one for one in parts.values() if one is not None and one.status is not Status.RUNS]
        if bad:
            return bad[0]
        unknown = [what for what, one in parts.items() if one is None]
        if unknown:
            return Verdict(status=Status.UNKNOWN, reason=f"not probed: {', '.join(unknown)}")
        return _RUNS_VERDICT

    def _at(self, rows: Mapping[str, Sequence[str]], key: str, column: int) -> Verdict | None:
        row = rows.get(key)
        return None if row is None or row[column] == _NOT_ASKED else self._verdicts[int(row[column])]

    def _fact(self, rows: Mapping[str, Sequence[str]], types: str, fact: str, column: int) -> Verdict | None:
        """Return what a fact does by itself with these types, or else with all others that were asked."""
        own = self._at(rows, f"{types} | {fact}", column)
        if own is not None:
            return own
        said = [self._at(rows, key, column) for key in rows if key.endswith(f" | {fact}")]
        asked = {one for one in said if one is not None}
        return asked.pop() if len(asked) == 1 else None

    def _absent(self, rows: Mapping[str, Sequence[str]], column: int) -> Verdict | None:
        """Return the refusal of an op that a runtime does not have at all: it holds for every type."""
        asked = {row[column] for row in rows.values()}
        only = self._verdicts[int(asked.pop())] if len(asked) == 1 and asked != {_NOT_ASKED} else None
        return only if only is not None and only.reason == ABSENT else None

    def _version(self, node: Node, column: int) -> Verdict | None:
        spans = self._versions.get(node.op)
        if not spans or not spans[column]:
            return None
        first, _, last = spans[column].partition("-")
        if int(first) <= node.version <= int(last):
            return None
        reason = f"the file asks for version {node.version} of the op and this runtime has {first} to {last}"
        return Verdict(status=Status.FAILS, reason=reason)


@functools.cache
def load() -> Table:
    """Return the table of the package."""
    text = resources.files("edgekit_converters.compat").joinpath("table.json").read_text(encoding="utf-8")
    return Table(json.loads(text))
