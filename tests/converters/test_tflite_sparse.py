"""Sparse TFLite tensors: the same answers on every runtime there is, smaller files, and others left as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import tflite_file
from edgekit_converters.conversion import ConversionRequest, convert
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Artifact
from edgekit_converters.tflite_sparse import store_sparse
from tests.converters import onnx_text

pytest.importorskip("ai_edge_litert")

NET = """(float[1, 3, 12, 12] x) => (float[1, 40] y) {
    a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1, b1)
    r = Relu(a)
    d = Conv<group = 64, pads = [1, 1, 1, 1]>(r, w2)
    p = Conv(d, w3)
    q = Relu(p)
    g = GlobalAveragePool(q)
    f = Flatten(g)
    y = Gemm<transB = 1>(f, w4, b4)
}"""
SHAPES = {"w1": (64, 3, 3, 3), "b1": (64,), "w2": (64, 1, 3, 3), "w3": (128, 64, 1, 1), "w4": (40, 128), "b4": (40,)}


def _sparse(shape: tuple[int, ...], share: float, block: int, rng: np.random.Generator) -> Any:
    array = rng.normal(size=shape).astype(np.float32)
    if len(shape) > 1 and shape[1] % block == 0:
        gone = rng.random((shape[0], shape[1] // block, *shape[2:])) < share
        array[np.repeat(gone, block, axis=1)] = 0
    return array


def _converted(folder: Path, share: float, block: int, *precisions: str) -> dict[str, Artifact]:
    rng = np.random.default_rng(0)
    weights = {name: _sparse(shape, share, block, rng) for name, shape in SHAPES.items()}
    (folder / "work").mkdir()
    request = ConversionRequest(
        model=onnx_text.write(folder / "net.onnx", NET, weights),
        wanted=tuple(("tflite", one) for one in precisions),
        output=folder / "out",
        work=folder / "work",
        calibration={"x": rng.normal(size=(16, 3, 12, 12)).astype(np.float32)},
    )
    result = convert(request, JobRunner(log=folder / "log"))
    assert result.failures == ()
    return {one.precision: one for one in result.artifacts}


def _ran(data: bytes, *, delegate: bool) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    interpreter.set_tensor(taken["index"], np.random.default_rng(1).normal(size=taken["shape"]).astype(np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _sparse_ops(data: bytes) -> list[str]:
    """Return what takes a tensor that DENSIFY made."""
    file = tflite_file.parse(data, "sparse")
    made = {one.index for op in file.ops if op.name == "DENSIFY" for one in op.outputs if one is not None}
    return [op.name for op in file.ops if any(one is not None and one.index in made for one in op.inputs)]


FLOATS = ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]


@pytest.mark.slow
@pytest.mark.parametrize(("share", "block"), [(0.8, 1), (0.75, 4)])
def test_sparse_files_are_smaller_and_answer_the_same_on_every_kernel(share: float, block: int, tmp_path: Path) -> None:
    kinds = ("fp32", "fp16", "int8", "int8-weights")
    made = _converted(tmp_path, share, block, *kinds, *(f"{one}:sparse" for one in kinds))
    wanted = {"fp32": FLOATS, "fp16": ["DEQUANTIZE"], "int8": ["CONV_2D"], "int8-weights": ["DEQUANTIZE"]}
    for kind in kinds:
        dense, sparse = (made[f"{kind}{more}"].path.read_bytes() for more in ("", ":sparse"))
        assert set(_sparse_ops(sparse)) <= set(wanted[kind])
        assert _sparse_ops(sparse)
        assert len(sparse) < len(dense)
        assert store_sparse(dense) == store_sparse(dense)
        assert store_sparse(sparse) == sparse
        for delegate in (True, False):
            assert np.array_equal(_ran(sparse, delegate=delegate), _ran(dense, delegate=delegate))
        assert made[f"{kind}:sparse"].steps[-1].name == "zeros of weights left out"


@pytest.mark.slow
def test_dense_weights_stay_and_it_is_said(tmp_path: Path) -> None:
    made = _converted(tmp_path, 0.0, 1, "fp32", "fp32:sparse")
    assert made["fp32:sparse"].path.read_bytes() == made["fp32"].path.read_bytes()
    assert "no weights are smaller as sparse tensors" in made["fp32:sparse"].warnings
