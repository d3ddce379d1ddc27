"""`edgekit doctor`."""

from typing import Annotated

import typer


def doctor(
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="Also send a message through this broker and wait for it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Say what is here, what is missing, what is broken, and what to do.

    Ends with 4 when something is broken here, and with 5 when the broker does not pass a message on.

    Examples:

        edgekit doctor

        edgekit doctor --broker mqtt://192.0.2.10:1883 --json
    """
    from edgekit import _doctor
    from edgekit.errors import DeviceError, EnvironmentMissingError

    findings = []
    for finding in _doctor.examine():
        findings.append(finding)
        if not json:
            _print(finding)
    if broker is not None:
        findings.append(_doctor.round_trip(broker))
        if not json:
            _print(findings[-1])
    if json:
        import json as text

        typer.echo(text.dumps({"schema": _doctor.SCHEMA, "findings": [one.to_json() for one in findings]}, indent=2))
    broken = [one for one in findings if one.state == _doctor.BROKEN]
    if broken:
        kind = DeviceError if broken[0].area == "broker" else EnvironmentMissingError
        raise kind(f"{broken[0].name}: {broken[0].text}")


def _print(finding: "object") -> None:
    area, name, state = (getattr(finding, key) for key in ("area", "name", "state"))
    text, hint = getattr(finding, "text"), getattr(finding, "hint")  # noqa: B009  # a Finding, not imported at start-up
    colour = {"ok": typer.colors.GREEN, "missing": typer.colors.YELLOW, "broken": typer.colors.RED}[state]
    typer.echo(f"{typer.style(f'{state:8}', fg=colour)}{area:20}{name:19} {text}")
    if hint and state != "ok":
        typer.echo(f"{'':8}{hint}")
