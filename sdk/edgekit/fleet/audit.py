"""Who did what, and when: a log that is only appended to, each entry chained to the one before by its digest.

Changing, removing or inserting an entry breaks the chain from there on; cutting off the end does not, so the digest of
the newest entry (`fleet audit verify` prints it) is worth noting elsewhere. `store.audit` keeps it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST = "0" * 64
"""What stands for the digest before the first entry."""
SYSTEM = "edgekit"
"""Who does what nobody asked for at that moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that was done; `id` and `digest` are given when it is written."""

    at_ms: int
    who: str
    action: str
    subject: str
    detail: Mapping[str, object] = field(default_factory=dict)
    id: int = 0
    digest: str = ""

    def digested(self, previous: str) -> str:
        """Return the digest that chains this entry to the one before."""
        body = [previous, self.at_ms, self.who, self.action, self.subject, self.detail]
        return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A chain that holds: how many entries, and the digest of the newest."""

    entries: int
    head: str
