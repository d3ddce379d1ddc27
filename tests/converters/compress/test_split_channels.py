"""Layers in parts compute what they did: every kind of layer, every way, and those without parts are refused."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress.base import Setting
from edgekit_converters.compress.engine import compress
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.compress.split_channels import SplitChannels
from edgekit_converters.compress.steps import parse_step
from edgekit_converters.errors import PrecisionError
from edgekit_converters.graph.oracle import session
from edgekit_converters.jobs import JobRunner
from tests.converters.compress.image_nets import Stack

TOLERANCE = 1e-5  # of the largest value: sums in another order
HERE = Setting(work=Path(), source=Path())


def parsed(text: str, weights: dict[str, Any], opset: int = 17) -> Any:
    import onnx

    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(proto)
    return proto


def split(proto: Any, text: str, setting: Setting = HERE) -> Any:
    """Return the model in parts, after a look whether they compute the same."""
    import onnx
    import onnx_ir as ir

    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    effect = SplitChannels().apply(model, parse_step(text).values, setting)
    assert effect.changes
    made = ir.serde.serialize_model(model)
    onnx.checker.check_model(made, full_check=True)
    shapes = {one.name: [size.dim_value or 2 for size in one.type.tensor_type.shape.dim] for one in proto.graph.input}
    feeds = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for got, wanted in zip(session(made).run(None, feeds), session(proto).run(None, feeds), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(wanted).max())))
    return made


def ops(proto: Any) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


@given(
    seed=st.integers(0, 2**16),
    channels=st.integers(2, 7),
    made=st.integers(2, 7),
    parts=st.integers(2, 7),
    along=st.sampled_from(["output", "input"]),
    bias=st.booleans(),
    stride=st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_any_convolution_in_any_parts_computes_the_same(  # noqa: PLR0913, PLR0917  # drawn
    seed: int, channels: int, made: int, parts: int, along: str, bias: bool, stride: int
) -> None:
    stack = Stack(seed, channels, (7, 6))
    stack.conv(made, (3, 2), bias=bias, strides=[stride, 1], pads=[1, 0, 1, 1])
    size = made if along == "output" else channels
    text = f"split-channels:parts={parts},along={along}"
    if parts > size:
        assert SplitChannels().check(_read(stack), parse_step(text).values, HERE) == (
            f"Conv0: its {size} channels make no {parts} parts"
        )
        return
    after = ops(split(stack.proto(), text))
    assert after["Conv"] == parts
    assert after["Concat" if along == "output" else "Add"] == (1 if along == "output" else parts - 1)


def _read(stack: Stack) -> Any:
    import onnx_ir as ir

    model = ir.serde.deserialize_model(stack.proto())
    infer_shapes(model)
    return model


@pytest.mark.parametrize("group", [3, 6])
def test_a_grouped_convolution_is_split_between_its_groups(group: int) -> None:
    stack = Stack(1, 6, (5, 5))
    stack.conv(12, (3, 3), group=group)
    made = split(stack.proto(), "split-channels:parts=2")
    groups = [one.i for node in made.graph.node for one in node.attribute if one.name == "group"]
    assert sum(groups) == group
    assert ops(made)["Slice"] == 2


DENSE: dict[str, str] = {
    "matmul": "(float[N,5] x) => (float[N,8] y) { y = MatMul(x, w) }",
    "matmul of sequences": "(float[N,3,5] x) => (float[N,3,8] y) { y = MatMul(x, w) }",
    "gemm": "(float[N,5] x) => (float[N,8] y) { y = Gemm(x, w, b) }",
    "gemm without bias": "(float[N,5] x) => (float[N,8] y) { y = Gemm(x, w) }",
    "gemm turned": "(float[N,5] x) => (float[N,8] y) { y = Gemm<transB=1>(x, wt, b) }",
    "gemm of a turned input": "(float[5,2] x) => (float[2,8] y) { y = Gemm<transA=1>(x, w, b) }",
    "gemm scaled": "(float[N,5] x) => (float[N,8] y) { y = Gemm<alpha=0.5,beta=2.0>(x, w, b) }",
    "gemm with one bias for all": "(float[N,5] x) => (float[N,8] y) { y = Gemm(x, w, s) }",
    "gemm with a computed bias": "(float[N,5] x, float[1,8] c) => (float[N,8] y) { y = Gemm(x, w, c) }",
}


@pytest.mark.parametrize("along", ["output", "input"])
@pytest.mark.parametrize("text", DENSE.values(), ids=DENSE)
def test_dense_layers_compute_the_same(text: str, along: str) -> None:
    rng = np.random.default_rng(3)
    weights = {"w": rng.normal(size=(5, 8)), "wt": rng.normal(size=(8, 5)), "b": rng.normal(size=8), "s": np.ones(1)}
    used = {name: one.astype(np.float32) for name, one in weights.items() if f" {name}" in text.partition("{")[2]}
    made = split(parsed(text, used), f"split-channels:parts=3,along={along}")
    assert ops(made)["Gemm"] + ops(made)["MatMul"] == 3


@pytest.mark.parametrize("opset", [7, 9, 11, 18])
@pytest.mark.parametrize("along", ["output", "input"])
def test_it_is_written_as_the_opset_has_it(along: str, opset: int) -> None:
    rng = np.random.default_rng(3)
    weights = {"w": rng.normal(size=(5, 8)).astype(np.float32), "b": rng.normal(size=8).astype(np.float32)}
    split(parsed(DENSE["gemm"], weights, opset), f"split-channels:along={along}")


def test_shared_weights_stay_for_the_other_layer() -> None:
    rng = np.random.default_rng(3)
    text = "(float[N,5] x) => (float[N,5] y) { a = MatMul(x, w) \n y = MatMul(a, w) }"
    made = split(parsed(text, {"w": rng.normal(size=(5, 5)).astype(np.float32)}), "split-channels:parts=5")
    assert ops(made)["MatMul"] == 6


def test_the_largest_layers_are_split_and_the_largest_tensor_becomes_a_part(tmp_path: Path) -> None:
    import onnx

    stack, path = Stack(1, 4, (6, 6)), tmp_path / "net.onnx"
    stack.conv(8, (1, 1))
    stack.conv(32, (3, 3))
    stack.conv(2, (1, 1))
    onnx.save(stack.proto(), path)
    done = compress(path, [parse_step("split-channels:parts=4")], JobRunner(log=tmp_path / "log"), tmp_path)
    (stage,) = done.stages
    assert [one.layer for one in stage.effect.changes] == ["Conv1"]
    assert stage.effect.changes[0].figures == {"weights_bytes": 9216, "largest_part_bytes": 2304}
    assert stage.effect.figures == {"largest_weights_bytes_before": 9216, "largest_weights_bytes": 2304}
    assert stage.after["parameters"] == stage.before["parameters"]
    assert stage.after["macs"] == stage.before["macs"]


def test_layers_that_were_named_are_split_and_no_others() -> None:
    stack = Stack(1, 4, (6, 6))
    stack.conv(8, (3, 3))
    stack.conv(8, (3, 3))
    setting = Setting(work=Path(), source=Path(), only=frozenset({"Conv0"}))
    made = split(stack.proto(), "split-channels:parts=2", setting)
    assert {node.name for node in made.graph.node if node.op_type == "Conv"} == {"Conv0/part0", "Conv0/part1", "Conv1"}


REFUSED = {
    "grouped along its inputs": ("input", 3, "its inputs are in 3 groups already"),
    "fewer groups than parts": ("output", 3, "its 3 groups make no 4 parts"),
}


@pytest.mark.parametrize(("along", "group", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_layer_without_such_parts_is_refused(along: str, group: int, reason: str) -> None:
    stack = Stack(1, 6, (5, 5))
    stack.conv(6, (3, 3), group=group)
    values = parse_step(f"split-channels:parts=4,along={along}").values
    assert reason in str(SplitChannels().check(_read(stack), values, HERE))


def test_weights_on_the_left_are_refused() -> None:
    import onnx_ir as ir

    proto = parsed("(float[5,3] x) => (float[8,3] y) { y = MatMul(w, x) }", {"w": np.ones((8, 5), np.float32)})
    model = ir.serde.deserialize_model(proto)
    said = SplitChannels().check(model, parse_step("split-channels").values, HERE)
    assert "its weights stand on the left" in str(said)


def test_a_model_without_layers_is_refused() -> None:
    stack = Stack(1, 6, (5, 5))
    stack.add("Relu")
    assert "no dense layer or convolution" in str(
        SplitChannels().check(_read(stack), parse_step("split-channels").values, HERE)
    )


@pytest.mark.parametrize("text", ["split-channels:parts=1", "split-channels:along=rows", "split-channels:axis=0"])
def test_bad_options_are_refused_while_they_are_read(text: str) -> None:
    with pytest.raises(PrecisionError, match="option"):
        parse_step(text)
