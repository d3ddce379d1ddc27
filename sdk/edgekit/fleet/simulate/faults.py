"""Faults on demand: what goes wrong with which share of simulated devices, and when."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import MappingProxyType

from edgekit.errors import UsageError


class Kind(StrEnum):
    """What may go wrong."""

    SILENT = "silent"
    CRASH = "crash"
    SLOW = "slow"
    REBOOT_LOOP = "reboot-loop"
    CLOCK_JUMP = "clock-jump"
    DUPLICATE_ID = "duplicate-id"
    FLAPPING = "flapping"
    SLOW_UPDATE = "slow-update"
    CRASH_UPDATE = "crash-update"
    FAIL_UPDATE = "fail-update"
    STUCK_UPDATE = "stuck-update"


USUAL = MappingProxyType({Kind.SLOW: 0.1, Kind.SLOW_UPDATE: 0.1, Kind.CLOCK_JUMP: 3600.0})
"""Kinds that have an amount, and what it usually is: a share of the latency, or seconds."""
WORDS = MappingProxyType(
    {
        Kind.SILENT: "says nothing more, with its connection open, as when the power goes",
        Kind.CRASH: "loses its connection at once, so that its last will is told, and starts again after 5 to 20 s",
        Kind.SLOW: "takes AMOUNT longer for each inference (default 10 %)",
        Kind.REBOOT_LOOP: "starts again every 15 s",
        Kind.CLOCK_JUMP: "has its time of day AMOUNT seconds later (default 3600)",
        Kind.DUPLICATE_ID: "is there twice under one name, and the two throw each other out",
        Kind.FLAPPING: "loses its connection every 20 s and is back within 2 s",
        Kind.SLOW_UPDATE: "takes AMOUNT longer after an update of its model (default 10 %)",
        Kind.CRASH_UPDATE: "crashes while it tries an update, and rolls back",
        Kind.FAIL_UPDATE: "refuses an update: its outputs are wrong",
        Kind.STUCK_UPDATE: "begins to download an update and never ends",
    }
)
_FORM = re.compile(
    r"(?P<kind>[a-z-]+):(?P<share>\d+(?:\.\d+)?)%(?::(?P<amount>[+-]?\d+(?:\.\d+)?)(?P<unit>%|s)?)?(?:@(?P<at>\d+(?:\.\d+)?))?"
)
_NATURAL_AT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A share of the devices (0 to 1), what happens to them, and so many seconds after the start."""

    kind: Kind
    share: float
    amount: float = 0.0
    at_s: float = _NATURAL_AT_S

    def __str__(self) -> str:
        """Return it as it is written."""
        if self.kind not in USUAL:
            amount = ""
        elif self.kind is Kind.CLOCK_JUMP:
            amount = f":{self.amount:g}s"
        else:
            amount = f":{100 * self.amount:g}%"
        return f"{self.kind}:{100 * self.share:g}%{amount}@{self.at_s:g}"


def parse(text: str) -> Fault:
    """Read `KIND:SHARE%[:AMOUNT][@SECONDS]`, as `silent:5%` or `slow:20%:10%@60`.

    Raises:
        UsageError: if it is not of that form.
    """
    found = _FORM.fullmatch(text)
    kinds = ", ".join(Kind)
    if found is None:
        raise _wrong(f"fault '{text[:60]}' is not of the form KIND:SHARE%[:AMOUNT][@SECONDS]", kinds)
    try:
        kind = Kind(found["kind"])
    except ValueError:
        raise _wrong(f"there is no fault '{found['kind'][:40]}'", kinds) from None
    share = float(found["share"]) / 100
    if not 0 < share <= 1:
        raise _wrong(f"fault '{text}' is of {found['share']} % of the devices", "more than 0 % and at most 100 %")
    amount = USUAL.get(kind, 0.0)
    if found["amount"] is not None:
        if kind not in USUAL:
            raise _wrong(f"fault '{kind}' has no amount", f"as {kind}:5% or {kind}:5%@60")
        if (found["unit"] == "%") is (kind is Kind.CLOCK_JUMP):
            raise _wrong(f"the amount of '{text}' is in the wrong unit", "clock-jump has seconds, the others per cent")
        amount = float(found["amount"]) / (100 if found["unit"] == "%" else 1)
    return Fault(kind=kind, share=share, amount=amount, at_s=float(found["at"] or _NATURAL_AT_S))


def assign(faults: Iterable[Fault], names: Sequence[str], seed: int) -> dict[str, tuple[Fault, ...]]:
    """Return which devices have which faults: of each exactly its share, at least one, by the seed alone."""
    found: dict[str, tuple[Fault, ...]] = {}
    for number, fault in enumerate(faults):
        chance = Random(f"{seed}/{number}/{fault.kind}")  # noqa: S311  # no secret
        for name in chance.sample(names, max(1, round(fault.share * len(names)))):
            found[name] = (*found.get(name, ()), fault)
    return found


def _wrong(text: str, hint: str) -> UsageError:
    error = UsageError(text)
    error.add_note(hint)
    return error
