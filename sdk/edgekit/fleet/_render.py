"""What `edgekit fleet watch` shows: a table, or a JSON document a report."""

import time
from typing import TYPE_CHECKING, Any

from edgekit.fleet._fleet import Fleet, ModelRow, Received, quantiles_ms
from edgekit_agent.protocol import Event, Report, sentence

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

SCHEMA = 1
EVENTS_SHOWN = 4
TEXT_SHOWN = 200
NARROWEST = 8
WIDE = 100
_PRESENT = frozenset({"online", "unknown"})
_DETAILS = frozenset({"signal", "exit_code", "text", "error"})
_STYLES = {"online": "green", "stale": "yellow", "offline": "red", "stopped": "dim", "unknown": "dim"}


def to_json(received: Received) -> dict[str, Any] | None:
    """Return the document of a report or an event, None for anything else; times in milliseconds."""
    message = received.message
    where = {"schema": SCHEMA, "site": received.site, "device": received.device}
    if isinstance(message, Event):
        return {**where, "event": message.code, "level": message.level, "model": message.model, "ts": message.ts_ms,
                "text": message.text, "detail": dict(message.detail)}  # fmt: skip
    if not isinstance(message, Report):
        return None
    stages = {name: getattr(message.latency, name) for name in ("pre", "infer", "post", "e2e")}
    latency = {
        name: {**quantiles_ms(one), "mean_ms": round(1000 * one.mean, 6) if one.count else None}
        for name, one in stages.items()
    }
    return {
        **where,
        "model": message.model,
        "version": message.version,
        "artifact": message.artifact,
        "runtime": message.runtime,
        "executed_on": list(message.executed_on),
        "seq": message.seq,
        "boot": message.boot,
        "history": message.history,
        "ts": message.ts_ms,
        "window_s": message.window_s,
        "inferences": message.inferences,
        "rate_hz": round(message.inferences / message.window_s, 3) if message.window_s else None,
        "errors": dict(message.errors),
        "dropped": message.dropped,
        **latency["infer"],
        "latency": latency,
        "rss_bytes": message.rss_bytes,
        "cpu_percent": message.cpu_percent,
        "stat": dict(message.statistics),
    }


def table(  # noqa: PLR0913  # what is shown and what is left out
    fleet: Fleet, url: str, now: float, *, devices: set[str], model: set[str] | None, width: int
) -> "Group":
    """Return the live table with counters and the latest events below."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    wide = width >= WIDE
    names = ["device", "model", *(("version", "runtime") if wide else ())]
    headings = [*names, "rate/s", "p50 ms", "p90 ms", "p99 ms", "errors", "seen"]
    rows = [_cells(fleet, row, now, wide=wide) for row in fleet.rows(now) if _matches(row, devices, model)]
    _crop(rows, headings, len(names), width)
    grid = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for heading in headings:
        grid.add_column(heading, justify="left" if heading in names else "right", no_wrap=True)
    for cells in rows:
        grid.add_row(*cells)
    counted = fleet.counters
    parts = [
        f"{counted.received} messages",
        *(f"{count} {name}" for name in ("duplicate", "rejected", "dropped") if (count := getattr(counted, name))),
        f"percentiles over {fleet.window_s:g} s",
    ]
    footer = f"{url}: {', '.join(parts)}"
    events = [_event(one) for one in fleet.events if not devices or one.device in devices][-EVENTS_SHOWN:]
    body = grid if rows else Text(f"no reports yet; {len(fleet.devices)} devices known")
    return Group(body, Text(footer, style="dim"), *events)


def _matches(row: ModelRow, devices: set[str], models: set[str] | None) -> bool:
    return (not devices or row.device in devices) and (not models or row.model in models)


def _plain(text: object) -> str:
    """Return text of a device without what would steer the terminal, and not too long."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text)[:TEXT_SHOWN])


def _crop(rows: "list[list[Text]]", headings: list[str], names: int, width: int) -> None:
    """Shorten names, the longest column first, until figures and headings stand whole in the width."""
    widths = [max(len(heading), *(cells[at].cell_len for cells in rows), 0) for at, heading in enumerate(headings)]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths[:names]) > NARROWEST:
        widths[widths.index(max(widths[:names]))] -= 1
    for cells in rows:
        for cell, most in zip(cells[:names], widths, strict=False):
            cell.truncate(most, overflow="ellipsis")


def _cells(fleet: Fleet, row: ModelRow, now: float, *, wide: bool) -> "list[Text]":
    from rich.text import Text

    latest, presence = row.latest(), fleet.presence(row.site, row.device, now)
    style = _STYLES[presence]
    # what a silent device said last is no present: it is shown dimly
    body = "" if presence in _PRESENT else "dim"
    figures = ["-" if value is None else f"{value:.3f}" for value in quantiles_ms(row.merged()).values()]
    name = row.device if row.site == "default" else f"{row.site}/{row.device}"
    seen = _ago(now - row.last) if presence in _PRESENT else f"{presence} {_ago(now - row.last)}"
    return [
        Text(name, style=style),
        Text(_plain(row.model), style=body),
        *((Text(_plain(latest.version), style=body), Text(_plain(latest.runtime), style=body)) if wide else ()),
        *(Text(each, style=body) for each in (f"{row.rate_hz():.1f}", *figures)),
        Text(str(row.errors), style="red" if row.errors else body),
        Text(seen, style=style),
    ]


def _ago(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004  # then minutes read better
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"  # noqa: PLR2004


def _event(received: Received) -> "Text":
    from rich.text import Text

    event = received.message
    assert isinstance(event, Event)  # noqa: S101  # only events are kept there
    try:
        moment = time.strftime("%H:%M:%S", time.localtime(event.ts_ms / 1000))
    except (ValueError, OverflowError, OSError):  # a clock that is not set
        moment = "--:--:--"
    of = f" {_plain(event.model)}" if event.model else ""
    told = {key: value for key, value in event.detail.items() if key in _DETAILS}
    extra = ", ".join(f"{key} {_plain(value)}" for key, value in told.items())
    line = f"{moment} {received.device}{of}: {_plain(sentence(event.code))}" + (f" ({extra})" if extra else "")
    style = {"error": "red", "warning": "yellow"}.get(event.level, "dim")
    return Text(line, style=style, overflow="ellipsis", no_wrap=True)
