"""Whether a broker keeps what its rules promise, found by round trip.

A broker answers "granted" and "published" for what its rules then drop, so only a message that arrives, or one after
it that arrives without it, proves anything. Two made-up devices talk to the service and to each other.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.errors import DeviceError
from edgekit.fleet.security.authority import Issued, Pki
from edgekit.fleet.security.client import Client, Place
from edgekit.fleet.security.mosquitto import READS, TAILED, WRITES
from edgekit_agent.protocol import HOST, Kind, device_topic

GRACE_S = 0.3  # a cluster may deliver topics in another order than they were sent in
ORDER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried: what, what should have come of it, and whether it did."""

    what: str
    expected: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where devices and services connect, the service's certificate, and two devices'."""

    devices: Place
    services: Place
    first: Issued
    second: Issued
    site: str = "default"

    def device(self, issued: Issued) -> Place:
        """Return how a device connects."""
        return replace(self.devices, certificate=issued.certificate, key=issued.key)


def probes(pki: Pki, folder: Path, site: str) -> tuple[Issued, Issued]:
    """Return certificates, valid for an hour, of two devices that are nobody's."""
    names = [f"ek-check-{secrets.token_hex(4)}" for _ in range(2)]
    first, second = (pki.probe(name, folder / name, site) for name in names)
    return first, second


def check(setting: Setting, on_finding: Callable[[Finding], None] = lambda _finding: None) -> list[Finding]:
    """Try everything; return what was found.

    Args:
        setting: where, and with which certificates.
        on_finding: told of each as it is found.

    Raises:
        DeviceError: if the broker does not answer, or lets in nobody.
    """
    found = []
    for finding in _check(setting):
        on_finding(finding)
        found.append(finding)
    return found


def _check(setting: Setting) -> Iterator[Finding]:
    yield from _refusals(setting)
    first, second = setting.first.common_name, setting.second.common_name
    with (
        Client(setting.services, f"ek-check-{secrets.token_hex(4)}") as host,
        Client(setting.device(setting.first), first) as one,
        Client(setting.device(setting.second), second) as other,
    ):
        host.subscribe([f"ek/1/{setting.site}/{name}/#" for name in (first, second)])
        other.subscribe(["#", f"ek/1/{setting.site}/{first}/#", f"ek/1/+/{first}/+", f"ek/1/{setting.site}/+/#"])
        one.subscribe([device_topic(setting.site, first, kind, _tail(kind)) for kind in (*READS, *WRITES)])
        one.subscribe([device_topic(setting.site, HOST, Kind.STATE)])
        yield from _published_by_device(setting, host, one, other)
        yield from _published_by_host(setting, host, one, other)
        yield from _client_ids(setting, one)


def _refusals(setting: Setting) -> Iterator[Finding]:
    services = setting.services
    tries = (
        ("no certificate, at the devices' listener", setting.devices),
        ("no certificate, at the services' listener", replace(services, certificate=None, key=None)),
        ("a device's certificate, at the services' listener",
         replace(services, certificate=setting.first.certificate, key=setting.first.key)),
        ("the service's certificate, at the devices' listener",
         replace(setting.devices, certificate=services.certificate, key=services.key)),
    )  # fmt: skip
    for what, place in tries:
        try:
            with Client(place, f"ek-check-{secrets.token_hex(4)}"):
                yield Finding(what=what, expected="refused", ok=False, detail="was let in")
        except DeviceError as exc:
            yield Finding(what=what, expected="refused", ok=True, detail=str(exc))


def _published_by_device(setting: Setting, host: Client, one: Client, other: Client) -> Iterator[Finding]:
    own, others = setting.first.common_name, setting.second.common_name
    tries = [(f"a device publishes its own {kind}", own, kind, kind in WRITES) for kind in Kind]
    tries += [(f"a device publishes another's {kind}", others, kind, False) for kind in Kind]
    sent = []
    for what, name, kind, allowed in tries:
        topic, payload = device_topic(setting.site, name, kind, _tail(kind)), _payload()
        one.publish(topic, payload)
        sent.append((what, topic, payload, allowed))
    payload = _payload()
    state = device_topic(setting.site, HOST, Kind.STATE)
    host.subscribe([state])
    one.publish(state, payload)
    sent.append(("a device publishes the service's state", state, payload, False))
    stranger = f"ek/1/{secrets.token_hex(4)}/{own}/{Kind.TELE}"
    host.subscribe([stranger])
    payload = _payload()
    one.publish(stranger, payload)
    sent.append(("a device publishes in a site that is not there", stranger, payload, False))
    _in_order(one, host, device_topic(setting.site, own, Kind.TELE))
    for what, topic, payload, allowed in sent:
        yield _judged(what, allowed, arrived=(topic, payload) in host.received)
    leaked = [topic for topic, payload in other.received if (topic, payload) in {(t, p) for _, t, p, _ in sent}]
    yield Finding(
        what="a device that subscribed to everything", expected="hears nothing of another", ok=not leaked,
        detail=", ".join(leaked),
    )  # fmt: skip


def _published_by_host(setting: Setting, host: Client, one: Client, other: Client) -> Iterator[Finding]:
    own = setting.first.common_name
    sent = []
    for kind in Kind:
        topic, payload = device_topic(setting.site, own, kind, _tail(kind)), _payload()
        host.publish(topic, payload)
        sent.append((f"the service publishes a device's {kind}", topic, payload, kind in READS))
    for client, issued in ((one, setting.first), (other, setting.second)):
        topic = device_topic(setting.site, issued.common_name, Kind.ACK)
        client.subscribe([topic])
        _in_order(host, client, topic)
    for what, topic, payload, allowed in sent:
        yield _judged(what, allowed, arrived=(topic, payload) in one.received)
    leaked = [topic for _, topic, payload, _ in sent if (topic, payload) in other.received]
    yield Finding(
        what="another device", expected="hears nothing of what the service tells it", ok=not leaked,
        detail=", ".join(leaked),
    )  # fmt: skip


def _client_ids(setting: Setting, one: Client) -> Iterator[Finding]:
    """A client id that is taken ends who had it: it must not be free to choose."""
    what, expected = "a device connects under another's client id", "the other stays connected"
    try:
        with Client(setting.device(setting.second), setting.first.common_name):
            one.ended(GRACE_S)
    except DeviceError:
        pass  # to refuse it is as good
    try:  # the broker answers only a connection that stands
        one.publish(device_topic(setting.site, setting.first.common_name, Kind.TELE), _payload())
        ok = one.connected
    except DeviceError:
        ok = False
    yield Finding(what=what, expected=expected, ok=ok)


def _in_order(sender: Client, receiver: Client, topic: str) -> None:
    """Send one more that is allowed: when it is there, what was sent before is there or never will be."""
    payload = _payload()
    sender.publish(topic, payload)
    if not receiver.saw(topic, payload, ORDER_S):
        raise DeviceError(f"a message that is allowed did not arrive within {ORDER_S:g} s: {topic}")
    time.sleep(GRACE_S)


def _judged(what: str, allowed: bool, *, arrived: bool) -> Finding:
    return Finding(what=what, expected="arrives" if allowed else "is dropped", ok=arrived == allowed)


def _tail(kind: Kind) -> str | None:
    return "check" if kind in TAILED else None


def _payload() -> bytes:
    """Return what no service takes for a message: it is counted as broken and forgotten."""
    return b"edgekit-check " + secrets.token_hex(8).encode()
