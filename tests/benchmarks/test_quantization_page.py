"""The page of the quantization benchmark says plainly where EdgeKit is behind, and only there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import _metrics
from tests.benchmarks.quantization_page import Page, Section, behind_in
from tests.benchmarks.quantization_rows import Entry, Judged, Row

SAMPLES = 200
LABELS = np.zeros(SAMPLES, np.int64)


def _answers(right: int) -> Any:
    answers = np.tile(np.array([1.0, 0.0]), (SAMPLES, 1))
    answers[right:] = (0.0, 1.0)
    return {"y": answers}


def _judged(ours: dict[str, Any], theirs: dict[str, Any]) -> Judged:
    """Return float with 150 of 200 right, EdgeKit's file and another's."""
    plain = {"right": 150, "file_bytes": 100, "weights_bytes": 50, "p50_ms": 1.0, "seconds": 10.0}
    rows, answers = [], {}
    for at, (name, more) in enumerate({"float": {}, "EdgeKit": ours, "Other": theirs}.items()):
        figures = {**plain, **more}
        answers[at] = _answers(figures.pop("right"))
        entry = Entry(
            name=name, runtime="tflite", path=Path(name), seconds=figures.pop("seconds"), is_float=name == "float"
        )
        found = _metrics.accuracy("top1", {"y": LABELS}, answers[at], answers[0])
        rows.append(Row(entry=entry, accuracy=found, snr_db=20.0, p50_ratio=1.0, **figures))
    return Judged(rows=tuple(rows), answers=answers, metric="top1", labels={"y": LABELS})


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        pytest.param({}, {}, None, id="equal"),
        pytest.param({"right": 140}, {}, "TFLite accuracy by 5.00 points", id="less accurate"),
        pytest.param({"right": 149}, {}, "may be chance", id="one sample"),
        pytest.param({}, {"right": 170}, None, id="above float is luck"),
        pytest.param({"file_bytes": 102}, {}, "TFLite file 1.02x (Other)", id="larger"),
        pytest.param({"p50_ms": 1.02}, {}, None, id="within noise"),
        pytest.param({"p50_ms": 1.2}, {}, "TFLite p50 1.20x (Other)", id="slower"),
        pytest.param({"seconds": 20.0}, {}, "TFLite seconds 2.00x (Other)", id="later"),
        pytest.param({"weights_bytes": 20, "p50_ms": 0.5}, {}, None, id="ahead"),
    ],
)
def test_what_is_worse_than_another_tool_is_said(
    ours: dict[str, Any], theirs: dict[str, Any], said: str | None
) -> None:
    found = behind_in(_judged(ours, theirs))
    assert len(found) == (0 if said is None else 1)
    assert said is None or said in found[0]


def test_the_page_names_the_command_and_lists_what_is_behind_first() -> None:
    section = Section(title="Net", note="made up", metric="top1", judged=_judged({"p50_ms": 1.2}, {}))
    page = Page(sections=(section,), hard=(), skipped=("x: it needs y",), command="python -m z", seconds=60, rounds=1)
    text = page.to_text()
    assert "`python -m z`" in text
    assert "- Net: TFLite p50 1.20x (Other)" in text
    assert "Left out: x: it needs y." in text
    assert "| TFLite | EdgeKit | 75.00 (" in text


def test_a_row_that_failed_says_why() -> None:
    judged = _judged({}, {})
    failed = Row(entry=Entry(name="Olive", runtime="onnx", failed="no such op"), failed="no such op")
    both = Judged(rows=(*judged.rows, failed), answers=judged.answers, metric="top1", labels=judged.labels)
    section = Section(title="Net", note="made up", metric="top1", judged=both)
    text = Page(sections=(section,), hard=(), skipped=(), command="c", seconds=1, rounds=1).to_text()
    assert "| ONNX Runtime | Olive | - (no such op) |" in text
