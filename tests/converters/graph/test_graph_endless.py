"""Models that never end, ask for more than there is, or contradict themselves."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters import deadline
from edgekit_converters.calibration import random_array
from edgekit_converters.errors import DeadlineError, ModelFileError, UnsupportedError
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.graph.functions import without_functions
from edgekit_converters.graph.model import load
from edgekit_converters.graph.oracle import Oracle
from edgekit_converters.model import TensorSpec

onnx = pytest.importorskip("onnx")


def test_a_loop_without_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "RUN_S", 0.5)
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 16]> g (float[1] x) => (float[1] y)
        <int64 count = {4611686018427387904}> {
        y = Loop(count, , x) <body = s (int64 i, bool c, float[1] v) => (bool d, float[1] n)
            { d = Identity(c)  n = Neg(v) }> }"""
    )
    with pytest.raises(DeadlineError, match=r"had not ended after 0\.5 s"):
        Oracle(model).values({"x": np.ones(1, np.float32)})


def test_a_failure_of_a_run_in_time_stays_itself() -> None:
    def fails() -> None:
        raise KeyError("missing")

    with pytest.raises(KeyError, match="missing"):
        deadline.in_time(fails)


def test_random_values_for_an_input_of_terabytes_are_not_made() -> None:
    spec = TensorSpec(name="x", shape=(2**40, 3), dtype="float32")
    with pytest.raises(UnsupportedError, match="input 'x': 1099511627776x3 values"):
        random_array(spec, (2**40, 3), np.random.default_rng(0))


@pytest.mark.parametrize("opset", [18, 20])
def test_a_function_of_an_older_opset_than_the_model_is_written_out(opset: int) -> None:
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["": {opset}, "own": 1]> g (float[1, 3] x) => (float[1, 3] y) {{
        y = own.twice(x) }}
        <domain: "own", opset_import: ["": 18]> twice (x) => (y) {{ y = Add(x, x) }}"""
    )
    assert [node.op_type for node in without_functions(model, lambda _: True).graph.node] == ["Add"]


def test_a_function_that_calls_itself_is_refused() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["": 18, "own": 1]> g (float[1, 3] x) => (float[1, 3] y) { y = own.again(x) }
        <domain: "own", opset_import: ["": 18, "own": 1]> again (x) => (y) { y = own.again(x) }"""
    )
    with pytest.raises(UnsupportedError, match=r"functions? .*cannot be written out"):
        without_functions(model, lambda _: True)


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 16]> g (float[1] x) => (float[1] y) { y = Neg(x) }"""
    )
    model.graph.output.add().CopyFrom(model.graph.output[0])
    path = tmp_path / "twice.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="two outputs named 'y'"):
        load(path)


def test_outputs_whose_shapes_depend_on_the_sample_are_refused() -> None:
    inputs = [TensorSpec(name="x", shape=(1, 2), dtype="float32")]
    arrays = {"x": np.asarray([[0, 1], [1, 1]], np.float32)}
    with pytest.raises(UnsupportedError, match="another shape for every sample"):
        run_samples(lambda given: [np.transpose(np.nonzero(given["x"]))[np.newaxis]], arrays, inputs)


def test_who_stops_waiting_gets_no_answer_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "RUN_S", 0.05)
    monkeypatch.setattr(deadline, "_STOP_S", 0.0)
    with pytest.raises(DeadlineError):
        deadline.in_time(lambda: time.sleep(0.3))
    monkeypatch.setattr(deadline, "RUN_S", 10.0)
    assert [deadline.in_time(lambda at=at: at) for at in range(3)] == [0, 1, 2]  # type: ignore[misc]
    time.sleep(0.4)
    assert deadline.in_time(lambda: "now") == "now"


def test_a_forked_process_runs_models_too() -> None:
    assert deadline.in_time(lambda: 1) == 1
    child = os.fork()
    if not child:
        os._exit(deadline.in_time(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
