"""The rules of an edge node, without I/O: births before data, sequence numbers, aliases, deaths.

Source: Sparkplug 3.0, chapters 5 and 6. Births, data and deaths of devices are QoS 0 and never retained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgekit.fleet.export.sparkplug.codec import DataType, Metric, Payload, Value, encode
from edgekit_agent import __version__

REBIRTH = "Node Control/Rebirth"
BD_SEQ = "bdSeq"
METRICS_A_DEVICE = 1_000
Values = Mapping[str, tuple[DataType, Value]]


@dataclass(frozen=True, slots=True)
class Out:
    """A message to send."""

    topic: str
    payload: bytes
    qos: int = 0


class _Device:
    """What is told of a device: its metrics by name, with alias, type and last value."""

    def __init__(self) -> None:
        self.metrics: dict[str, tuple[int, DataType, Value, int]] = {}
        self.born = False


class EdgeNode:
    """One edge node; a new connection is a new `bd_seq`."""

    def __init__(self, group: str, node: str) -> None:
        """Name the node: neither name may have `/`, `+` or `#`."""
        self._group, self._node = group, node
        self._devices: dict[str, _Device] = {}
        self._seq = self._alias = 0
        self.bd_seq = 0
        self.refused = 0
        """Metrics that were left out, because a device has too many."""

    # --- the node

    def command_topic(self) -> str:
        """Return where commands to the node come."""
        return self._topic("NCMD")

    def connecting(self, bd_seq: int) -> Out:
        """Begin a connection; return the will."""
        self.bd_seq = bd_seq
        for device in self._devices.values():
            device.born = False
        return self.death()

    def death(self) -> Out:
        """Return the node's death: the will, and what is said at a clean end."""
        metric = Metric(name=BD_SEQ, datatype=DataType.INT64, value=self.bd_seq)
        return Out(self._topic("NDEATH"), encode(Payload(metrics=(metric,))), qos=1)

    def birth(self, now_ms: int) -> Iterator[Out]:
        """Yield the node's birth, and those of all devices that were born: after connecting, and at a rebirth."""
        self._seq = 0
        metrics = (
            Metric(name=BD_SEQ, datatype=DataType.INT64, value=self.bd_seq, timestamp_ms=now_ms),
            Metric(name=REBIRTH, datatype=DataType.BOOLEAN, value=False, timestamp_ms=now_ms),
            Metric(name="Properties/EdgeKit", datatype=DataType.STRING, value=__version__, timestamp_ms=now_ms),
        )
        yield Out(self._topic("NBIRTH"), encode(Payload(timestamp_ms=now_ms, seq=0, metrics=metrics)))
        for name, device in self._devices.items():
            if device.born:
                yield self._device_birth(name, device, now_ms)

    # --- devices

    def born(self) -> list[str]:
        """Return the devices that are there."""
        return [name for name, device in self._devices.items() if device.born]

    def data(self, name: str, values: Values, at_ms: int, now_ms: int, *, historical: bool = False) -> Iterator[Out]:
        """Yield what tells values of a device: its birth first where it was not born, or has a metric more.

        Args:
            name: the device.
            values: type and value by metric.
            at_ms: when they were measured.
            now_ms: when they are told.
            historical: they are older than others that were told.
        """
        device = self._devices.setdefault(name, _Device())
        grown = self._known(device, values)
        told = {one: value for one, value in values.items() if one in device.metrics}
        if not historical:
            for one, (datatype, value) in told.items():
                device.metrics[one] = (device.metrics[one][0], datatype, value, at_ms)
        if grown or not device.born:
            device.born = True
            yield self._device_birth(name, device, now_ms)
            if not historical:  # the birth has told them
                return
        metrics = tuple(
            Metric(alias=device.metrics[one][0], datatype=kind, value=value, timestamp_ms=at_ms, historical=historical)
            for one, (kind, value) in told.items()
        )
        yield Out(self._topic("DDATA", name), encode(Payload(timestamp_ms=now_ms, seq=self._next(), metrics=metrics)))

    def gone(self, name: str, now_ms: int, *, forgotten: bool = False) -> Iterator[Out]:
        """Yield the death of a device that was born; one that is forgotten leaves nothing behind."""
        device = self._devices.get(name)
        if device is not None and device.born:
            device.born = False
            yield Out(self._topic("DDEATH", name), encode(Payload(timestamp_ms=now_ms, seq=self._next())))
        if forgotten:
            self._devices.pop(name, None)

    def _known(self, device: _Device, values: Values) -> bool:
        """Give new metrics an alias that no other of the node has; whether there are any."""
        new = [one for one in values if one not in device.metrics]
        room = METRICS_A_DEVICE - len(device.metrics)
        self.refused += max(0, len(new) - room)
        for one in new[: max(0, room)]:
            self._alias += 1
            device.metrics[one] = (self._alias, values[one][0], None, 0)
        return bool(new[: max(0, room)])

    def _device_birth(self, name: str, device: _Device, now_ms: int) -> Out:
        metrics = tuple(
            Metric(name=one, alias=alias, datatype=kind, value=value, timestamp_ms=at_ms or now_ms)
            for one, (alias, kind, value, at_ms) in device.metrics.items()
        )
        return Out(self._topic("DBIRTH", name), encode(Payload(timestamp_ms=now_ms, seq=self._next(), metrics=metrics)))

    def _next(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq

    def _topic(self, kind: str, device: str | None = None) -> str:
        return f"spBv1.0/{self._group}/{kind}/{self._node}" + (f"/{device}" if device else "")
