"""The page of the quantization benchmark: what was measured, and where EdgeKit is behind."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edgekit._report import SLOWER, environment
from edgekit_agent import __version__
from tests.benchmarks.quantization_hard import MAX_DROP, HardSection
from tests.benchmarks.quantization_rows import RUNS, Judged, Row
from tests.benchmarks.quantization_tools import OURS

LARGER, LATER = 1.01, 1.05
"""A file or a time is worse from this share of another's on."""
RUNTIMES = {"tflite": "TFLite", "openvino": "OpenVINO", "onnx": "ONNX Runtime"}

RULES = f"""
- **accuracy**: the metric named, on the same labelled samples, with its 95 % interval (Wilson for shares, else a
  bootstrap of 1,000 draws); **drop** is what float has more on the same runtime, in brackets its paired 95 % interval.
  Both in points: 100 times the metric. Agreement is how often the float model's own answer is given. **SNR**: the
  power of float's outputs over that of the difference to them; it shows what accuracy on few samples cannot.
- **file**: bytes of all files of the model. **weights**: bytes of the learnt constants in it with their scales, and in
  brackets how many times smaller they are than float's.
- **p50**: the median of {RUNS} runs of one sample on one thread, after warming up, in turns with all other files of
  the model in one process, by the agent's stopwatch; the median over the rounds. **to float**: float's p50 over its
  own on the same runtime, the median over the rounds: above 1 is faster.
- **seconds**: from the start of the tool's process to its end, once. EdgeKit's hold reading the source, running it, and
  comparing every artifact with it layer by layer; the others prove nothing. Olive and ai-edge-quantizer are given the
  ONNX and the float TFLite EdgeKit made, whose making is not in their seconds.
- **EdgeKit is behind** where it scores below float and another tool's file for the same runtime scores higher than it
  at all (to score above float is luck), or where that file is smaller by 1 %, or has a p50 shorter by {1 - SLOWER:.0%},
  or its tool was done 5 % sooner. *May be chance*: the paired interval of the two scores has 0 in it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A model: what it was judged on, and its rows."""

    title: str
    note: str
    metric: str
    judged: Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything a run found out."""

    sections: tuple[Section, ...]
    hard: tuple[HardSection, ...]
    skipped: tuple[str, ...]
    command: str
    seconds: float
    rounds: int
    environment: dict[str, object] = field(default_factory=environment)

    def to_text(self) -> str:
        """Return the page as Markdown."""
        packages = self.environment["packages"]
        assert isinstance(packages, dict)
        behind = [f"- {one.title}: {text}" for one in self.sections for text in behind_in(one.judged)]
        versions = ", ".join(f"{name} {one}" for name, one in packages.items())
        parts = [
            "# Quantization beside other tools",
            self._origin(versions),
            "Times are of this machine: look at the ratios.",
            RULES.strip(),
            "## Where EdgeKit is behind",
            "\n".join(behind) or "Nowhere.",
            *(f"Left out: {one}." for one in self.skipped),
            *(part for one in self.sections for part in _section(one)),
            *self._hard(),
        ]
        return "\n\n".join(parts) + "\n"

    def _origin(self, versions: str) -> str:
        return (
            f"Written by `tests/benchmarks/bench_quantization.py` on {dt.datetime.now(dt.UTC):%Y-%m-%d}: "
            f"`{self.command}`\n({self.seconds / 60:.0f} minutes, {self.rounds} rounds of timing). "
            f"EdgeKit {__version__} on {self.environment['cpu']}, {self.environment['cores']} cores, "
            f"Python {self.environment['python']};\n{versions}."
        )

    def _hard(self) -> Iterable[str]:
        if not self.hard:
            return
        yield "## Models made hard on purpose"
        yield (
            "`tests/benchmarks/hard_models.py` makes them of ResNet8, without training. Both gates may lose\n"
            f"{MAX_DROP} of the classes on the samples they see; *others* are samples they never saw.\n"
            "Evaluations are models run on all samples the gate sees (EdgeKit: made and scored; NNCF: calls of the\n"
            "validation function, float's own among them). Layers in float are EdgeKit's layers and NNCF's reverted\n"
            "operations."
        )
        for one in self.hard:
            yield f"### {one.title}"
            yield f"{one.what[0].upper()}{one.what[1:]}."
            yield _hard_table(one)


def _section(section: Section) -> Iterable[str]:
    yield f"## {section.title}"
    first = next(row.accuracy for row in section.judged.rows if row.accuracy)
    yield f"{section.note[0].upper()}{section.note[1:]}. {section.metric}, {first.samples:,} samples."
    yield _few(section)
    rows = sorted(section.judged.rows, key=lambda row: list(RUNTIMES).index(row.entry.runtime))
    floats = {row.entry.runtime: row for row in rows if row.entry.is_float}
    yield _table(
        ("runtime", "tool", section.metric, "drop", "SNR", "file", "weights", "p50 ms", "to float", "seconds"),
        [_cells(row, floats) for row in sorted(rows, key=_order)],
    )
    found = behind_in(section.judged)
    yield "EdgeKit is behind: " + "; ".join(found) + "." if found else "EdgeKit is ahead or equal in every figure."


def _few(section: Section) -> str:
    """Say what drop so few samples can show."""
    known = [row.accuracy for row in section.judged.rows if row.accuracy and not row.entry.is_float]
    half = max((one.ci95[1] - one.ci95[0]) / 2 for one in known)
    worst = max(one.drop or 0.0 for one in known)
    return (
        f"The 95 % interval is up to {_points(half)} points to each side; the largest drop here is "
        f"{_points(worst)} points."
    )


def _order(row: Row) -> tuple[int, bool]:
    return list(RUNTIMES).index(row.entry.runtime), not row.entry.is_float


def _cells(row: Row, floats: dict[str, Row]) -> list[str]:
    entry = row.entry
    head = [RUNTIMES[entry.runtime], entry.name]
    if row.accuracy is None:
        return [*head, f"- ({row.failed})", *["-"] * 7]
    low, high = row.accuracy.ci95
    before = floats[entry.runtime].weights_bytes
    drop = "" if entry.is_float else _drop(row)
    smaller = "" if entry.is_float or not row.weights_bytes else f" ({before / row.weights_bytes:.2f}x)"
    return [
        *head,
        f"{_points(row.accuracy.artifact)} ({_points(low)} to {_points(high)})",
        drop,
        "" if entry.is_float else f"{row.snr_db:.1f} dB",
        f"{row.file_bytes:,}",
        f"{row.weights_bytes:,}{smaller}",
        f"{row.p50_ms:.3f}",
        "" if entry.is_float else f"{row.p50_ratio:.2f}x",
        "" if entry.seconds is None else f"{entry.seconds:.1f}",
    ]


def _drop(row: Row) -> str:
    assert row.accuracy is not None
    assert row.accuracy.drop is not None
    low, high = row.accuracy.drop_ci95 or (0.0, 0.0)
    return f"{_points(row.accuracy.drop)} ({_points(low)} to {_points(high)})"


def _points(share: float) -> str:
    return f"{100 * share:.2f}".replace("-0.00", "0.00")


def behind_in(judged: Judged) -> list[str]:
    """Return in what EdgeKit's int8 is worse than another tool's for the same runtime."""
    found = []
    for at, ours in enumerate(judged.rows):
        if ours.entry.name != OURS or ours.accuracy is None:
            continue
        for other_at, other in enumerate(judged.rows):
            same = other.entry.runtime == ours.entry.runtime
            if same and other.accuracy and not other.entry.name.startswith(OURS) and not other.entry.is_float:
                what = _behind(judged, (at, ours), (other_at, other))
                found += [f"{RUNTIMES[ours.entry.runtime]} {one} ({other.entry.name})" for one in what]
    return found


def _behind(judged: Judged, ours: tuple[int, Row], other: tuple[int, Row]) -> Iterable[str]:
    (at, own), (other_at, their) = ours, other
    assert own.accuracy is not None
    lost, (low, high) = judged.lost(at, other_at)
    if lost > 0 and (own.accuracy.drop or 0.0) > 0:
        chance = "; may be chance" if low <= 0 <= high else ""
        yield f"accuracy by {_points(lost)} points ({_points(low)} to {_points(high)}{chance})"
    for what, mine, theirs, limit in (
        ("file", own.file_bytes, their.file_bytes, LARGER),
        ("weights", own.weights_bytes, their.weights_bytes, LARGER),
        ("p50", own.p50_ms, their.p50_ms, 1 / SLOWER),
        ("seconds", own.entry.seconds or 0, their.entry.seconds or 0, LATER),
    ):
        if mine > limit * theirs:
            yield f"{what} {mine / theirs:.2f}x"


def _hard_table(section: HardSection) -> str:
    heads = (
        "runtime",
        "tool",
        "drop",
        "drop on others",
        "layers in float",
        "evaluations",
        "seconds",
        "file",
        "to float",
    )
    cells = []
    for at, row in sorted(enumerate(section.seen.rows), key=lambda pair: _order(pair[1])):
        head = [RUNTIMES[row.entry.runtime], row.entry.name]
        if row.accuracy is None:
            cells.append([*head, f"- ({row.failed})", *["-"] * 6])
            continue
        effort, other = section.efforts.get(at), section.unseen.rows[at]
        made = f" ({effort.precision}{'' if effort.met else '; gate NOT met'})" if effort and effort.precision else ""
        cells.append(
            [
                head[0],
                f"{head[1]}{made}",
                _points(row.accuracy.artifact) + " is float's own" if row.entry.is_float else _drop(row),
                "" if row.entry.is_float else _drop(other),
                "" if effort is None else str(len(effort.in_float)),
                "" if effort is None else str(effort.evaluations),
                "" if row.entry.seconds is None else f"{row.entry.seconds:.1f}",
                f"{row.file_bytes:,}",
                "" if row.entry.is_float else f"{row.p50_ratio:.2f}x",
            ]
        )
    return _table(heads, cells)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(one.replace('|', '/') for one in line)} |" for line in lines)
