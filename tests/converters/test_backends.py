"""Backends apart from frontends: crash isolation, and ONNX to OpenVINO with names, order and free dimensions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.backends.base import BuildRequest, Failure, build_with
from edgekit_converters.backends.openvino import OpenVINOBackend
from edgekit_converters.errors import JobCrashedError, UnsupportedError
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layout import Layout
from edgekit_converters.model import Artifact, SourceModel, TensorSpec
from edgekit_converters.precisions import parse

CRASHES_ON_FP16 = """
import os
from pathlib import Path
from edgekit_converters.backends.base import each
from edgekit_converters.errors import UnsupportedError

def run(request):
    def make(precision):
        if precision == "fp16":
            os.abort()
        if precision == "int8":
            error = UnsupportedError("op 'X' has no int8 form")
            error.add_note("leave it in float")
            raise error
        Path(request["paths"][precision]).write_text("made")
        return {"steps": [{"name": "made", "before": {}, "after": {"bytes": 4}}], "warnings": ["w"]}
    return each(request["precisions"], make)
"""


def build_request(tmp_path: Path, loaded: Loaded, *precisions: str, calibration: Any = None) -> BuildRequest:
    for name in ("out", "work"):
        (tmp_path / name).mkdir(exist_ok=True)
    return BuildRequest(
        loaded=loaded,
        precisions=tuple(parse(one, "openvino", OpenVINOBackend().precisions) for one in precisions),
        output=tmp_path / "out",
        stem="m",
        work=tmp_path / "work",
        calibration=calibration,
        layout=Layout(),
        seed=0,
    )


def loaded_from(path: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Loaded:
    source = SourceModel(path=path, format="onnx", sha256="", size_bytes=0, inputs=inputs, outputs=outputs)
    return Loaded(source=source, reference={}, float_tflite=None, openvino_input=path)


def test_a_crash_or_a_refusal_of_one_precision_does_not_lose_the_others(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text(CRASHES_ON_FP16)
    jobs = JobRunner(log=tmp_path / "log", environment={"PYTHONPATH": str(tmp_path)})
    request = build_request(tmp_path, loaded_from(tmp_path, (), ()), "fp32", "fp16", "int8")
    good, crashed, refused = build_with(partial(jobs.run, "crashing"), request, target="t", suffix=".x", common={})
    assert isinstance(good, Artifact)
    assert (good.path, good.steps[0].after, good.warnings) == (tmp_path / "out" / "m.fp32.x", {"bytes": 4}, ("w",))
    assert isinstance(crashed, Failure)
    assert isinstance(crashed.error, JobCrashedError)
    assert isinstance(refused, Failure)
    assert isinstance(refused.error, UnsupportedError)
    assert (str(refused.error), refused.error.__notes__) == ("op 'X' has no int8 form", ["leave it in float"])


@pytest.fixture
def onnx_model(tmp_path: Path) -> Callable[..., Path]:
    """`z = b @ W` and `a_sum = a + 1`, inputs b then a: the alphabet is not the order."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def make(op: str = "MatMul", domain: str = "") -> Path:
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("b", "a")]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
            for name, size in (("z", 3), ("a_sum", 4))
        ]
        weights = [
            numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "W"),
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
        ]
        nodes = [
            helper.make_node(op, ["b", "W"], ["z"], name="first", domain=domain),
            helper.make_node("Add", ["a", "one"], ["a_sum"], name="second"),
        ]
        graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        path = tmp_path / "m.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
        return path

    return make


def specs(batch: int | None) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    sizes = {"b": 4, "a": 4}, {"z": 3, "a_sum": 4}
    inputs, outputs = (
        tuple(TensorSpec(name=name, shape=(batch, size), dtype="float32") for name, size in side.items())
        for side in sizes
    )
    return inputs, outputs


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 2])
def test_onnx_to_openvino_keeps_names_order_and_the_batch(
    onnx_model: Callable[..., Path], tmp_path: Path, jobs: JobRunner, batch: int | None
) -> None:
    import openvino

    loaded = loaded_from(onnx_model(), *specs(batch))
    rng = np.random.default_rng(0)
    calibration = {name: rng.random((8, 4)).astype(np.float32) for name in ("b", "a")}
    request = build_request(tmp_path, loaded, "fp32", "int8", calibration=calibration)
    for made in OpenVINOBackend().build(request, jobs):
        assert isinstance(made, Artifact), made
        model = openvino.Core().read_model(made.path)
        assert [port.get_names() for port in model.inputs] == [{"b"}, {"a"}]
        assert [port.get_names() for port in model.outputs] == [{"z"}, {"a_sum"}]
        assert all(port.get_partial_shape()[0].is_dynamic == (batch is None) for port in model.inputs)
        assert openvino.Core().compile_model(model, "CPU")([np.ones((2, 4), np.float32)] * 2)["a_sum"].shape == (2, 4)


@pytest.mark.slow
def test_an_op_openvino_does_not_have_is_named(
    onnx_model: Callable[..., Path], tmp_path: Path, jobs: JobRunner
) -> None:
    request = build_request(tmp_path, loaded_from(onnx_model("Strange", "mine"), *specs(None)), "fp32")
    (failure,) = OpenVINOBackend().build(request, jobs)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, UnsupportedError)
    assert "Strange" in str(failure.error)
    assert "\n" not in str(failure.error)
