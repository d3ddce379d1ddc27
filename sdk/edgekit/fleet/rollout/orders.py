"""What people order: begin a rollout, and pause, resume, approve, abort or roll one back."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit.errors import GateError, UsageError
from edgekit.fleet import _clock
from edgekit.fleet.rollout import machine
from edgekit.fleet.rollout.plan import Gates, Key, Plan, Release, canary_of, spread, waves_of
from edgekit.fleet.rollout.sight import serving_of
from edgekit.fleet.rollout.state import State
from edgekit.fleet.store.base import DeviceKey, DeviceRow
from edgekit.fleet.store.rollouts import RolloutRow
from edgekit.fleet.store.series import hardware_name

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
Order = Callable[[RolloutRow, str, int], tuple[State, list[machine.Action]]]

ORDERS: Mapping[str, Order] = MappingProxyType(
    {
        "pause": lambda row, why, now: machine.pause(row.plan, row.state, why or "asked for", now),
        "resume": lambda row, why, now: machine.resume(row.plan, row.state, why, now),
        "approve": lambda row, why, now: machine.approve(row.plan, row.state, why, now),
        "abort": lambda row, why, now: machine.abort(row.plan, row.state, why or "asked for", now),
        "rollback": lambda row, why, now: machine.rollback(row.plan, row.state, why or "asked for", now),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A rollout that is asked for: see `Plan` for what is not told here.

    Attributes:
        canary: how many go first, as `5` or `5%`; `0` for none.
        canaries: these go first instead.
        growth: how many times larger each wave is than the one before.
        largest: devices of a wave at most; 0 for any.
        approve: after which somebody has to agree: `none`, `canary`, or `all` waves.
    """

    release: Release
    id: str | None = None
    filter: str = ""
    canary: str = "5%"
    canaries: Sequence[Key] = ()
    growth: float = 4.0
    largest: int = 0
    approve: str = "none"
    gates: Gates = field(default_factory=Gates)
    bake_s: float = 900.0
    bake_limit_s: float | None = None
    device_s: float = 3600.0
    max_concurrent: int = 50
    lease_s: float = 60.0
    on_bad: str = "rollback"
    thin: str = "pause"


def planned(wanted: Wanted, devices: Sequence[DeviceRow], name: str) -> Plan:
    """Return the plan for devices: in waves, each with every kind of hardware by its share.

    Raises:
        UsageError: if there is none, a canary is not among them, or a value is wrong.
    """
    kinds = {(row.site, row.device): hardware_name(dict(row.hardware)) for row in devices}
    if not kinds:
        raise UsageError("no device fits: there is nothing to roll out to")
    first = list(dict.fromkeys(wanted.canaries))
    strange = [key for key in first if key not in kinds]
    if strange:
        raise UsageError(f"the canary {'/'.join(strange[0])} is not among the devices of the rollout")
    rest = [key for key in spread(kinds, name) if key not in set(first)]
    canary = len(first) or canary_of(wanted.canary, len(kinds))
    if wanted.approve not in {"none", "canary", "all"}:
        raise UsageError("approve is none of 'none', 'canary', 'all'")
    waves = waves_of([*first, *rest], canary, wanted.growth, wanted.largest)
    plan = Plan(
        release=wanted.release,
        waves=waves,
        gates=wanted.gates,
        approve={"none": (), "canary": (0,), "all": tuple(range(len(waves)))}[wanted.approve],
        bake_s=wanted.bake_s,
        bake_limit_s=max(wanted.bake_s, 6 * 3600.0) if wanted.bake_limit_s is None else wanted.bake_limit_s,
        device_s=wanted.device_s,
        max_concurrent=wanted.max_concurrent,
        lease_s=wanted.lease_s,
        on_bad=wanted.on_bad,
        thin=wanted.thin,
    )
    plan.check()
    return plan


def begin(
    store: "Store", wanted: Wanted, devices: Sequence[DeviceRow], by: str, now_ms: int | None = None
) -> RolloutRow:
    """Store a rollout that begins; the service does the rest.

    Raises:
        UsageError: if the plan is wrong, its id taken, or a device is in another rollout.
    """
    now_ms = _clock.now_ms() if now_ms is None else now_ms
    if not wanted.release.model or not wanted.release.version:
        raise UsageError("a rollout is of a model and a version")
    name = wanted.id or f"{_plain(wanted.release.model)}-{_plain(wanted.release.version)}-{secrets.token_hex(3)}"
    if not _ID.fullmatch(name):
        raise UsageError(f"a rollout's id is up to 63 of a-z, 0-9, '.' and '-', not '{name[:80]}'")
    plan = planned(wanted, devices, name)
    before = {(row.site, row.device): before_of(store, row, wanted.release.model) for row in devices}
    state = machine.begun(plan, before, now_ms)
    row = RolloutRow(id=name, plan=plan, state=state, filter=wanted.filter, created_ms=now_ms, created_by=by)
    store.rollouts.add(row, now_ms)
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """An order, who gave it, and why."""

    what: str
    by: str
    why: str = ""


def order(store: "Store", rollout: str, given: Ordered, now_ms: int | None = None) -> RolloutRow:
    """Give an order; one that does not fit how the rollout stands is refused.

    Raises:
        UsageError: if there is no such rollout or order.
        GateError: if it cannot be given as the rollout stands.
    """
    now = _clock.now_ms() if now_ms is None else now_ms
    what = given.what
    if what not in ORDERS:
        raise UsageError(f"'{what[:40]}' is none of {', '.join(ORDERS)}")

    def change(row: RolloutRow) -> tuple[State, list[machine.Action]]:
        state, actions = ORDERS[what](row, given.why, now)
        if not actions:
            error = GateError(f"the rollout '{row.id}' is {row.state.status}: it cannot {what} now")
            error.add_note(f"reason: {row.state.reason}")
            raise error
        return state, actions

    return store.rollouts.change(rollout, given.by, now, change)


def before_of(store: "Store", device: DeviceRow, model: str) -> Release | None:
    """Return what a device serves of a model, as precisely as is known: what it was told, or its version."""
    version = serving_of(device, model)
    if version is None:
        return None
    told = store.desired.get(DeviceKey(device.site, device.device))
    wanted = told.models.get(model) if told is not None else None
    if wanted is not None and wanted.get("version") == version:
        parts = {name: wanted.get(name) for name in ("target", "sha256", "bundle")}
        return Release(model=model, version=version, **{name: _text(one) for name, one in parts.items()})
    return Release(model=model, version=version)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:24] or "x"
