"""The report's page: drawn from the document, self-contained, right with anything absent."""

import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgekit._charts_plane import WIDTHS, candidates_planes, found_trial, search_planes
from edgekit._charts_rows import LISTED_LAYERS, SHOWN_LAYERS, accuracy_chart, latency_chart, size_chart
from edgekit._html import to_html
from edgekit._metrics import Accuracy, Agreement
from edgekit._metrics.intervals import wilson
from edgekit._report import ArtifactReport, Latency, LayerDamage, Memory, Report, Rim, Search, Trial
from edgekit._report_verdict import Verdict, picked, verdict
from edgekit._report_words import Judged, Metric, significant, size_text, span_text, speed_text, time_text
from edgekit_converters.model import SourceModel, Step, TensorSpec

VOID = {"meta", "br", "link", "img", "input", "hr"}
NAMES = tuple(f"block{at // 4}/conv{at}" for at in range(40))


def make_latency(p50: float, base: float | None, quantiles: Sequence[float] | None = None) -> Latency:
    shape = p50 * (1 + 0.3 * (np.arange(101) / 100 - 0.5) ** 3)
    return Latency(
        runtime="ai-edge-litert", runtime_version="2.3.0", device="CPU", threads=1, runs=200,
        p50_ms=p50, p90_ms=1.1 * p50, p99_ms=1.3 * p50, source_p50_ms=base, speedup=base / p50 if base else None,
        quantiles_ms=tuple(shape.tolist() if quantiles is None else quantiles),
    )  # fmt: skip


def make_accuracy(value: float, source: float | None = 0.756, samples: int = 1600, metric: str = "top1") -> Accuracy:
    return Accuracy(
        metric=metric,
        samples=samples,
        source=source,
        artifact=value,
        drop=None if source is None else source - value,
        ci95=wilson(round(value * samples), samples),
    )


def make(
    precision: str, p50: float | None = 0.3, accuracy: float | None = 0.756, model_format: str = "tflite"
) -> ArtifactReport:
    return ArtifactReport(
        path=f"models/net.{precision}.{model_format}",
        format=model_format,
        precision=precision,
        size_bytes=300_000 if precision == "fp32" else 90_000,
        sha256="ab" * 32,
        agreement=Agreement(samples=16, max_abs=0.1, snr_db=30.0, cosine=0.99, top1=0.98),
        accuracy=None if accuracy is None else make_accuracy(accuracy),
        latency=None if p50 is None else make_latency(p50, 0.3),
    )


def make_report(*artifacts: ArtifactReport, max_drop: float | None = 0.005) -> Report:
    spec = (TensorSpec(name="image", shape=(None, 32, 32, 3), dtype="float32"),)
    source = SourceModel(
        path=Path("net.h5"), format="keras-h5", sha256="cd" * 32, size_bytes=9, inputs=spec, outputs=spec
    )
    data = {"calib": "c.npz", "eval": "e.npz", "metric": "top1", "max_drop": max_drop}
    return Report(source=source, seed=0, artifacts=artifacts, data=data)


def make_search() -> ArtifactReport:
    layers = tuple(
        LayerDamage(name=name, op="CONV_2D", damage=0.5 / (at + 1), own_error=0.1, kept_float=at < 3)
        for at, name in enumerate(NAMES)
    )
    scores = ((0, 0.62), (20, 0.756), (10, 0.754), (5, 0.752), (2, 0.74), (3, 0.7515))
    trials = tuple(
        Trial(
            precision="int8", float_layers=NAMES[:count], score=score, drop=0.756 - score, size_bytes=90_000,
            seconds=3.0, passed=0.756 - score <= 0.005, why=f"the {count} worst in float",
        )
        for count, score in scores
    )  # fmt: skip
    search = Search(trials=trials, seconds=21.0, ended="found")
    rim = (Rim(name="image", dtype="int8", shape=(None, 32), scale=(0.5,), zero_point=(-128,)),)
    steps = (Step(name="static int8", before={"bytes": 9}, after={"bytes": 5}),)
    return replace(make("int8", 0.1, 0.7515), layers=layers, search=search, chosen=True, inputs=rim, steps=steps)


