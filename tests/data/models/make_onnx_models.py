"""Write the small ONNX models beside this file: `python tests/data/models/make_onnx_models.py` (needs onnx).

The files are committed, so that tests of the device side need only ONNX Runtime; this is how they came to be.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253  # a script of its own
from onnx import TensorProto, helper, numpy_helper  # noqa: TID253

HERE = Path(__file__).resolve().parent
SEED = 7
FLOAT = TensorProto.FLOAT


def main() -> None:
    """Write them all."""
    rng = np.random.default_rng(SEED)
    first, second, square = (rng.normal(size=size).astype("f") for size in ((4, 8), (8, 3), (4, 4)))
    layers = [node("MatMul", "x", "first", to="a"), node("Relu", "a", to="b"), node("MatMul", "b", "second", to="y")]
    # a free batch with a name
    write("dense", layers, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["M", 3])], first=first, second=second)
    # a free length besides the batch, both without names
    write(
        "length",
        [node("MatMul", "x", "square", to="all")],
        [("x", FLOAT, [None, None, 4])],
        [("all", FLOAT, [None, None, 4])],
        square=square,
    )
    # whole numbers at the rim: uint8 in, int8 a channel out, whose scales are a Constant node's
    scales = np.array([0.5, 0.25, 2], np.float32)
    constant = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(scales))
    points: dict[str, Any] = {
        "zero": np.array(128, np.uint8),
        "zeros": np.array([0, -3, 5], np.int8),
        "scale": np.float32(1 / 32),
    }
    quantized = [
        constant,
        node("DequantizeLinear", "x", "scale", "zero", to="real"),
        node("MatMul", "real", "w", to="sums"),
        helper.make_node("QuantizeLinear", ["sums", "s", "zeros"], ["y"], axis=-1),
    ]
    sides = ([("x", TensorProto.UINT8, ["N", 4])], [("y", TensorProto.INT8, ["N", 3])])
    write("quantized", quantized, *sides, w=first[:, :3], **points)


def node(op: str, *takes: str, to: str) -> Any:
    """Return a node with one output."""
    return helper.make_node(op, list(takes), [to])


def write(name: str, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], **weights: Any) -> None:
    """Write a model of opset 17."""
    sides = [[helper.make_tensor_value_info(*one) for one in side] for side in (inputs, outputs)]
    stored = [numpy_helper.from_array(np.asarray(one), key) for key, one in weights.items()]
    graph = helper.make_graph(list(nodes), name, *sides, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / f"{name}.onnx")


if __name__ == "__main__":
    main()
