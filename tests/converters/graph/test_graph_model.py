"""ONNX files as the canonical graph: weights stay in their files, shapes are fixed, models are written again."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.graph.model import freeze, inputs_of, lifted, load, parameters, save, specs

Write = Callable[..., Path]
ROWS = 12_000
LARGE_BYTES = 4 * ROWS * 50_000  # 2.4 GB


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write `y = MatMul(x, w)` with `w` outside; `held` bytes of it exist, as a hole."""

    def make(held: int = LARGE_BYTES, location: str = "w.bin") -> Path:
        import onnx

        text = '<ir_version: 8, opset_import: ["": 13]> g (float[N, 12000] x) => (float[N, 50000] y) {'
        model = onnx.parser.parse_model(text + " y = MatMul(x, w) }")
        one = model.graph.initializer.add(name="w", data_type=onnx.TensorProto.FLOAT, dims=[ROWS, 50_000])
        one.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": "0", "length": str(LARGE_BYTES)}.items():
            one.external_data.add(key=key, value=value)
        (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
        with (tmp_path / "w.bin").open("wb") as file:
            file.truncate(held)
        return tmp_path / "net.onnx"

    return make


def test_more_than_2_gb_of_weights_are_read_by_reference(write: Write) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = load(write())
    proto, weights = lifted(model)
    assert parameters(model) == LARGE_BYTES // 4
    assert weights["w"].nbytes == LARGE_BYTES
    assert proto.ByteSize() < 1000
    assert [value.name for value in proto.graph.input] == ["x", "w"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


def test_external_data_that_is_too_short_is_refused(write: Write) -> None:
    with pytest.raises(ModelFileError, match=r"net\.onnx"):
        load(write(held=1000))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    import onnx

    text = '<ir_version: 8, opset_import: ["": 13]> g (float[N, 3, H, 8] x, int64[2] k) => (float[M] y) {'
    model = onnx.parser.parse_model(text + " r = Reshape(x, k)\n y = ReduceSum(r, w) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "w"))
    onnx.save(model, tmp_path / "small.onnx")
    return tmp_path / "small.onnx"


def test_specs_have_none_where_a_size_is_free(small: Path) -> None:
    found = [(one.name, one.shape, one.dtype) for one in specs(inputs_of(load(small)))]
    assert found == [("x", (None, 3, None, 8), "float32"), ("k", (2,), "int64")]


def test_frozen_shapes_are_written_out_again(small: Path, tmp_path: Path) -> None:
    model = load(small)
    freeze(model, {"x": (1, 3, 5, 8)}, "small.onnx")
    save(model, tmp_path / "again.onnx")
    assert [one.shape for one in specs(inputs_of(load(tmp_path / "again.onnx")))] == [(1, 3, 5, 8), (2,)]


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"z": (1,)}, "has no input 'z'; it has: x, k"),
        ({"x": (1, 4, 5, 8)}, r"input 'x' has shape \?x3x\?x8"),
        ({"k": (3,)}, "input 'k' has shape 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes: Any, says: str, small: Path) -> None:
    with pytest.raises(UnsupportedError, match=says):
        freeze(load(small), shapes, "small.onnx")
