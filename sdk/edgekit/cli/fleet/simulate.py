"""`edgekit fleet simulate`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli._signals import sigterm_ends
from edgekit.cli.fleet._broker_options import DEFAULT_BROKER, Broker, Ca, Cert, Key

if TYPE_CHECKING:
    from edgekit.fleet.simulate import Plan, Summary

TELL_S = 5.0


def simulate(  # an option each
    devices: Annotated[int, typer.Option("-n", "--devices", metavar="N", min=1, help="How many devices.")] = 10,
    broker: Broker = DEFAULT_BROKER,
    site: Annotated[str, typer.Option(metavar="S", help="Their site.")] = "default",
    prefix: Annotated[str, typer.Option(metavar="P", help="Their names are P-00000, P-00001, ...")] = "sim",
    model: Annotated[str, typer.Option(metavar="M", help="The model they run.")] = "kws",
    version: Annotated[str, typer.Option(metavar="V", help="The version they begin with.")] = "1.0.0",
    window: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds a report covers.")] = 10.0,
    heartbeat: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds between heartbeats.")] = 10.0,
    rate: Annotated[float, typer.Option(metavar="HZ", min=0.01, max=10000, help="Inferences a second.")] = 10.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="F", help="KIND:SHARE%[:AMOUNT][@SECONDS], as silent:5%@60; repeatable. See --faults."),
    ] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults there are, and leave.")] = False,
    label: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label for all; repeatable.")] = None,
    multiplex: Annotated[
        int,
        typer.Option(metavar="K", min=1, help="So many devices share a connection, where sockets run out. [1: none]"),
    ] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same devices.")] = 0,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="S", min=0, help="Stop after S seconds. [default: Ctrl-C]")
    ] = None,
    ramp: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Start them over S seconds. [default: 200 a second]")
    ] = None,
    drain: Annotated[float, typer.Option(metavar="S", min=0, help="At the end, wait so long for what is due.")] = 15.0,
    mqtt: Annotated[str, typer.Option(metavar="V", help="The protocol's version: 5 or 3.1.1.")] = "5",
    pki: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="mqtts: each device shows its own certificate, of DIR/devices."),
    ] = None,
    enroll: Annotated[
        bool, typer.Option("--enroll", help="Make those that are not there; needs the passphrase.")
    ] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of --enroll. [default: EDGEKIT_PASSPHRASE]")
    ] = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document at the end.")] = False,
) -> None:
    """Simulate devices that speak to a real broker as real ones do: to try a fleet, a dashboard, a rollout or an alert.

    Each has its own connection and last will, reports latency with realistic noise, keeps its reports until they are
    acknowledged, follows what is desired of it and answers commands. With --multiplex there are no last wills: what
    the broker would tell is told in its place. On a production broker each needs a certificate of its own (--pki).

    Examples:

        edgekit fleet simulate -n 50

        edgekit fleet simulate -n 1000 --for 600 --fault silent:2%@120 --fault slow:5%:20% --json

        edgekit fleet simulate -n 10000 --multiplex 100 --label room=hall

        edgekit fleet simulate -n 100 --broker mqtts://127.0.0.1:8883 --pki pki --enroll
    """
    import asyncio

    from edgekit.fleet._url import parse
    from edgekit.fleet.simulate import Plan, simulate
    from edgekit.fleet.simulate.faults import parse as fault_of

    if faults:
        _list_faults()
        return
    plan = Plan(
        devices=devices,
        broker=parse(broker, ca=ca, cert=cert, key=key),
        site=site,
        prefix=prefix,
        model=model,
        version=version,
        seed=seed,
        multiplex=multiplex,
        window_s=window,
        heartbeat_s=heartbeat,
        rate_hz=rate,
        duration_s=seconds,
        ramp_s=ramp,
        drain_s=drain,
        mqtt=_version(mqtt),
        faults=tuple(fault_of(one) for one in fault or ()),
        labels=_labels(label or ()),
        pki=pki,
    )
    if enroll:
        _enroll(plan, passphrase_file)
    if multiplex > 1:
        typer.echo(f"{devices} devices share {plan.connections} connections: no last wills of their own", err=True)
    with sigterm_ends():
        summary = asyncio.run(_until_interrupted(simulate(plan, _teller(json=json))))
    _print(summary, json=json)


def _enroll(plan: "Plan", passphrase_file: Path | None) -> None:
    """Make the certificates that are lacking."""
    from edgekit.cli._passphrase import Passphrases
    from edgekit.errors import UsageError
    from edgekit.fleet.security import Pki
    from edgekit.fleet.simulate.credentials import enroll

    if plan.pki is None:
        raise UsageError("--enroll makes certificates in the folder that --pki names")
    plan.check()
    count = enroll(Pki(plan.pki, Passphrases(passphrase_file, None)), plan.names, plan.site)
    typer.echo(f"{count} certificates made in '{plan.pki}'", err=True)


async def _until_interrupted(work: Any) -> "Summary":  # noqa: ANN401  # a coroutine
    """End the work cleanly at Ctrl-C or SIGTERM."""
    import asyncio
    import signal

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    found: Summary = await task
    return found


def _teller(*, json: bool) -> "Callable[[Summary], None]":
    """Return what tells how it stands, every 5 s, on stderr."""
    import time

    told_s = time.monotonic()

    def tell(one: "Summary") -> None:
        nonlocal told_s
        if not json and time.monotonic() - told_s >= TELL_S:
            told_s = time.monotonic()
            typer.echo(f"{one.seconds:.0f} s: {_words(one)}", err=True)

    return tell


def _words(one: "Summary") -> str:
    return (
        f"{one.online} of {one.devices} online, {one.made} reports: {one.acked} acknowledged by the {one.acked_by}, "
        f"{one.waiting} waiting, {one.resent} sent again, {one.lost} lost"
    )


def _print(summary: "Summary", *, json: bool) -> None:
    import json as text

    if json:
        print(text.dumps(summary.to_json(), indent=2))
        return
    print(f"{summary.seconds:.0f} s, {summary.connections} connections: {_words(summary)}")
    print(f"{summary.cpu_s / summary.seconds:.1%} of a core, {summary.rss_bytes / 1e6:.0f} MB")
    for why, count in sorted(summary.failures.items(), key=lambda one: -one[1]):
        print(f"{count} connections ended: {why}")


def _list_faults() -> None:
    from edgekit.fleet.simulate.faults import WORDS

    for kind, words in WORDS.items():
        print(f"{kind:<13} a device {words}")


def _version(text: str) -> int:
    from edgekit.errors import UsageError

    versions = {"5": 5, "3.1.1": 3}
    if text not in versions:
        raise UsageError(f"MQTT '{text[:20]}' is not 5 or 3.1.1")
    return versions[text]


def _labels(pairs: "list[str] | tuple[()]") -> dict[str, str]:
    from edgekit.errors import UsageError

    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UsageError(f"label '{pair[:60]}' is not of the form NAME=VALUE")
        found[name] = value
    return found
