"""`edgekit inspect`: what it tells of a model, the page it draws, and the hand-over to a viewer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgekit
from edgekit._graph_layout import layout
from edgekit._inspect_html import to_html

STAND_IN = """
import os, pathlib
def start(file, address=None):
    pathlib.Path(os.environ["SHOWN"]).write_text(f"{file} {address}")
def wait():
    pass
"""


def command(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", "inspect", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def quantized(repository: Path) -> Path:
    return repository / "tests" / "data" / "models" / "conv_int8.tflite"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 12))
    pairs = [(start, end) for end in range(count) for start in range(end)]
    return count, draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []


@given(graphs())
def test_boxes_never_overlap_and_edges_go_down(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = graph
    placed = layout(count, edges)
    spots = [(placed.row[one], placed.x[one]) for one in range(count)]
    for at, (row, x) in enumerate(spots):
        assert 0 <= x <= placed.width - 1 + 1e-9
        assert 0 <= row < placed.rows
        assert all(other_row != row or abs(other - x) >= 1 - 1e-9 for other_row, other in spots[:at])
    for (start, end), path in zip(edges, placed.edges, strict=True):
        rows = [row for _, row in path]
        assert rows == list(range(placed.row[start], placed.row[end] + 1))
        assert (path[0], path[-1]) == ((placed.x[start], placed.row[start]), (placed.x[end], placed.row[end]))


def test_the_document_has_layers_memory_and_quantization(quantized: Path) -> None:
    found = edgekit.inspect(quantized)
    assert (found["schema"], found["format"], found["macs"]) == (1, "tflite", 1152)
    assert sum(row["count"] for row in found["operators"]) == len(found["layers"]) == 3
    assert [spec["name"] for spec in (*found["inputs"], *found["outputs"])] == ["image", "scores"]
    for spec in (*found["inputs"], *found["outputs"]):
        assert len(spec["quantization"]["scale"]) == len(spec["quantization"]["zero_point"]) == 1
    memory = found["memory"]
    peak = memory["peak"]
    alive = [found["tensors"][place]["bytes"] for place in peak["alive"]]
    rounded = [-(-size // memory["alignment_bytes"]) * memory["alignment_bytes"] for size in alive]
    assert sum(rounded) == memory["peak_bytes"] == found["layers"][peak["layer"]]["alive_bytes"]
    assert memory["lower_bound_bytes"] <= memory["peak_bytes"] <= memory["arena_bytes"]


def test_the_page_draws_every_layer_and_points_nowhere(quantized: Path) -> None:
    found = edgekit.inspect(quantized)
    page = to_html(found)
    for at, layer in enumerate(found["layers"]):
        assert f'id="l{at}"' in page
        assert layer["name"] in page
    assert page.count('class="edge"') >= len(found["layers"])
    for outside in ("http:", "https:", "src=", "@import", "url(http"):
        assert outside not in page


def test_a_name_that_is_markup_stays_a_name(quantized: Path) -> None:
    found = edgekit.inspect(quantized)
    found["layers"][0]["name"] = "</script><script>alert(1)</script>"
    page = to_html(found)
    assert "<script>alert" not in page


@pytest.mark.slow
def test_the_command_writes_the_page_and_tells_the_quantization(quantized: Path, tmp_path: Path) -> None:
    page = tmp_path / "m.html"
    done = command(quantized, "--layers", "--html", page)
    assert done.returncode == 0, done.stderr
    assert "quantization" in done.stdout
    assert "zero point" in done.stdout
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_a_page_that_cannot_be_written_is_one_sentence(quantized: Path, tmp_path: Path) -> None:
    done = command(quantized, "--html", tmp_path / "none" / "m.html")
    assert done.returncode == 4
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_viewer_is_told_the_file_and_to_listen_here_only(quantized: Path, tmp_path: Path) -> None:
    (tmp_path / "netron.py").write_text(STAND_IN)
    shown = tmp_path / "shown"
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = command(quantized, "--json", "--open-with", "netron", PYTHONPATH=paths, SHOWN=str(shown))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["format"] == "tflite"
    assert shown.read_text() == f"{quantized.resolve()} ('127.0.0.1', 0)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("viewer", "code", "said"),
    [
        ("model-explorer", 4, "pip install ai-edge-model-explorer"),
        ("paint", 2, "there is no viewer 'paint'; there are: netron, model-explorer"),
    ],
)
def test_a_viewer_that_is_not_there_is_told_before_the_work(viewer: str, code: int, said: str, quantized: Path) -> None:
    done = command(quantized, "--open-with", viewer)
    assert done.returncode == code
    assert said in done.stderr
    assert not done.stdout
