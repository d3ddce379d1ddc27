"""Prometheus' two exposition formats: protobuf with native histograms, and text with classic buckets.

A native histogram is a copy of ours: schema is the scale, and a bucket of number i, which ends at base**(i + 1), is
Prometheus' bucket i + 1 (it names a bucket by its end). Source: Prometheus' `metrics.proto` (client model) and
"Native histograms" specification. The text has buckets that end at powers of two of a second, which are ends of
buckets of ours too: counts are exact there as well.
"""

import math
from collections.abc import Iterator, Sequence

from edgekit.fleet.export import protobuf as pb
from edgekit.fleet.export.metrics import METRICS, Kind, Metric, Sample, Snapshot
from edgekit_agent.protocol import ExpHistogram

TEXT = "text/plain; version=0.0.4; charset=utf-8"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
ZERO_THRESHOLD = 2.0**-128  # client_golang's; ours counts nothing between it and 0
OCTAVES = range(-17, 7)  # classic buckets: 7.6 us to 64 s
_TYPES = {Kind.COUNTER: 0, Kind.GAUGE: 1, Kind.HISTOGRAM: 4}
_GAP = 2  # buckets: a shorter gap is cheaper as zeros than as a new span
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})


def wants_protobuf(accept: str) -> bool:
    """Whether a scraper's `Accept` header prefers the delimited protobuf form to text."""
    best = {"protobuf": 0.0, "text": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        told = dict(one.partition("=")[::2] for one in parameters)
        weight = _weight(told.get("q", "1"))
        if kind == "application/vnd.google.protobuf":
            if told.get("encoding") == "delimited" and told.get("proto") == "io.prometheus.client.metricfamily":
                best["protobuf"] = max(best["protobuf"], weight)
        elif kind in {"text/plain", "*/*", "text/*"}:
            best["text"] = max(best["text"], weight)
    return best["protobuf"] > 0 and best["protobuf"] >= best["text"]


def _weight(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if 0 <= found <= 1 else 0.0


# --- protobuf


def to_protobuf(snapshot: Snapshot, metrics: Sequence[Metric] = METRICS) -> Iterator[bytes]:
    """Yield each metric as a delimited `MetricFamily`."""
    for metric in metrics:
        samples = [pb.chunk(4, _metric(metric.kind, sample)) for sample in metric.read(snapshot)]
        if samples:
            head = pb.text(1, metric.name) + pb.text(2, metric.help) + pb.integer(3, _TYPES[metric.kind])
            family = head + b"".join(samples)
            yield pb.varint(len(family)) + family


def _metric(kind: Kind, sample: Sample) -> bytes:
    labels = b"".join([pb.chunk(1, pb.text(1, name) + pb.text(2, value)) for name, value in sample.labels])
    if isinstance(sample.value, ExpHistogram):
        return labels + pb.chunk(7, native_histogram(sample.value))
    return labels + pb.chunk(3 if kind is Kind.COUNTER else 2, pb.double(1, sample.value))


def native_histogram(histogram: ExpHistogram) -> bytes:
    """Return Prometheus' `Histogram` message with the buckets of ours."""
    parts = [
        pb.integer(1, histogram.count),
        pb.double(2, histogram.total),
        pb.signed(5, histogram.scale),
        pb.double(6, ZERO_THRESHOLD),
        pb.integer(7, histogram.zeros),
    ]
    counts: list[int] = []
    end = 0  # of the span before
    for first, part in _spans(histogram.counts):
        parts.append(pb.chunk(12, pb.signed(1, first + 1 - end) + pb.integer(2, len(part))))
        end = first + 1 + len(part)
        counts += part
    if not counts:  # a span without buckets says that it is a native histogram all the same
        parts.append(pb.chunk(12, pb.signed(1, 0) + pb.integer(2, 0)))
    parts.append(pb.packed(13, [count - before for before, count in zip([0, *counts], counts, strict=False)]))
    return b"".join(parts)


def _spans(counts: dict[int, int]) -> Iterator[tuple[int, list[int]]]:
    """Yield runs of buckets: the number of the first, and the counts."""
    first, run = 0, list[int]()
    for index in sorted(counts):
        gap = index - first - len(run)
        if run and gap > _GAP:
            yield first, run
            run = []
        if not run:
            first, gap = index, 0
        run += [0] * gap + [counts[index]]
    if run:
        yield first, run


# --- text


def to_text(snapshot: Snapshot, metrics: Sequence[Metric] = METRICS) -> Iterator[bytes]:
    """Yield each metric in the text format."""
    for metric in metrics:
        lines: list[str] = []
        for sample in metric.read(snapshot):
            if isinstance(sample.value, ExpHistogram):
                lines += _classic(metric.name, sample.labels, sample.value)
            else:
                lines.append(f"{metric.name}{_labels(sample.labels)} {_number(sample.value)}")
        if lines:
            head = [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
            yield "\n".join([*head, *lines, ""]).encode("utf-8", "replace")


def _classic(name: str, labels: Sequence[tuple[str, str]], histogram: ExpHistogram) -> list[str]:
    lines = []
    ends = sorted((((index + 1) * 2.0**-histogram.scale), count) for index, count in histogram.counts.items())
    at, seen = 0, histogram.zeros
    for octave in OCTAVES:
        while at < len(ends) and ends[at][0] <= octave:
            seen += ends[at][1]
            at += 1
        lines.append(f"{name}_bucket{_labels((*labels, ('le', repr(2.0**octave))))} {seen}")
    count = histogram.count
    lines.append(f"{name}_bucket{_labels((*labels, ('le', '+Inf')))} {count}")
    return [*lines, f"{name}_sum{_labels(labels)} {_number(histogram.total)}", f"{name}_count{_labels(labels)} {count}"]


def _labels(labels: Sequence[tuple[str, str]]) -> str:
    told = ",".join([f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels])
    return f"{{{told}}}" if told else ""


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return repr(value) if math.isfinite(value) else {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
