"""How many devices there are: by presence, and by the model they serve. What strangers can make many of is bounded."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from edgekit.fleet import _clock
from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.series import hardware_name
from edgekit.fleet.store.tables import DEVICE_MODELS, DEVICES, ROLLOUT_JOBS, ROLLOUTS
from edgekit.fleet.store.totals import LABEL_LIMIT, OVERFLOW

LIMIT = 1_000
Counts = Mapping[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Census:
    """Devices at a moment."""

    now_ms: int
    devices: Counts  # site, presence, reason
    models: Counts  # model, version
    rollouts: Counts  # status
    rollout_devices: Counts  # status, of rollouts that have not ended


def take_census(engine: Engine, limit: int = LIMIT) -> Census:
    """Count the devices; what would be more than `limit` rows is added up as `_overflow`."""
    by_presence = (DEVICES.c.site, DEVICES.c.presence, DEVICES.c.presence_reason)
    by_model = (DEVICE_MODELS.c.model, DEVICE_MODELS.c.version)
    with reading(engine) as connection:
        devices = connection.execute(select(*by_presence, func.count()).group_by(*by_presence).order_by(*by_presence))
        presence = _bounded([(tuple(row[:3]), row[3]) for row in devices], limit, named=1)
        served = connection.execute(select(*by_model, func.count()).group_by(*by_model).order_by(*by_model))
        models = _bounded([(tuple(row[:2]), row[2]) for row in served], limit, named=2)
        rollouts = connection.execute(select(ROLLOUTS.c.status, func.count()).group_by(ROLLOUTS.c.status)).all()
        under_way = select(ROLLOUT_JOBS.c.status, func.count()).join(ROLLOUTS, ROLLOUTS.c.id == ROLLOUT_JOBS.c.rollout)
        under_way = under_way.where(ROLLOUTS.c.ended_ms.is_(None)).group_by(ROLLOUT_JOBS.c.status)
        jobs = connection.execute(under_way).all()
    return Census(
        now_ms=_clock.now_ms(),
        devices=presence,
        models=models,
        rollouts={(status,): count for status, count in rollouts},
        rollout_devices={(status,): count for status, count in jobs},
    )


def _bounded(rows: Iterable[tuple[tuple[str, ...], int]], limit: int, *, named: int) -> Counts:
    """Add up rows by their labels; beyond the limit the first `named` labels, which strangers choose, are left out."""
    counts: dict[tuple[str, ...], int] = {}
    for values, count in rows:
        labels = tuple(text[:LABEL_LIMIT] for text in values)
        if labels not in counts and len(counts) >= limit:
            labels = (*[OVERFLOW] * named, *labels[named:])
        counts[labels] = counts.get(labels, 0) + count
    return counts


def hardware_names(engine: Engine) -> dict[DeviceKey, str]:
    """Return what the hardware of every device is called."""
    names: dict[str, str] = {}
    found = {}
    with reading(engine) as connection:
        for site, device, text in connection.execute(select(DEVICES.c.site, DEVICES.c.device, DEVICES.c.hardware)):
            if text not in names:
                names[text] = hardware_name(json.loads(text))
            found[DeviceKey(site, device)] = names[text]
    return found
