"""What is to be simulated."""

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from edgekit.errors import EnvironmentMissingError, UsageError
from edgekit.fleet._url import BrokerUrl
from edgekit.fleet.simulate.device import Identity
from edgekit.fleet.simulate.faults import Fault, Kind, assign
from edgekit.fleet.simulate.hardware import CLASSES
from edgekit_agent.config import AgentConfig, BrokerConfig, ModelConfig, TelemetryConfig, UpdateConfig
from edgekit_agent.protocol import check_name

ROOMS = ("lab", "hall", "dock", "roof")
SPARE_FILES = 64
DEVICES_LIMIT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many devices, how they are called, what they measure and what goes wrong.

    `multiplex` is how many devices share a connection (1: each has its own); `rate_hz` inferences a second in windows
    of `window_s`. After `duration_s` (None: until it is cancelled) nothing more is measured, and what waits gets
    `drain_s` to be acknowledged.

    With `pki` (a folder of authorities) each device has a certificate of its own; else all have the broker URL's.
    """

    devices: int
    broker: BrokerUrl
    site: str = "default"
    prefix: str = "sim"
    model: str = "kws"
    version: str = "1.0.0"
    seed: int = 0
    multiplex: int = 1
    window_s: float = 10.0
    heartbeat_s: float = 10.0
    rate_hz: float = 10.0
    trial_s: float = 5.0
    keepalive_s: int = 30
    duration_s: float | None = None
    ramp_s: float | None = None
    drain_s: float = 15.0
    mqtt: int = 5
    faults: tuple[Fault, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    pki: Path | None = None

    @property
    def connections(self) -> int:
        """How many connections that makes, without those of devices that are there twice."""
        return -(-self.devices // self.multiplex)

    @property
    def ramp(self) -> float:
        """Over how many seconds the devices start: 200 connections a second where nothing is said."""
        return self.ramp_s if self.ramp_s is not None else self.connections / 200

    def check(self) -> None:
        """Say what cannot be done.

        Raises:
            UsageError: if the numbers or names are out of range, or a fault needs connections of its own.
            EnvironmentMissingError: if this process may not have so many connections.
        """
        check_name(self.site, "site")
        check_name(f"{self.prefix}-00000", "device")
        if not 1 <= self.devices <= DEVICES_LIMIT:
            raise UsageError(f"{self.devices} devices are not between 1 and {DEVICES_LIMIT}")
        twice = any(one.kind is Kind.DUPLICATE_ID for one in self.faults)
        if twice and self.multiplex > 1:
            error = UsageError("duplicate-id needs connections of its own")
            error.add_note("leave --multiplex away")
            raise error
        self._check_certificates()
        make_room(2 * self.connections if twice else self.connections)

    def _check_certificates(self) -> None:
        if self.pki is None:
            return
        if not self.broker.tls:
            raise UsageError(f"certificates are of no use with {self.broker}: it needs mqtts://")
        if self.broker.cert is not None:
            raise UsageError("--pki gives each device its own certificate, --cert the same to all: take one")
        if self.multiplex > 1:
            error = UsageError("devices on one connection share its certificate: --pki needs connections of their own")
            error.add_note("or show the service's: --broker mqtts://HOST:8884 --cert pki/hosts/main/cert.pem --key ...")
            raise error

    @property
    def names(self) -> list[str]:
        """The devices' names."""
        return [f"{self.prefix}-{number:05d}" for number in range(self.devices)]

    def identities(self) -> list[Identity]:
        """Return the devices; the seed decides everything."""
        faults = assign(self.faults, self.names, self.seed)
        return [self._identity(name, number, faults.get(name, ())) for number, name in enumerate(self.names)]

    def _identity(self, name: str, number: int, faults: Sequence[Fault]) -> Identity:
        chance = Random(f"{self.seed}/{number}")  # noqa: S311  # no secret
        hardware = CLASSES[number % len(CLASSES)]
        config = AgentConfig(
            device=name,
            site=self.site,
            labels={"room": chance.choice(ROOMS), "class": hardware.name, **self.labels},
            broker=BrokerConfig(keepalive_s=self.keepalive_s),
            telemetry=TelemetryConfig(window_s=self.window_s, heartbeat_s=self.heartbeat_s),
            update=UpdateConfig(trial_s=self.trial_s),
            model=(
                ModelConfig(
                    name=self.model, path=f"{self.model}.{hardware.format}", version=self.version, rate_hz=self.rate_hz
                ),
            ),
        )
        return Identity(config=config, hardware=hardware, seed=self.seed, faults=tuple(faults))


def make_room(connections: int) -> None:
    """Let this process have so many connections, as far as it may.

    Raises:
        EnvironmentMissingError: if it may not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            error = EnvironmentMissingError(
                f"{connections} connections are more than the {hard} files a process may open here"
            )
            error.add_note(f"several devices can share a connection: --multiplex {-(-connections // (hard // 2))}")
            error.add_note("or raise the limit: ulimit -n")
            raise error
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
