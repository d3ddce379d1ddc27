"""`edgekit fleet check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._signals import sigterm_ends
from edgekit.cli.fleet.pki import Folder, Json, PassphraseFile

if TYPE_CHECKING:
    from edgekit.fleet.security.checking import Finding


def check(
    broker: Annotated[str, typer.Option(metavar="URL", help="Where devices connect.")] = "mqtts://127.0.0.1:8883",
    services: Annotated[
        str, typer.Option(metavar="URL", help="Where services connect; may be the same.")
    ] = "mqtts://127.0.0.1:8884",
    pki: Folder = Path("pki"),
    site: Annotated[str, typer.Option(metavar="S", help="A site that devices are enrolled in.")] = "default",
    passphrase_file: PassphraseFile = None,
    json: Json = False,
) -> None:
    """Try, by round trip, whether the broker keeps devices apart.

    Two made-up devices with certificates for an hour publish and read what they may and what they may not: a broker
    says "published" and "granted" for what its rules drop, so only what arrives proves anything. Nothing is stored:
    the service counts the messages as broken. Exit code 6 when something is not as it must be.

    Examples:

        edgekit fleet check --broker mqtts://broker.example:8883 --services mqtts://broker.example:8884
    """
    import json as text
    from dataclasses import asdict

    from edgekit.cli._passphrase import Passphrases
    from edgekit.errors import GateError, UsageError
    from edgekit.fleet._url import parse
    from edgekit.fleet.security import Pki, checking
    from edgekit.fleet.security.client import Place
    from edgekit.fleet.security.running import scratch

    at, host = parse(broker), parse(services)
    if not (at.tls and host.tls):
        raise UsageError("certificates need mqtts://")
    mine, ca = pki / "hosts" / "main", pki / "ca" / "services.pem"
    with sigterm_ends(), scratch() as folder:
        first, second = checking.probes(Pki(pki, Passphrases(passphrase_file, None)), folder, site)
        setting = checking.Setting(
            devices=Place(host=at.host, port=at.port, ca=ca),
            services=Place(host=host.host, port=host.port, ca=ca, certificate=mine / "cert.pem", key=mine / "key.pem"),
            first=first,
            second=second,
            site=site,
        )
        found = checking.check(setting, (lambda _one: None) if json else _print)
    wrong = [one for one in found if not one.ok]
    if json:
        print(text.dumps({"schema": 1, "ok": not wrong, "findings": [asdict(one) for one in found]}, indent=2))
    if wrong:
        raise GateError(f"{len(wrong)} of {len(found)} round trips are not as they must be: {wrong[0].what}")
    if not json:
        print(f"{len(found)} round trips are as they must be")


def _print(finding: "Finding") -> None:
    print(f"{'ok   ' if finding.ok else 'WRONG'} {finding.what}: {finding.expected}", flush=True)
