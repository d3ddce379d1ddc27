"""The production broker: mosquitto with the generated configuration, told of every change of certificates and rules."""

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import DeviceError, EnvironmentMissingError
from edgekit.fleet import _clock
from edgekit.fleet._brokers import START_TIMEOUT_S, MosquittoProcess, find_mosquitto
from edgekit.fleet.security import mosquitto
from edgekit.fleet.security.authority import Pki
from edgekit.fleet.security.client import Client, Place
from edgekit.fleet.security.roles import Role
from edgekit.fleet.security.secret_files import check_private
from edgekit_agent.durable import write_durably

POLL_S = 0.05
_WATCHED = ("crl/devices.pem", "crl/services.pem", "broker/cert.pem", "ca/devices.pem", "ca/services.pem")


def write_files(folder: Path, listening: mosquitto.Listening, executable: str) -> Path:
    """Write configuration and access rules; return the configuration's path.

    Raises:
        DataError: if the folder holds no authorities, or others can read the broker's key.
        EnvironmentMissingError: if mosquitto is older than 2.0, or 2.1 without its plugin.
    """
    folder = folder.resolve()
    pki = _reader(folder)
    check_private(folder / "broker" / "key.pem")
    found = mosquitto.version(executable)
    acl_plugin = None
    if found < (2, 0):
        raise EnvironmentMissingError(f"mosquitto {found[0]}.{found[1]} is too old: 2.0 or newer is needed")
    if found >= mosquitto.PLUGIN_VERSION:
        acl_plugin = mosquitto.plugin(executable)  # without it the older option, which 2.x still takes
    (folder / "broker" / "data").mkdir(mode=0o700, exist_ok=True)
    write_rules(pki)
    # as root it would become `mosquitto`, who may not read the keys
    user = "root" if os.geteuid() == 0 else None
    text = mosquitto.configuration(folder, listening, acl_plugin, user)
    write_durably(folder / "broker" / "mosquitto.conf", text.encode(), mode=0o600)
    return folder / "broker" / "mosquitto.conf"


def write_rules(pki: Pki) -> bool:
    """Write the access rules; return whether they are others than before."""
    text = mosquitto.access_rules(pki.records(), pki.sites(), _clock.now_ms()).encode()
    path = pki.folder / "broker" / "acl"
    if path.exists() and path.read_bytes() == text:
        return False
    write_durably(path, text, mode=0o600)
    return True


class ProductionBroker(MosquittoProcess):
    """One that knows everybody by certificate."""

    def __init__(self, folder: Path, listening: mosquitto.Listening) -> None:
        """Start it.

        Raises:
            DeviceError: if it does not start.
        """
        executable = find_mosquitto()
        if executable is None:
            error = EnvironmentMissingError("mosquitto is not installed, and it is what checks certificates")
            error.add_note("apt-get install mosquitto")
            raise error
        self.folder, self.listening = folder.resolve(), listening
        settings = write_files(folder, listening, executable)
        self.url = f"mqtts://{listening.address}:{listening.port}"
        self.service_url = f"mqtts://{listening.service_address}:{listening.service_port}"
        self._seen = self._stamps()
        self._revoked = self._revoked_devices()
        super().__init__(executable, settings, self.folder / "broker" / "mosquitto.log")
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def refresh(self) -> bool:
        """Tell mosquitto of new certificates, revocations and rules, and end connections of revoked devices.

        Returns:
            Whether there was anything to tell.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps
        write_rules(_reader(self.folder))
        self.process.send_signal(signal.SIGHUP)
        revoked = self._revoked_devices()
        self.throw_off(revoked - self._revoked)
        self._revoked = revoked
        return True

    def throw_off(self, names: set[str]) -> None:
        """End devices' connections by taking their client ids, which the services' listener lets the service do."""
        for name in sorted(names):
            with contextlib.suppress(DeviceError), Client(self.service_place(), name):
                pass

    def service_place(self) -> Place:
        """Return how the fleet service connects."""
        mine = self.folder / "hosts" / "main"
        return Place(
            host=_reachable(self.listening.service_address), port=self.listening.service_port, ca=mine / "ca.pem",
            certificate=mine / "cert.pem", key=mine / "key.pem",
        )  # fmt: skip

    def _stamps(self) -> list[tuple[int, int]]:
        paths = [self.folder / name for name in (*_WATCHED, "issued.jsonl")]
        return [(found.st_mtime_ns, found.st_size) for found in map(Path.stat, paths)]

    def _revoked_devices(self) -> set[str]:
        """Return devices with a revoked certificate: a connection may have begun with that one."""
        return {
            one.common_name
            for one in _reader(self.folder).records()
            if one.revoked_ms is not None and one.role == Role.DEVICE
        }

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        reason = "it did not listen in time"
        while time.monotonic() < end and self.alive():
            try:
                with Client(self.service_place(), "edgekit-ready"):
                    return
            except DeviceError as exc:
                reason = str(exc)
            time.sleep(POLL_S)
        error = DeviceError(f"the broker did not start on {self.url}: {reason}")
        self.explain(error)
        raise error


@contextlib.contextmanager
def running(folder: Path, listening: mosquitto.Listening) -> Iterator[ProductionBroker]:
    """Run the broker for as long as the block lasts."""
    broker = ProductionBroker(folder, listening)
    try:
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder for keys of a check, gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="edgekit-check-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104  # a comparison


def _reader(folder: Path) -> Pki:
    """Open the authorities without their keys."""

    def nobody(_name: str) -> bytes:
        raise AssertionError("reading needs no key")

    return Pki(folder, nobody)
