"""A connection with the device or devices on it: it comes back by itself, keeps their time, and faults strike it."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgekit.fleet import _clock
from edgekit.fleet._url import BrokerUrl
from edgekit.fleet.simulate.credentials import Contexts
from edgekit.fleet.simulate.device import Device, Out
from edgekit.fleet.simulate.faults import Fault, Kind
from edgekit.fleet.simulate.link import Calls, Link
from edgekit.fleet.simulate.packets import V5, V311, Hello
from edgekit_agent.actions import Now

CONNECT_S = 10.0
BACKOFF_S = (1.0, 30.0)
VERSIONS: Mapping[int, int] = MappingProxyType({3: V311, 5: V5})
REBOOT_S, FLAP_S = 15.0, 20.0
DOWN_S = (5.0, 20.0)


class Carrier:
    """One task keeps the connection, timers do the rest."""

    def __init__(self, devices: Sequence[Device], broker: BrokerUrl, contexts: Contexts, mqtt: int) -> None:
        """Take the devices that share the connection: one, or those that are multiplexed."""
        self.devices, self._broker, self._contexts, self._mqtt = devices, broker, contexts, VERSIONS[mqtt]
        self._loop = asyncio.get_running_loop()
        self._link: Link[Device] | None = None
        self._up = self._stood = self._stopping = False
        self._ended = asyncio.Event()
        self._why = ""
        self._listeners: dict[str, list[Device]] = {}
        self._commands: dict[str, list[Device]] = {}
        self._timers: dict[Device, asyncio.TimerHandle] = {}
        self._off: set[Device] = set()
        """Devices without power."""
        self.measuring = True
        self.failures: dict[str, int] = {}

    @property
    def shared(self) -> bool:
        """Whether several devices are on it."""
        return len(self.devices) > 1

    @property
    def alive(self) -> list[Device]:
        """The devices that have power."""
        return [one for one in self.devices if one not in self._off]

    # --- the connection

    async def run(self, after_s: float) -> None:
        """Start the devices after so many seconds and keep them connected until `stop`."""
        await asyncio.sleep(after_s)
        for device in self.devices:
            device.start(self.now())
            self._listen(device)
            for fault in device.identity.faults:
                self._loop.call_later(fault.at_s, self._strike, device, fault)
        low, high = BACKOFF_S
        wait = low
        while not self._stopping:
            was_up = await self._connection()
            if self._stopping:
                return
            self.failures[self._why] = self.failures.get(self._why, 0) + 1
            wait = low if was_up else min(high, 2 * wait)
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))  # noqa: S311  # no secret
            while not self.alive and not self._stopping:  # noqa: ASYNC110  # timers give the power back
                await asyncio.sleep(0.2)

    async def _connection(self) -> bool:
        """Live through one connection and return whether it stood."""
        self._ended.clear()
        first = self.devices[0]
        wills = [device.next_birth() for device in self.devices]
        hello = Hello(
            client_id=f"{first.identity.name}-and-{len(self.devices) - 1}" if self.shared else first.identity.name,
            keepalive_s=first.identity.config.broker.keepalive_s,
            username=self._broker.username,
            password=self._broker.password,
            will_topic=None if self.shared else wills[0].topic,
            will=b"" if self.shared else wills[0].payload,
        )
        topics = dict.fromkeys(topic for device in self.devices for topic in device.subscriptions)
        calls = Calls(up=self._stands, down=self._down, message=self._message, taken=self._taken)
        link: Link[Device] = Link(hello, list(topics), self._mqtt, calls)
        self._stood = False
        self._link = link  # before it is made: it may stand before this coroutine goes on
        tls = self._contexts(first.identity.name)
        try:
            await asyncio.wait_for(
                self._loop.create_connection(lambda: link, self._broker.host, self._broker.port, ssl=tls),
                CONNECT_S,
            )
            await self._ended.wait()
        except (OSError, TimeoutError) as exc:
            self._why = str(exc.strerror or exc) if isinstance(exc, OSError) else "it did not answer in time"
        self._link = None
        return self._stood

    def _stands(self) -> None:
        self._up = self._stood = True
        for device in self.alive:
            self._say(device, device.connected(self.now(), measuring=self.measuring))

    def _down(self, why: str) -> None:
        self._why, self._up = why, False
        for device in self.devices:
            device.disconnected()
        self._ended.set()

    # --- time and messages

    def now(self) -> Now:
        """Return the moment; the steady clock is the loop's."""
        return Now(s=self._loop.time(), ms=_clock.now_ms())

    def _listen(self, device: Device) -> None:
        for topic in device.subscriptions:
            place, plus = (topic[:-1], True) if topic.endswith("/+") else (topic, False)
            (self._commands if plus else self._listeners).setdefault(place, []).append(device)

    def _message(self, topic: str, payload: bytes) -> None:
        listeners = self._listeners.get(topic) or self._commands.get(topic[: topic.rfind("/") + 1])
        for device in listeners or ():
            if device not in self._off:
                self._say(device, device.received(topic, payload, self.now(), measuring=self.measuring))

    def _taken(self, device: Device, out: Out, heard: bool) -> None:  # MQTT's word
        if out.position is not None and device not in self._off:
            device.taken(out.position, self.now(), heard=heard)
            self._turn(device)

    def _turn(self, device: Device) -> None:
        if device not in self._off:
            self._say(device, device.tick(self.now(), measuring=self.measuring))

    def _say(self, device: Device, out: Sequence[Out]) -> None:
        """Send what there is to send, and come again when there is more; after the goodbye there is nothing."""
        if self._stopping:
            return
        if self._link is not None:
            for one in out:
                self._link.publish(device, one)
        known = self._timers.get(device)
        next_s = max(device.next_s(self.now(), measuring=self.measuring), self._loop.time() + 0.01)
        if known is None or known.cancelled() or known.when() != next_s:
            if known is not None:
                known.cancel()
            self._timers[device] = self._loop.call_at(next_s, self._turn, device)

    # --- the end

    def stop_measuring(self) -> None:
        """Make no new reports; what waits still goes."""
        self.measuring = False
        for device in self.alive:
            self._turn(device)

    async def stop(self, patience_s: float) -> None:
        """Say goodbye for each device that has power, and end; give up when the broker takes nothing for so long."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        link = self._link
        if link is not None:
            for device in self.alive:
                for out in device.farewell(self.now()) if self._up else ():
                    link.publish(device, out)
            left, end = link.left, self._loop.time() + patience_s
            while link.left and self._up and self._loop.time() < end:
                await asyncio.sleep(0.02)
                if link.left < left:
                    left, end = link.left, self._loop.time() + patience_s
        if link is not None:
            link.close()

    # --- faults

    def _strike(self, device: Device, fault: Fault) -> None:
        if self._stopping:
            return
        match fault.kind:
            case Kind.SILENT:
                self._power_off(device)
                if not self.shared and self._link is not None:
                    self._link.fall_silent()
            case Kind.CRASH:
                self._fall(device, random.uniform(*DOWN_S), boots=True)  # noqa: S311  # no secret
            case Kind.REBOOT_LOOP:
                self._fall(device, 1.0, boots=True)
                self._loop.call_later(REBOOT_S, self._strike, device, fault)
            case Kind.FLAPPING:
                self._fall(device, 1.0, boots=False)
                self._loop.call_later(FLAP_S, self._strike, device, fault)
            case Kind.CLOCK_JUMP:
                device.jump(fault.amount, self.now())
                self._turn(device)
            case Kind.SLOW:
                device.slower = 1.0 + fault.amount

    def _power_off(self, device: Device) -> None:
        self._off.add(device)
        if timer := self._timers.pop(device, None):
            timer.cancel()

    def _fall(self, device: Device, seconds: float, *, boots: bool) -> None:
        """Lose the connection and, with `boots`, the process; the broker tells the last will."""
        if device in self._off:
            return
        if not self.shared:
            if boots:
                self._power_off(device)
            if self._link is not None:
                self._link.abort()
        else:
            # the broker does not know of it: the will is told in its place
            self._power_off(device)
            device.disconnected()
            if self._link is not None and self._up:
                self._link.publish(device, device.last_will())
        self._loop.call_later(seconds, self._rise, device, boots)

    def _rise(self, device: Device, boots: bool) -> None:  # of call_later
        if self._stopping:
            return
        self._off.discard(device)
        if boots:
            device.start(self.now())
        if self.shared and self._up:
            device.next_birth()
            self._say(device, device.connected(self.now(), measuring=self.measuring))
