"""Measurements by many devices at a time: each answers for itself, and one that fails stops no other."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from edgekit.errors import EdgeKitError
from edgekit.fleet.remote import FleetServer


@dataclass(frozen=True, slots=True)
class Measured:
    """What a device answered, or why it did not.

    Attributes:
        device: it, as the service tells of it.
        benchmark: the answer to `benchmark`; times in milliseconds.
        error: in a sentence, where there is no answer.
    """

    device: Mapping[str, Any]
    benchmark: dict[str, Any] | None = None
    error: str | None = None


def measure(
    fleet: FleetServer,
    devices: Sequence[Mapping[str, Any]],
    arguments: Mapping[str, object],
    timeout_s: float,
    at_a_time: int,
) -> Iterator[Measured]:
    """Yield each device's answer as it comes; first those that are not asked, since they are not online.

    Args:
        fleet: the service.
        devices: of `FleetServer.devices`.
        arguments: of the command `benchmark`.
        timeout_s: how long each may take.
        at_a_time: so many measure meanwhile.
    """
    online = [one for one in devices if one["presence"] == "online"]
    for one in devices:
        if one["presence"] != "online":
            yield Measured(one, error=f"is {one['presence']}")

    def ask(device: Mapping[str, Any]) -> Measured:
        try:
            name = f"{device['site']}/{device['device']}"
            return Measured(device, fleet.command(name, "benchmark", arguments, timeout_s))
        except EdgeKitError as exc:
            return Measured(device, error=str(exc))

    with ThreadPoolExecutor(at_a_time) as pool:
        waiting = [pool.submit(ask, one) for one in online]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()
