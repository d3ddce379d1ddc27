"""Self-contained pages: `report.html`, drawn from the same document as `report.json`, and how every page is made."""

from pathlib import Path

from edgekit._report import Report
from edgekit.errors import EnvironmentMissingError
from edgekit_agent.store import write_durably


def render(template: str, **values: object) -> str:
    """Return a template filled in; pages refer to nothing outside themselves."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgekit"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"bytes": _bytes, "figure": _figure, "percent": _percent}
    return environment.get_template(template).render(**values)


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        EnvironmentMissingError: if it cannot be written there.
    """
    try:
        write_durably(path, page.encode())
    except OSError as exc:
        raise EnvironmentMissingError(f"'{path}' cannot be written: {exc.strerror}") from exc


def to_html(report: Report) -> str:
    """Return the report as a page with no reference to anything outside it."""
    document = report.to_json()
    shown = [artifact for artifact in document["artifacts"] if artifact["size_bytes"]]  # type: ignore[attr-defined]  # plain JSON
    bars = {
        "latency": _bars([(_name(a), a["latency"]["p50_ms"]) for a in shown if a["latency"]]),
        "size": _bars([(_name(a), a["size_bytes"]) for a in shown]),
    }
    return render("report.html.j2", report=document, bars=bars)


def _name(artifact: dict[str, object]) -> str:
    return f"{artifact['format']} {artifact['precision']}"


def _bars(rows: list[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """Return (name, value, width in percent of the largest)."""
    largest = max((value for _, value in rows), default=0) or 1
    return [(name, value, 100 * value / largest) for name, value in rows]


def _bytes(value: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}" if 0 < abs(value) < 0.001 else f"{value:,.{digits}f}"  # noqa: PLR2004, RUF001  # an en dash


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"  # noqa: RUF001  # an en dash
