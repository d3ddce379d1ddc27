"""Shared and snapped weights: as few values as asked, the best ones, zeros kept, and what targets store is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress import technique_for
from edgekit_converters.compress.base import Effect, Setting
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.steps import parse_step
from edgekit_converters.errors import PrecisionError
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.grids.kmeans import centres
from tests.converters import onnx_text

pytest.importorskip("onnx")

NET = """(float[N, 4, 8, 8] x) => (float[N, 5] y) {
    a = Conv<pads = [1, 1, 1, 1], group = 2>(x, w1, b1)
    r = Relu(a)
    g = GlobalAveragePool(r)
    f = Flatten(g)
    y = MatMul(f, w2)
}"""
SHAPES = {"w1": (8, 2, 3, 3), "b1": (8,), "w2": (8, 5)}


def _net(folder: Path, weights: dict[str, Any] | None = None, text: str = NET) -> Path:
    rng = np.random.default_rng(0)
    made = weights or {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return onnx_text.write(folder / "net.onnx", text, made)


def _applied(path: Path, step: str, **more: Any) -> tuple[Any, Effect]:
    model, asked = graph_model.load(path), parse_step(step)
    make_plain(model)
    infer_shapes(model)
    technique = technique_for(asked.technique)
    setting = Setting(work=path.parent, source=path, **more)
    assert technique.check(model, asked.values, setting) is None
    return model, technique.apply(model, asked.values, setting)


def _stored(model: Any) -> dict[str, Any]:
    return {name: one.const_value.numpy() for name, one in model.graph.initializers.items()}


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 40), st.integers(0, 99))
def test_every_weight_is_the_nearest_of_as_many_values_as_asked(
    tmp_path_factory: pytest.TempPathFactory, clusters: int, seed: int
) -> None:
    path = _net(tmp_path_factory.mktemp("net"))
    before = _stored(graph_model.load(path))
    model, effect = _applied(path, f"share-weights:clusters={clusters}", seed=seed)
    after = _stored(model)
    assert np.array_equal(after["b1"], before["b1"])
    for name in ("w1", "w2"):
        values = np.unique(after[name])
        assert len(values) <= clusters
        nearest = values[np.abs(before[name][..., None] - values).argmin(axis=-1)]
        assert np.allclose(np.abs(nearest - before[name]), np.abs(after[name] - before[name]), atol=1e-6)
    bits = max(2, (clusters - 1).bit_length())
    whole = sum(before[name].size * bits + clusters * 32 for name in ("w1", "w2"))
    assert effect.figures["bits_per_weight"] == pytest.approx(whole / sum(before[name].size for name in ("w1", "w2")))


def test_a_codebook_a_channel_is_nearer(tmp_path: Path) -> None:
    path = _net(tmp_path)
    one, each = (_applied(path, f"share-weights:clusters=4,per={per}") for per in ("tensor", "channel"))
    for name, axis in (("w1", 0), ("w2", 1)):
        rows = np.moveaxis(_stored(each[0])[name], axis, 0)
        assert all(len(np.unique(row)) <= 4 for row in rows)
    for coarse, fine in zip(one[1].changes, each[1].changes, strict=True):
        assert float(fine.figures["snr_db"] or 0) > float(coarse.figures["snr_db"] or 0)


def test_zeros_of_pruned_weights_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(size=shape).astype(np.float32) + 2 for name, shape in SHAPES.items()}
    for name in ("w1", "w2"):
        weights[name][rng.random(weights[name].shape) < 0.5] = 0
    model, _ = _applied(_net(tmp_path, weights), "share-weights:clusters=8")
    for name in ("w1", "w2"):
        after = _stored(model)[name]
        assert not after[weights[name] == 0].any()
        assert len(np.unique(after)) <= 8


def test_weighted_centres_are_those_of_values_that_come_so_often() -> None:
    rng = np.random.default_rng(0)
    values, times = rng.normal(size=60), rng.integers(1, 9, 60)
    found = centres(values, 5, np.random.default_rng(0), times.astype(np.float64))
    repeated = np.repeat(values, times)
    cost = ((repeated[:, None] - found) ** 2).min(axis=1).sum()
    plain = centres(repeated, 5, np.random.default_rng(0))
    assert cost <= 1.02 * ((repeated[:, None] - plain) ** 2).min(axis=1).sum()
    assert np.allclose(
        centres(values, 5, np.random.default_rng(3)), centres(values, 5, np.random.default_rng(3), np.ones(60))
    )


@pytest.mark.parametrize("step", ["share-weights:clusters=6", "snap:grid=log,bits=3", "snap:grid=power-of-two,bits=3"])
def test_errors_that_count_by_the_data_keep_outputs_nearer(step: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    weights = {"w": rng.normal(size=(64, 16)).astype(np.float32)}
    weights["w"][:8] *= 0.1  # small weights that are multiplied with large values
    path = _net(tmp_path, weights, "(float[N, 64] x) => (float[N, 16] y) { y = MatMul(x, w) }")
    x = rng.normal(size=(300, 64)).astype(np.float32)
    x[:, :8] *= 60
    wanted, lost = x @ weights["w"], []
    for more in ("", ",weighted"):
        model, _ = _applied(path, step + more, calibration={"x": x})
        graph_model.save(model, tmp_path / "ran.onnx")
        lost.append(float(np.mean((session(tmp_path / "ran.onnx").run(None, {"x": x})[0] - wanted) ** 2)))
    assert lost[1] <= lost[0]
    assert lost[1] < lost[0] or step.startswith("snap")  # of two scales it may be the same one


GRIDS = {
    "grid=linear": {"tflite": "as it is, INT8", "openvino": "as it is, i8, u8", "onnx": "as it is, int8, uint8"},
    "grid=linear,bits=4,group=32": {"tflite": "as it is, INT4", "openvino": "as it is, i4, u4"},
    "grid=linear,bits=6": {"tflite": "otherwise, INT8", "openvino": "otherwise, i8"},
    "grid=log": {"tflite": "otherwise, INT8", "openvino": "as it is, u4, u8", "onnx": "otherwise, int8"},
    "grid=log,per=channel": {"openvino": "otherwise, i8"},
    "grid=power-of-two": {"tflite": "as it is, INT8, INT4", "onnx": "as it is, int8, int4"},
    "grid=kmeans": {"tflite": "otherwise, FLOAT32", "openvino": "as it is, u4, u8", "onnx": "otherwise, uint8"},
    "grid=kmeans,group=64": {"openvino": "otherwise, f16"},
    "grid=nf4": {"tflite": "otherwise, FLOAT32", "openvino": "as it is, nf4", "onnx": "otherwise, uint8"},
}


@pytest.mark.parametrize(("grid", "said"), GRIDS.items(), ids=GRIDS)
def test_every_grid_says_its_bits_and_what_targets_store(grid: str, said: dict[str, str], tmp_path: Path) -> None:
    _, effect = _applied(_net(tmp_path), f"snap:{grid}")
    assert 2 <= float(effect.figures["bits_per_weight"] or 0) < 20
    for target, form in said.items():
        assert str(effect.figures[f"stored_{target}"]).startswith(f"{form}: ")
    _, effect = _applied(_net(tmp_path), f"snap:{grid}", targets=("openvino",))
    assert [key for key in effect.figures if key.startswith("stored_")] == ["stored_openvino"]


def test_weights_that_are_no_numbers_or_an_output_are_left_with_the_reason(tmp_path: Path) -> None:
    weights = {"w1": np.ones((4, 4), np.float32), "w2": np.full((4, 4), np.inf, np.float32)}
    text = "(float[N, 4] x) => (float[N, 4] y) { a = MatMul(x, w1)\n y = MatMul(a, w2) }"
    _, effect = _applied(_net(tmp_path, weights, text), "share-weights")
    assert [(one.layer, one.why) for one in effect.left] == [("y", "its weights hold values that are no numbers")]
    technique, asked = technique_for("snap"), parse_step("snap")
    path = _net(tmp_path, {}, "(float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }")
    setting = Setting(work=tmp_path, source=path)
    assert technique.check(graph_model.load(path), asked.values, setting) == "it has no weights a grid is for"


@pytest.mark.parametrize("text", ["share-weights:clusters=1", "share-weights:clusters=257", "share-weights:per=layer",
                                  "snap:grid=cubic", "snap:bits=9"])  # fmt: skip
def test_wrong_options_are_refused_while_they_are_read(text: str) -> None:
    with pytest.raises(PrecisionError):
        parse_step(text)


def test_a_grid_without_such_an_option_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match="nf4 has no option 'bits'"):
        _applied(_net(tmp_path), "snap:grid=nf4,bits=3")


def test_what_errors_count_by_is_needed_only_then() -> None:
    for name in ("snap", "share-weights"):
        needs = [technique_for(name).needs(parse_step(f"{name}{more}").values) for more in ("", ":weighted")]
        assert needs == [frozenset(), frozenset({"calibration"})]
