"""What every bridge does: it connects, works step by step, and comes back with longer and longer waits."""

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DBAPIError

from edgekit.fleet._url import BrokerUrl
from edgekit.fleet.export.outlet import Outlet, Will
from edgekit.fleet.store.engine import is_away
from edgekit_agent.errors import TransportError

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

_log = logging.getLogger(__name__)

STEP_S = 1.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class Bridge(Protocol):
    """What is told to a broker, and what is listened to; it is all one thread's."""

    name: str
    client_id: str
    """Its name at the broker: two of the same name throw each other out."""
    counted: Counter[str]
    """What to add to the store's counters of this bridge; emptied by who does."""

    def will(self) -> Will:
        """Return the will of the next connection."""

    def subscriptions(self) -> tuple[str, ...]:
        """Return the filters to listen to."""

    def begin(self, outlet: Outlet) -> None:
        """Say what is said first on a connection."""

    def heard(self, topic: str, payload: bytes) -> None:
        """Take a message to us."""

    def step(self, outlet: Outlet) -> None:
        """Say what is new."""

    def end(self, outlet: Outlet) -> None:
        """Say farewell, before a clean end."""


def run(bridge: Bridge, store: "Store", url: BrokerUrl, stop: threading.Event, *, once: bool = False) -> None:
    """Bridge until `stop` is set.

    Args:
        bridge: what to tell.
        store: where its counters are kept, as those of `bridge-NAME`.
        url: the broker.
        stop: ends it.
        once: end with the error when the first connection fails.

    Raises:
        TransportError: with `once`.
    """
    wait_s = FIRST_WAIT_S
    while not stop.is_set():
        try:
            with Outlet(url, bridge.client_id, bridge.will(), bridge.subscriptions()) as outlet:
                once = False
                bridge.begin(outlet)
                while not stop.is_set():
                    _listen(bridge, outlet)
                    bridge.step(outlet)
                    wait_s = FIRST_WAIT_S
                    _keep(bridge, store, outlet)
                bridge.end(outlet)
        except (TransportError, DBAPIError, OSError) as exc:
            if once or not (isinstance(exc, TransportError) or is_away(exc)):
                raise
            bridge.counted["connections_lost"] += 1
            _log.warning("bridge=%s wait_s=%g lost: %s", bridge.name, wait_s, exc)
            stop.wait(wait_s)
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
        finally:
            _keep(bridge, store, None)


def _listen(bridge: Bridge, outlet: Outlet) -> None:
    """Take all that came, and wait a step for the first of it."""
    message = outlet.received(STEP_S)
    while message is not None:
        bridge.heard(*message)
        message = outlet.received(0.0)


def _keep(bridge: Bridge, store: "Store", outlet: Outlet | None) -> None:
    if outlet is not None and outlet.ignored:
        bridge.counted["ignored"] += outlet.ignored
        outlet.ignored = 0
    if not bridge.counted:
        return
    try:
        store.counters.add(f"bridge-{bridge.name}", bridge.counted)
    except (DBAPIError, OSError) as exc:
        if not is_away(exc):
            raise
        return  # they are added later
    bridge.counted.clear()
