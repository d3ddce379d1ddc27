"""Reports of the store as Sparkplug: nothing is told twice, save what was on its way when a connection broke.

Sparkplug's data are QoS 0. So where the reader has come to is kept with a delay longer than a broken connection can
stay unseen, and what may have been lost is told again as historical, with the time it was measured.
"""

import json
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from edgekit.errors import DataError, UsageError
from edgekit.fleet import _clock
from edgekit.fleet.export.outlet import Outlet, Will
from edgekit.fleet.export.sparkplug.codec import DataType, decode
from edgekit.fleet.export.sparkplug.node import REBIRTH, EdgeNode, Out, Values
from edgekit.fleet.export.summary import figures
from edgekit.fleet.store.base import ReportRow
from edgekit.fleet.store.writer import DEVICE_LIMIT
from edgekit_agent.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgekit.fleet.store import Store

DEVICES_EVERY_S = 2.0
REBIRTH_EVERY_S = 5.0
REPORTS_A_STEP = 500
UNSEEN_S = 30.0  # a broken connection is noticed after 1.5 keepalives of 15 s
OLD_MS = 60_000
MODEL_LIMIT = 128
_COUNTS = {"inferences", "errors", "dropped"}


class SparkplugBridge:
    """Tells the fleet's reports and presence as an edge node."""

    name = "sparkplug"

    def __init__(
        self, store: "Store", *, group: str = "EdgeKit", node: str = "fleet", primary_host: str | None = None
    ) -> None:
        """Read the store.

        Args:
            store: what is known of the fleet.
            group: Sparkplug's group id.
            node: the edge node's id.
            primary_host: wait for this host application, and keep what comes while it is away.

        Raises:
            UsageError: if a name has what no Sparkplug name may have.
        """
        for what, text in (("group", group), ("node", node), ("primary host", primary_host or "x")):
            if not text or set(text) & set("/+#") or len(text) > MODEL_LIMIT:
                raise UsageError(f"Sparkplug {what} '{text[:80]}' is empty, too long, or has '/', '+' or '#'")
        self._store, self._node, self._host = store, EdgeNode(group, node), primary_host
        self.client_id = f"edgekit-{self.name}-{group}-{node}"
        self.counted: Counter[str] = Counter()
        self._mark = f"sparkplug:{group}/{node}"
        self._cursor = 0
        self._sent: deque[tuple[float, int]] = deque()  # when, up to which report
        self._newest: dict[tuple[str, str], int] = {}
        self._host_there: bool | None = None
        self._host_ts = 0
        self._rebirth = False
        self._born_s = self._looked_s = 0.0

    # --- the bridge

    def will(self) -> Will:
        """Return the death of the next connection, whose number no other has had."""
        mark = self._store.marks.get(self._mark)
        bd_seq = (int(mark.get("bd", -1)) + 1) % 256
        self._cursor = int(mark.get("cursor", self._store.reports.cursor()))
        self._store.marks.put(self._mark, {"bd": bd_seq, "cursor": self._cursor})
        death = self._node.connecting(bd_seq)
        self._sent.clear()
        self._host_there, self._host_ts = (None if self._host else True), 0
        return Will(death.topic, death.payload, death.qos)

    def subscriptions(self) -> tuple[str, ...]:
        """Return the filters of commands, and of the host's state."""
        state = (f"spBv1.0/STATE/{self._host}",) if self._host else ()
        return (self._node.command_topic(), *state)

    def begin(self, outlet: Outlet) -> None:
        """Be born, when the host is there."""
        self._born_s = 0.0
        if self._host_there:
            self._give_birth(outlet)

    def heard(self, topic: str, payload: bytes) -> None:
        """Take a command, or the host's state."""
        try:
            if topic == self._node.command_topic():
                self._rebirth |= any(one.name == REBIRTH and one.value is True for one in decode(payload).metrics)
            elif self._host and topic == f"spBv1.0/STATE/{self._host}":
                self._note_host(json.loads(payload[:1024]))
        except (DataError, ValueError, TypeError, KeyError):
            self.counted["rejected"] += 1

    def step(self, outlet: Outlet) -> None:
        """Tell what is new, if the host is there."""
        if self._host_there is False and self._born_s:
            self._send(outlet, [self._node.death()])
            outlet.settle()
            raise TransportError(f"the Sparkplug host '{self._host}' is away")
        if not self._host_there:
            return
        if not self._born_s or (self._rebirth and time.monotonic() - self._born_s >= REBIRTH_EVERY_S):
            self._give_birth(outlet)
        rows = self._store.reports.since(self._cursor, REPORTS_A_STEP)
        for row in rows:
            self._tell(outlet, row)
        if time.monotonic() - self._looked_s >= DEVICES_EVERY_S:
            self._looked_s = time.monotonic()
            self._tell_presence(outlet)
        outlet.settle()
        if rows:
            self._cursor = rows[-1].id
            self._sent.append((time.monotonic(), self._cursor))
        self._keep_mark()
        self.counted["refused"] += self._node.refused
        self._node.refused = 0

    def end(self, outlet: Outlet) -> None:
        """Die as the specification asks, and keep how far all was told."""
        if self._born_s:
            self._send(outlet, [self._node.death()])
            outlet.settle()
        self._store.marks.put(self._mark, {"bd": self._node.bd_seq, "cursor": self._cursor})

    # --- what is told

    def _give_birth(self, outlet: Outlet) -> None:
        self._born_s, self._rebirth = time.monotonic(), False
        self._send(outlet, self._node.birth(_clock.now_ms()))
        self.counted["births"] += 1

    def _tell(self, outlet: Outlet, row: ReportRow) -> None:
        device, now_ms = f"{row.site}.{row.device}", _clock.now_ms()
        newest = self._newest.get((device, row.model), 0)
        historical = row.history or row.at_ms < max(newest, now_ms - OLD_MS)
        if not historical:
            self._newest[device, row.model] = row.at_ms
        self._send(outlet, self._node.data(device, _values(row), row.at_ms, now_ms, historical=historical))
        self.counted["historical" if historical else "live"] += 1

    def _tell_presence(self, outlet: Outlet) -> None:
        known = {f"{row.site}.{row.device}": row.presence for row in self._store.devices.all(DEVICE_LIMIT)}
        for device in self._node.born():
            if known.get(device) != "online":
                self._send(outlet, self._node.gone(device, _clock.now_ms(), forgotten=device not in known))
        self._newest = {at: ms for at, ms in self._newest.items() if at[0] in known}

    def _send(self, outlet: Outlet, messages: "Iterable[Out]") -> None:
        for message in messages:
            outlet.publish(message.topic, message.payload, qos=message.qos)
            self.counted["published"] += 1

    def _note_host(self, body: object) -> None:
        """Take the host's state, unless it is older than one known."""
        if not isinstance(body, dict) or type(body["online"]) is not bool or type(body["timestamp"]) is not int:
            raise TypeError("no state of a host")
        if body["timestamp"] >= self._host_ts:
            self._host_there, self._host_ts = body["online"], body["timestamp"]

    def _keep_mark(self) -> None:
        kept = None
        while self._sent and self._sent[0][0] <= time.monotonic() - UNSEEN_S:
            kept = self._sent.popleft()[1]
        if kept is not None:
            self._store.marks.put(self._mark, {"bd": self._node.bd_seq, "cursor": kept})


def _values(row: ReportRow) -> Values:
    model = row.model[:MODEL_LIMIT]
    values: dict[str, tuple[DataType, int | float | str | bytes]] = {
        f"{model}/version": (DataType.STRING, row.version),
        f"{model}/artifact": (DataType.STRING, row.artifact),
        f"{model}/runtime": (DataType.STRING, row.runtime),
    }
    for name, value in figures(row).items():
        if name in _COUNTS:
            values[f"{model}/{name}"] = (DataType.INT64, int(value))
        else:
            values[f"{model}/{name}"] = (DataType.DOUBLE, float(value))
    for stage, histogram in row.latency.items():
        body = json.dumps(histogram.to_json(), separators=(",", ":")).encode()
        values[f"{model}/{stage}_histogram"] = (DataType.BYTES, body)
    return values
