"""`edgekit fleet deploy`, `rollback`, `rollout ...` and `audit ...`: orders to the fleet's service."""

import json as json_module
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import Json, Server, ServerCa

if TYPE_CHECKING:
    from edgekit.fleet.remote import FleetServer

ENDED = frozenset({"completed", "rolled-back", "stopped"})
HELD = frozenset({"paused", "approval"})
LOOK_S = 1.0
SHOWN = 10  # devices of a wave: as many as fit a line

Release = Annotated[str, typer.Argument(metavar="MODEL==VERSION", help="The release, as it is in the repository.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The rollout.")]
Which = Annotated[str, typer.Option("--filter", metavar="F", help="Which devices. [default: all]")]
Target = Annotated[
    str | None, typer.Option(metavar="T", help="The signed target's name, where it cannot be looked up.")
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit log.")]
Name = Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id. [default: made of model and version]")]
Bake = Annotated[float, typer.Option(metavar="S", min=0, help="How long a wave is watched at least.")]
Limit = Annotated[
    float, typer.Option("--max-slower", metavar="X", min=0.001, help="0.1: a p50 or p99 10 % higher is bad.")
]
Tolerated = Annotated[
    float | None,
    typer.Option(
        metavar="X", min=0, help="0.05: up to 5 % slower is never bad. [default: 0.01, or X of --max-slower / 4]"
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end; exit code 6 if it ends otherwise.")]

rollout = typer.Typer(help="Releases in waves that stop themselves.", no_args_is_help=True, rich_markup_mode=None)
audit = typer.Typer(help="Who did what, and when.", no_args_is_help=True, rich_markup_mode=None)


def deploy(
    release: Release,
    filter: Which = "",  # noqa: A002  # the option's name
    target: Target = None,
    id: Name = None,  # noqa: A002  # the option's name
    bake: Bake = 300.0,
    max_slower: Limit = 0.1,
    tolerated: Tolerated = None,
    wait: Wait = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Bring a release to devices at once, in one wave; gates watch it, and take it back if it is bad.

    Examples:

        edgekit fleet deploy kws==1.3.0 --filter "label.room=lab" --wait
    """
    wanted = _wanted(release, target, {"filter": filter, "id": id, "canary": "0", "bake_s": bake})
    wanted["gates"] = _gates(max_slower, tolerated)
    _begun(wanted, server, ca, wait=wait, json=json)


def rollback(
    id: Id,  # noqa: A002  # the argument's name
    reason: Reason = "",
    wait: Wait = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Take every device of a rollout back to what it served before, also after its end."""
    _order(id, "rollback", server, ca, reason=reason, json=json and not wait)
    if wait:
        with _service(server, ca) as service:
            _waited(service, id, "rolled-back", json=json)


@rollout.command("create")
def create(
    release: Release,
    filter: Which = "",  # noqa: A002  # the option's name
    target: Target = None,
    id: Name = None,  # noqa: A002  # the option's name
    canary: Annotated[str, typer.Option(metavar="N|P%", help="How many go first; 0 for none.")] = "5%",
    canary_filter: Annotated[str, typer.Option(metavar="F", help="These go first instead.")] = "",
    growth: Annotated[float, typer.Option(metavar="X", min=1, help="How many times larger each wave is.")] = 4.0,
    largest: Annotated[int, typer.Option(metavar="N", min=0, help="Devices of a wave at most. [0: any]")] = 0,
    approve: Annotated[str, typer.Option(metavar="WHEN", help="Wait for approval after: none, canary, all.")] = "none",
    bake: Bake = 900.0,
    device_s: Annotated[float, typer.Option(metavar="S", min=1, help="How long a device may take.")] = 3600.0,
    at_a_time: Annotated[int, typer.Option(metavar="N", min=1, help="Devices that update at a time.")] = 50,
    lease: Annotated[float, typer.Option(metavar="S", min=1, help="How fresh the leave to go on has to be.")] = 60.0,
    max_slower: Limit = 0.1,
    tolerated: Tolerated = None,
    max_failed: Annotated[float, typer.Option(metavar="X", min=0, max=1, help="Share of devices that may fail.")] = 0.2,
    on_bad: Annotated[str, typer.Option(metavar="WHAT", help="rollback or stop.")] = "rollback",
    thin: Annotated[str, typer.Option(metavar="WHAT", help="Too little data to judge by: pause or go.")] = "pause",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the waves, and begin nothing.")] = False,
    wait: Wait = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Begin a rollout: canaries first, then waves that grow, each watched before the next.

    Examples:

        edgekit fleet rollout create kws==1.3.0 --canary 5 --growth 4 --bake 1800 --approve canary

        edgekit fleet rollout create kws==1.3.0 --max-slower 0.2 --tolerated 0.08
    """
    values = {
        "filter": filter, "id": id, "canary": canary, "canary_filter": canary_filter, "growth": growth,
        "largest": largest, "approve": approve, "bake_s": bake, "device_s": device_s, "max_concurrent": at_a_time,
        "lease_s": lease, "on_bad": on_bad, "thin": thin, "dry_run": dry_run,
    }  # fmt: skip
    wanted = _wanted(release, target, values)
    wanted["gates"] = {**_gates(max_slower, tolerated), "failures": max_failed}
    _begun(wanted, server, ca, wait=wait, json=json)


@rollout.command("ls")
def list_all(server: Server = None, ca: ServerCa = None, json: Json = False) -> None:
    """List rollouts, newest first."""
    with _service(server, ca) as service:
        found = service.ask("GET", "/api/v1/rollouts")
    if json:
        _print(found)
        return
    for one in found["rollouts"]:
        print(_line(one))
    if not found["rollouts"]:
        print("no rollouts yet")


@rollout.command("status")
@rollout.command("show")
def show(id: Id, server: Server = None, ca: ServerCa = None, json: Json = False) -> None:  # noqa: A002  # the argument's name
    """Show a rollout: its waves, what the gates say, and the devices that did not end well."""
    with _service(server, ca) as service:
        _shown(service.ask("GET", _place(id)), json=json)


@rollout.command("pause")
def pause(id: Id, reason: Reason = "", server: Server = None, ca: ServerCa = None, json: Json = False) -> None:  # noqa: A002  # the argument's name
    """Begin nothing more; devices that wait for leave do not get it."""
    _order(id, "pause", server, ca, reason=reason, json=json)


@rollout.command("resume")
def resume(id: Id, reason: Reason = "", server: Server = None, ca: ServerCa = None, json: Json = False) -> None:  # noqa: A002  # the argument's name
    """Go on with a rollout that is paused."""
    _order(id, "resume", server, ca, reason=reason, json=json)


@rollout.command("approve")
def approve_next(id: Id, reason: Reason = "", server: Server = None, ca: ServerCa = None, json: Json = False) -> None:  # noqa: A002  # the argument's name
    """Let the next wave begin."""
    _order(id, "approve", server, ca, reason=reason, json=json)


@rollout.command("abort")
def abort(id: Id, reason: Reason = "", server: Server = None, ca: ServerCa = None, json: Json = False) -> None:  # noqa: A002  # the argument's name
    """Stop a rollout and take devices back to what they served."""
    _order(id, "abort", server, ca, reason=reason, json=json)


@audit.command("ls")
def entries(
    subject: Annotated[str | None, typer.Option(metavar="S", help="About this only, as rollout/ID.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000)] = 50,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """List what was done, newest first."""
    query: dict[str, object] = {"limit": limit, **({"subject": subject} if subject else {})}
    with _service(server, ca) as service:
        found = service.ask("GET", "/api/v1/audit", query)
    if json:
        _print(found)
        return
    for one in found["entries"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["at_ms"] / 1000))
        detail = " ".join(f"{name}={_said(value)}" for name, value in one["detail"].items())
        told = f"{one['id']:>6}  {when}  {one['who']:<12}  {one['action']:<28}  {one['subject']}  {detail}"
        print(tables.printable(told))
    if not found["entries"]:
        print("nothing was noted yet" if subject is None else f"nothing was noted of '{subject}'")


@audit.command("verify")
def verify(
    noted: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="A digest noted earlier that has to be in it.")
    ] = None,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Check that no entry was changed, removed or put in; print the newest digest, to be noted elsewhere."""
    import re

    from edgekit.errors import UsageError

    if noted is not None and not re.fullmatch("[0-9a-f]{64}", noted):
        raise UsageError(f"'{noted[:80]}' is no digest: that is 64 of 0-9 and a-f, as `verify` prints it")
    with _service(server, ca) as service:
        found = service.ask("GET", "/api/v1/audit/verify", {"noted": noted} if noted else None)
    if json:
        _print(found)
    else:
        print(f"{found['entries']} entries, each follows from those before; the newest digest is\n{found['head']}")


# --- with the service


def _service(server: str | None, ca: Path | None) -> "FleetServer":
    from edgekit.fleet.remote import FleetServer

    return FleetServer(server, ca=ca)


def _place(rollout_id: str) -> str:
    return f"/api/v1/rollouts/{quote(rollout_id, safe='')}"


def _wanted(release: str, target: str | None, values: dict[str, Any]) -> dict[str, Any]:
    from edgekit.errors import UsageError

    model, equals, version = release.partition("==")
    if not equals or not model or not version:
        raise UsageError(f"'{release[:100]}' is not of the form MODEL==VERSION, as kws==1.3.0")
    return {"model": model, "version": version, "target": target, **values}


def _gates(max_slower: float, tolerated: float | None) -> dict[str, Any]:
    from edgekit.errors import UsageError

    least = min(0.01, max_slower / 4) if tolerated is None else tolerated
    if least >= max_slower:
        error = UsageError(f"--tolerated {least:g} is not below --max-slower {max_slower:g}")
        error.add_note("between the two a release is stopped once there is enough data to be certain of it")
        raise error
    return {"latency": [{"quantile": q, "limit": max_slower, "tolerated": least} for q in (0.99, 0.5)]}


def _begun(wanted: dict[str, Any], server: str | None, ca: Path | None, *, wait: bool, json: bool) -> None:
    with _service(server, ca) as service:
        found = service.ask("POST", "/api/v1/rollouts", body=wanted)
        if "waves" in found:
            _print(found) if json else _print_waves(found["waves"])
        elif wait:
            _waited(service, found["id"], "completed", json=json)
        else:
            _shown(found, json=json)


def _print_waves(waves: list[list[str]]) -> None:
    for number, wave in enumerate(waves):
        names = ", ".join(wave[:SHOWN]) + (" ..." if len(wave) > SHOWN else "")
        print(f"wave {number + 1}: {tables.counted(len(wave), 'device')}: {names}")


def _order(rollout_id: str, what: str, server: str | None, ca: Path | None, *, reason: str, json: bool) -> None:
    with _service(server, ca) as service:
        _shown(service.ask("POST", f"{_place(rollout_id)}/{what}", body={"reason": reason}), json=json)


def _waited(service: "FleetServer", rollout_id: str, wanted: str, *, json: bool) -> None:
    from edgekit.errors import GateError

    last = ""
    while True:
        found = service.ask("GET", _place(rollout_id))
        if _line(found) != last and not json:
            last = _line(found)
            print(last, flush=True)
        if found["state"] in ENDED or found["state"] in HELD:
            break
        time.sleep(LOOK_S)
    if json:
        _print(found)
    if found["state"] != wanted:
        error = GateError(f"the rollout '{rollout_id}' is {found['state']}: {found['reason']}")
        error.add_note(f"edgekit fleet rollout show {rollout_id}")
        raise error


def _line(one: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in one["counts"].items() if count)
    release = f"{one['model']}=={one['version']}"
    wave = f"wave {one['stage'] + 1}/{len(one['stages'])}"
    parts = (one["id"], release, one["state"], wave, counts, one["reason"])
    return tables.printable("  ".join(part for part in parts if part))


def _shown(found: dict[str, Any], *, json: bool) -> None:
    if json:
        _print(found)
        return
    print(_line(found))
    for stage in found["stages"]:
        done = f"{stage['done']} of {stage['devices']} done, {stage['failed']} failed, {stage['pending']} to come"
        print(f"  {stage['name']:<10} {stage['state']:<12} {done}")
    for gate in found.get("gates", ()):
        print(tables.printable(f"  gate {gate['name']:<10} {gate['verdict']:<10} {gate['text']}"))
    for one in found.get("devices", ()):
        if one["phase"] not in {"committed", "waiting", "skipped", "back"}:
            name = f"{one['site']}/{one['device']}"
            print(tables.printable(f"  {name:<28} {one['phase']:<12} {one['reason']}"))


def _print(found: Any) -> None:  # noqa: ANN401  # JSON
    tables.print_json(found)


def _said(value: object) -> str:
    return value if isinstance(value, str) else json_module.dumps(value, separators=(",", ":"))
