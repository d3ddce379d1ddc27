"""Run a simulated fleet and count what became of its reports."""

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from edgekit.fleet.simulate.carrier import Carrier
from edgekit.fleet.simulate.credentials import own, shared
from edgekit.fleet.simulate.device import Device
from edgekit.fleet.simulate.faults import Kind
from edgekit.fleet.simulate.latency import Bank
from edgekit.fleet.simulate.plan import Plan
from edgekit_agent.errors import TransportError

TELL_S = 1.0
FIRST_S = 15.0
GOODBYE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What became of every report: `made` = `acked` + `waiting` + `lost`.

    `acked` counts what the host has stored (`acked_by` host), or what the broker has taken where no host is. `waiting`
    is what devices without power still have too. `lost` did not fit into a device's spool.
    """

    devices: int
    connections: int
    online: int
    seconds: float
    made: int
    sent: int
    acked: int
    resent: int
    waiting: int
    lost: int
    acked_by: str
    events: int
    heartbeats: int
    commands: int
    boots: int
    connected: int
    multiplexed: bool
    cpu_s: float
    rss_bytes: int
    failures: dict[str, int]
    faults: dict[str, int]

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {"schema": 1, **asdict(self)}


async def simulate(plan: Plan, on_summary: Callable[[Summary], None] = lambda _: None) -> Summary:
    """Run the plan until its time is over, or until this task is cancelled: then it stops cleanly too.

    Args:
        plan: what to simulate.
        on_summary: is told once a second how it stands.

    Raises:
        UsageError: if the plan cannot be carried out.
        EnvironmentMissingError: if this process may not have so many connections.
        TransportError: if no connection could be made within 15 s.
    """
    plan.check()
    run = _Run(plan)
    with contextlib.suppress(asyncio.CancelledError):
        await run.measure(on_summary)
    await run.stop()
    return run.summary()


class _Run:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        bank, identities = Bank(plan.seed), plan.identities()
        names = [one.name for one in identities]
        contexts = shared(plan.broker) if plan.pki is None else own(plan.broker, plan.pki, names)
        self._faults = {
            kind.value: count
            for kind in Kind
            if (count := sum(kind in {fault.kind for fault in one.faults} for one in identities))
        }
        devices = [Device(one, bank) for one in identities]
        groups = [devices[begin : begin + plan.multiplex] for begin in range(0, len(devices), plan.multiplex)]
        groups += [
            [Device(replace(one, seed=one.seed + 1, faults=()), bank)]
            for one in identities
            if any(fault.kind is Kind.DUPLICATE_ID for fault in one.faults)
        ]
        self._carriers = [Carrier(group, plan.broker, contexts, plan.mqtt) for group in groups]
        self._own = plan.connections
        self._begun_s, self._cpu_s = time.monotonic(), _cpu_s()
        self._tasks: list[asyncio.Task[None]] = []

    async def measure(self, on_summary: Callable[[Summary], None]) -> None:
        for number, carrier in enumerate(self._carriers):
            twin = number >= self._own
            after_s = self._twin_s(carrier) if twin else self._plan.ramp * number / self._own
            self._tasks.append(asyncio.create_task(carrier.run(after_s)))
        end = self._begun_s + self._plan.duration_s if self._plan.duration_s is not None else None
        while end is None or time.monotonic() < end:
            left = TELL_S if end is None else min(TELL_S, max(0.0, end - time.monotonic()))
            await asyncio.sleep(left)
            self._check_tasks()
            on_summary(self.summary())

    def _twin_s(self, carrier: Carrier) -> float:
        name = carrier.devices[0].identity.name
        first = next(one for one in self._carriers if one.devices[0].identity.name == name)
        faults = first.devices[0].identity.faults
        return next(one.at_s for one in faults if one.kind is Kind.DUPLICATE_ID)

    def _check_tasks(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()  # a bug must not look like a silent device
        over = self._plan.duration_s is not None and time.monotonic() - self._begun_s >= self._plan.duration_s
        patient = not over and time.monotonic() - self._begun_s <= FIRST_S
        if not patient and not any(device.counts.connections for device in self._devices()):
            reasons = "; ".join(dict.fromkeys(why for one in self._carriers for why in one.failures))
            raise TransportError(f"broker {self._plan.broker}: {reasons or 'did not answer in time'}")

    async def stop(self) -> None:
        """Let what waits be acknowledged, then say goodbye."""
        for one in self._carriers:
            one.stop_measuring()
        end = time.monotonic() + self._plan.drain_s
        while self._waits() and time.monotonic() < end:  # noqa: ASYNC110  # once, at the end
            await asyncio.sleep(0.1)
        await asyncio.gather(*(one.stop(GOODBYE_S) for one in self._carriers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _waits(self) -> bool:
        """Whether something is due of a device that has been there: it may be on its way back."""
        alive = (device for one in self._carriers for device in one.alive)
        return any(device.counts.connections and len(device.spool) for device in alive)

    def _devices(self) -> Iterator[Device]:
        for carrier in self._carriers:
            yield from carrier.devices

    def summary(self) -> Summary:
        devices = list(self._devices())
        counts = [one.counts for one in devices]
        failures: dict[str, int] = {}
        for carrier in self._carriers:
            for why, count in carrier.failures.items():
                failures[why] = failures.get(why, 0) + count
        return Summary(
            devices=self._plan.devices,
            connections=len(self._carriers),
            online=sum(one.online for one in devices),
            seconds=round(time.monotonic() - self._begun_s, 3),
            made=sum(one.made for one in counts),
            sent=sum(one.sent for one in counts),
            acked=sum(one.spool.released for one in devices),
            resent=sum(one.resent for one in counts),
            waiting=sum(len(one.spool) for one in devices),
            lost=sum(one.spool.dropped for one in devices),
            acked_by="host" if any(one.spool.host for one in devices) else "broker",
            events=sum(one.events for one in counts),
            heartbeats=sum(one.heartbeats for one in counts),
            commands=sum(one.commands for one in counts),
            boots=sum(one.boots for one in counts),
            connected=sum(one.connections for one in counts),
            multiplexed=self._plan.multiplex > 1,
            cpu_s=round(_cpu_s() - self._cpu_s, 3),
            rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            failures=failures,
            faults=self._faults,
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
