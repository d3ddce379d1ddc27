"""The models made hard on purpose: what they compute stays, what one grid must cover spreads."""

from typing import Any

import numpy as np
import pytest

from tests.benchmarks import hard_models

CHANNELS, CLASSES = 12, 10


@pytest.fixture
def net() -> Any:
    """Return Conv, Relu, Conv, Relu, depthwise Conv, mean, MatMul, Add, Softmax with free batch."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    shapes = {
        "w1": (CHANNELS, 3, 3, 3), "b1": (CHANNELS,), "w2": (CHANNELS, CHANNELS, 1, 1), "b2": (CHANNELS,),
        "w3": (CHANNELS, 1, 3, 3), "w4": (CHANNELS, CLASSES), "b4": (CLASSES,),
    }  # fmt: skip
    weights = [numpy_helper.from_array(rng.normal(0, 0.5, one).astype(np.float32), key) for key, one in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], group=CHANNELS),
        helper.make_node("ReduceMean", ["c3"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "w4"], ["dense"]),
        helper.make_node("Add", ["dense", "b4"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    taken = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "net", [taken], [given], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _run(model: Any, inner: str | None = None) -> Any:
    import onnx
    import onnxruntime

    onnx.checker.check_model(model, full_check=True)
    if inner:
        shown = onnx.ModelProto()
        shown.CopyFrom(model)
        shown.graph.output.append(onnx.helper.make_tensor_value_info(inner, onnx.TensorProto.FLOAT, None))
        model = shown
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).random((16, 3, 8, 8), dtype=np.float32)
    return session.run(None, {"x": images})[-1]


@pytest.mark.slow
def test_spread_channels_compute_the_same_from_other_ranges(net: Any) -> None:
    before, inner = _run(net), _run(net, "r1")
    assert hard_models.spread(net, decades=1.5) == 2
    after = _run(net, "r1")
    np.testing.assert_allclose(_run(net), before, atol=1e-5)
    factors = (after / np.where(inner == 0, 1, inner)).max((0, 2, 3))
    assert factors.max() / factors[factors > 0].min() > 10


@pytest.mark.slow
def test_hard_swish_stands_where_relu_stood_and_changes_little(net: Any) -> None:
    before = _run(net)
    assert hard_models.hard_swish(net, most=2, low=2, high=3) == 2
    assert [one.op_type for one in net.graph.node].count("HardSwish") == 2
    np.testing.assert_allclose(_run(net), before, atol=0.05)


@pytest.mark.slow
def test_a_detection_head_joins_scores_and_pixels(net: Any) -> None:
    before = _run(net)
    assert hard_models.detection_head(net) == 1
    joined = _run(net)
    assert joined.shape == (16, CLASSES + hard_models.BOXES)
    np.testing.assert_allclose(joined[:, :CLASSES], before, atol=1e-6)
    assert joined[:, CLASSES:].max() > 100


@pytest.mark.parametrize("columns", [CLASSES, CLASSES + hard_models.BOXES])
def test_a_class_is_right_by_its_score_and_not_by_a_box(columns: int) -> None:
    outputs = np.zeros((2, columns))
    outputs[:, -1] = 0.5
    outputs[:, 3] = 1.0
    outputs[:, CLASSES:] *= 100
    assert hard_models.class_is_right({"y": outputs}, np.array([3, 4])).tolist() == [True, False]
