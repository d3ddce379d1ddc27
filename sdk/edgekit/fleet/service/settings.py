"""What `edgekit fleet serve` was told."""

from dataclasses import dataclass, field
from pathlib import Path

from edgekit.errors import UsageError
from edgekit.fleet._url import BrokerUrl
from edgekit.fleet.store import Keep

INGEST_LIMIT = 64
DEVICE_RATE = 100.0
LEAST_BURST = 200  # the largest message counts as 129
DEVICE_BURST = 60_000
"""Beyond what a spool of the usual size holds: a device that was away for weeks is not held up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Where the store and the broker are, and what is kept.

    `data` is the service's own folder; `site` is the one whose devices learn by a last will that the service is gone;
    `client` is the ingest's MQTT client; `listen_host` and `listen_port` are for the page and the REST API, which speak
    TLS with `tls_cert` and `tls_key`. `trusted_proxies` are addresses of proxies that say who somebody is, and
    `group_roles` what their groups may do (`GROUP=ROLE`). `metrics_devices` has a label of the device in `/metrics`.
    Of one device `device_rate` reports of 2 KiB a second are taken on average (0: any), and `device_burst` at once.
    """

    store: str
    broker: BrokerUrl
    data: Path
    ingest: int = 1
    site: str = "default"
    client: str = "auto"
    listen_host: str = "127.0.0.1"
    listen_port: int = 8650
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    group_roles: tuple[str, ...] = ()
    keep: Keep = field(default_factory=Keep)
    metrics_devices: bool = False
    device_rate: float = DEVICE_RATE
    device_burst: int = DEVICE_BURST

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: if there are no or too many ingest processes, or the limits of a device let nothing pass.
        """
        if self.device_rate < 0 or self.device_burst < LEAST_BURST:
            raise UsageError(f"a device needs a rate of 0 or more, and {LEAST_BURST} reports at once")
        if not 1 <= self.ingest <= INGEST_LIMIT:
            raise UsageError(f"{self.ingest} ingest processes is not between 1 and {INGEST_LIMIT}")


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`.

    Raises:
        UsageError: if it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  # ports end there
        raise UsageError(f"'{text[:200]}' is not of the form HOST:PORT")
    return host.strip("[]"), int(port)
