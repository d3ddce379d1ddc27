"""Rows that layers take: weights multiplied by them are what ONNX's own evaluator gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.compress.moments import moments_of
from edgekit_converters.compress.places import rows_in
from edgekit_converters.graph.weights import weights_of

CONVOLUTIONS = {
    "plain": ("[2,6,9,7]", (5, 6, 3, 3), ""),
    "padded": ("[2,6,9,7]", (5, 6, 3, 2), "<pads=[1,0,2,1]>"),
    "strided": ("[2,6,9,8]", (4, 6, 3, 3), "<strides=[2,3],pads=[1,1,1,1]>"),
    "dilated": ("[1,4,12,11]", (3, 4, 3, 2), "<dilations=[2,3]>"),
    "grouped": ("[2,6,7,7]", (9, 2, 3, 3), "<group=3>"),
    "depthwise": ("[2,6,7,7]", (6, 1, 3, 3), "<group=6,strides=[2,2]>"),
    "same": ("[1,3,10,9]", (4, 3, 3, 4), '<auto_pad="SAME_UPPER",strides=[2,2]>'),
    "lower": ("[1,3,10,9]", (4, 3, 4, 2), '<auto_pad="SAME_LOWER",strides=[3,2]>'),
    "one dimension": ("[3,4,15]", (5, 4, 3), "<strides=[2]>"),
    "three dimensions": ("[1,2,6,5,4]", (3, 2, 2, 3, 2), ""),
}


@pytest.mark.parametrize(("shape", "kernel", "how"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_rows_of_a_convolution_times_its_weights_are_its_output(shape: str, kernel: tuple[int, ...], how: str) -> None:
    import onnx_ir as ir
    from onnx import numpy_helper, parser
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    weights = rng.normal(size=kernel).astype(np.float32)
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13]>\ng (float{shape} x) => (float y) {{ y = Conv{how}(x, w) }}'
    )
    proto.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    x = rng.normal(size=[int(one) for one in shape.strip("[]").split(",")]).astype(np.float32)
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": x})
    (layer,) = weights_of(ir.serde.deserialize_model(proto))
    rows: list[Any] = rows_in(layer.node, x)
    each = kernel[0] // len(rows)
    made = [one @ weights[g * each : (g + 1) * each].reshape(each, -1).T for g, one in enumerate(rows)]
    got = np.concatenate(made, axis=1).reshape(len(x), *wanted.shape[2:], kernel[0])
    assert np.allclose(np.moveaxis(got, -1, 1), wanted, atol=1e-4)


def test_moments_are_those_of_all_rows_of_all_samples(tmp_path: Path) -> None:
    import onnx_ir as ir
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("Gemm", ["r", "b"], ["y"], "last", transB=1),
    ]
    nodes.insert(1, helper.make_node("Reshape", ["h", "s"], ["r"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 4, 3])],
        [helper.make_tensor_value_info("y", 1, [4, 2])],
        [
            numpy_helper.from_array(rng.normal(size=(3, 5)).astype(np.float32), "a"),
            numpy_helper.from_array(rng.normal(size=(2, 5)).astype(np.float32), "b"),
            numpy_helper.from_array(np.array([-1, 5]), "s"),
        ],
    )
    model = ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    )
    x = rng.normal(size=(7, 4, 3)).astype(np.float32)
    found = moments_of(model, list(weights_of(model)), {"x": x}, tmp_path / "m.onnx")
    rows = x.reshape(-1, 3).astype(np.float64)
    inner = rows @ numpy_helper.to_array(graph.initializer[0])
    assert {name: len(one) for name, one in found.items()} == {"first": 1, "last": 1}
    for name, matrix in (("first", rows), ("last", inner)):
        (one,) = found[name]
        assert one.count == 28
        assert np.allclose(one.total, matrix.sum(axis=0), atol=1e-4)
        assert np.allclose(one.gram, matrix.T @ matrix, atol=1e-3)
