"""The folder of a fleet's authorities: what they signed, what they revoked, and the files the broker reads.

pki.json                       what the broker is called
issued.jsonl                   what was signed and revoked
ca/{devices,services}.pem      whom to trust; private/{devices,services}.pem: their keys, encrypted
crl/{devices,services}.pem     what was revoked
broker/ devices/ID/ hosts/NAME/ operators/NAME/     cert.pem, key.pem (0600), ca.pem
"""

import contextlib
import datetime as dt
import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from edgekit.errors import DataError, UsageError
from edgekit.fleet.security import certificates, keys
from edgekit.fleet.security.records import Record, Records
from edgekit.fleet.security.roles import Role, common_name, role_of
from edgekit_agent.durable import write_durably
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import check_name

AUTHORITIES = ("devices", "services")
MAX_BYTES = 64 << 10
Passphrase = Callable[[str], bytes]
"""Given an authority, what its key is encrypted with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that was made; `key` is None where the device made its own."""

    common_name: str
    serial: str
    until: dt.datetime
    certificate: Path
    key: Path | None
    ca: Path


@dataclass(frozen=True, slots=True)
class _Order:
    """A certificate to be made; without a public key a key is made too."""

    role: Role
    common_name: str
    site: str
    public_key: CertificatePublicKeyTypes | None
    folder: Path
    lifetime: dt.timedelta


