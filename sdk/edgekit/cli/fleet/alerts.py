"""`edgekit fleet alerts ls|rules|add|rm|test|silence|silences|unsilence|ack`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import Json, Server, ServerCa

if TYPE_CHECKING:
    from rich.text import Text

app = typer.Typer(help="Alerts: what fires, the rules, and silences.", no_args_is_help=True, rich_markup_mode=None)

TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file with a token (0600). [default: EDGEKIT_FLEET_TOKEN]")
]
_TEST_S = 30.0


@app.command("ls")
def list_(server: Server = None, ca: ServerCa = None, token_file: TokenFile = None, json: Json = False) -> None:
    """List what is pending or firing.

    Examples:

        edgekit fleet alerts ls
    """
    import time

    found = _asked(server, ca, token_file, "GET", "")
    if json:
        _print(found)
        return
    now_ms = int(time.time() * 1000)
    rows: list[list[Text | str]] = []
    for one in found["alerts"]:
        marks = [mark for mark, on in (("silenced", one["silenced"]), ("seen", one["acked_by"])) if on]
        figures = [f"{value:.4g} {one['unit']}".rstrip() for value in (one["value"], one["worst"])]
        group = tables.cell(one["group"])  # may be a version, as a device calls it
        since = tables.age(one["since_ms"], now_ms)
        rows.append([one["phase"], one["severity"], one["rule"], group, one["when"], *figures, since, " ".join(marks)])
    if rows:
        headings = ["phase", "severity", "rule", "of", "when", "now", "worst", "since", ""]
        tables.print_table(headings, rows, right=headings[5:8])
    else:
        print("nothing is pending or firing")


@app.command()
def rules(server: Server = None, ca: ServerCa = None, token_file: TokenFile = None, json: Json = False) -> None:
    """List the rules.

    Examples:

        edgekit fleet alerts rules --json
    """
    found = _asked(server, ca, token_file, "GET", "/rules")
    if json:
        _print(found)
        return
    for one in found["rules"]:
        off = "" if one["enabled"] else " (off)"
        how = f"for {one['for_s']:g} s by {one['by']}, {one['severity']}{off}"
        print(f"{one['name']:<24} {tables.plain(one['when']):<24} {how}")
    if not found["rules"]:
        print("no rules yet")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The rule's name.")],
    when: Annotated[str, typer.Argument(metavar="WHEN", help="SIGNAL > NUMBER, as in 'p99 > 50'.")],
    for_: Annotated[str | None, typer.Option("--for", metavar="T", help="How long without a break.")] = None,
    clear: Annotated[float | None, typer.Option(metavar="X", help="It is over when not beyond this.")] = None,
    resolve: Annotated[str | None, typer.Option(metavar="T", help="... for so long.")] = None,
    window: Annotated[str | None, typer.Option(metavar="T", help="What time a value is of.")] = None,
    by: Annotated[str | None, typer.Option(metavar="G", help="device, version, hardware, model or none.")] = None,
    stage: Annotated[str | None, typer.Option(metavar="S", help="pre, infer, post, e2e or queue.")] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="Only this model.")] = None,
    version: Annotated[str | None, typer.Option(metavar="V", help="Only this version.")] = None,
    filter_: Annotated[str | None, typer.Option("--filter", metavar="F", help="Only these devices.")] = None,
    code: Annotated[list[str] | None, typer.Option(metavar="C", help="With events: which; repeatable.")] = None,
    least: Annotated[int | None, typer.Option(metavar="N", help="So many samples at least.")] = None,
    severity: Annotated[str | None, typer.Option(metavar="S", help="info, warning or critical.")] = None,
    notify: Annotated[list[str] | None, typer.Option(metavar="N", help="Whom to tell; repeatable.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="What to tell with it.")] = None,
    server: Server = None,
    ca: ServerCa = None,
    token_file: TokenFile = None,
) -> None:
    """Add a rule, or put it in the place of one of that name.

    Signals: p50, p90, p99, p999 (ms), error-rate (0 to 1), dropped, reports, silent (s), crashes, drift, events,
    rollout-stopped, temperature, cpu, memory, throttled, power, waiting.

    Examples:

        edgekit fleet alerts add slow-kws 'p99 > 50' --for 2m --clear 40 --model kws --notify ops

        edgekit fleet alerts add gone 'silent > 60' --for 0 --severity critical
    """
    from urllib.parse import quote

    settings = {
        "for": for_, "clear": clear, "resolve": resolve, "window": window, "by": by, "stage": stage, "model": model,
        "version": version, "filter": filter_, "codes": code, "least": least, "severity": severity, "notify": notify,
        "note": note,
    }  # fmt: skip
    given = {key: value for key, value in settings.items() if value is not None}
    _asked(server, ca, token_file, "PUT", f"/rules/{quote(name, safe='')}", {"when": when, **given})
    print(f"{name}: {when}")


@app.command("rm")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The rule's name.")],
    server: Server = None,
    ca: ServerCa = None,
    token_file: TokenFile = None,
) -> None:
    """Remove a rule; its alerts are over.

    Examples:

        edgekit fleet alerts rm slow-kws
    """
    from urllib.parse import quote

    _asked(server, ca, token_file, "DELETE", f"/rules/{quote(name, safe='')}")
    print(f"{name}: removed")


@app.command("test")
def try_notifier(
    notifier: Annotated[str, typer.Argument(metavar="NOTIFIER", help="A name of the service's file.")],
    server: Server = None,
    ca: ServerCa = None,
    token_file: TokenFile = None,
) -> None:
    """Send a test by a notifier, and wait up to 30 s to see whether it arrives.

    Examples:

        edgekit fleet alerts test ops
    """
    import time

    from edgekit.errors import DeviceError

    number = _asked(server, ca, token_file, "POST", "/tests", {"notifier": notifier})["id"]
    end = time.monotonic() + _TEST_S
    while True:
        found = _asked(server, ca, token_file, "GET", f"/messages/{number}")
        if found["state"] == "sent":
            print(f"{notifier}: sent")
            return
        if found["problem"] or time.monotonic() > end:
            problem = found["problem"] or f"not tried within {_TEST_S:g} s: does the service run its alerts?"
            raise DeviceError(f"{notifier}: {problem}")
        time.sleep(0.2)


@app.command()
def silence(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="A rule's name; may end in '*'.")],
    group: Annotated[str, typer.Argument(metavar="[GROUP]", help="A site/device, version, ...; may end in '*'.")] = "*",
    for_: Annotated[str, typer.Option("--for", metavar="T", help="How long.")] = "1h",
    comment: Annotated[str, typer.Option(metavar="TEXT", help="Why.")] = "",
    server: Server = None,
    ca: ServerCa = None,
    token_file: TokenFile = None,
) -> None:
    """Tell nobody of some alerts for a while; what still fires then is told.

    Examples:

        edgekit fleet alerts silence 'slow-*' 'lab/*' --for 2h --comment 'new cooling'
    """
    from edgekit.fleet.alerts.rules import seconds

    body = {"rule": rule, "group": group, "seconds": seconds(for_), "comment": comment}
    number = _asked(server, ca, token_file, "POST", "/silences", body)["id"]
    print(f"silence {number}: {rule} {group} for {for_}")


@app.command()
def silences(server: Server = None, ca: ServerCa = None, token_file: TokenFile = None, json: Json = False) -> None:
    """List the silences that hold, with their numbers.

    Examples:

        edgekit fleet alerts silences
    """
    found = _asked(server, ca, token_file, "GET", "/silences")
    if json:
        _print(found)
        return
    for one in found["silences"]:
        until = f"until {tables.moment(one['until_ms'])} by {one['by']}"
        print(tables.printable(f"{one['id']:>4}  {one['rule']} {one['group']}  {until}  {one['comment']}".rstrip()))
    if not found["silences"]:
        print("nothing is silenced")


@app.command()
def unsilence(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The silence's number.")],
    server: Server = None,
    ca: ServerCa = None,
    token_file: TokenFile = None,
) -> None:
    """End a silence.

    Examples:

        edgekit fleet alerts unsilence 3
    """
    _asked(server, ca, token_file, "DELETE", f"/silences/{number}")
    print(f"silence {number}: over")


@app.command()
def ack(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule.")],
    group: Annotated[str, typer.Argument(metavar="GROUP", help="The site/device, version, ...")],
    server: Server = None,
    ca: ServerCa = None,
    token_file: TokenFile = None,
) -> None:
    """Note that you have seen an alert, for everybody else to see.

    Examples:

        edgekit fleet alerts ack slow-kws lab/pi-7
    """
    _asked(server, ca, token_file, "POST", "/ack", {"rule": rule, "group": group})
    print(f"{rule} {group}: seen")


def _asked(
    server: str | None,
    ca: Path | None,
    token_file: Path | None,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the service's answer under `/api/v1/alerts`, empty where there is none."""
    from edgekit.fleet import FleetServer
    from edgekit.fleet.security.secret_files import read_secret

    with FleetServer(server, ca=ca, token=read_secret(token_file) if token_file else None) as service:
        found: dict[str, Any] | None = service.ask(method, f"/api/v1/alerts{path}", body=body)
    return found or {}


def _print(document: dict[str, Any]) -> None:
    import json

    print(json.dumps({"schema": 1, **document}, indent=2))
