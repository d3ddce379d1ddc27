"""Tells of devices that are beyond their limits: a line in the log, and an event of the device."""

import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from edgekit.fleet import _clock
from edgekit.fleet.allowance import Noisy
from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.wire import Event

CODE = "throttled"
_log = logging.getLogger(__name__)


def tell_noisy(store: Store, noisy: Noisy[DeviceKey], what: str) -> None:
    """Tell of those whose time has come; `what` are the messages that were not taken."""
    now_ms = _clock.now_ms()
    events = []
    for one in noisy.due(time.monotonic()):
        more = f" others={one.others}" if one.others else ""
        _log.warning("event=throttled site=%s device=%s %s=%d%s", one.key.site, one.key.device, what, one.count, more)
        text = f"{one.count} {what} were beyond what is taken of one device"
        detail = {"what": what, "count": one.count}
        events.append((one.key, Event(ts_ms=now_ms, level="warning", code=CODE, text=text, detail=detail), now_ms))
    try:
        store.events.add_all(events)
    except SQLAlchemyError as exc:
        _log.info("event=throttled-untold reason=%s", type(exc).__name__)
