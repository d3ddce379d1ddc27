"""The loop of an ingest process: read, store, acknowledge, in one thread.

Nothing is dropped: while a batch is stored the socket is not read, so the broker keeps what comes, and the devices keep
what is not acknowledged.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from edgekit.fleet import _clock
from edgekit.fleet.allowance import Limits
from edgekit.fleet.ingest.acks import EXPIRY_S, Acks
from edgekit.fleet.ingest.intake import NO_LIMITS, Intake
from edgekit.fleet.ingest.links import Link
from edgekit.fleet.ingest.storing import Storing
from edgekit.fleet.noise import tell_noisy
from edgekit.fleet.store import Store
from edgekit_agent.errors import TransportError

_log = logging.getLogger(__name__)

BATCH = 2_000
FLUSH_S = 0.2
ROLL_REPORTS, ROLL_S = 20_000, 60.0
RECONNECT_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True, kw_only=True)
class Told:
    """What the process says of itself."""

    connected: bool = False
    trouble: str | None = None


class Ingest:
    """Runs until `stop`."""

    def __init__(
        self,
        store: Store,
        connect: Callable[[], Link],
        source: str,
        told: Callable[[Told], None] = lambda _: None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        """Put it together.

        Args:
            store: where reports go.
            connect: opens a link; called again whenever it is gone.
            source: the name it counts under.
            told: called when it is connected, or has trouble, or has no more.
            limits: what is taken of each device.
        """
        self._store, self._connect, self._tell = store, connect, told
        self._intake, self._acks = Intake(limits), Acks()
        self._storing = Storing(store.reports, source, self._wait_for_store)
        self._link: Link | None = None
        self._stopping = False
        self._said = Told()
        self._began_s = 0.0  # when the first report of the batch came
        self._looked_s = time.monotonic()

    def stop(self) -> None:
        """Have `run` end after what was read is stored; may be called from a signal's handler."""
        self._stopping = True

    def run(self) -> None:
        """Read, store and acknowledge until `stop`."""
        tries = 0
        while not self._stopping:
            try:
                self._link = self._connect()
                tries = 0
                self._say(connected=True, trouble=None)
                while not self._stopping:
                    self._turn(self._link)
            except TransportError as exc:
                self._say(connected=False, trouble=str(exc))
                self._drop_link()
                self._flush()
                self._sleep(RECONNECT_S[min(tries, len(RECONNECT_S) - 1)])
                tries += 1
        self._end()

    def _turn(self, link: Link) -> None:
        intake, now = self._intake, time.monotonic()
        waits = bool(intake.counted["received"])
        timeout_s = max(0.0, min(FLUSH_S, self._began_s + FLUSH_S - now)) if waits else FLUSH_S
        messages = link.poll(timeout_s)
        if messages:
            if not waits:
                self._began_s = time.monotonic()
            intake.take(messages, _clock.now_ms())
        if intake.counted["received"] and (len(intake.batch) >= BATCH or time.monotonic() - self._began_s >= FLUSH_S):
            self._flush()
        elif not messages:
            self._roll()
        if self._link is None:
            raise TransportError("the broker went away while the store was waited for")
        for topic, payload in self._acks.due(time.monotonic()):
            link.publish(topic, payload, EXPIRY_S)

    def _flush(self) -> None:
        """Store what was read; afterwards it may be acknowledged."""
        if not self._intake.counted["received"]:
            return
        acks = self._storing.store(self._intake.batch, self._intake.counted)
        if acks is None:
            return
        self._acks.add(acks)
        self._intake.stored()
        if self._said.trouble is not None and self._said.connected:
            self._say(connected=True, trouble=None)
        tell_noisy(self._store, self._intake.noisy, "reports")
        if time.monotonic() - self._looked_s >= ROLL_S / 12:
            self._roll()

    def _roll(self) -> None:
        """Roll up what waits, when it is much or old: the more at once, the less each costs."""
        if time.monotonic() - self._looked_s < ROLL_S / 12:
            return
        self._looked_s = time.monotonic()
        waiting, since_ms = self._store.rollups.waiting()
        if waiting > ROLL_REPORTS or (waiting and time.time() - since_ms / 1000 > ROLL_S):
            self._looked_s = 0.0 if self._store.rollups.roll() >= ROLL_REPORTS else self._looked_s

    # --- waiting

    def _wait_for_store(self, seconds: float) -> bool:
        self._say(connected=self._link is not None, trouble=f"the store does not answer: {self._storing.trouble}")
        if self._link is not None:
            try:
                self._link.idle()
            except TransportError:
                self._drop_link()
        self._sleep(seconds)
        return not self._stopping

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(0.1, left))

    def _say(self, *, connected: bool, trouble: str | None) -> None:
        said = Told(connected=connected, trouble=trouble)
        if said != self._said:
            self._said = said
            self._tell(said)

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _end(self) -> None:
        self._flush()
        if self._link is None:
            return
        try:
            for topic, payload in self._acks.due(time.monotonic(), all_now=True):
                self._link.publish(topic, payload, EXPIRY_S)
        except TransportError:
            _log.info("event=acks-untold")
        self._drop_link()