class Pki:
    """A fleet's authorities in a folder."""

    def __init__(self, folder: Path, passphrase: Passphrase) -> None:
        """Open the folder.

        Raises:
            DataError: if it is none.
        """
        self.folder, self._passphrase = folder, passphrase
        self.records_file = Records(folder / "issued.jsonl")
        self.settings: dict[str, Any] = _settings(folder)

    @classmethod
    def create(cls, folder: Path, passphrase: Passphrase, *, names: Sequence[str]) -> Self:
        """Make both authorities, the broker's certificate and the service's (`host.main`).

        Args:
            folder: where; it must be new or empty.
            passphrase: what the authorities' keys are encrypted with.
            names: the DNS names and IP addresses devices and services reach the broker by.

        Raises:
            UsageError: if the folder is in use, a name is missing, or the passphrase is too short.
        """
        if not names:
            raise UsageError("the broker needs a name: the DNS name or address that devices reach it by")
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"'{folder}' is not empty")
        for part in ("", "ca", "private", "crl"):
            (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        made = {name: certificates.new_authority(name, _now()) for name in AUTHORITIES}
        for name, authority in made.items():
            keys.write(folder / "private" / f"{name}.pem", authority.key, passphrase(name))
            write_durably(folder / "ca" / f"{name}.pem", authority.certificate.public_bytes(Encoding.PEM))
        write_durably(folder / "pki.json", json.dumps({"schema": 1, "names": list(names)}).encode())
        pki = cls(folder, passphrase)
        for name in AUTHORITIES:
            pki.write_revocations(name)
        pki.issue(Role.BROKER, "main")
        pki.issue(Role.HOST, "main")
        return pki

    # --- signing

    def enroll(
        self,
        device: str,
        *,
        site: str = "default",
        csr: bytes | None = None,
        renew: bool = False,
        days: int | None = None,
    ) -> Issued:
        """Make a device's certificate; with a signing request, of the key that the device made and keeps.

        Raises:
            UsageError: if the name is not allowed, or the device has a certificate and `renew` is not said.
            DataError: if the request is broken.
        """
        return self.issue(Role.DEVICE, device, site=site, csr=csr, renew=renew, days=days)

    def issue(  # noqa: PLR0913  # each is a choice of its own
        self,
        role: Role,
        name: str,
        *,
        site: str = "default",
        csr: bytes | None = None,
        renew: bool = False,
        days: int | None = None,
    ) -> Issued:
        """Make a certificate of any role; see `enroll`."""
        common = common_name(role, name)
        try:
            check_name(site, "site")
        except ProtocolError as exc:
            raise UsageError(str(exc)) from exc
        if days is not None and not 1 <= days <= certificates.AUTHORITY_DAYS:
            raise UsageError(f"a certificate is valid for 1 to {certificates.AUTHORITY_DAYS} days, not {days}")
        asked = keys.requested(csr, common) if csr is not None else None
        with self._locked():
            self._check_new(common, renew=renew)
            folder = self.folder / (role.folder if role is Role.BROKER else f"{role.folder}/{name}")
            lifetime = dt.timedelta(days=days or role.days)
            return self._sign(_Order(role, common, site, asked, folder, lifetime))

    def probe(self, name: str, folder: Path, site: str = "default") -> Issued:
        """Make a device's certificate for an hour, for a check; its files are in a folder of the caller's."""
        with self._locked():
            common = common_name(Role.DEVICE, name)
            return self._sign(_Order(Role.DEVICE, common, site, None, folder, dt.timedelta(hours=1)))

    def _sign(self, order: _Order) -> Issued:
        authority = self._authority(order.role.authority)
        key = None if order.public_key is not None else certificates.new_key()
        public = order.public_key if key is None else key.public_key()
        assert public is not None  # noqa: S101  # one of the two is there
        wanted = certificates.Wanted(
            role=order.role,
            common_name=order.common_name,
            public_key=public,
            lifetime=order.lifetime,
            addresses=self.settings["names"],
        )
        certificate = certificates.sign(authority, wanted, _now())
        until = certificate.not_valid_after_utc
        record: dict[str, object] = {
            "do": "issue", "serial": f"{certificate.serial_number:x}", "common_name": order.common_name,
            "role": order.role.value, "site": order.site, "issued_ms": _ms(_now()), "until_ms": _ms(until),
        }  # fmt: skip
        self.records_file.add([record])
        folder = order.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_file = folder / "key.pem"
        if key is not None:
            keys.write(key_file, key, None)
        else:
            key_file.unlink(missing_ok=True)  # that of an earlier certificate does not fit any more
        write_durably(folder / "cert.pem", certificate.public_bytes(Encoding.PEM))
        write_durably(folder / "ca.pem", (self.folder / "ca" / "services.pem").read_bytes())
        return Issued(
            common_name=order.common_name, serial=str(record["serial"]), until=until, certificate=folder / "cert.pem",
            key=None if key is None else key_file, ca=folder / "ca.pem",
        )  # fmt: skip

    def _check_new(self, common: str, *, renew: bool) -> None:
        here = [one for one in self.records() if one.common_name == common and one.counts(_ms(_now()))]
        if here and not renew:
            until = dt.datetime.fromtimestamp(here[-1].until_ms / 1000, dt.UTC)
            error = UsageError(f"'{common}' has a certificate that is valid until {until:%Y-%m-%d}")
            error.add_note(
                "--renew makes another, and the old one stays valid; if it may be in wrong hands, revoke first"
            )
            raise error

    # --- revoking

    def revoke(self, common: str) -> list[Record]:
        """Revoke every certificate of a device, `host.NAME` or `operator.NAME` that still counts; return them.

        Raises:
            UsageError: if there is none.
        """
        role, _ = role_of(common)
        with self._locked():
            gone = [one for one in self.records() if one.common_name == common and one.counts(_ms(_now()))]
            if not gone:
                raise UsageError(f"'{common}' has no certificate that counts")
            self._authority(role.authority)  # before anything is written: without the key there is no new list
            self.records_file.add([{"do": "revoke", "serial": one.serial, "at_ms": _ms(_now())} for one in gone])
            self.write_revocations(role.authority)
        return gone

    def write_revocations(self, name: str) -> None:
        """Write an authority's list of revoked certificates; those that are over are left out."""
        path = self.folder / "crl" / f"{name}.pem"
        last = x509.load_pem_x509_crl(path.read_bytes()) if path.exists() else None
        now = _now()
        revoked = [
            (int(one.serial, 16), dt.datetime.fromtimestamp(one.revoked_ms / 1000, dt.UTC))
            for one in self.records()
            if one.revoked_ms is not None and Role(one.role).authority == name and one.until_ms > _ms(now)
        ]
        made = certificates.revocations(self._authority(name), revoked, now, last)
        write_durably(path, made.public_bytes(Encoding.PEM))

    # --- reading

    def records(self) -> list[Record]:
        """Return what was signed, oldest first."""
        return self.records_file.all()

    def sites(self) -> list[str]:
        """Return the sites that devices were enrolled in, and `default`."""
        return sorted({"default"} | {one.site for one in self.records() if one.role == Role.DEVICE})

    def _authority(self, name: str) -> certificates.Authority:
        path = self.folder / "ca" / f"{name}.pem"
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = keys.load(self.folder / "private" / f"{name}.pem", self._passphrase(name))
        return certificates.Authority(certificate=certificate, key=key)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / ".lock").open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "pki.json"
    try:
        found = json.loads(path.read_bytes()[:MAX_BYTES])
        if found["schema"] != 1 or not all(isinstance(one, str) for one in found["names"]):
            raise DataError(f"'{path}' is of a form this version does not know")
    except OSError as exc:
        error = DataError(f"'{folder}' holds no authorities: {exc.strerror}")
        error.add_note("edgekit fleet pki init makes them")
        raise error from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DataError(f"'{path}' is broken") from exc
    return dict(found)
