"""`edgekit inspect`: what it tells of a model and the page it draws."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import edgekit
from edgekit._inspect_html import to_html

Shapes = dict[str, list[str | int]]


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", "inspect", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def quantized(repository: Path) -> Path:
    return repository / "tests" / "data" / "models" / "conv_int8.tflite"


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


def _onnx(path: Path, nodes: Sequence[tuple[str, str, str]], inputs: Shapes, outputs: Shapes) -> Path:
    """Write an ONNX model of (operator, inputs, output), whole numbers where a name begins with `n`."""
    import onnx
    from onnx import TensorProto, helper

    def declared(shapes: Shapes) -> list[onnx.ValueInfoProto]:
        types = {name: TensorProto.INT64 if name.startswith("n") else TensorProto.FLOAT for name in shapes}
        return [helper.make_tensor_value_info(name, types[name], shape) for name, shape in shapes.items()]

    made = [helper.make_node(op, takes.split(" "), [gives], f"{op} {gives}") for op, takes, gives in nodes]
    graph = helper.make_graph(made, "net", declared(inputs), declared(outputs))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


@pytest.fixture
def free(tmp_path: Path) -> Path:
    """An ONNX model with a free batch and length, and a tensor whose number of dimensions nobody knows."""
    nodes = [("Relu", "x", "y"), ("Reshape", "y numbers", "z"), ("Relu", "z", "last")]
    inputs: Shapes = {"x": ["batch", "length", 4], "numbers": ["rank"]}
    return _onnx(tmp_path / "free.onnx", nodes, inputs, {"last": ["all"]})


def _facts(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    facts: dict[str, Any] = json.loads(found[1])
    return facts


def test_free_dimensions_are_listed_and_sizes_nobody_knows_are_counted(free: Path) -> None:
    found = edgekit.inspect(free)
    shapes = {one["name"]: one["shape"] for one in found["dynamic"]}
    assert shapes == {"x": [None, None, 4], "numbers": [None], "y": [None, None, 4], "z": None, "last": [None]}
    assert found["memory"]["unknown_sizes"] == 1
    assert found["memory"]["peak_bytes"] == 3 * 64  # x, numbers and y, each rounded up


def test_text_says_what_free_dimensions_count_as(free: Path) -> None:
    answer = command(free, "--layers")
    assert answer.returncode == 0, answer.stderr
    assert "free dimensions: in 4 tensors; sizes and MACs count each of them as 1" in answer.stdout
    assert "not counted in memory: 1 tensors of unknown size" in answer.stdout
    assert "of unknown shape float32" in answer.stdout


def test_text_shows_the_quantization_of_every_layer(quantized: Path) -> None:
    answer = command(quantized, "--layers")
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"CONV_2D .* scale [0-9.e-]+, zero point -?\d+", answer.stdout)
    assert "with a scale a channel" in answer.stdout


def test_the_page_draws_every_layer_and_refers_to_nothing_outside(quantized: Path) -> None:
    found = edgekit.inspect(quantized)
    page = to_html(found)
    assert not re.search(r"(src|href)=|https?:|@import|url\((?!#)", page)
    drawn = set(re.findall(r'<g class="box [^"]*" id="(\w+)"', page))
    assert drawn == {f"l{at}" for at in range(len(found["layers"]))} | {"t0"}
    assert set(_facts(page)) == drawn
    assert page.count('<path class="edge"') >= len(found["layers"])
    assert any("scales along axis" in one["grid"] for layer in _facts(page).values() for one in layer["inputs"])


def test_a_models_names_cannot_write_into_the_page(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>"
    path = _onnx(tmp_path / "names.onnx", [("Relu", "x", name)], {"x": [1]}, {name: [1]})
    page = to_html(edgekit.inspect(path))
    assert "<script>alert" not in page
    assert _facts(page)["l0"]["name"] == f"Relu {name}"


def test_a_model_of_a_thousand_layers_is_a_page(tmp_path: Path) -> None:
    nodes = [("Relu", f"v{at}", f"v{at + 1}") for at in range(1000)]
    page = tmp_path / "long.html"
    path = _onnx(tmp_path / "long.onnx", nodes, {"v0": [1, 8]}, {"v1000": [1, 8]})
    answer = command(path, "--html", page, "--json")
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)["layers"]) == 1000
    assert page.read_text().count('<g class="box') == 1001


@pytest.mark.slow
def test_a_browser_runs_the_pages_script(quantized: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs chromium")
    page = tmp_path / "page.html"
    page.write_text(to_html(edgekit.inspect(quantized)))
    own = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
    done = subprocess.run(
        [browser, *own, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=False
    )
    assert re.search(r'<svg id="graph" [^>]*viewBox="', done.stdout), done.stderr[-500:]
    assert 'class="frame"' in done.stdout
