"""`edgekit fleet pki init|ls|issue`, `fleet enroll` and `fleet revoke`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit.fleet.security import Issued, Pki

app = typer.Typer(
    help="Certificates of the fleet: its authorities, and who has what.", no_args_is_help=True, rich_markup_mode=None
)

Folder = Annotated[Path, typer.Option("--pki", metavar="DIR", help="The folder of the authorities.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What the authorities' keys are encrypted with. [default: EDGEKIT_PASSPHRASE]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Days = Annotated[int | None, typer.Option(metavar="N", help="How long it is valid. [default: by kind]")]
Renew = Annotated[bool, typer.Option("--renew", help="Make another while one is valid; the old one stays valid.")]
_DAY_MS = 86_400_000


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    name: Annotated[
        list[str], typer.Option(metavar="NAME", help="A DNS name or address the broker is reached by; repeatable.")
    ],
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make a fleet's two authorities, the broker's certificate and the service's.

    One authority signs devices, the other the broker, the service and operators: a device's key opens nothing but what
    devices may. Their keys are encrypted; `DIR/private` may be kept off line.

    Examples:

        edgekit fleet pki init pki --name broker.example --name 192.0.2.10
    """
    import json as text

    from edgekit.cli._passphrase import Passphrases
    from edgekit.fleet.security import Pki

    Pki.create(folder, Passphrases(passphrase_file, None, new=True), names=name)
    if json:
        print(text.dumps({"schema": 1, "pki": str(folder), "names": name}))
    else:
        print(f"{folder}: authorities for devices and services, and the broker's certificate for {', '.join(name)}")
        print(f"next: edgekit fleet enroll DEVICE --pki {folder}; edgekit fleet broker --production {folder}")


@app.command()
def issue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="host.NAME, operator.NAME, or broker.main.")],
    pki: Folder = Path("pki"),
    csr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A signing request: the key stays elsewhere.")
    ] = None,
    days: Days = None,
    renew: Renew = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Make a certificate for a service or an operator, or the broker's anew.

    A host's may read and write everything of the fleet: it is what `edgekit fleet serve` runs with. An operator's may
    read only: `edgekit fleet watch`; what changes devices goes through the service, which asks who it is and notes it.

    Examples:

        edgekit fleet pki issue operator.alice

        edgekit fleet pki issue broker.main --renew
    """
    from edgekit.errors import UsageError
    from edgekit.fleet.security.roles import Role, role_of

    role, plain = role_of(name)
    if role is Role.DEVICE:
        raise UsageError(f"'{name}' is a device's name: edgekit fleet enroll {name}")
    _show([_open(pki, passphrase_file).issue(role, plain, csr=_read(csr), days=days, renew=renew)], json=json)


@app.command("ls")
def list_(
    pki: Folder = Path("pki"),
    expiring: Annotated[
        int | None, typer.Option(metavar="DAYS", help="Only those that end within so many days.")
    ] = None,
    json: Json = False,
) -> None:
    """List the certificates that count, the one that ends first at the top.

    Examples:

        edgekit fleet pki ls --expiring 30
    """
    import json as text
    import time
    from dataclasses import asdict

    now = int(time.time() * 1000)
    until = None if expiring is None else now + expiring * _DAY_MS
    rows = [one for one in _open(pki, None).records() if one.counts(now) and (until is None or one.until_ms < until)]
    rows.sort(key=lambda one: one.until_ms)
    if json:
        print(text.dumps({"schema": 1, "certificates": [asdict(one) for one in rows]}, indent=2))
        return
    for one in rows:
        days = (one.until_ms - now) // _DAY_MS
        print(f"{one.common_name:<40} {one.role:<9} {one.site:<16} {days:>5} days left  {one.serial[:16]}")


def enroll(
    device: Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Device ids.")],
    pki: Folder = Path("pki"),
    csr: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The device's signing request: its key never leaves it.")
    ] = None,
    site: Annotated[str, typer.Option(metavar="S", help="The device's site.")] = "default",
    days: Days = None,
    renew: Renew = False,
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Give devices their certificates: `DIR/devices/ID/cert.pem`, `key.pem` (0600) and `ca.pem`.

    The certificate's name is the device's id: the broker lets it publish and read what is this device's, and nothing
    else.

    Examples:

        edgekit fleet enroll pi-7 pi-8 --site lab

        edgekit fleet enroll pi-9 --csr pi-9.csr
    """
    from edgekit.errors import UsageError

    if csr is not None and len(device) > 1:
        raise UsageError("--csr is the request of one device")
    authorities = _open(pki, passphrase_file)
    request = _read(csr)
    made = [authorities.enroll(name, site=site, csr=request, renew=renew, days=days) for name in device]
    _show(made, json=json)


def revoke(
    name: Annotated[list[str], typer.Argument(metavar="NAME...", help="Device ids, host.NAME or operator.NAME.")],
    pki: Folder = Path("pki"),
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Revoke all certificates of a device, a service or an operator.

    `edgekit fleet broker --production` takes it over within a second and ends the connection that stands; another
    mosquitto does with `systemctl reload mosquitto`.

    Examples:

        edgekit fleet revoke pi-7
    """
    import json as text

    authorities = _open(pki, passphrase_file)
    gone = [one for each in name for one in authorities.revoke(each)]
    if json:
        print(text.dumps({"schema": 1, "revoked": [{"name": one.common_name, "serial": one.serial} for one in gone]}))
        return
    for one in gone:
        print(f"{one.common_name}: revoked {one.serial[:16]}")


def _open(folder: Path, passphrase_file: Path | None) -> "Pki":
    from edgekit.cli._passphrase import Passphrases
    from edgekit.fleet.security import Pki

    return Pki(folder, Passphrases(passphrase_file, None))


def _read(csr: Path | None) -> bytes | None:
    from edgekit.errors import DataError
    from edgekit.fleet.security.keys import MAX_PEM_BYTES

    if csr is None:
        return None
    try:
        with csr.open("rb") as file:
            return file.read(MAX_PEM_BYTES + 1)
    except OSError as exc:
        raise DataError(f"cannot read '{csr}': {exc.strerror}") from exc


def _show(made: list["Issued"], *, json: bool) -> None:
    import json as text

    if json:
        rows = [
            {
                "name": one.common_name,
                "serial": one.serial,
                "until": one.until.isoformat(),
                "certificate": str(one.certificate),
                "key": None if one.key is None else str(one.key),
                "ca": str(one.ca),
            }
            for one in made
        ]
        print(text.dumps({"schema": 1, "certificates": rows}, indent=2))
        return
    for one in made:
        print(f"{one.common_name}: {one.certificate.parent}, valid until {one.until:%Y-%m-%d}")
