"""Self-contained pages: `report.html`, drawn from the same document as `report.json`, and how every page is made."""

from pathlib import Path

from edgekit import _report_words as words
from edgekit._charts_labels import shorten
from edgekit._charts_plane import candidates_planes, found_trial, search_planes, shape_of
from edgekit._charts_rows import (
    LISTED_LAYERS,
    SHOWN_LAYERS,
    accuracy_chart,
    by_damage,
    damage_chart,
    latency_chart,
    size_chart,
)
from edgekit._report import Report
from edgekit._report_verdict import picked, verdict
from edgekit._report_words import Document, Judged
from edgekit.errors import EnvironmentMissingError
from edgekit_agent.durable import write_durably

_FILTERS = {
    "bytes": words.size_text,
    "digits": words.significant,
    "duration": words.span_text,
    "grid": words.grid_text,
    "name": words.name_of,
    "setting": words.setting_text,
    "shape": words.shape_text,
    "share": words.share_text,
    "shorten": shorten,
    "snr": words.agreement_text,
    "time": words.time_text,
}


def render(template: str, **values: object) -> str:
    """Return a template filled in; pages refer to nothing outside themselves."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgekit"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= _FILTERS
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
    document = picked(report.to_json())
    artifacts: list[Document] = document["artifacts"]
    looked_at = [(one, damage_chart(one)) for one in artifacts]
    searches = [(one, search_planes(one, document)) for one in artifacts if one["search"]]
    return render(
        "report.html.j2",
        report=document,
        verdict=verdict(document),
        metric=Judged.of(document).metric,
        candidates=candidates_planes(document),
        accuracy=accuracy_chart(document),
        latency=latency_chart(document),
        size=size_chart(document),
        damages=[(one, chart, by_damage(one)[SHOWN_LAYERS:]) for one, chart in looked_at if chart],
        searches=[(one, drawings, found_trial(one["search"]["trials"])) for one, drawings in searches],
        formats=list(dict.fromkeys(one["format"] for one in artifacts)),
        shape_of=shape_of,
        listed_layers=LISTED_LAYERS,
        none_=words.NONE,
    )
