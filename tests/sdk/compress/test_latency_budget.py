"""Channels pruned to a share of the measured latency: what the lock holds repeats the result without measuring."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import ConvertOptions, compress, convert
from edgekit._events import Event
from edgekit._recipe import from_recipe
from edgekit_converters.errors import UnsupportedError
from tests.converters import onnx_text

NET = """(float[1,3,32,32] x) => (float[1,8] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(a)  d = Conv<pads = [1, 1, 1, 1]>(r, u, e)  s = Relu(d)
    g = GlobalAveragePool(s)  f = Flatten(g)  y = Gemm<transB = 1>(f, v)
}"""
SHAPES = {"w": (64, 3, 3, 3), "b": (64,), "u": (64, 64, 3, 3), "e": (64,), "v": (8, 64)}
STEP = "prune-channels:latency=0.7,by=l2,refit=off"


@pytest.fixture
def net(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return onnx_text.write(tmp_path / "net.onnx", NET, weights)


@pytest.mark.slow
def test_the_lock_holds_the_multiplications_that_were_found(net: Path, tmp_path: Path) -> None:
    told: list[Event] = []
    report = compress(net, [STEP], tmp_path / "o", ConvertOptions(to=("openvino", "onnx")), told.append)
    (step,) = report.compression
    recipe = tmp_path / "o" / "recipe.lock.toml"
    (locked,) = tomllib.loads(recipe.read_text())["compress"]
    assert locked == {"technique": "prune-channels", "macs": locked["macs"], "by": "l2", "refit": "off"}
    assert step.text == f"prune-channels:macs={locked['macs']},by=l2,refit=off"
    assert 0 < locked["macs"] < 1
    assert step.after.macs <= locked["macs"] * step.before.macs
    assert (step.figures["latency_budget"], step.figures["latency_share"] > 0) == (0.7, True)
    assert f"macs={locked['macs']} 0." in step.figures["latency_trials"]
    assert any("of the time, 70.0% are wanted" in one.detail for one in told)
    document: dict[str, Any] = json.loads((tmp_path / "o" / "report.json").read_text())
    assert document["compression"][0]["figures"]["latency_share"] == step.figures["latency_share"]

    unmeasured = ConvertOptions(to=("openvino", "onnx"), compress=from_recipe(recipe).compress, bench=False)
    again = convert(net, unmeasured, tmp_path / "again")
    assert [one.sha256 for one in again.artifacts] == [one.sha256 for one in report.artifacts]


def test_a_recipe_takes_a_budget_of_time_and_its_schema_knows_it(tmp_path: Path) -> None:
    from edgekit._recipe import schema

    recipe = tmp_path / "r.toml"
    recipe.write_text('schema = 1\n[[compress]]\ntechnique = "prune-channels"\nlatency = 0.67\n')
    assert from_recipe(recipe).compress == ("prune-channels:latency=0.67",)
    steps = schema()["properties"]["compress"]["items"]["oneOf"]
    (mine,) = (one for one in steps if one["properties"]["technique"] == {"const": "prune-channels"})
    assert mine["properties"]["latency"]["type"] == "number"


def test_a_budget_of_time_that_nothing_may_measure_is_refused_before_any_work(net: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="needs latency to be measured: leave --no-bench out"):
        compress(net, [STEP], tmp_path / "o", ConvertOptions(bench=False))
    assert not (tmp_path / "o").exists()