FULL = make_report(
    make("fp32"),
    make_search(),
    make("int8-dynamic", 0.5),
    replace(
        make("int4-weights:group=64", 0.9, 0.70), status="rejected", reason="top1 drops by 0.0560, more than 0.0050"
    ),
    make("fp32", 0.3, model_format="openvino"),
    make("int8", 0.15, 0.755, model_format="openvino"),
    ArtifactReport(path=None, format="onnx", precision="int8", status="failed", reason="no such op"),
)
BARE = ArtifactReport(path="models/a.tflite", format="tflite", precision="fp32", size_bytes=123, sha256="ef" * 32)
NAN = float("nan")
NOT_FINITE = replace(
    make("int8"),
    accuracy=Accuracy(metric="my:score", samples=3, source=NAN, artifact=NAN, drop=NAN, ci95=(NAN, NAN)),
    agreement=Agreement(samples=3, max_abs=math.inf, snr_db=-math.inf, cosine=NAN, top1=None),
    layers=(LayerDamage(name="a", op="ADD", damage=None, own_error=None),),
)


def judge(report: Report) -> Verdict:
    return verdict(picked(report.to_json()))


REPORTS = {
    "full": FULL,
    "no artifact": make_report(),
    "one, nothing measured": make_report(BARE, max_drop=None),
    "none could be made": make_report(ArtifactReport(path=None, format="tflite", precision="int8", status="failed")),
    "no labels": make_report(make("fp32", accuracy=None), make("int8", 0.1, None), max_drop=None),
    "no latency": make_report(make("fp32", None), make("int8", None, 0.755)),
    "neither": make_report(make("fp32", None, None), make("int8", None, None), max_drop=None),
    "no distribution": make_report(replace(make("fp32"), latency=make_latency(0.3, 0.3, ()))),
    "no float artifact": make_report(replace(make("int8"), latency=make_latency(0.1, None))),
    "not finite": make_report(NOT_FINITE, make("fp32")),
    "forty": make_report(*(make(f"int4-weights:group={at}", 0.1 * 1.1**at, 0.75 + at / 9000) for at in range(40))),
    "no source value": make_report(replace(make("int8"), accuracy=make_accuracy(0.7, None))),
    "no environment": replace(FULL, environment={}, data={}),
}  # fmt: skip


