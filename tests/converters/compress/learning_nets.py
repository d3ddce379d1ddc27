"""Small nets that techniques with gradients are tried on, as `onnx_ir` models; no PyTorch in here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.compress.figures import infer_shapes


def model(body: str, given: str, taken: str, stored: Mapping[str, Any], seed: int = 0) -> Any:
    """Return a model of ONNX text; weights of shapes are drawn as He et al. 2015 do, arrays stay."""
    import onnx_ir as ir
    from onnx import numpy_helper, parser

    proto = parser.parse_model(f'<ir_version: 10, opset_import: ["": 18]>\ng ({given}) => ({taken}) {{ {body} }}')
    rng = np.random.default_rng(seed)
    for name, one in stored.items():
        array = _drawn(one, rng) if isinstance(one, tuple) else one
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    made = ir.serde.deserialize_model(proto)
    infer_shapes(made)
    return made


def _drawn(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    spread = np.sqrt(2 / np.prod(shape[1:] if len(shape) > 2 else shape[:1]))
    return (spread * rng.normal(size=shape)).astype(np.float32)


def classifier(*, batch: str = "N", width: int = 8, seed: int = 0, softmax: bool = True) -> Any:
    """Return a residual net for the 8x8 digits: 1x8x8 to ten classes."""
    end = "l = Gemm(f, w3, b3) y = Softmax(l)" if softmax else "y = Gemm(f, w3, b3)"
    return model(
        f"""a = Conv<pads=[1,1,1,1]>(x, w0, b0) stem = Relu(a)
            c = Conv<pads=[1,1,1,1]>(stem, w1, b1) d = Relu(c) e = Conv<pads=[1,1,1,1]>(d, w2, b2)
            s = Add(e, stem) inner = Relu(s) p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(inner)
            f = Flatten(p) {end}""",
        f"float[{batch},1,8,8] x",
        f"float[{batch},10] y",
        {
            "w0": (8, 1, 3, 3), "b0": (8,), "w1": (width, 8, 3, 3), "b1": (width,), "w2": (8, width, 3, 3), "b2": (8,),
            "w3": (128, 10), "b3": (10,),
        },
        seed=seed,
    )  # fmt: skip


def regressor(seed: int = 0) -> Any:
    """Return a dense net of three numbers to two."""
    return model(
        "a = MatMul(x, w0) b = Add(a, b0) c = Tanh(b) y = Gemm(c, w1, b1)",
        "float[N,3] x",
        "float[N,2] y",
        {"w0": (3, 16), "b0": (16,), "w1": (16, 2), "b1": (2,)},
        seed=seed,
    )


def weights(made: Any) -> dict[str, Any]:
    """Return copies of a model's stored tensors."""
    return {name: np.array(one.const_value.numpy()) for name, one in made.graph.initializers.items()}


def saved(made: Any, path: Path) -> Path:
    """Write a model."""
    import onnx_ir as ir

    ir.save(made, path)
    return path
