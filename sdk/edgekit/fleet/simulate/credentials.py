"""Whose certificate a simulated device's connection shows: a shared one, or its own of a folder of authorities."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import EnvironmentMissingError
from edgekit.fleet._url import BrokerUrl, tls_context

if TYPE_CHECKING:
    from edgekit.fleet.security import Pki

Contexts = Callable[[str], ssl.SSLContext | None]
"""Given a device's name, what it connects with; None without TLS."""


def shared(broker: BrokerUrl) -> Contexts:
    """Return the broker URL's own certificate for all devices.

    Raises:
        DataError: if it cannot be read.
    """
    context = tls_context(broker)
    return lambda _device: context


def own(broker: BrokerUrl, pki: Path, devices: Sequence[str]) -> Contexts:
    """Return what gives each device its own certificate: `PKI/devices/NAME/cert.pem` and `key.pem`.

    A context is made for each connection and dies with it: a thousand of them are not kept for devices that are away.

    Raises:
        EnvironmentMissingError: if a device has none.
        DataError: if the first cannot be read.
    """
    lacking = missing(pki, devices)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        error = EnvironmentMissingError(f"'{lacking[0]}'{more} of the simulated devices have no certificate in '{pki}'")
        error.add_note(f"--enroll makes them, as `edgekit fleet enroll {lacking[0]} --pki {pki}` does")
        raise error

    def context(device: str) -> ssl.SSLContext | None:
        folder = pki / "devices" / device
        ca = broker.ca or pki / "ca" / "services.pem"
        return tls_context(replace(broker, ca=ca, cert=folder / "cert.pem", key=folder / "key.pem"))

    context(devices[0])
    return context


def missing(pki: Path, devices: Sequence[str]) -> list[str]:
    """Return the devices that have no certificate and key in the folder."""
    folder = pki / "devices"
    return [one for one in devices if not all((folder / one / part).is_file() for part in ("cert.pem", "key.pem"))]


def enroll(pki: "Pki", devices: Sequence[str], site: str) -> int:
    """Make the certificates of devices that have none, and return how many those were.

    Raises:
        DataError: if the folder is broken or the passphrase does not open its key.
        EnvironmentMissingError: if the authority's key is not here.
    """
    lacking = missing(pki.folder, devices)
    for name in lacking:
        pki.enroll(name, site=site, renew=True)  # a certificate without its files is of no use here
    return len(lacking)