class _Page(HTMLParser):
    """Collects the text, and checks that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002  # the base class's
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:  # noqa: ARG002  # the base class's
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_the_page_is_whole_and_refers_to_nothing_outside(report: Report) -> None:
    page = to_html(report)
    assert "script" not in _Page(page).tags
    assert not re.search(r"(src|href)=|https?:|@import|url\(", page)
    assert not re.search(r"\b(nan|inf|None|undefined)\b", re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_every_artifact_is_on_the_page(report: Report) -> None:
    text = " ".join(_Page(to_html(report)).text)
    for artifact in report.artifacts:
        assert f"{artifact.format} {artifact.precision}" in text


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS.keys())
def test_every_drawing_is_xml_within_its_frame(report: Report) -> None:
    for drawing in re.findall(r"<svg (?:viewBox=|role).*?</svg>(?=</div>|\n)", to_html(report), re.DOTALL):
        tree = ET.fromstring(drawing)  # noqa: S314  # our own
        box = [float(size) for size in tree.get("viewBox", "0 0 1e9 1e9").split()]
        for mark in tree.iter("circle"):
            if "%" not in mark.get("cx", "%"):
                assert 0 <= float(mark.get("cx", 0)) <= box[2]
                assert 0 <= float(mark.get("cy", 0)) <= box[3]
        for place in re.findall(r'"(-?[\d.]+)%"', drawing):
            assert 0 <= float(place) <= 100


def test_names_cannot_write_into_the_page() -> None:
    evil = "</style></title><script>alert(1)</script>\"'><b>"
    one = replace(make_search(), format=evil, precision=evil, reason=evil, status="rejected", warnings=(evil,))
    layers = (LayerDamage(name=evil, op=evil, damage=0.1, own_error=0.1),)
    one = replace(
        one,
        layers=layers,
        float_layers=({"name": evil, "reason": evil},),
        inputs=(Rim(name=evil, dtype=evil, shape=()),),
    )
    report = make_report(one, make("fp32"))
    report = replace(
        report, source=replace(report.source, path=Path(evil)), warnings=(evil,), notes=(evil,),
        data={**report.data, "calib": evil, evil: evil}, preprocess={evil: [evil]},
    )  # fmt: skip
    page = to_html(report)
    assert "<script" not in page
    assert "<b>\"'" not in page
    assert page.count(evil) == 0
    assert evil in " ".join(_Page(page).text)


def test_the_verdict_takes_what_was_chosen_and_says_why_the_others_were_not() -> None:
    said = judge(FULL)
    assert said.gate == "passed"
    assert said.said == "Gate passed: top1 may be at most 0.50 points worse"
    assert said.counted == "7 candidates: 5 fit to use, 1 rejected, 1 not made"
    assert [(take.format, take.name, take.why) for take in said.takes] == [
        ("tflite", "int8", "the fastest that passes"),
        ("openvino", "int8", "the fastest that passes"),
        ("onnx", None, "nothing passes"),
    ]
    accuracy, speed, size = said.takes[0].facts
    assert (accuracy.value, speed.value, size.value) == ("75.15 %", "3.00× faster", "3.33× smaller")  # noqa: RUF001
    assert "0.45 points worse than the source" in accuracy.notes
    assert "within the noise of 1,600 samples" in accuracy.notes
    assert said.rejected == (("tflite int4-weights:group=64", "top1 drops by 0.0560, more than 0.0050"),)
    assert said.failed == (("onnx int8", "no such op"),)
    assert [name for name, _ in said.slower] == ["tflite int8-dynamic"]


def test_a_difference_is_judged_by_its_own_interval_where_there_is_one() -> None:
    clear = replace(make_accuracy(0.752), drop_ci95=(0.001, 0.007))
    (take,) = judge(make_report(make("fp32"), replace(make("int8", 0.1), accuracy=clear))).takes
    assert take.facts[0].notes[1:] == ("0.40 points worse than the source", "drop 95 %: +0.10 to +0.70 points")


def test_a_slower_artifact_is_not_taken_however_small() -> None:
    (take,) = judge(make_report(make("fp32"), make("int8", 0.4))).takes
    assert (take.name, take.why) == ("fp32", "the float model: nothing faster that passes")


def test_without_latency_the_smallest_is_taken() -> None:
    (take,) = judge(REPORTS["no latency"]).takes
    assert (take.name, take.why) == ("int8", "the smallest that passes; latency was not measured")


def test_nothing_passing_is_said_first() -> None:
    report = make_report(replace(make("int8"), status="rejected", reason="top1 drops by 0.1, more than 0.005"))
    said = judge(report)
    assert (said.gate, [take.name for take in said.takes]) == ("unmet", [None])


def test_without_a_gate_or_labels_none_is_claimed() -> None:
    assert judge(REPORTS["no labels"]).said == "Not judged on labels: agreement with the source only"
    assert judge(make_report(make("fp32"), max_drop=None)).said == "No gate was asked"


def test_the_interval_lies_around_its_value_beside_the_source_and_the_gate() -> None:
    chart = accuracy_chart(FULL.to_json())
    assert chart is not None
    assert [(line.kind, line.said) for line in chart.legend] == [
        ("source", "source 75.60 %"),
        ("gate", "worst that passes 75.10 %"),
    ]
    for group in chart.groups:
        for row in group.rows:
            assert row.marks is not None
            assert row.off or row.marks["low"] < row.marks["value"] < row.marks["high"]


def test_latency_rows_stand_against_their_own_runtimes_float() -> None:
    chart = latency_chart(FULL.to_json())
    assert chart is not None
    assert [group.format for group in chart.groups] == ["tflite", "openvino"]
    float_row, int8_row = chart.groups[0].rows[:2]
    assert float_row.marks is not None
    assert int8_row.lines[0].place == float_row.marks["p50"]
    assert "slower than float" in chart.groups[0].rows[2].flags


def test_sizes_are_drawn_to_scale_with_the_weights_within() -> None:
    report = make_report(replace(make("fp32"), weights_bytes=150_000, memory=Memory(peak_bytes=1, arena_bytes=2048)))
    chart = size_chart(report.to_json())
    assert chart is not None
    (row,) = chart.groups[0].rows
    assert row.marks is not None
    assert row.marks["weights"] / row.marks["file"] == pytest.approx(0.5, rel=1e-3)
    assert row.notes == ("weights 146.5 KiB, arena 2.0 KiB",)


def test_the_front_leaves_out_what_was_rejected() -> None:
    best_but_rejected = replace(make("int4", 0.05, 0.80), status="rejected")
    wide, narrow = candidates_planes(make_report(make("fp32"), make("int8", 0.1, 0.755), best_but_rejected).to_json())
    assert (wide.width, narrow.width) == WIDTHS
    by_name = {mark.point.text: mark for mark in wide.marks}
    start = tuple(float(one) for one in re.findall(r"[\d.]+", wide.front)[:2])
    assert start == pytest.approx((by_name["int8"].x, by_name["int8"].y), abs=0.1)
    assert "rejected" in by_name["int4"].point.states


def test_a_metric_whose_smaller_value_is_better_is_drawn_with_the_smaller_on_top() -> None:
    def scored(one: ArtifactReport, value: float) -> ArtifactReport:
        accuracy = Accuracy(
            metric="mae", samples=40, source=2.0, artifact=value, drop=value - 2.0, ci95=(value, value),
            higher_is_better=False,
        )  # fmt: skip
        return replace(one, accuracy=accuracy)

    report = make_report(scored(make("fp32"), 2.0), scored(make("int8", 0.1), 2.05), max_drop=0.1)
    wide, _ = candidates_planes(report.to_json())
    height = {mark.point.text: mark.y for mark in wide.marks}
    assert height["fp32"] < height["int8"]
    judged = Judged.of(report.to_json())
    assert judged.limit == pytest.approx(2.1)
    gate = next(line for line in wide.lines if line.kind == "gate")
    assert gate.y > height["int8"]


def test_without_labels_candidates_are_held_against_the_source() -> None:
    exact = Agreement(samples=16, max_abs=0.0, snr_db=math.inf, cosine=1.0, top1=1.0)
    report = make_report(replace(make("fp32", accuracy=None), agreement=exact), make("int8", 0.1, None))
    wide, _ = candidates_planes(report.to_json())
    assert wide.y_title.startswith("signal to noise")
    height = {mark.point.text: mark.y for mark in wide.marks}
    assert (height["fp32"], "exact") in wide.y_ticks
    assert height["fp32"] < height["int8"]


def test_without_latency_candidates_are_held_against_their_size() -> None:
    assert candidates_planes(REPORTS["no latency"].to_json())[0].x_title.startswith("size, KiB")


def test_the_search_marks_the_passing_trial_with_the_fewest_float_layers() -> None:
    document = FULL.to_json()
    artifact = next(one for one in document["artifacts"] if one["search"])  # type: ignore[attr-defined]  # plain JSON
    found = found_trial(artifact["search"]["trials"])
    assert found is not None
    assert len(found["float_layers"]) == 3
    wide, _ = search_planes(artifact, document)
    assert [mark.point.x for mark in wide.marks if "found" in mark.point.states] == [3]
    assert any(mark.off == 1 for mark in wide.marks)  # the 14 points lost by all layers quantized are below the plot
    assert "6 models made and scored in 21 s" in to_html(FULL)


def test_a_search_of_one_trial_is_said_and_not_drawn() -> None:
    one = make_search()
    assert one.search is not None
    first = replace(one.search.trials[0], score=0.756, drop=0.0, passed=True)
    report = make_report(make("fp32"), replace(one, search=replace(one.search, trials=(first,))))
    page = to_html(report)
    assert "passes with none of its layers in float" in page
    assert "layers left in float" not in page


def test_long_lists_of_layers_are_cut_and_the_rest_is_said() -> None:
    layers = tuple(LayerDamage(name=f"layer{at}", op="ADD", damage=1 / (at + 1), own_error=None) for at in range(500))
    page = to_html(make_report(replace(make("int8"), layers=layers)))
    assert page.count('class="bar"') >= SHOWN_LAYERS
    assert f"{500 - SHOWN_LAYERS} more, each" in page
    assert f"{500 - SHOWN_LAYERS - LISTED_LAYERS} more are in report.json" in page


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (significant(0.0632, 3), "0.0632"), (significant(1234.5, 3), "1,234"), (significant(0.0, 3), "0"),
        (significant(-0.5, 2), "\N{MINUS SIGN}0.50"), (significant(1e-9, 3), "1.00e\N{MINUS SIGN}09"),
        (significant(None, 3), "\N{EN DASH}"), (time_text(12.345), "12.3 ms"), (time_text(1e-4), "0.000100 ms"),
        (span_text(0.8), "0.8 s"), (span_text(725), "12 min 5 s"), (span_text(7380), "2 h 3 min"),
        (size_text(1023), "1023 B"), (size_text(53312), "52.1 KiB"), (size_text(3 << 30), "3.00 GiB"),
        (speed_text(0.33), "3.03\N{MULTIPLICATION SIGN} slower"), (speed_text(1.01), "as fast as float"),
        (Metric(name="mae", higher_is_better=False, unit="").against_source(0.0031), "0.00310 worse than the source"),
        (Metric(name="top1", higher_is_better=True, unit=" %").against_source(0.00001), "same as the source"),
    ],
)  # fmt: skip
def test_figures_read_as_people_write_them(said: str, wanted: str) -> None:
    assert said == wanted


@pytest.mark.slow
def test_a_browser_draws_it_without_sideways_scrolling_on_a_phone(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs chromium")
    page = tmp_path / "page.html"
    probe = "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth</script></body>"
    page.write_text(to_html(FULL).replace("</body>", probe))
    own = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
    done = subprocess.run(
        [browser, *own, "--window-size=500,900", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert title, done.stderr[-500:]
    assert int(title[1]) <= int(title[2])
