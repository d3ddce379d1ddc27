"""Devices as the store has them: what they have reported of what they were told, and whether they are there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Engine, select, tuple_

from edgekit.fleet.rollout.machine import Seen
from edgekit.fleet.rollout.plan import Key
from edgekit.fleet.store.base import DeviceRow
from edgekit.fleet.store.bulk import chunks
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.tables import DESIRED, DEVICES

_THERE = frozenset({"online", "stale"})
_CLEAN = "clean-stop"
_TEXT_LIMIT = 500
_SAME = (DESIRED.c.site == DEVICES.c.site) & (DESIRED.c.device == DEVICES.c.device)


class Question(NamedTuple):
    """A device asks for leave to go on with what version `v` of its desired state wants."""

    key: Key
    v: int
    text: str


class Sight:
    """Reads devices, and keeps what was made of a `reported` message until another comes."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine
        self._known: dict[Key, tuple[str | None, Mapping[str, Any]]] = {}

    def of(self, keys: Sequence[Key], model: str) -> tuple[dict[Key, Seen], frozenset[Key]]:
        """Return what is seen of devices, and which of them have fallen silent."""
        columns = (
            DEVICES.c.site, DEVICES.c.device, DEVICES.c.presence, DEVICES.c.presence_reason, DEVICES.c.state,
            DEVICES.c.reported, DESIRED.c.v,
        )  # fmt: skip
        seen: dict[Key, Seen] = {}
        silent: set[Key] = set()
        with reading(self._engine) as connection:
            for part in chunks(keys, 200):
                query = select(*columns).outerjoin(DESIRED, _SAME)
                query = query.where(tuple_(DEVICES.c.site, DEVICES.c.device).in_(list(part)))
                for row in connection.execute(query):
                    key = (row.site, row.device)
                    # before presence was concluded, what the device says of itself counts
                    there = row.presence in _THERE or (row.presence == "unknown" and row.state == "online")
                    one = _seen(self._reported(key, row.reported), model, online=there)
                    seen[key] = replace(one, foreign=one.v > (row.v or 0))
                    # stale is what nobody can know: the broker, or the service itself, was away
                    if row.presence == "offline" and row.presence_reason != _CLEAN:
                        silent.add(key)
        return seen, frozenset(silent)

    def questions(self) -> list[Question]:
        """Return which devices ask for leave."""
        query = select(DEVICES.c.site, DEVICES.c.device, DEVICES.c.reported)
        with reading(self._engine) as connection:
            rows = list(connection.execute(query.where(DEVICES.c.reported.contains('"lease":"', autoescape=True))))
        found = []
        for row in rows:
            key = (row.site, row.device)
            body = self._reported(key, row.reported)
            asked = [one.get("lease") for one in _models(body)]
            found += [Question(key, _whole(body.get("v")), text) for text in asked if isinstance(text, str)]
        return found

    def _reported(self, key: Key, text: str | None) -> Mapping[str, Any]:
        known = self._known.get(key)
        if known is not None and known[0] == text:
            return known[1]
        body = _parsed(text)
        self._known[key] = (text, body)
        return body


def serving_of(device: DeviceRow, model: str) -> str | None:
    """Return the version of a model that a device serves by its own newest word, None if it has none.

    After an update `reported` tells of it first, and by that a rollout ends; the description may come later.
    """
    for one in _models(_parsed(device.reported)):
        if one.get("name") == model and (serving := _text(one.get("serving"))):
            return serving
    return next((one.version for one in device.models if one.name == model), None)


def _parsed(text: str | None) -> Mapping[str, Any]:
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        body = {}
    return body if isinstance(body, dict) else {}


def _seen(body: Mapping[str, Any], model: str, *, online: bool) -> Seen:
    one = next((one for one in _models(body) if one.get("name") == model), {})
    detail = one.get("detail")
    text = detail.get("text") if isinstance(detail, dict) else ""
    return Seen(
        online=online,
        v=_whole(body.get("v")),
        version=_text(one.get("version")),
        phase=_text(one.get("phase")),
        reason=_text(one.get("reason")),
        text=_text(text),
        serving=_text(one.get("serving")),
    )


def _models(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = body.get("models")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _text(value: object) -> str:
    return value[:_TEXT_LIMIT] if isinstance(value, str) else ""
