"""Rollouts one after the other on some devices, each ordered about by an operator whose service may be gone."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from edgekit.errors import DeviceError, GateError, UsageError
from edgekit.fleet.store.tables import DEVICES, REPORTS, VARIANTS
from tests.e2e.served_fleet import ServedFleet
from tests.soak.rollout_checks import Found, check
from tests.soak.rollout_witness import MODEL, Witness

LOOK_S, PATIENCE_S = 0.3, 420.0
ENDED = frozenset({"completed", "rolled-back", "stopped"})


@dataclass(frozen=True, kw_only=True)
class Series:
    """Devices whose rollouts follow one another.

    Attributes:
        version: what they serve at first.
        kinds: what becomes of the rollouts, in turn: `good`, `slow`, `abort`, `pause` (and resume), `undo` (rolled
            back after its end).
        wanted: what is said of every rollout beside model and version.
        release: makes a version that can be rolled out; returns what is said of it.
        most_told: how often a device may be told of one release: again when it waited in vain for leave.
    """

    name: str
    devices: list[str]
    version: str
    kinds: tuple[str, ...]
    wanted: dict[str, Any]
    release: Callable[[str], dict[str, Any]] = lambda _version: {}
    most_told: int = 3


@dataclass
class Lane:
    """A series under way."""

    series: Series
    fleet: ServedFleet
    witness: Witness
    moments: random.Random
    bad: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    rollouts: list[str] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Begin with what the devices serve."""
        self.devices, self.version = self.series.devices, self.series.version

    def run(self) -> None:
        """Roll out until it is enough, in a thread."""
        try:
            self._known()
            while not self.enough.is_set() and not self.bad:
                number = len(self.rollouts)
                self._one(f"{number + 2}.0.0", self.series.kinds[number % len(self.series.kinds)])
        except Exception as exc:  # noqa: BLE001  # a thread's end has to be seen
            self.bad.append(f"{self.series.name}: {type(exc).__name__}: {exc}")

    def insist(self, ask: Callable[[], Any]) -> Any:
        """Ask until the service is there to answer."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except DeviceError:
                self.counts["asked in vain"] += 1
                if time.monotonic() > end:
                    raise
                time.sleep(LOOK_S)

    # --- a rollout

    def _known(self) -> None:
        """Wait until the service knows the devices and what they are like before anything changes."""
        self._wait(lambda: self._windows(self.version) >= 7, f"devices that report {self.version}")

    def _one(self, version: str, kind: str) -> None:
        rollout = f"{self.series.name}-{len(self.rollouts):04d}"
        self.rollouts.append(rollout)
        series = self.series
        self._begin({"model": MODEL, "version": version, "id": rollout, **series.wanted, **series.release(version)})
        ordered = self._disturbed(rollout, kind)
        state = self._ended(rollout)
        if kind == "undo" and state == "completed":
            ordered = self._order(rollout, "rollback")
            self._wait(
                lambda: self.insist(lambda: self.fleet.rollout(rollout))["state"] == "rolled-back", "the way back"
            )
            state = "rolled-back"
        good = kind != "slow" and not (kind in {"abort", "undo"} and ordered)
        if good:
            self.version = version
        self.ends[f"{kind}: {state}"] += 1
        if state != ("completed" if good else "rolled-back"):
            self.bad.append(f"{rollout} ({kind}) is {self._shown(rollout)}")
            return
        self._settled(rollout)
        self.bad += [f"{rollout} ({kind}): {one}" for one in self._checked(rollout)]
        if not self.enough.is_set():
            self._known()

    def _begin(self, wanted: dict[str, Any]) -> None:
        def ask() -> None:
            try:
                self.fleet.roll(**wanted)
            except UsageError as exc:  # the answer to the first try was lost
                if "already" not in str(exc):
                    raise
                self.counts["begun, and the answer lost"] += 1

        self.insist(ask)

    def _disturbed(self, rollout: str, kind: str) -> bool:
        """Abort it, or pause it for a while, at any moment of it; return whether that was in time."""
        if kind not in {"abort", "pause"}:
            return False
        time.sleep(self.moments.uniform(0.0, 12.0))
        if not self._order(rollout, kind):
            return False
        if kind == "pause":
            time.sleep(self.moments.uniform(0.5, 4.0))
            if not self._order(rollout, "resume"):
                self.bad.append(f"{rollout} cannot be resumed: {self._shown(rollout)}")
        return True

    def _order(self, rollout: str, what: str) -> bool:
        """Give an order; return whether it was carried out."""
        why = f"{what}-{self.moments.getrandbits(48):012x}"

        def ask() -> bool:
            try:
                self.fleet.order(rollout, what, why)
            except GateError:  # too late; or it was done, and the answer lost
                done = any(why in one["text"] for one in self.fleet.rollout(rollout)["events"])
                self.counts["ordered, and the answer lost"] += done
                return done
            return True

        return bool(self.insist(ask))

    def _ended(self, rollout: str) -> str:
        def ended() -> str:
            return state if (state := self._state(rollout)) in ENDED else ""

        return str(self._wait(ended, rollout))

    def _state(self, rollout: str) -> str:
        return str(self.insist(lambda: self.fleet.rollout(rollout))["state"])

    # --- afterwards

    def _settled(self, rollout: str) -> None:
        """Wait for the witness: it hears devices at the same time as the service does."""
        wanted = dict.fromkeys(self.devices, self.version)
        end = time.monotonic() + 15.0
        while self.witness.serving(self.devices) != wanted:
            if time.monotonic() > end:
                found = {name: one for name, one in self.witness.serving(self.devices).items() if one != self.version}
                self.bad.append(f"{rollout}: these do not serve {self.version}: {found}")
                return
            time.sleep(LOOK_S)

    def _checked(self, rollout: str) -> list[str]:
        found = self.insist(lambda: self.fleet.rollout(rollout))
        listed = self.insist(lambda: self.fleet.server.ask("GET", "/api/v1/rollouts", {"limit": 1000}))["rollouts"]
        row = self.fleet.store.rollouts.get(rollout)
        if row is None or rollout not in {one["id"] for one in listed}:
            return ["it is lost"]
        self.fleet.store.audit.verify()
        entries = self.fleet.store.audit.entries(subject=f"rollout/{rollout}")
        told = {name: self.witness.times_told(name, rollout) for name in self.devices}
        listing = next(one for one in listed if one["id"] == rollout)
        most_told = self.series.most_told
        return check(Found(row=row, entries=entries[::-1], shown=found, listed=listing, told=told, most_told=most_told))

    def _windows(self, version: str) -> int:
        """Return how many windows of a version that device has reported that has reported the fewest."""
        columns = (DEVICES.c.device, func.count())
        query = select(*columns).select_from(REPORTS.join(DEVICES, DEVICES.c.id == REPORTS.c.device_id))
        query = query.join(VARIANTS, VARIANTS.c.id == REPORTS.c.variant_id).where(VARIANTS.c.version == version)
        with self.fleet.store.engine.connect() as connection:
            rows = {name: int(count) for name, count in connection.execute(query.group_by(DEVICES.c.device))}
        return min(rows.get(name, 0) for name in self.devices)

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            if time.monotonic() > end:
                shown = self._shown(self.rollouts[-1]) if self.rollouts else ""
                raise TimeoutError(f"{what}: not within {PATIENCE_S:g} s; {shown}")
            time.sleep(LOOK_S)
        return found

    def _shown(self, rollout: str) -> str:
        found = self.insist(lambda: self.fleet.rollout(rollout))
        jobs = Counter((one["stage"], one["phase"], one["reason"]) for one in found["devices"])
        gates = {one["name"]: (one["verdict"], one["text"]) for one in found["gates"]}
        return f"{found['state']} {found['step']} wave {found['stage']}: {found['reason']}; {dict(jobs)}; {gates}"
