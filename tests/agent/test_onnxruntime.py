"""What is particular to ONNX files: scales told by their own nodes, names of free dimensions, damaged files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent import runtimes
from edgekit_agent.errors import ModelError
from edgekit_agent.quantize import to_real, to_stored
from edgekit_agent.runtimes import _onnx_file
from edgekit_agent.runtimes.base import LoadOptions

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"


def test_what_is_quantized_carries_its_scale_and_zero_point() -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    session = runtimes.get("onnxruntime").load(MODELS / "quantized.onnx", LoadOptions(batch=2))
    (taken,), (given_back,) = session.inputs, session.outputs
    assert (taken.shape, taken.dtype, taken.scale, taken.zero_point) == ((2, 4), "uint8", (1 / 32,), (128,))
    assert (given_back.shape, given_back.dtype, given_back.axis) == ((2, 3), "int8", 1)
    assert (given_back.scale, given_back.zero_point) == ((0.5, 0.25, 2), (0, -3, 5))


def test_real_values_go_in_and_come_out_by_these_scales(rng: np.random.Generator) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    quantized = runtimes.get("onnxruntime").load(MODELS / "quantized.onnx")
    x = rng.uniform(-3, 3, (1, 4)).astype(np.float32)
    (stored,) = quantized.invoke([to_stored(x, quantized.inputs[0])])
    weights = np.random.default_rng(7).normal(size=(4, 8)).astype(np.float32)[:, :3]  # as make_onnx_models.py has them
    wanted = x @ weights
    found = np.asarray(to_real(stored, quantized.outputs[0]), np.float32)
    # half a step of the output, and what half a step of each input is worth
    bound = np.array([0.5, 0.25, 2]) / 2 + np.abs(weights).sum(axis=0) / 64
    assert (np.abs(found - wanted) <= bound + 1e-5).all()


def test_onnx_files_are_run_by_onnxruntime_where_openvino_is_there_too() -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    assert runtimes.choose(MODELS / "dense.onnx").name == "onnxruntime"


def test_an_input_that_something_else_takes_too_has_no_scale(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    model = onnx.load(MODELS / "quantized.onnx")
    model.graph.node.append(onnx.helper.make_node("Cast", ["x"], ["as_stored"], to=onnx.TensorProto.FLOAT))
    onnx.save(model, tmp_path / "changed.onnx")
    assert not _onnx_file.read(tmp_path / "changed.onnx").taken


@pytest.mark.parametrize("name", ["dense", "length", "quantized"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_file_with_a_turned_byte_is_read_or_refused(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray((MODELS / f"{name}.onnx").read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "turned.onnx"
    path.write_bytes(content)
    try:
        assert isinstance(_onnx_file.read(path), _onnx_file.OnnxFile)
    except ModelError as exc:
        assert "turned.onnx" in str(exc)  # noqa: PT017  # both are allowed


def test_a_float_model_has_no_scales() -> None:
    told = _onnx_file.read(MODELS / "dense.onnx")
    assert (told.batches, told.taken, told.given) == (frozenset({"N"}), {}, {})
