"""`edgekit fleet ls`, `show`, `counters`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import Json, Name, Server, ServerCa, Wanted

if TYPE_CHECKING:
    from rich.text import Text

INGEST = ("received", "decoded", "stored", "duplicate", "rejected", "dropped")
# what a gauge is called, its unit, and how many of what devices send make one of it
GAUGES = {
    "cpu": ("cpu", " %", 1.0), "rss": ("memory", " MiB", 1048576.0), "temp": ("temperature", " °C", 1.0),
    "freq": ("clock", " MHz", 1.0), "pow": ("power", " W", 1.0), "thr": ("throttled", "", 1.0),
}  # fmt: skip


def ls(
    wanted: Wanted = "",
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
    count: Annotated[bool, typer.Option("--count", help="Only how many there are of each state.")] = False,
) -> None:
    """List devices: how they are and why, what they serve, and when they were last seen.

    Filters compare site, device, state, reason, agent, hardware, hardware.NAME, label.NAME, model, version, runtime
    with = != < <= > >= ~ (a pattern with * and ?) and in (...), joined by and, or, not and brackets.

    Examples:

        edgekit fleet ls

        edgekit fleet ls --filter 'label.room=lab and model=kws and version<1.3'

        edgekit fleet ls --filter 'state in (offline, stale)' --json
    """
    import time

    from edgekit.fleet.remote import FleetServer

    with FleetServer(server, ca=ca) as fleet:
        found = list(fleet.devices(wanted))
    states = _states(found)
    if json:
        document: dict[str, Any] = {"count": len(found), "states": states}
        tables.print_json(document if count else {**document, "devices": found})
        return
    if not count:
        now_ms = int(time.time() * 1000)
        headings = ["device", "state", "why", "models", "hardware", "labels", "seen"]
        tables.print_table(headings, [_row(one, now_ms) for one in found], right=["seen"])
    print(
        tables.counted(len(found), "device")
        + (f": {', '.join(f'{n} {name}' for name, n in states.items())}" if found else "")
    )


def _states(found: list[dict[str, Any]]) -> dict[str, int]:
    return {name: n for name in tables.STYLES if (n := sum(one["presence"] == name for one in found))}


def _row(one: dict[str, Any], now_ms: int) -> "list[Text | str]":
    presence = str(one["presence"])
    models = ", ".join(f"{model['name']} {model['version']}" for model in one["models"])
    labels = " ".join(f"{key}={value}" for key, value in sorted(one["labels"].items()))
    return [
        tables.styled(tables.name_of(one), presence),
        tables.styled(presence, presence),
        one["reason"],
        tables.cell(models, presence),
        tables.cell(one["hardware_name"]),
        tables.cell(labels),
        tables.age(one["last_seen_ms"], now_ms),
    ]


def show(device: Name, server: Server = None, ca: ServerCa = None, json: Json = False) -> None:
    """Tell all about a device: presence, hardware, models with their last figures, desired state, last events.

    Examples:

        edgekit fleet show pi-hall-3

        edgekit fleet show berlin/pi-hall-3 --json
    """
    from edgekit.fleet.remote import FleetServer

    with FleetServer(server, ca=ca) as fleet:
        found = fleet.device(device)
        place = fleet.place(f"{found['site']}/{found['device']}")
        events = fleet.ask("GET", f"{place}/events", {"limit": 10})["events"]
    if json:
        tables.print_json({"device": found, "events": events})
        return
    _head(found)
    _latest(found)
    _reported(found)
    for event in reversed(events):
        of = f" {tables.plain(event['model'])}" if event["model"] else ""
        told = f"{event['code']}{of}: {tables.plain(event['text'])}"
        print(f"{tables.moment(event['ts_ms'])}  {event['level']:<7} {told}")


def _head(found: dict[str, Any]) -> None:
    now_ms, hardware = found["now_ms"], found["hardware"]
    since = f"for {tables.age(found['presence_since_ms'], now_ms)}" if found["presence_since_ms"] else ""
    print(f"{found['site']}/{found['device']}: {found['presence']} ({found['reason']}) {since}".rstrip())
    print(f"last seen {tables.age(found['last_seen_ms'], now_ms)} ago, agent {tables.plain(found['agent'] or '-')}")
    told = [str(hardware[key]) for key in ("board", "cpu", "arch", "os") if hardware.get(key)]
    print(f"hardware: {tables.plain(', '.join(told)) or '-'}")
    labels = " ".join(f"{key}={value}" for key, value in sorted(found["labels"].items()))
    print(f"labels: {tables.plain(labels) or '-'}")


def _latest(found: dict[str, Any]) -> None:
    rows: list[list[Text | str]] = []
    for one in found["latest"]:
        infer = one["latency"].get("infer", {"p50_ms": None, "p90_ms": None, "p99_ms": None})
        figures = ["-" if infer[name] is None else f"{infer[name]:.3f}" for name in ("p50_ms", "p90_ms", "p99_ms")]
        gauges = ", ".join(_gauge(name, value) for name, value in sorted(one["gauges"].items()))
        cells = (one["model"], one["version"], one["runtime"], *figures, one["errors"], gauges)
        rows.append(
            [*(tables.cell(cell, found["presence"]) for cell in cells), tables.age(one["at_ms"], found["now_ms"])]
        )
    if rows:
        headings = ["model", "version", "runtime", "p50 ms", "p90 ms", "p99 ms", "errors", "gauges", "ago"]
        tables.print_table(headings, rows, right=headings[3:7])


def _gauge(name: str, value: float) -> str:
    """Return what a device tells of itself with its unit; what is not known here stays as it came."""
    if name not in GAUGES:
        return f"{tables.plain(name)} {value:g}"
    words, unit, size = GAUGES[name]
    return f"{words} {value / size:.3g}{unit}"


def _reported(found: dict[str, Any]) -> None:
    told = found["reported"] or {}
    for one in told.get("models") or ():
        why = f" ({one['reason']})" if one.get("reason") else ""
        print(f"update {tables.plain(one.get('name'))} {tables.plain(one.get('version', ''))}: {one.get('phase')}{why}")
    conf = told.get("conf")
    if conf:
        print(f"configuration v{conf.get('v')}: {conf.get('status')}")
        for key, refused in (conf.get("refused") or {}).items():
            print(f"  {tables.plain(key)}: {tables.plain(refused.get('msg'))}")


def counters(server: Server = None, ca: ServerCa = None, json: Json = False) -> None:
    """Tell what became of every message: each that was received is stored, a duplicate, rejected or throttled.

    Examples:

        edgekit fleet counters --json
    """
    from edgekit.fleet.remote import FleetServer

    with FleetServer(server, ca=ca) as fleet:
        found = fleet.counters()
    if json:
        tables.print_json(found)
        return
    sources = {"total": found["total"], **found["sources"]}
    bridges = {name: one for name, one in sources.items() if name.startswith("bridge-")}
    _counted(
        {name: one for name, one in sources.items() if name not in bridges},
        but={key for one in bridges.values() for key in one} - set(INGEST),
    )
    if bridges:
        print()
        _counted(bridges, but=set(INGEST))


def _counted(sources: dict[str, dict[str, int]], but: set[str]) -> None:
    names = [name for name in dict.fromkeys(name for one in sources.values() for name in one) if name not in but]
    rows = [[source, *(str(one.get(name, 0)) for name in names)] for source, one in sources.items()]
    tables.print_table(["source", *names], rows, right=names)
